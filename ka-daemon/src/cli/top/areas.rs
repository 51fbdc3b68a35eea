//! Which part of the screen shows what. Pure; [`super::state`] needs it too, to know how far to scroll.

use ratatui::layout::Rect;

use super::state::Panel;

/// Rows of the graph; it is the first to go.
const GRAPH: u16 = 2;
/// The height from which there is room for the graph.
const GRAPH_FROM: u16 = 20;
/// Rows that both panels need to be shown at once.
const BOTH_FROM: u16 = 8;

/// The parts; one that has no room has no height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Areas {
    pub(super) title: Rect,
    pub(super) totals: Rect,
    pub(super) graph: Rect,
    pub(super) sockets: Rect,
    pub(super) drops: Rect,
    pub(super) bottom: Rect,
}

impl Areas {
    /// Sockets that are shown at once, below the panel's title and the columns' titles.
    pub(super) fn socket_rows(&self) -> usize {
        usize::from(self.sockets.height.saturating_sub(2))
    }
}

/// Divides a screen. Where it is low, the panel in focus gets the room of both.
pub(super) fn areas((width, height): (u16, u16), focus: Panel) -> Areas {
    let mut top = 0;
    let mut take = |rows: u16| {
        let rows = rows.min(height - top);
        let area = Rect::new(0, top, width, rows);
        top += rows;
        area
    };
    let title = take(1);
    let totals = take(u16::from(height >= 3));
    let graph = take(if height >= GRAPH_FROM { GRAPH } else { 0 });
    let bottom = u16::from(height >= 4);
    let left = height - title.height - totals.height - graph.height - bottom;
    let (sockets, drops) = match focus {
        _ if left >= BOTH_FROM => (left * 3 / 5, left - left * 3 / 5),
        Panel::Sockets => (left, 0),
        Panel::Drops => (0, left),
    };
    let (sockets, drops) = (take(sockets), take(drops));
    Areas { title, totals, graph, sockets, drops, bottom: take(bottom) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fill_the_screen_whatever_its_size() {
        for focus in [Panel::Sockets, Panel::Drops] {
            for height in 0..60 {
                let Areas { title, totals, graph, sockets, drops, bottom } = areas((7, height), focus);
                let parts = [title, totals, graph, sockets, drops, bottom];
                let mut row = 0;
                for part in parts {
                    assert_eq!((part.x, part.y, part.width), (0, row, 7), "{height}");
                    row += part.height;
                }
                assert_eq!(row, height);
            }
        }
    }

    #[test]
    fn a_usual_screen_shows_all_and_a_low_one_what_is_in_focus() {
        let heights = |height, focus| {
            let areas = areas((80, height), focus);
            [areas.graph, areas.sockets, areas.drops, areas.bottom].map(|area| area.height)
        };
        assert_eq!(heights(24, Panel::Drops), [2, 11, 8, 1]);
        assert_eq!(heights(12, Panel::Drops), [0, 5, 4, 1]);
        assert_eq!(heights(8, Panel::Sockets), [0, 5, 0, 1]);
        assert_eq!(heights(8, Panel::Drops), [0, 0, 5, 1]);
        assert_eq!(areas((80, 24), Panel::Sockets).socket_rows(), 9);
        assert_eq!(areas((80, 3), Panel::Drops).socket_rows(), 0);
    }
}

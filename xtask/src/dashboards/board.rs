//! What a dashboard is made of, as the descriptions say it: boards of rows of panels of queries.

/// A dashboard.
pub(super) struct Board {
    /// Never changes: links and bookmarks hold it.
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    /// The question that the first screen answers.
    pub(super) question: &'static str,
    /// Whether it can be narrowed down to owners of sockets.
    pub(super) by_owner: bool,
    pub(super) rows: Vec<Row>,
}

/// A heading and the panels below it, from left to right.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

pub(super) fn row(title: &'static str, panels: impl IntoIterator<Item = Panel>) -> Row {
    Row { title, panels: panels.into_iter().collect() }
}

/// How a panel draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One number, with its course behind it; how the course becomes the number.
    Stat(Reduce),
    Lines,
    /// Lines above each other, where the sum means something.
    Areas,
    /// Events in each step.
    Bars,
    Table,
    /// A bar for each series: what its query says of the time range.
    BarGauge,
    Heatmap,
    Text,
}

/// How a course becomes one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduce {
    Last,
    Sum,
    Max,
}

impl Reduce {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Last => "lastNotNull",
            Self::Sum => "sum",
            Self::Max => "max",
        }
    }
}

/// A query and how its series are named.
pub(super) struct Query {
    pub(super) expr: String,
    pub(super) legend: &'static str,
}

/// A column of a table: a label, or `Value` (of the only query) or `Value #A` (of several).
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: Option<&'static str>,
    pub(super) steps: &'static [(f64, &'static str)],
    /// The uid of the dashboard that a click opens, and the variable that takes the cell's value.
    pub(super) link: Option<(&'static str, &'static str)>,
    /// What numbers mean.
    pub(super) words: &'static [(&'static str, &'static str, &'static str)],
}

pub(super) const fn column(name: &'static str, title: &'static str) -> Column {
    Column { name, title, unit: None, steps: &[], link: None, words: &[] }
}

impl Column {
    pub(super) const fn unit(self, unit: &'static str) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// From these values on the cell has these colours.
    pub(super) const fn steps(self, steps: &'static [(f64, &'static str)]) -> Self {
        Self { steps, ..self }
    }

    pub(super) const fn opens(self, uid: &'static str, variable: &'static str) -> Self {
        Self { link: Some((uid, variable)), ..self }
    }

    /// Words and colours instead of numbers.
    pub(super) const fn words(self, words: &'static [(&'static str, &'static str, &'static str)]) -> Self {
        Self { words, ..self }
    }
}

/// The columns of whose a socket is.
pub(super) const fn owner_columns() -> [Column; 4] {
    [
        column("namespace", "Namespace").opens("ka-drops", "namespace"),
        column("pod", "Pod"),
        column("service", "Service").opens("ka-drops", "service"),
        column("comm", "Process").opens("ka-drops", "comm"),
    ]
}

/// A panel.
pub(super) struct Panel {
    pub(super) kind: Kind,
    pub(super) title: &'static str,
    pub(super) description: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) queries: Vec<Query>,
    pub(super) unit: &'static str,
    /// From these values on it has these colours; green below.
    pub(super) steps: &'static [(f64, &'static str)],
    /// What stands there where no series came.
    pub(super) nothing: &'static str,
    pub(super) columns: Vec<Column>,
    /// Colours of series by their names.
    pub(super) colours: &'static [(&'static str, &'static str)],
    /// The uid of the dashboard that a click on a series opens, the variable that takes a label, the label.
    pub(super) link: Option<(&'static str, &'static str)>,
    /// Markdown, of a text panel.
    pub(super) text: String,
}

/// A panel that shows something, and what to do when it looks bad.
fn panel(kind: Kind, title: &'static str, shows: &str, then: &str, (width, height): (u32, u32)) -> Panel {
    Panel {
        kind,
        title,
        description: format!("{shows}\n\n**When it looks bad:** {then}"),
        width,
        height,
        queries: Vec::new(),
        unit: "short",
        steps: &[],
        nothing: "",
        columns: Vec::new(),
        colours: &[],
        link: None,
        text: String::new(),
    }
}

/// A number of the first row.
pub(super) fn stat(reduce: Reduce, title: &'static str, shows: &str, then: &str) -> Panel {
    let panel = panel(Kind::Stat(reduce), title, shows, then, (4, 4));
    // Events are counted to the last one: 1,250, not 1.25 K.
    if reduce == Reduce::Sum { panel.unit("locale") } else { panel }
}

pub(super) fn lines(title: &'static str, shows: &str, then: &str) -> Panel {
    panel(Kind::Lines, title, shows, then, (12, 9))
}

pub(super) fn areas(title: &'static str, shows: &str, then: &str) -> Panel {
    panel(Kind::Areas, title, shows, then, (12, 9))
}

pub(super) fn bars(title: &'static str, shows: &str, then: &str) -> Panel {
    panel(Kind::Bars, title, shows, then, (12, 9))
}

pub(super) fn bar_gauge(title: &'static str, shows: &str, then: &str) -> Panel {
    panel(Kind::BarGauge, title, shows, then, (12, 9))
}

pub(super) fn heatmap(title: &'static str, shows: &str, then: &str) -> Panel {
    panel(Kind::Heatmap, title, shows, then, (12, 9))
}

pub(super) fn table<const N: usize>(
    title: &'static str,
    shows: &str,
    then: &str,
    columns: [Column; N],
) -> Panel {
    Panel { columns: columns.into(), ..panel(Kind::Table, title, shows, then, (12, 9)) }
}

pub(super) fn text(title: &'static str, text: String) -> Panel {
    Panel { text, description: String::new(), ..panel(Kind::Text, title, "", "", (24, 12)) }
}

impl Panel {
    pub(super) fn size(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }

    pub(super) fn query(mut self, expr: impl Into<String>, legend: &'static str) -> Self {
        self.queries.push(Query { expr: expr.into(), legend });
        self
    }

    pub(super) fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    pub(super) fn steps(self, steps: &'static [(f64, &'static str)]) -> Self {
        Self { steps, ..self }
    }

    pub(super) fn nothing(self, nothing: &'static str) -> Self {
        Self { nothing, ..self }
    }

    pub(super) fn colours(self, colours: &'static [(&'static str, &'static str)]) -> Self {
        Self { colours, ..self }
    }

    pub(super) fn opens(self, uid: &'static str, label: &'static str) -> Self {
        Self { link: Some((uid, label)), ..self }
    }
}

// One dashboard as Grafana lays it out, in the dark theme, at the size of its grid.

import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import { createTheme } from '@grafana/data';
import { GlobalStyles, ThemeContext } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

import { framesOf } from './data.mjs';
import { Panel, spanOf } from './panels.jsx';

// Of Grafana's grid.
const COLUMNS = 24;
const CELL = 30;
const GAP = 8;
const MARGIN = 16;
const HEADER = 96;

const { board, answers } = window.input;
const theme = createTheme({ colors: { mode: 'dark' } });
const width = window.innerWidth - 2 * MARGIN;

function Cell({ panel, frames, span }) {
  const { x, y, w, h } = panel.gridPos;
  const column = (width + GAP) / COLUMNS;
  const place = { left: MARGIN + x * column, top: HEADER + y * (CELL + GAP), width: w * column - GAP, height: h * (CELL + GAP) - GAP };
  return (
    <div style={{ position: 'absolute', ...place }}>
      {panel.type === 'row' ? (
        <div style={{ fontSize: 16, fontWeight: 500, lineHeight: `${CELL}px` }}>⌄ {panel.title}</div>
      ) : (
        <Panel panel={panel} frames={frames} span={span} theme={theme} width={place.width} height={place.height} />
      )}
    </div>
  );
}

function Page({ panels, span }) {
  const variables = board.templating.list.map(({ name, label, type }) => (
    <span key={name} style={{ marginRight: 12 }}>
      <span style={{ color: theme.colors.text.secondary }}>{label}</span>{' '}
      <span style={{ border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '4px 8px' }}>
        {type === 'datasource' ? 'prometheus' : 'All'}
      </span>
    </span>
  ));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: 'absolute', left: MARGIN, top: 12, fontSize: 18, fontWeight: 500 }}>{board.title}</div>
      <div style={{ position: 'absolute', left: MARGIN, top: 54, fontSize: 12 }}>{variables}</div>
      {panels.map(({ panel, frames }) => (
        <Cell key={panel.id} panel={panel} frames={frames} span={span} />
      ))}
    </ThemeContext.Provider>
  );
}

async function main() {
  const panels = [];
  for (const panel of board.panels) {
    panels.push({ panel, frames: panel.targets ? await framesOf(panel, answers, theme) : [] });
  }
  createRoot(document.getElementById('root')).render(<Page panels={panels} span={spanOf(answers)} />);
}

main();

// A panel, drawn by Grafana's own components. Heat maps are the exception, for which its library has none: their
// cells are painted into its chart.

import { dateTime, getFieldDisplayValues, renderMarkdown, scaledUnits } from '@grafana/data';
import {
  AxisPlacement,
  BarGauge,
  BigValue,
  PanelChrome,
  ScaleDirection,
  ScaleOrientation,
  Table,
  TimeSeries,
  UPlotChart,
  UPlotConfigBuilder,
  VizRepeater,
} from '@grafana/ui';

export function Panel({ panel, frames, span, theme, width, height }) {
  return (
    <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
      {(innerWidth, innerHeight) => draw({ panel, frames, span, theme, width: innerWidth, height: innerHeight })}
    </PanelChrome>
  );
}

function draw({ panel, frames, span, theme, width, height }) {
  if (panel.type === 'text') {
    return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: renderMarkdown(panel.options.content) }} />;
  }
  if (!frames.some((frame) => frame.length > 0)) {
    return <div style={{ padding: 16 }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
  }
  const { options } = panel;
  switch (panel.type) {
    case 'stat':
      return <BigValue {...bigValue(panel, frames, theme)} theme={theme} width={width} height={height} {...options} />;
    case 'timeseries':
      return (
        <TimeSeries
          frames={frames}
          width={width}
          height={height}
          timeRange={span}
          timeZone="utc"
          legend={options.legend}
          options={options}
        />
      );
    case 'table':
      return <Table data={frames[0]} width={width} height={height} initialSortBy={options.sortBy} cellHeight={options.cellHeight} />;
    case 'bargauge':
      return (
        <VizRepeater
          getValues={() => displayValues(panel, frames, theme)}
          renderValue={({ value, width, height }) => (
            <BarGauge
              value={value.display}
              field={value.field}
              display={value.view?.getFieldDisplayProcessor?.(value.colIndex)}
              theme={theme}
              width={width}
              height={height}
              orientation={options.orientation}
              displayMode={options.displayMode}
              valueDisplayMode={options.valueMode}
              showUnfilled={options.showUnfilled}
              itemSpacing={8}
            />
          )}
          width={width}
          height={height}
          source={frames}
          itemSpacing={8}
          renderCounter={1}
          orientation={options.orientation}
        />
      );
    case 'heatmap':
      return <Heatmap frames={frames} span={span} theme={theme} width={width} height={height} unit={options.yAxis.unit} />;
    default:
      throw new Error(`no way to draw a ${panel.type}: ${panel.title}`);
  }
}

function displayValues(panel, frames, theme) {
  return getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    data: frames,
    sparkline: panel.options.graphMode === 'area',
    timeZone: 'utc',
  });
}

function bigValue(panel, frames, theme) {
  const [{ display, sparkline }] = displayValues(panel, frames, theme);
  return { value: display, sparkline };
}

function Heatmap({ frames, span, theme, width, height, unit }) {
  const times = [...new Set(frames.flatMap((frame) => frame.fields[0].values))].sort((a, b) => a - b);
  const rows = frames.map((frame) => new Map(frame.fields[0].values.map((time, i) => [time, frame.fields[1].values[i]])));
  const most = Math.max(...rows.flatMap((row) => [...row.values()]));
  const step = Math.min(...times.slice(1).map((time, i) => time - times[i]));
  const names = frames.map((frame) => frame.fields[1].config.displayNameFromDS);

  const builder = new UPlotConfigBuilder('utc');
  builder.addScale({
    scaleKey: 'x',
    isTime: true,
    orientation: ScaleOrientation.Horizontal,
    direction: ScaleDirection.Right,
    range: () => [span.from.valueOf(), span.to.valueOf()],
  });
  builder.addScale({
    scaleKey: 'y',
    isTime: false,
    orientation: ScaleOrientation.Vertical,
    direction: ScaleDirection.Up,
    range: () => [0, rows.length],
  });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, theme, timeZone: 'utc' });
  builder.addAxis({
    scaleKey: 'y',
    placement: AxisPlacement.Left,
    theme,
    splits: () => names.map((_, at) => at + 1),
    values: (_, splits) => splits.map((at) => (at % 3 ? '' : bound(names[at - 1], unit))),
  });
  builder.addSeries({ scaleKey: 'y', theme, show: false, pathBuilder: () => null });
  builder.addHook('draw', (u) => {
    for (const [at, row] of rows.entries()) {
      for (const [time, count] of row) {
        if (count > 0) {
          const [left, right] = [time - step, time].map((x) => Math.round(u.valToPos(x, 'x', true)));
          const [bottom, top] = [at, at + 1].map((y) => Math.round(u.valToPos(y, 'y', true)));
          u.ctx.fillStyle = theme.visualization.getColorByName('orange');
          u.ctx.globalAlpha = 0.15 + 0.85 * Math.sqrt(count / most);
          u.ctx.fillRect(left + 1, top + 1, right - left - 1, bottom - top - 1);
        }
      }
    }
    u.ctx.globalAlpha = 1;
  });
  return (
    <UPlotChart config={builder} data={[times, times.map(() => null)]} width={width} height={height} timeRange={span} />
  );
}

function bound(text, unit) {
  const value = Number(text);
  if (unit !== 's' || !Number.isFinite(value)) {
    return text;
  }
  const { text: shown, suffix } = scaledUnits(1000, ['ns', 'µs', 'ms', 's'])(value * 1e9, 3);
  return value >= 1 ? `${value} s` : `${Number(shown)}${suffix}`;
}

export function spanOf(answers) {
  const times = answers.filter((answer) => answer.series.some((one) => one.values.length > 1))
    .flatMap((answer) => answer.series.flatMap((one) => one.values.map(([time]) => time * 1000)));
  const from = dateTime(Math.min(...times));
  const to = dateTime(Math.max(...times));
  return { from, to, raw: { from, to } };
}

// From what Prometheus answered to what Grafana's panels take: data frames, with the dashboard's field
// configuration and transformations applied.

import {
  FieldType,
  getDisplayProcessor,
  getFieldDisplayName,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation: () => Promise.resolve(transformation),
  }))
);

/** The frames of a panel, ready to be drawn. */
export async function framesOf(panel, answers, theme) {
  const frames = panel.targets.flatMap((target) => {
    const { series } = answers.find((answer) => answer.panel === panel.id && answer.refId === target.refId);
    if (target.format === 'table') {
      return [tableOf(series, target, panel.targets.length)];
    }
    const all = series.map((one) => seriesOf(one, target));
    return target.format === 'heatmap' ? betweenBounds(all) : all;
  });
  const transformed = panel.transformations ? await transform(panel.transformations, frames) : frames;
  transformed.forEach((frame) => configure(frame, transformed, panel.fieldConfig, theme));
  if (panel.type === 'bargauge') {
    // Bars are as long as they are among each other.
    const values = transformed.map((frame) => frame.fields[1]);
    const max = Math.max(...values.flatMap((field) => field.values));
    values.forEach((field) => {
      Object.assign(field.config, { min: 0, max });
      field.state.range = { min: 0, max, delta: max };
      field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
    });
  }
  return transformed;
}

function seriesOf({ labels, values }, { refId, legendFormat }) {
  const name = legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => labels[label] ?? '').replace(/ +/g, ' ').trim();
  return {
    refId,
    length: values.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: values.map(([time]) => time * 1000) },
      {
        name: 'Value',
        type: FieldType.number,
        labels,
        config: { displayNameFromDS: name },
        values: values.map(([, value]) => value),
      },
    ],
  };
}

/** Counts at or below each bound become counts between bounds. */
function betweenBounds(frames) {
  const bound = (frame) => Number(frame.fields[1].labels.le.replace('+Inf', 'Infinity'));
  const sorted = frames.toSorted((a, b) => bound(a) - bound(b));
  return sorted.map((frame, at) => {
    const below = new Map(at ? sorted[at - 1].fields[0].values.map((time, i) => [time, sorted[at - 1].fields[1].values[i]]) : []);
    const [time, value] = frame.fields;
    const values = value.values.map((count, i) => Math.max(0, count - (below.get(time.values[i]) ?? 0)));
    return { ...frame, fields: [time, { ...value, values }] };
  });
}

function tableOf(series, { refId }, targets) {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.labels)))].sort();
  const last = series.map((one) => one.values.at(-1));
  return {
    refId,
    length: series.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: last.map(([time]) => time * 1000) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        config: {},
        values: series.map((one) => one.labels[label] ?? ''),
      })),
      {
        name: targets > 1 ? `Value #${refId}` : 'Value',
        type: FieldType.number,
        config: {},
        values: last.map(([, value]) => value),
      },
    ],
  };
}

function transform(transformations, frames) {
  return new Promise((resolve, reject) => {
    transformDataFrame(transformations, frames).subscribe({ next: resolve, error: reject });
  });
}

/** Defaults, then the overrides whose matcher fits. */
function configure(frame, all, { defaults, overrides }, theme) {
  frame.fields.forEach((field) => {
    const config = { ...defaults, ...field.config, custom: { ...defaults.custom } };
    field.config = config;
    const numbers = field.values.filter(Number.isFinite);
    const [min, max] = [Math.min(...numbers), Math.max(...numbers)];
    field.state = { seriesIndex: all.indexOf(frame), range: { min, max, delta: max - min } };
    const names = [field.name, getFieldDisplayName(field, frame, all)];
    for (const { matcher, properties } of overrides) {
      const fits = matcher.id === 'byName' ? names.includes(matcher.options) : matcher.options === field.type;
      for (const { id, value } of fits ? properties : []) {
        if (id.startsWith('custom.')) {
          config.custom[id.slice('custom.'.length)] = value;
        } else {
          config[id] = value;
        }
      }
    }
    // An override may have named it.
    field.state.displayName = undefined;
    field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
  });
}

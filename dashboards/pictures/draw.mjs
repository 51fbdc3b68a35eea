// node draw.mjs BOARDS ANSWERS PICTURES CHROMIUM: a picture of each dashboard, with what its queries answered.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const WIDTH = 1600;
// As in page.jsx.
const [CELL, GAP, HEADER] = [30, 8, 96];

const [boards, answers, pictures, chromium] = process.argv.slice(2).map((path) => resolve(path));
// Grafana's ES modules expect a bundler that reads CommonJS modules otherwise than Node does.
const commonJs = {
  name: 'commonjs',
  setup: ({ onResolve }) =>
    onResolve({ filter: /^@grafana\/(data|ui)$/ }, ({ path }) => ({
      path: join(import.meta.dirname, 'node_modules', path, 'dist/cjs/index.cjs'),
    })),
};
const { outputFiles } = await build({
  entryPoints: [join(import.meta.dirname, 'page.jsx')],
  bundle: true,
  write: false,
  outdir: 'out',
  jsx: 'automatic',
  plugins: [commonJs],
  loader: { '.woff2': 'dataurl', '.svg': 'dataurl', '.ttf': 'empty', '.woff': 'empty' },
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  logLevel: 'error',
});
const bundled = (extension) => outputFiles.find((file) => file.path.endsWith(extension))?.text ?? '';
// What ends a script must not stand in one.
const script = (text) => text.replaceAll('</script', '<\\/script');

mkdirSync(pictures, { recursive: true });
for (const name of readdirSync(boards).filter((name) => name.endsWith('.json'))) {
  const board = JSON.parse(readFileSync(join(boards, name), 'utf8'));
  const input = { board, answers: JSON.parse(readFileSync(join(answers, name), 'utf8')) };
  const page = join(answers, name.replace('.json', '.html'));
  writeFileSync(
    page,
    `<!doctype html><meta charset="utf-8"><style>${bundled('.css')}</style><body><div id="root"></div>
    <script>window.input = ${script(JSON.stringify(input))};</script>
    <script>${script(bundled('.js'))}</script>`
  );
  const bottom = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const picture = join(pictures, name.replace('.json', '.png'));
  const { status, stderr } = spawnSync(chromium, [
    '--headless=new',
    // It opens nothing but the page written above, and containers often lack what the sandbox needs.
    '--no-sandbox',
    '--disable-gpu',
    '--enable-logging=stderr',
    '--hide-scrollbars',
    '--force-prefers-reduced-motion',
    `--window-size=${WIDTH},${HEADER + bottom * (CELL + GAP) + GAP}`,
    '--virtual-time-budget=10000',
    `--screenshot=${picture}`,
    `file://${page}`,
  ], { encoding: 'utf8' });
  const faults = stderr.split('\n').filter((line) => /CONSOLE.*(Uncaught|Error)/.test(line));
  if (status !== 0 || faults.length > 0) {
    throw new Error(`no picture of ${name}: chromium ended with ${status}\n${faults.join('\n') || stderr}`);
  }
  console.log(picture);
}

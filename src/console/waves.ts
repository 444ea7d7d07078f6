/** Both voices over the last seconds, drawn against each other, so that interruptions can be seen. */

import { element } from './dom.js';

/** A column every 40 ms. */
const columnMs = 40;
const maxColumns = 600;
const columnPixels = 4;

export interface Levels {
  readonly microphone: number;
  readonly model: number;
}

/** Draws what `read` returns for as long as the page lives; for readers who want less motion only the meters move. */
export function drawLevels(read: () => Levels): void {
  const canvas = element('waves', HTMLCanvasElement);
  const you = element('level-you', HTMLMeterElement);
  const model = element('level-model', HTMLMeterElement);
  const context = canvas.getContext('2d');
  const still = matchMedia('(prefers-reduced-motion: reduce)');
  const columns: { you: number; model: number }[] = [];
  let last = 0;

  function frame(now: number): void {
    requestAnimationFrame(frame);
    if (now - last < columnMs) return;
    last = now;
    const levels = read();
    const column = { you: heightOf(levels.microphone), model: heightOf(levels.model) };
    you.value = column.you;
    model.value = column.model;
    columns.push(column);
    if (columns.length > maxColumns) columns.shift();
    if (context && !still.matches) paint(context, canvas, columns);
  }
  requestAnimationFrame(frame);
}

/** Loudness as ears have it: -60 dB is nothing, 0 dB is all. */
function heightOf(level: number): number {
  return Math.max(0, Math.min(1, (20 * Math.log10(level + 1e-6) + 54) / 48));
}

function paint(
  context: CanvasRenderingContext2D,
  canvas: HTMLCanvasElement,
  columns: { you: number; model: number }[],
) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const style = getComputedStyle(canvas);
  const middle = height / 2;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const count = Math.min(columns.length, Math.ceil(width / columnPixels));
  for (let back = 1; back <= count; back++) {
    const column = columns[columns.length - back];
    if (!column) break;
    const x = width - back * columnPixels;
    bar(context, style.getPropertyValue('--you'), x, middle - 1 - column.you * (middle - 4), column.you * (middle - 4));
    bar(context, style.getPropertyValue('--model'), x, middle + 1, column.model * (middle - 4));
  }
  context.fillStyle = style.getPropertyValue('--line');
  context.fillRect(0, middle - 0.5, width, 1);
}

function bar(context: CanvasRenderingContext2D, colour: string, x: number, y: number, length: number): void {
  if (length < 0.5) return;
  context.fillStyle = colour;
  context.fillRect(x, y, columnPixels - 1.5, length);
}

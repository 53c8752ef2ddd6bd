/** Where the image is on the screen: zoom and position, in CSS pixels of the stage. */

const MARGIN = 16;
const [LOWEST, HIGHEST] = [0.01, 40];
/** The share of the stage that a shape takes when it is walked to. */
const FOCUS = 0.4;
/** It is not enlarged beyond this. */
const CLOSEST = 6;

export const view = {
  scale: 1,
  /** Where the image's corner is. */
  x: 0,
  y: 0,
  /** Of the stage. */
  width: 0,
  height: 0,
  /** Whether all of the image is shown, and should be after a change of size. */
  isFitted: true,
  /** Whether it was zoomed to a shape. */
  isFocused: false,
};

function fittingScale({ width, height }) {
  const [across, down] = [view.width - 2 * MARGIN, view.height - 2 * MARGIN];
  return Math.max(LOWEST, Math.min(across / width, down / height));
}

/** Show all of an image. */
export function fit(size) {
  center(fittingScale(size), size.width / 2, size.height / 2);
  view.isFitted = true;
}

function center(scale, x, y) {
  view.scale = scale;
  view.x = view.width / 2 - x * scale;
  view.y = view.height / 2 - y * scale;
  view.isFitted = view.isFocused = false;
}

/** Zoom in (factor above 1) or out around a point of the stage. */
export function zoomAt([px, py], factor) {
  const scale = Math.min(Math.max(view.scale * factor, LOWEST), HIGHEST);
  const change = scale / view.scale;
  view.x = px - (px - view.x) * change;
  view.y = py - (py - view.y) * change;
  view.scale = scale;
  view.isFitted = view.isFocused = false;
}

export function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  view.isFitted = view.isFocused = false;
}

/** Zoom to a box of an image. */
export function focusOn([x1, y1, x2, y2], size) {
  const wanted = FOCUS * Math.min(view.width / (x2 - x1), view.height / (y2 - y1));
  const scale = Math.max(Math.min(wanted, CLOSEST), fittingScale(size));
  center(scale, (x1 + x2) / 2, (y1 + y2) / 2);
  view.isFocused = true;
}

/** Whether a box of an image can be seen whole. */
export function isInView([x1, y1, x2, y2]) {
  const [[left, top], [right, bottom]] = [toStage([x1, y1]), toStage([x2, y2])];
  return left >= 0 && top >= 0 && right <= view.width && bottom <= view.height;
}

export const toStage = ([x, y]) => [view.x + x * view.scale, view.y + y * view.scale];
export const toImage = ([x, y]) => [(x - view.x) / view.scale, (y - view.y) / view.scale];

/** Boxes [x1, y1, x2, y2] and polygons [x, y, x, y, ...] in pixels of the image. */

const SMALLEST = 1;

const round = (value) => Math.round(value * 100) / 100;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** @returns {number[]} the box with two opposite corners, inside an image */
export function boxBetween([ax, ay], [bx, by], { width, height }) {
  const [x1, x2] = [ax, bx].map((x) => round(clamp(x, 0, width))).sort((a, b) => a - b);
  const [y1, y2] = [ay, by].map((y) => round(clamp(y, 0, height))).sort((a, b) => a - b);
  return [x1, y1, x2, y2];
}

export const isLargeEnough = ([x1, y1, x2, y2]) => x2 - x1 >= SMALLEST && y2 - y1 >= SMALLEST;

export const area = ([x1, y1, x2, y2]) => Math.max(0, x2 - x1) * Math.max(0, y2 - y1);

export function iou(a, b) {
  const shared = area([
    Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3]),
  ]);
  return shared / (area(a) + area(b) - shared) || 0;
}

/** @returns {object} a shape with other polygons, and the box around them */
export function withPolygons(shape, polygons) {
  const points = polygons.flat();
  const xs = points.filter((_, place) => place % 2 === 0);
  const ys = points.filter((_, place) => place % 2 === 1);
  const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  const { mask, ...rest } = shape;
  return { ...rest, polygons, box };
}

/** @returns {object} a shape moved or stretched into another box */
export function withBox(shape, box) {
  const { mask, ...rest } = shape;
  if (!shape.polygons.length) return { ...rest, box };
  const old = shape.box;
  const factor = [(box[2] - box[0]) / (old[2] - old[0]), (box[3] - box[1]) / (old[3] - old[1])];
  return withPolygons(
    shape,
    shape.polygons.map((polygon) =>
      polygon.map((value, place) => {
        const axis = place % 2;
        const moved = box[axis] + (value - old[axis]) * factor[axis];
        return round(clamp(moved, box[axis], box[axis + 2]));
      }),
    ),
  );
}

/** @returns {number[]} a box moved as far as the image lets it */
export function movedBox([x1, y1, x2, y2], dx, dy, { width, height }) {
  const x = clamp(dx, -x1, width - x2);
  const y = clamp(dy, -y1, height - y2);
  return [x1 + x, y1 + y, x2 + x, y2 + y].map(round);
}

/** @returns {number[][]} polygons with one point elsewhere */
export function withPoint(polygons, part, place, [x, y], { width, height }) {
  const changed = [...polygons[part]];
  changed[2 * place] = round(clamp(x, 0, width));
  changed[2 * place + 1] = round(clamp(y, 0, height));
  return polygons.map((polygon, number) => (number === part ? changed : polygon));
}

/** @returns {number[][]} polygons with one point more or, without coordinates, one less */
export function splicedPoint(polygons, part, place, remove, ...point) {
  const changed = [...polygons[part]];
  changed.splice(2 * place, remove, ...point);
  return polygons.map((polygon, number) => (number === part ? changed : polygon));
}

export function polygonArea(polygon) {
  let sum = 0;
  for (let i = 0; i < polygon.length; i += 2) {
    const j = (i + 2) % polygon.length;
    sum += polygon[i] * polygon[j + 1] - polygon[j] * polygon[i + 1];
  }
  return Math.abs(sum) / 2;
}

function isInPolygon(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 2; i < polygon.length; j = i, i += 2) {
    const [ax, ay, bx, by] = [polygon[i], polygon[i + 1], polygon[j], polygon[j + 1]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

/** Whether a point is in a shape. */
function contains(shape, [x, y]) {
  const [x1, y1, x2, y2] = shape.box;
  if (x < x1 || x > x2 || y < y1 || y > y2) return false;
  return !shape.polygons.length || shape.polygons.some((polygon) => isInPolygon(polygon, x, y));
}

/** @returns {object[]} the shapes at a point, the smallest first */
export const shapesAt = (shapes, point) =>
  shapes.filter((shape) => contains(shape, point)).sort((a, b) => area(a.box) - area(b.box));

/** Paints the picture and, on a canvas above it, the shapes. */

import { app, className, currentDoc, onPaint, shownShapes } from "../state.js";
import { find } from "../dom.js";
import { classColor, textColor } from "./colors.js";
import { toStage, view } from "./view.js";

export const stage = find("#stage");
const picture = find("#picture");
const overlay = find("#shapes");

const FONT = "600 12px system-ui, sans-serif";
const TAG_HEIGHT = 17;
/** Up to so many shapes, all show their class. */
const SPARSE = 30;
export const HANDLE = 4;
/** From this zoom on, pixels are shown as squares. */
const CRISP = 3;

/** The picture of the image that is shown, once it is loaded. */
let bitmap = null;

export function showBitmap(loaded) {
  bitmap = loaded;
}

/** Fit both canvases to the stage. */
export function resizeCanvases() {
  Object.assign(view, { width: stage.clientWidth, height: stage.clientHeight });
  for (const canvas of [picture, overlay]) sizeCanvas(canvas, view.width, view.height);
}

/** Give a canvas a size in CSS pixels, and as many pixels as the screen has there. */
export function sizeCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
}

function cleared(canvas) {
  const context = canvas.getContext("2d");
  const ratio = window.devicePixelRatio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  return context;
}

export function drawPicture(context, image, { scale, x, y }, { width, height }) {
  context.imageSmoothingEnabled = scale < CRISP;
  context.imageSmoothingQuality = "medium";
  context.drawImage(image, x, y, width * scale, height * scale);
}

function paintPicture() {
  const context = cleared(picture);
  const doc = currentDoc();
  if (!doc || !bitmap) return;
  drawPicture(context, bitmap, view, doc);
  // Scripts and tests wait for this.
  stage.dataset.image = doc.id;
}

function paintShapes() {
  const context = cleared(overlay);
  if (!currentDoc()) return;
  const shapes = shownShapes().map((shape) => (shape.id === app.preview?.id ? app.preview : shape));
  if (app.preview && !shapes.includes(app.preview)) shapes.push(app.preview);
  drawShapes(context, shapes, toStage, { selected: app.selected, hovered: app.hovered });
  const selected = shapes.find((shape) => shape.id === app.selected);
  if (selected) drawHandles(context, selected);
  if (app.draft) drawOutline(context, app.draft, toStage, "#fff", 2);
  if (app.path) drawPath(context);
  const prediction = app.reviewed?.prediction;
  if (prediction) drawPrediction(context, prediction);
}

/**
 * Draw shapes with their tags, the selected ones last.
 *
 * @param {CanvasRenderingContext2D} context in CSS pixels
 * @param {import("../state.js").Shape[]} shapes
 * @param {(point: number[]) => number[]} place pixels of the image to those of the canvas
 * @param {{selected?: string, hovered?: string}} marks ids of shapes
 */
export function drawShapes(context, shapes, place, { selected, hovered }) {
  context.lineJoin = "round";
  const isMarked = ({ id }) => id === selected || id === hovered;
  const drawn = [...shapes.filter((shape) => !isMarked(shape)), ...shapes.filter(isMarked)];
  for (const shape of drawn) {
    const width = shape.id === selected ? 3 : 2;
    context.setLineDash([]);
    drawOutline(context, shape, place, "rgb(0 0 0 / 0.55)", width + 2);
    if (!shape.accepted) context.setLineDash([6, 4]);
    const isFilled = shape.id === hovered && shape.id !== selected;
    context.fillStyle = classColor(shape.class, 0.15);
    drawOutline(context, shape, place, classColor(shape.class), width, isFilled);
  }
  context.setLineDash([]);
  const isSparse = drawn.length <= SPARSE;
  for (const shape of drawn) drawTag(context, shape, place, isSparse || isMarked(shape));
}

function drawOutline(context, shape, place, color, width, isFilled) {
  context.beginPath();
  if (shape.polygons.length) {
    for (const polygon of shape.polygons) {
      context.moveTo(...place(polygon.slice(0, 2)));
      for (let i = 2; i < polygon.length; i += 2) context.lineTo(...place(polygon.slice(i, i + 2)));
      context.closePath();
    }
  } else {
    const [[x1, y1], [x2, y2]] = [place(shape.box.slice(0, 2)), place(shape.box.slice(2))];
    context.rect(x1, y1, x2 - x1, y2 - y1);
  }
  context.strokeStyle = color;
  context.lineWidth = width;
  if (isFilled) context.fill();
  context.stroke();
}

const textWidths = new Map();

function textWidth(context, text) {
  if (!textWidths.has(text)) textWidths.set(text, context.measureText(text).width);
  return textWidths.get(text);
}

/** Draw the class above a shape; where there are many, unless it is much wider than the shape. */
function drawTag(context, shape, place, isNeeded) {
  const score = shape.accepted || shape.score === null ? "" : ` ${shape.score.toFixed(2)}`;
  const text = className(shape.class) + score;
  context.font = FONT;
  const width = textWidth(context, text) + 8;
  const [x, y] = place(shape.box.slice(0, 2));
  const [right] = place(shape.box.slice(2));
  if (!isNeeded && width > 1.5 * (right - x)) return;
  const top = y >= TAG_HEIGHT ? y - TAG_HEIGHT : y;
  context.fillStyle = classColor(shape.class);
  context.fillRect(x - 1, top, width, TAG_HEIGHT);
  context.fillStyle = textColor(shape.class);
  context.fillText(text, x + 3, top + 13);
}

/**
 * Where a shape can be grabbed: corners and sides of a box, points of polygons and between them.
 *
 * @returns {{point: number[], part?: number, place?: number, isNew?: boolean, sides?: number[]}[]}
 */
export function handlesOf(shape) {
  const [x1, y1, x2, y2] = shape.box;
  if (!shape.polygons.length) {
    const xs = [x1, (x1 + x2) / 2, x2];
    const ys = [y1, (y1 + y2) / 2, y2];
    const places = [-1, 0, 1].flatMap((h) => [-1, 0, 1].map((v) => [h, v]));
    return places
      .filter(([h, v]) => h || v)
      .map(([h, v]) => ({ point: [xs[h + 1], ys[v + 1]], sides: [h, v] }));
  }
  return shape.polygons.flatMap((polygon, part) => {
    const points = [];
    for (let i = 0; i < polygon.length; i += 2) points.push(polygon.slice(i, i + 2));
    const between = points.map(([x, y], place) => {
      const [nextX, nextY] = points[(place + 1) % points.length];
      return { point: [(x + nextX) / 2, (y + nextY) / 2], part, place: place + 1, isNew: true };
    });
    return [...points.map((point, place) => ({ point, part, place })), ...between];
  });
}

function drawHandles(context, shape) {
  context.lineWidth = 1;
  context.strokeStyle = "#000";
  for (const { point, isNew } of handlesOf(shape)) {
    const [x, y] = toStage(point);
    const size = isNew ? HANDLE - 2 : HANDLE;
    context.fillStyle = isNew ? "rgb(255 255 255 / 0.6)" : "#fff";
    context.fillRect(x - size, y - size, 2 * size, 2 * size);
    context.strokeRect(x - size, y - size, 2 * size, 2 * size);
  }
}

function drawPath(context) {
  const points = app.path.map(toStage);
  for (const [color, width] of [["rgb(0 0 0 / 0.55)", 4], [classColor(app.classId), 2]]) {
    context.beginPath();
    for (const point of points) context.lineTo(...point);
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke();
  }
  context.fillStyle = "#fff";
  for (const [x, y] of points) context.fillRect(x - HANDLE, y - HANDLE, 2 * HANDLE, 2 * HANDLE);
}

function drawPrediction(context, { box, class: name, score }) {
  const shape = { box, polygons: [] };
  drawOutline(context, shape, toStage, "rgb(0 0 0 / 0.6)", 4);
  context.setLineDash([3, 3]);
  drawOutline(context, shape, toStage, "#fff", 2);
  context.setLineDash([]);
  const text = `prediction: ${name} ${score.toFixed(2)}`;
  const [x, y] = toStage([box[0], box[3]]);
  context.font = FONT;
  context.fillStyle = "#fff";
  context.fillRect(x - 1, y, textWidth(context, text) + 8, TAG_HEIGHT);
  context.fillStyle = "#000";
  context.fillText(text, x + 3, y + 13);
}

onPaint("picture", paintPicture);
onPaint("shapes", paintShapes);

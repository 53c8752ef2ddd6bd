/** Shows the two versions of an image that was changed in two places, until one is chosen. */

import { drawPicture, drawShapes, sizeCanvas } from "../picture/canvas.js";
import { bothOf, settle } from "../edits.js";
import { loadPicture } from "../picture/pictures.js";
import { app, onPaint, repaint } from "../state.js";

const WIDTH = 460;

const dialog = document.querySelector("#conflict");

/** @type {import("../state.js").Doc} */
let shown = null;

async function paintConflict() {
  const doc = [...app.documents.values()].find((each) => each.conflict);
  if (!doc || dialog.open) return;
  shown = doc;
  document.querySelector("#conflict-text").textContent =
    `${doc.name} was saved elsewhere since you began to edit it. Shapes that differ are marked.`;
  dialog.showModal();
  const picture = await loadPicture(app.entries.get(doc.id)).catch(() => null);
  drawVersion("mine", "Mine", doc, doc.content, doc.conflict, picture);
  drawVersion("stored", "Theirs, stored", doc, doc.conflict, doc.content, picture);
}

function drawVersion(id, title, size, version, other, picture) {
  const count = version.shapes.length;
  document.querySelector(`#${id}-text`).textContent =
    `${title}: ${version.state}, ${count} shape${count === 1 ? "" : "s"}`;
  const canvas = document.querySelector(`#${id}`);
  const scale = Math.min(WIDTH / size.width, WIDTH / size.height);
  sizeCanvas(canvas, size.width * scale, size.height * scale);
  const context = canvas.getContext("2d");
  context.scale(window.devicePixelRatio, window.devicePixelRatio);
  if (picture) drawPicture(context, picture, { scale, x: 0, y: 0 }, size);
  const place = ([x, y]) => [x * scale, y * scale];
  const others = new Set(other.shapes.map(look));
  const differing = version.shapes.filter((shape) => !others.has(look(shape)));
  drawShapes(context, version.shapes, place, {});
  for (const shape of differing) drawShapes(context, [shape], place, { selected: shape.id });
}

const look = (shape) => JSON.stringify([shape.id, shape.class, shape.box, shape.polygons, shape.accepted]);

function choose(contentOf) {
  settle(shown, contentOf(shown));
  dialog.close();
  // There may be another.
  repaint("conflict", "banner");
}

export function listenToConflicts() {
  onPaint("conflict", paintConflict);
  // A choice is needed: until then the image cannot be saved.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  const onClick = (id, contentOf) => document.querySelector(id).addEventListener("click", () => choose(contentOf));
  onClick("#keep-mine", (doc) => doc.content);
  onClick("#take-stored", ({ conflict: { state, shapes } }) => ({ state, shapes }));
  onClick("#keep-both", bothOf);
}

/** Shows the two versions of an image that was changed in two places, until one is chosen. */

import { find } from "../dom.js";
import { bothOf, settle } from "../edits.js";
import { drawPicture, drawShapes, sizeCanvas } from "../picture/canvas.js";
import { loadPicture } from "../picture/pictures.js";
import { app, onPaint, repaint, stateName } from "../state.js";

/** Largest side of a picture in pixels, and the room beside the two. */
const [SIZE, MARGIN] = [460, 120];

const dialog = find("#conflict");

async function paintConflict() {
  const doc = [...app.documents.values()].find((each) => each.conflict);
  if (!doc || dialog.open) return;
  const choose = (content) => () => {
    settle(doc, content);
    dialog.close();
    // There may be another.
    repaint("conflict", "banner");
  };
  const { state, shapes } = doc.conflict;
  find("#keep-mine").onclick = choose(doc.content);
  find("#take-stored").onclick = choose({ state, shapes });
  find("#keep-both").onclick = choose(bothOf(doc));
  find("#conflict-name").textContent = doc.name;
  dialog.showModal();
  const picture = await loadPicture(app.entries.get(doc.id)).catch(() => null);
  drawVersion("mine", "Mine", doc, doc.content, doc.conflict, picture);
  drawVersion("stored", "Theirs, stored", doc, doc.conflict, doc.content, picture);
}

function drawVersion(id, title, size, version, other, picture) {
  const { state, shapes } = version;
  find(`#${id}-text`).textContent = `${title}: ${stateName(state)}, shapes: ${shapes.length}`;
  const canvas = find(`#${id}`);
  const side = Math.min(SIZE, (window.innerWidth - MARGIN) / 2);
  const scale = side / Math.max(size.width, size.height);
  sizeCanvas(canvas, size.width * scale, size.height * scale);
  const context = canvas.getContext("2d");
  context.scale(window.devicePixelRatio, window.devicePixelRatio);
  if (picture) drawPicture(context, picture, { scale, x: 0, y: 0 }, size);
  const place = ([x, y]) => [x * scale, y * scale];
  const others = new Set(other.shapes.map(look));
  drawShapes(context, shapes, place, {});
  for (const shape of shapes.filter((each) => !others.has(look(each)))) {
    drawShapes(context, [shape], place, { selected: shape.id });
  }
}

const look = (shape) =>
  JSON.stringify([shape.id, shape.class, shape.box, shape.polygons, shape.accepted]);

export function listenToConflicts() {
  onPaint("conflict", paintConflict);
  // A choice is needed: until then the image cannot be saved.
  dialog.oncancel = (event) => event.preventDefault();
}

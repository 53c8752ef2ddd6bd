/** What keys and buttons do. */

import { find, toast } from "./dom.js";
import { addClass, edit, editShape, loadDocument } from "./edits.js";
import { isUsable, nextOpen, previousImage, show } from "./images.js";
import { nextPlace } from "./panels/review.js";
import { stage } from "./picture/canvas.js";
import {
  boxBetween, isLargeEnough, movedBox, polygonArea, withBox, withPolygons,
} from "./picture/geometry.js";
import { fit, focusOn, isInView, view, zoomAt } from "./picture/view.js";
import { save } from "./saving.js";
import {
  app, currentDoc, isShown, newShape, openProposals, repaint, select, selectedShape, shownShapes,
} from "./state.js";

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// --- shapes -------------------------------------------------------------------------------------

/** Add a shape of the current class; without any class, it waits for the first. */
export function addShape({ box, polygons = [] }) {
  if (!isUsable()) return;
  const shape = newShape({ class: app.classId, box, polygons });
  if (!app.classes.length) {
    app.draft = shape;
    toast("Type the name of its class, then Enter.");
    return focusClassField();
  }
  app.isHidden = false;
  edit(currentDoc(), { shapes: [...currentDoc().content.shapes, shape] });
  // Not held, so that a drag within it draws another.
  select(shape.id, false);
}

export function addPathPoint(point) {
  const [x, y] = boxBetween(point, point, currentDoc());
  app.path = [...(app.path ?? []), [x, y]];
  repaint("shapes");
}

export function removePathPoint() {
  app.path = app.path?.length > 1 ? app.path.slice(0, -1) : null;
  repaint("shapes");
}

export function closePath() {
  const polygon = app.path.flat();
  if (polygon.length < 6 || polygonArea(polygon) < 1) return toast("A polygon needs three points.");
  app.path = null;
  addShape(withPolygons({}, [polygon]));
}

/** Select the next (1) or the previous (-1) shape and zoom to it. */
export function walk(step) {
  const shapes = shownShapes();
  if (!shapes.length) return toast("There are no shapes.");
  const place = shapes.findIndex((shape) => shape.id === app.selected);
  const next = place < 0 && step < 0 ? shapes.length - 1 : place + step;
  goTo(shapes[(next + shapes.length) % shapes.length], true);
}

/** Select a shape, and zoom to it where the last one was zoomed to, or it is out of sight. */
function goTo(shape, isZoomed = view.isFocused || !isInView(shape.box)) {
  select(shape.id);
  if (isZoomed) focusOn(shape.box, currentDoc());
  repaint("picture", "shapes");
}

/** Go to the next proposal after a place in the list of shapes, or back to the whole picture. */
function goToProposal(place) {
  const { shapes } = currentDoc().content;
  const isOpen = (shape) => !shape.accepted && isShown(shape);
  const next = shapes.slice(place).find(isOpen) ?? shapes.find(isOpen);
  if (next) goTo(next);
  else letGo();
}

function letGo() {
  select(null);
  if (view.isFocused) showAll();
}

/** Accept the selected proposal and go to the next; without a selected one, go to the first. */
export function accept() {
  const doc = currentDoc();
  if (!doc) return;
  const shape = selectedShape();
  const place = doc.content.shapes.indexOf(shape) + 1;
  if (shape && !shape.accepted) editShape(doc, shape);
  else if (!openProposals().length) return toast("There are no proposals to accept.");
  goToProposal(place);
}

/** Delete the selected shape; after a proposal, go to the next. */
export function reject() {
  const doc = currentDoc();
  const shape = selectedShape();
  if (!shape) return toast("Select a shape first: Tab, or a click.");
  const place = doc.content.shapes.indexOf(shape);
  edit(doc, { shapes: doc.content.shapes.filter((other) => other !== shape) });
  select(null);
  if (!shape.accepted) goToProposal(place);
}

export function acceptAll() {
  const doc = currentDoc();
  const open = new Set(openProposals());
  if (!open.size) return toast("There are no proposals to accept.");
  const shapes = doc.content.shapes.map((s) => (open.has(s) ? { ...s, accepted: true } : s));
  edit(doc, { shapes });
  toast(`${plural(open.size, "proposal")} accepted.`);
}

export async function copyPrevious() {
  const previous = previousImage();
  if (!previous || !isUsable()) return toast("There is no image before this one.");
  const doc = currentDoc();
  const { content } = await loadDocument(previous.id);
  const copies = content.shapes
    .filter((shape) => shape.accepted)
    .map((shape) => withBox(shape, boxBetween(shape.box.slice(0, 2), shape.box.slice(2), doc)))
    .filter((shape) => isLargeEnough(shape.box))
    .map((shape) => newShape({ ...shape, origin: "copy", score: null }));
  if (!copies.length) return toast(`${previous.name} has no shapes to copy.`);
  edit(doc, { shapes: [...doc.content.shapes, ...copies] });
  toast(`${plural(copies.length, "shape")} copied from ${previous.name}.`);
}

/** Move the selected shape by pixels of the image. */
export function nudge(dx, dy, isRepeat) {
  const [doc, shape] = [currentDoc(), selectedShape()];
  if (shape) editShape(doc, withBox(shape, movedBox(shape.box, dx, dy, doc)), isRepeat);
}

/** Move the right and the lower side of the selected shape. */
export function stretch(dx, dy, isRepeat) {
  const [doc, shape] = [currentDoc(), selectedShape()];
  if (!shape) return;
  const [x1, y1, x2, y2] = shape.box;
  const box = boxBetween([x1, y1], [x2 + dx, y2 + dy], doc);
  if (x2 + dx > x1 && y2 + dy > y1) editShape(doc, withBox(shape, box), isRepeat);
}

// --- classes ------------------------------------------------------------------------------------

/** Use a class for what is drawn next, and for the selected shape. */
export function chooseClass(id) {
  if (id >= app.classes.length) return toast(`There is no class ${id + 1}.`);
  app.classId = id;
  const { draft } = app;
  const shape = selectedShape();
  app.draft = null;
  if (draft) {
    toast("");
    addShape(draft);
  } else if (shape && shape.class !== id) editShape(currentDoc(), { ...shape, class: id });
  repaint("classes", "shapes");
}

/** Use the class of a name, which is added if it is new. */
export async function chooseName(name) {
  try {
    chooseClass(await addClass(name));
  } catch (error) {
    toast(error.message);
  }
}

export const focusClassField = () => find("#class-field").focus();

// --- image --------------------------------------------------------------------------------------

/** Set the state of the image, and go to the next that is not reviewed. */
export function finish(state) {
  if (app.path) return closePath();
  if (app.reviewed) return nextPlace();
  const next = nextOpen();
  const goOn = () => (next ? show(next.id) : toast("No other image is left to review."));
  if (!isUsable()) return goOn();
  const doc = currentDoc();
  let { shapes } = doc.content;
  if (state === "done") {
    const open = openProposals();
    if (open.length) {
      goTo(open[0]);
      const count = plural(open.length, "proposal");
      return toast(`${count} to look at: Space accepts, X rejects, Shift+A accepts all.`);
    }
    shapes = shapes.filter((shape) => shape.accepted);
  }
  if (state !== doc.content.state || shapes.length !== doc.content.shapes.length) {
    edit(doc, { state, shapes });
    app.finished.push(doc.spent);
    doc.spent = 0;
  }
  save(doc);
  goOn();
  if (state === "done" && !shapes.length) toast(`${doc.name} is done, without objects. Z undoes.`);
}

// --- view ---------------------------------------------------------------------------------------

export function showAll() {
  if (currentDoc()) fit(currentDoc());
  repaint("picture", "shapes");
}

export function zoom(factor) {
  zoomAt([view.width / 2, view.height / 2], factor);
  repaint("picture", "shapes");
}

export function toggleHidden() {
  app.isHidden = !app.isHidden;
  toast(app.isHidden ? "Shapes are hidden; H shows them." : "");
  repaint("shapes", "shapeList");
}

export function setThreshold(value) {
  app.threshold = Math.min(Math.max(Math.round(value * 20) / 20, 0), 1);
  localStorage.setItem("detfinetune threshold", app.threshold);
  if (selectedShape() && !isShown(selectedShape())) select(null);
  repaint("shapes", "shapeList");
}

/** Draw polygons instead of boxes, or boxes again. */
export function switchTool() {
  Object.assign(app, { tool: app.tool === "box" ? "polygon" : "box", path: null });
  find("#tool-box").ariaPressed = app.tool === "box";
  find("#tool-polygon").ariaPressed = app.tool === "polygon";
  repaint("shapes");
}

/** Give up what was begun, else the selection, else the zoom. */
export function escape() {
  stage.focus();
  if (app.gesture || app.path || app.draft) {
    Object.assign(app, { gesture: null, preview: null, path: null, draft: null });
    repaint("shapes");
  } else letGo();
}

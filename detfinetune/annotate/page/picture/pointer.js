/** Drawing, choosing and changing shapes with the mouse or a pen. */

import { addPathPoint, addShape, closePath } from "../actions.js";
import { find } from "../dom.js";
import { editShape } from "../edits.js";
import { isUsable } from "../images.js";
import { app, currentDoc, repaint, select, selectedShape, shownShapes } from "../state.js";
import { HANDLE, handlesOf, stage } from "./canvas.js";
import {
  boxBetween, isLargeEnough, movedBox, polygonArea, shapesAt, splicedPoint, withBox, withPoint,
  withPolygons,
} from "./geometry.js";
import { pan, toImage, toStage, zoomAt } from "./view.js";

/** A pointer that moves less, in pixels of the screen, is a click. */
const CLICK = 4;
const REACH = HANDLE + 4;
const ZOOM = 1.0015;

const across = find("#across");
const down = find("#down");

const pointOf = (event) => {
  const { left, top } = stage.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
};

const isNear = ([ax, ay], [bx, by], reach = REACH) =>
  Math.max(Math.abs(ax - bx), Math.abs(ay - by)) <= reach;

/** @returns {object | undefined} where the selected shape can be grabbed at a point of the stage */
function handleAt(point) {
  const shape = selectedShape();
  if (!shape || app.isHidden || app.path) return undefined;
  const handle = handlesOf(shape).find((each) => isNear(toStage(each.point), point));
  return handle ?? sideAt(shape, point);
}

function sideAt(shape, [x, y]) {
  if (shape.polygons.length) return undefined;
  const [[x1, y1], [x2, y2]] = [toStage(shape.box.slice(0, 2)), toStage(shape.box.slice(2))];
  const isAt = (value, side) => Math.abs(value - side) <= HANDLE;
  const isIn = x >= x1 && x <= x2 && y >= y1 && y <= y2;
  const sides = [isAt(x, x2) - isAt(x, x1), isAt(y, y2) - isAt(y, y1)];
  return isIn && sides.some(Boolean) ? { sides } : undefined;
}

const isOnHeld = (point) => {
  const shape = app.isHeld && selectedShape();
  return shape && app.tool === "box" && shapesAt([shape], toImage(point)).length > 0;
};

// --- gestures -----------------------------------------------------------------------------------

function panning(start) {
  let last = start;
  return {
    move(point) {
      pan(point[0] - last[0], point[1] - last[1]);
      last = point;
      repaint("picture", "shapes");
    },
    end() {},
  };
}

/** A gesture that changes the selected shape, which is stored when the pointer is let go. */
function changing(change) {
  const shape = selectedShape();
  return {
    move(point) {
      app.preview = change(shape, toImage(point));
      repaint("shapes");
    },
    end() {
      const changed = app.preview;
      app.preview = null;
      const hasArea = changed?.polygons.every((polygon) => polygonArea(polygon) >= 1);
      if (changed && hasArea && isLargeEnough(changed.box)) editShape(currentDoc(), changed);
      repaint("shapes");
    },
  };
}

function moving(start) {
  const [x, y] = toImage(start);
  return changing((shape, point) =>
    withBox(shape, movedBox(shape.box, point[0] - x, point[1] - y, currentDoc())),
  );
}

function resizing({ sides: [h, v] }) {
  return changing((shape, [x, y]) => {
    const [x1, y1, x2, y2] = shape.box;
    const from = [h < 0 ? x2 : x1, v < 0 ? y2 : y1];
    const to = [h ? x : x2, v ? y : y2];
    return withBox(shape, boxBetween(from, to, currentDoc()));
  });
}

function shaping({ part, place, isNew, point }) {
  return changing((shape, to) => {
    const old = shape.polygons;
    const polygons = isNew ? splicedPoint(old, part, place, 0, ...point) : old;
    return withPolygons(shape, withPoint(polygons, part, place, to, currentDoc()));
  });
}

function drawing(start) {
  const from = toImage(start);
  return {
    move(point) {
      const box = boxBetween(from, toImage(point), currentDoc());
      app.preview = { id: "", class: app.classId, box, polygons: [], accepted: true, score: null };
      repaint("shapes");
    },
    end() {
      const box = app.preview?.box;
      app.preview = null;
      repaint("shapes");
      if (box && isLargeEnough(box)) addShape({ box });
    },
  };
}

/** Choose the smallest shape at a point, or the next larger where that is chosen already. */
function chooseAt(point) {
  const found = shapesAt(shownShapes(), toImage(point));
  const place = found.findIndex((shape) => shape.id === app.selected);
  select(found.length ? found[(place + 1) % found.length].id : null);
}

function clickPolygon(point) {
  if (app.path?.length > 2 && isNear(toStage(app.path[0]), point)) closePath();
  else addPathPoint(toImage(point));
}

function removePoint(point) {
  const shape = selectedShape();
  const handle = shape && handleAt(point);
  if (!handle || handle.place === undefined || handle.isNew) return;
  if (shape.polygons[handle.part].length <= 6) return;
  const polygons = splicedPoint(shape.polygons, handle.part, handle.place, 2);
  if (polygonArea(polygons[handle.part]) < 1) return;
  editShape(currentDoc(), withPolygons(shape, polygons));
}

function begin(event, point) {
  if (event.button === 1 || app.isPanning) return panning(point);
  if (event.button !== 0 || !isUsable()) return null;
  const handle = event.shiftKey ? undefined : handleAt(point);
  if (handle) return handle.sides ? resizing(handle) : shaping(handle);
  if (app.tool === "polygon") return { move() {}, end: () => clickPolygon(point), isClick: true };
  return !event.shiftKey && isOnHeld(point) ? moving(point) : drawing(point);
}

// --- the pointer itself -------------------------------------------------------------------------

function cursorAt(point) {
  if (app.isPanning) return "grab";
  const handle = handleAt(point);
  if (!handle?.sides) return handle || isOnHeld(point) ? "move" : "crosshair";
  const [h, v] = handle.sides;
  if (h && v) return h === v ? "nwse-resize" : "nesw-resize";
  return h ? "ew-resize" : "ns-resize";
}

function onMove(event) {
  const point = pointOf(event);
  across.style.transform = `translateY(${point[1]}px)`;
  down.style.transform = `translateX(${point[0]}px)`;
  const { gesture } = app;
  if (gesture) {
    gesture.isMoved ||= !isNear(gesture.start, point, CLICK);
    if (gesture.isMoved) gesture.move(point);
    return;
  }
  stage.style.cursor = cursorAt(point);
  hover(shapesAt(shownShapes(), toImage(point))[0]?.id ?? null);
}

function hover(id) {
  if (id === app.hovered) return;
  app.hovered = id;
  repaint("shapes");
}

function onDown(event) {
  if (event.target.closest("#review")) return;
  const point = pointOf(event);
  stage.focus();
  event.preventDefault();
  const gesture = begin(event, point);
  if (!gesture) return;
  app.gesture = { ...gesture, start: point };
  stage.setPointerCapture(event.pointerId);
}

function onUp(event) {
  if (!app.gesture) return;
  const { isMoved, isClick, start, end } = app.gesture;
  app.gesture = null;
  if (isMoved || isClick) end();
  else if (event.button === 0) chooseAt(start);
}

export function listenToPointer() {
  stage.addEventListener("pointermove", onMove);
  stage.addEventListener("pointerdown", onDown);
  stage.addEventListener("pointerup", onUp);
  stage.addEventListener("pointerleave", () => hover(null));
  stage.addEventListener("pointercancel", () => {
    Object.assign(app, { gesture: null, preview: null });
    repaint("shapes");
  });
  stage.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    removePoint(pointOf(event));
  });
  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoomAt(pointOf(event), ZOOM ** -(event.deltaY * (event.deltaMode ? 16 : 1)));
      repaint("picture", "shapes");
    },
    { passive: false },
  );
}

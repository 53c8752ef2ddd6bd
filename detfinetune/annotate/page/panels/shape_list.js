/** The shapes of the image, and the proposals' slider, at the right. */

import { accept, plural, reject, setThreshold } from "../actions.js";
import { find, make, makeButton } from "../dom.js";
import { classColor } from "../picture/colors.js";
import {
  app, className, currentDoc, isShown, onPaint, select, selectedShape,
} from "../state.js";
import { RowList } from "./list.js";

const HEIGHT = 28;
const ORIGINS = { model: "model", copy: "copied", human: "" };

const list = new RowList(find("#shape-list"), HEIGHT, makeRow, fillRow);

/** The selected shape that the list has been scrolled to. */
let revealed = null;

function makeRow() {
  const row = make("div");
  const act = (action) => () => {
    select(row.item.id);
    action();
  };
  row.append(
    make("button", { onclick: act(() => {}) }, make("i"), make("span"), make("span")),
    makeButton("✓", act(accept), { title: "Accept", ariaLabel: "Accept" }),
    makeButton("✕", act(reject), { title: "Delete", ariaLabel: "Delete" }),
  );
  return row;
}

function fillRow(row, shape) {
  const [name, acceptButton] = row.children;
  const [swatch, text, note] = name.children;
  row.item = shape;
  swatch.style.background = classColor(shape.class);
  text.textContent = className(shape.class);
  note.textContent = shape.accepted ? ORIGINS[shape.origin] : (shape.score?.toFixed(2) ?? "?");
  name.ariaCurrent = shape.id === app.selected;
  acceptButton.hidden = shape.accepted;
  row.dataset.accepted = shape.accepted;
}

function paintShapeList() {
  const all = currentDoc()?.content.shapes ?? [];
  const shapes = all.filter(isShown);
  const open = shapes.filter((shape) => !shape.accepted).length;
  const hidden = all.length - shapes.length;
  const title = plural(shapes.length, "shape");
  const above = app.threshold.toFixed(2);
  find("#shapes-title").textContent = open ? `${title}, ${open} to look at` : title;
  find("#proposals").hidden = !open && !hidden;
  find("#threshold-shown").textContent = hidden ? `${above}, ${hidden} hidden` : above;
  find("#threshold").value = app.threshold;
  list.set(shapes);
  if (app.selected === revealed) return;
  revealed = app.selected;
  list.reveal(shapes.indexOf(selectedShape()));
}

export function listenToShapes() {
  find("#threshold").oninput = ({ target }) => setThreshold(target.valueAsNumber);
}

onPaint("shapeList", paintShapeList);

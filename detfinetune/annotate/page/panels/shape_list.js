/** The shapes of the image, and the proposals' slider, at the right. */

import { accept, reject, setThreshold } from "../actions.js";
import { classColor } from "../picture/colors.js";
import { RowList } from "./list.js";
import { app, className, currentDoc, isShown, onPaint, openProposals, select, selectedShape } from "../state.js";

const HEIGHT = 28;
const ORIGINS = { model: "model", copy: "copied", human: "" };

const find = (selector) => document.querySelector(selector);
const slider = find("#threshold");
const list = new RowList(find("#shape-list"), HEIGHT, makeRow, fillRow);

/** The selected shape that the list has been scrolled to. */
let revealed = null;

function makeRow() {
  const row = document.createElement("div");
  const name = document.createElement("button");
  name.append(document.createElement("i"), document.createElement("span"), document.createElement("span"));
  name.addEventListener("click", () => select(row.item.id));
  row.append(name, rowButton("✓", "Accept", accept, row), rowButton("✕", "Delete", reject, row));
  return row;
}

function rowButton(sign, text, action, row) {
  const button = document.createElement("button");
  button.textContent = sign;
  button.title = button.ariaLabel = text;
  button.addEventListener("click", () => {
    select(row.item.id);
    action();
  });
  return button;
}

function fillRow(row, shape) {
  const [name, acceptButton] = row.children;
  row.item = shape;
  name.children[0].style.background = classColor(shape.class);
  name.children[1].textContent = className(shape.class);
  name.children[2].textContent = shape.accepted ? ORIGINS[shape.origin] : (shape.score?.toFixed(2) ?? "?");
  name.ariaCurrent = shape.id === app.selected;
  acceptButton.hidden = shape.accepted;
  row.dataset.accepted = shape.accepted;
}

function paintShapeList() {
  const shapes = (currentDoc()?.content.shapes ?? []).filter(isShown);
  const proposals = currentDoc()?.content.shapes.filter((shape) => !shape.accepted) ?? [];
  const open = openProposals().length;
  const hidden = proposals.length - open;
  find("#shapes-title").textContent = `${shapes.length} shapes${open ? `, ${open} to look at` : ""}`;
  find("#proposals").hidden = !proposals.length;
  find("#threshold-shown").textContent = app.threshold.toFixed(2) + (hidden ? `, ${hidden} hidden` : "");
  slider.value = app.threshold;
  list.set(shapes);
  if (app.selected === revealed) return;
  revealed = app.selected;
  list.reveal(shapes.indexOf(selectedShape()));
}

export function listenToShapes() {
  slider.addEventListener("input", () => setThreshold(slider.valueAsNumber));
}

onPaint("shapeList", paintShapeList);

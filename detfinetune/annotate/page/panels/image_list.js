/** The list of images, or of places to review, at the left. */

import { stateName } from "./bar.js";
import { filteredImages, show } from "../images.js";
import { RowList } from "./list.js";
import { nextPlace, showPlace } from "./review.js";
import { app, onPaint, repaint } from "../state.js";

const HEIGHT = 30;
const VERDICTS = { label: "✓", prediction: "↻", edit: "✎" };
const STATES = { todo: "", proposed: "◌", done: "✓", unsure: "?" };
/** How much of a name's end is always shown. */
const TAIL = 8;

const find = (selector) => document.querySelector(selector);
const filterState = find("#filter-state");
const filterClass = find("#filter-class");

const list = new RowList(find("#images"), HEIGHT, makeRow, (row, item) => (item.verdict === undefined ? fillImage : fillPlace)(row, item));

/** What the list has been scrolled to. */
let revealed = null;

function makeRow() {
  const row = document.createElement("button");
  for (const name of ["head", "tail", "mark"]) {
    row.append(document.createElement("span"));
    row.lastChild.className = name;
  }
  row.addEventListener("click", () => {
    if (row.item.verdict === undefined) show(row.item.id);
    else showPlace(row.item);
  });
  return row;
}

function fillRow(row, item, name, mark, title, isCurrent) {
  row.item = item;
  row.title = title;
  const [head, tail, end] = row.children;
  head.textContent = name.slice(0, -TAIL);
  tail.textContent = name.slice(-TAIL);
  end.textContent = mark;
  row.ariaCurrent = isCurrent;
}

function fillImage(row, entry) {
  const { name, error, state, shapes } = entry;
  row.dataset.state = error ? "error" : state;
  const title = `${name}: ${error || stateName(state)}, ${shapes} shapes`;
  fillRow(row, entry, name, error ? "!" : `${shapes || ""} ${STATES[state]}`, title, entry.id === app.current);
}

function fillPlace(row, item) {
  row.dataset.state = item.verdict ? "done" : "todo";
  const { name } = app.entries.get(item.image);
  fillRow(row, item, item.reason, VERDICTS[item.verdict] ?? "", `${name}: ${item.reason}`, item === app.reviewed);
}

function paintImages() {
  const isReview = Boolean(app.reviewed);
  const open = app.queue.filter((item) => !item.verdict).length;
  find("#tabs").hidden = !app.queue.length;
  find("#tab-review").textContent = `Review ${open}`;
  find("#tab-images").ariaPressed = !isReview;
  find("#tab-review").ariaPressed = isReview;
  find("#filters").hidden = isReview;
  const items = isReview ? app.queue : filteredImages();
  list.set(items);
  fillClasses();
  const current = app.reviewed ?? app.entries.get(app.current);
  if (current === revealed) return;
  revealed = current;
  list.reveal(items.indexOf(current));
}

/** Fill the filter of classes; only after a change, because that closes an open menu. */
function fillClasses() {
  const names = ["All classes", ...app.classes.map(({ name }) => name)];
  if (filterClass.options.length === names.length && names.every((name, i) => filterClass.options[i].text === name)) return;
  filterClass.replaceChildren(...names.map((name, place) => new Option(name, place ? place - 1 : "")));
  filterClass.value = app.filter.class;
}

export function listenToImages() {
  const onFilter = () => {
    app.filter = { state: filterState.value, class: filterClass.value };
    revealed = null;
    repaint("images");
  };
  filterState.addEventListener("change", onFilter);
  filterClass.addEventListener("change", onFilter);
  find("#tab-images").addEventListener("click", () => {
    app.reviewed = null;
    repaint("images", "review", "shapes");
  });
  find("#tab-review").addEventListener("click", nextPlace);
}

onPaint("images", paintImages);

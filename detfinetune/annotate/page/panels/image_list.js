/** The list of images, or of places to review, at the left. */

import { find, make } from "../dom.js";
import { filteredImages, show } from "../images.js";
import { app, onPaint, repaint, stateName } from "../state.js";
import { RowList } from "./list.js";
import { nextPlace, showPlace } from "./review.js";

const HEIGHT = 30;
const VERDICTS = { label: "✓", prediction: "↻", edit: "✎" };
const STATES = { todo: "", proposed: "◌", done: "✓", unsure: "?" };
/** How much of a name's end is always shown. */
const TAIL = 8;

const filters = { state: find("#filter-state"), class: find("#filter-class") };
const list = new RowList(find("#images"), HEIGHT, makeRow, fillRow);

/** What the list has been scrolled to. */
let revealed = null;

const isPlace = (item) => "verdict" in item;

function makeRow() {
  const parts = ["head", "tail", "mark"].map((className) => make("span", { className }));
  const onclick = () => (isPlace(row.item) ? showPlace(row.item) : show(row.item.id));
  const row = make("button", { onclick }, ...parts);
  return row;
}

function fillRow(row, item) {
  const { text, mark, title, state } = isPlace(item) ? describePlace(item) : describeImage(item);
  const [head, tail, end] = row.children;
  head.textContent = text.slice(0, -TAIL);
  tail.textContent = text.slice(-TAIL);
  end.textContent = mark;
  row.title = title;
  row.dataset.state = state;
  row.ariaCurrent = item === (app.reviewed ?? app.entries.get(app.current));
  row.item = item;
}

function describeImage({ name, error, state, shapes }) {
  if (error) return { text: name, mark: "!", title: `${name}: ${error}`, state: "error" };
  const title = `${name}: ${stateName(state)}, ${shapes} shapes`;
  return { text: name, mark: `${shapes || ""} ${STATES[state]}`, title, state };
}

function describePlace({ image, reason, verdict }) {
  const title = `${app.entries.get(image).name}: ${reason}`;
  const state = verdict ? "done" : "todo";
  return { text: reason, mark: VERDICTS[verdict] ?? "", title, state };
}

function paintImages() {
  const isReview = Boolean(app.reviewed);
  find("#tabs").hidden = !app.queue.length;
  find("#tab-review").textContent = `Review ${app.queue.filter((item) => !item.verdict).length}`;
  find("#tab-images").ariaPressed = !isReview;
  find("#tab-review").ariaPressed = isReview;
  find("#filters").hidden = isReview;
  fillClasses();
  const items = isReview ? app.queue : filteredImages();
  list.set(items);
  const current = app.reviewed ?? app.entries.get(app.current);
  if (current === revealed) return;
  revealed = current;
  list.reveal(items.indexOf(current));
}

/** Fill the filter of classes; only after a change, because that closes an open menu. */
function fillClasses() {
  const options = [["All classes", ""], ...app.classes.map(({ id, name }) => [name, id])];
  const known = [...filters.class.options].map(({ text }) => text);
  if (known.join("\n") === options.map(([name]) => name).join("\n")) return;
  filters.class.replaceChildren(...options.map((each) => new Option(...each)));
  filters.class.value = app.filter.class;
}

export function listenToImages() {
  for (const [key, select] of Object.entries(filters)) {
    select.onchange = () => {
      app.filter[key] = select.value;
      revealed = null;
      repaint("images");
    };
  }
  find("#tab-images").onclick = () => {
    app.reviewed = null;
    repaint("images", "review", "shapes");
  };
  find("#tab-review").onclick = nextPlace;
}

onPaint("images", paintImages);

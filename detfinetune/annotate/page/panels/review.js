/** The queue of places that somebody should look at, and the verdicts on them. */

import { request } from "../api.js";
import { find, toast } from "../dom.js";
import { addClass, edit, editShape, loadDocument } from "../edits.js";
import { show } from "../images.js";
import { iou } from "../picture/geometry.js";
import { focusOn } from "../picture/view.js";
import { app, className, currentDoc, newShape, onPaint, repaint, select } from "../state.js";

/** IoU from which a shape is the label that a place is about. */
const SAME = 0.5;

const card = find("#review");
const reason = find("#reason");
const versions = find("#versions");

/** Load the queue, or the verdicts that others gave since. */
export async function loadQueue() {
  const { items } = await request("/api/queue");
  const known = new Map(app.queue.map((item) => [item.id, item]));
  app.queue = items.map((item) => {
    const same = known.get(item.id) ?? item;
    return Object.assign(same, { verdict: item.verdict });
  });
  repaint("images", "review");
}

/** Go to a place of the queue, zoomed. */
export async function showPlace(item) {
  app.reviewed = item;
  await show(item.image);
  const box = item.box ?? item.prediction?.box;
  if (app.reviewed !== item || !box || !currentDoc()) return;
  select(labelOf(item)?.id ?? null);
  focusOn(box, currentDoc());
  repaint("picture", "shapes", "review");
}

/** @returns {object | undefined} the shape that a place is about */
function labelOf({ box, class: name }) {
  if (!box) return undefined;
  const overlap = (shape) => (name && className(shape.class) !== name ? 0 : iou(shape.box, box));
  const [best] = [...currentDoc().content.shapes].sort((a, b) => overlap(b) - overlap(a));
  return best && overlap(best) >= SAME ? best : undefined;
}

/** Go to the next place without a verdict. */
export function nextPlace() {
  const place = app.queue.indexOf(app.reviewed);
  const others = [...app.queue.slice(place + 1), ...app.queue.slice(0, place)];
  const open = others.find((item) => !item.verdict);
  if (open) showPlace(open);
  else toast("All places are reviewed.");
}

/** @param {"label" | "prediction" | "edit"} verdict on the place that is shown */
export async function giveVerdict(verdict) {
  const item = app.reviewed;
  if (!item || !currentDoc()) return;
  if (verdict === "prediction" && !item.prediction) return toast("There is no prediction: L or E.");
  const before = item.verdict;
  try {
    if (verdict === "prediction") await takePrediction(item);
    item.verdict = verdict;
    repaint("images", "review");
    if (verdict === "edit") toast("Edit it. Enter goes to the next place.");
    else nextPlace();
    await request(`/api/queue/${item.id}`, { method: "PUT", body: { verdict } });
  } catch (error) {
    item.verdict = before;
    repaint("images", "review");
    toast(error.message);
  }
}

/** Put the prediction in place of the label, or beside the others where there is none. */
async function takePrediction(item) {
  const { box, class: name, score } = item.prediction;
  const doc = await loadDocument(item.image);
  const label = labelOf(item);
  const shape = newShape({ class: await addClass(name), box, origin: "model", score });
  if (label) editShape(doc, { ...shape, id: label.id });
  else edit(doc, { shapes: [...doc.content.shapes, shape] });
}

function paintReview() {
  const item = app.reviewed;
  card.hidden = !item;
  // Enter goes to the next place then, and leaves the image's state.
  find("#finish").hidden = Boolean(item);
  if (!item) return;
  const { prediction } = item;
  reason.textContent = item.reason;
  versions.textContent = [
    item.class && `Label: ${item.class}`,
    prediction && `Prediction: ${prediction.class} ${prediction.score.toFixed(2)}`,
  ].filter(Boolean).join(" · ");
  card.querySelector("[data-key=R]").disabled = !prediction;
  for (const [key, verdict] of [["L", "label"], ["R", "prediction"], ["E", "edit"]]) {
    card.querySelector(`[data-key=${key}]`).ariaPressed = item.verdict === verdict;
  }
}

onPaint("review", paintReview);

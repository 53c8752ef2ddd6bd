/** Measures what labelling costs: active seconds, and clicks, drags and keys. */

import { currentDoc } from "./state.js";

/** What lasts longer without any movement is a break, in seconds. */
const LONGEST_PAUSE = 30;

let last = performance.now();

function note(inputs) {
  const now = performance.now();
  const seconds = Math.min((now - last) / 1000, LONGEST_PAUSE);
  last = now;
  const doc = currentDoc();
  if (!doc) return;
  doc.effort.seconds += seconds;
  doc.effort.inputs += inputs;
  doc.spent += seconds;
}

const isModifier = (key) => ["Shift", "Control", "Alt", "Meta", "AltGraph"].includes(key);

/** Called before the actions themselves, so that the key that finishes an image counts for it. */
export function measureEffort() {
  const options = { capture: true, passive: true };
  const listen = (type, inputs) =>
    document.addEventListener(type, (event) => note(inputs(event)), options);
  listen("keydown", (event) => (event.repeat || isModifier(event.key) ? 0 : 1));
  listen("pointerdown", () => 1);
  listen("pointermove", () => 0);
  listen("wheel", () => 0);
}

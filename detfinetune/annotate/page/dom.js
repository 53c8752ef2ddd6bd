/** Elements of the page: finding and making them. */

/** @returns {HTMLElement} the one element of a selector */
export const find = (selector) => document.querySelector(selector);

/** @returns {HTMLElement} a new element */
export function make(name, { dataset, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

export const makeButton = (text, onclick, properties) =>
  make("button", { type: "button", textContent: text, onclick, ...properties });

let hiding = 0;

/** Say something for a few seconds. */
export function toast(text) {
  find("#toast").textContent = text;
  clearTimeout(hiding);
  hiding = setTimeout(() => (find("#toast").textContent = ""), 2000 + 60 * text.length);
}

/** The figures of each round of labelling, as charts and as a table. */

import { request } from "../api.js";
import { toast } from "../state.js";

const dialog = document.querySelector("#figures");
const charts = document.querySelector("#charts");
const table = document.querySelector("#rounds");

const perImage = (round) => round.seconds / round.images;
const perObject = (round) => round.inputs / round.objects;
const PARTS = ["accepted", "edited", "deleted", "added"];

/** Title, the parts of a round's column, and its value as text. */
const CHARTS = [
  ["Seconds an image", (round) => [perImage(round)], (round) => perImage(round).toFixed(1)],
  ["Inputs an object", (round) => [perObject(round)], (round) => perObject(round).toFixed(2)],
  ["Proposals and objects", (round) => PARTS.map((part) => round[part]), (round) => `${round.objects}`],
  ["AP after the round", (round) => [round.ap], (round) => round.ap.toFixed(1)],
];

const [COLUMN, GAP, HEIGHT, TEXT] = [36, 14, 110, 18];

export async function showFigures() {
  try {
    const { rounds } = await request("/api/figures");
    charts.replaceChildren(...CHARTS.map((each) => chart(rounds, ...each)));
    fillTable(rounds);
    dialog.showModal();
  } catch (error) {
    toast(error.message);
  }
}

function svg(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

/** @returns {HTMLElement} a column for each round, of parts on top of each other */
function chart(rounds, title, partsOf, textOf) {
  const columns = rounds.map((round) => ({ round, parts: partsOf(round) }));
  const sum = (parts) => parts.reduce((total, part) => total + part, 0);
  const isKnown = ({ parts }) => parts.every((part) => part !== null && Number.isFinite(part));
  const highest = Math.max(...columns.filter(isKnown).map(({ parts }) => sum(parts)), 0) || 1;
  const width = Math.max(rounds.length * (COLUMN + GAP) + GAP, 170);
  const image = svg("svg", { width, height: HEIGHT + 2 * TEXT, role: "img", "aria-label": title });
  columns.forEach((column, place) => {
    const x = GAP + place * (COLUMN + GAP);
    const middle = { x: x + COLUMN / 2, "text-anchor": "middle" };
    image.append(svg("text", { ...middle, y: HEIGHT + 2 * TEXT - 4 }, column.round.round));
    let y = HEIGHT + TEXT;
    if (isKnown(column)) {
      column.parts.forEach((part, number) => {
        const height = (part / highest) * HEIGHT;
        y -= height;
        image.append(svg("rect", { x, y, width: COLUMN, height, class: `part${number}` }));
      });
    }
    image.append(svg("text", { ...middle, y: y - 4 }, isKnown(column) ? textOf(column.round) : "–"));
  });
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  figure.append(caption, image);
  if (partsOf(rounds[0]).length > 1) figure.append(legend());
  return figure;
}

function legend() {
  const element = document.createElement("p");
  element.className = "legend";
  PARTS.forEach((part, number) => {
    const key = svg("svg", { width: 12, height: 12 });
    key.append(svg("rect", { width: 12, height: 12, class: `part${number}` }));
    element.append(key, part);
  });
  return element;
}

const COLUMNS = {
  Round: (round) => round.round,
  Images: (round) => round.images,
  Objects: (round) => round.objects,
  "Seconds an image": (round) => (round.images ? perImage(round).toFixed(1) : ""),
  "Inputs an object": (round) => (round.objects ? perObject(round).toFixed(2) : ""),
  Accepted: (round) => round.accepted,
  Edited: (round) => round.edited,
  Deleted: (round) => round.deleted,
  Added: (round) => round.added,
  AP: (round) => round.ap?.toFixed(1) ?? "",
};

function fillTable(rounds) {
  const head = table.createTHead();
  const body = table.tBodies[0] ?? table.createTBody();
  head.replaceChildren();
  body.replaceChildren();
  const titles = head.insertRow();
  for (const title of Object.keys(COLUMNS)) {
    const cell = document.createElement("th");
    cell.textContent = title;
    titles.append(cell);
  }
  for (const round of rounds) {
    const row = body.insertRow();
    for (const value of Object.values(COLUMNS)) row.insertCell().textContent = value(round);
  }
}

/** The figures of each round of labelling, as charts and as a table. */

import { request } from "../api.js";
import { find, make, toast } from "../dom.js";

const perImage = (round) => round.seconds / round.images;
const perObject = (round) => round.inputs / round.objects;
const PARTS = ["accepted", "edited", "deleted", "added"];

/** Title, the parts of a round's column, and how many digits its sum has. */
const CHARTS = [
  ["Seconds an image", (round) => [perImage(round)], 1],
  ["Inputs an object", (round) => [perObject(round)], 2],
  ["Proposals and additions", (round) => PARTS.map((part) => round[part]), 0],
  ["AP on val after the round", (round) => [round.ap ?? NaN], 1],
];
/** Shown once there is one. */
const TEST_CHART = ["AP on test", (round) => [round.test_ap ?? NaN], 1];
const [COLUMN, GAP, HEIGHT, TEXT] = [36, 14, 110, 18];

export async function showFigures() {
  try {
    const { rounds } = await request("/api/figures");
    const isTested = rounds.some((round) => Number.isFinite(round.test_ap));
    const charts = isTested ? [...CHARTS, TEST_CHART] : CHARTS;
    find("#charts").replaceChildren(...charts.map((each) => chart(rounds, ...each)));
    fillTable(find("#rounds"), rounds);
    find("#figures").showModal();
  } catch (error) {
    toast(error.message);
  }
}

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** @returns {HTMLElement} a column for each round, of parts on top of each other */
function chart(rounds, title, partsOf, digits) {
  const columns = rounds.map(partsOf);
  const sums = columns.map((parts) => parts.reduce((sum, part) => sum + part, 0));
  const scale = HEIGHT / (Math.max(...sums.filter(Number.isFinite), 0) || 1);
  const width = Math.max(rounds.length * (COLUMN + GAP) + GAP, 170);
  const image = svg("svg", { width, height: HEIGHT + 2 * TEXT, role: "img", "aria-label": title });
  columns.forEach((parts, place) => {
    const isKnown = Number.isFinite(sums[place]);
    const x = GAP + place * (COLUMN + GAP);
    let y = HEIGHT + TEXT;
    const write = (text, bottom) =>
      image.append(svg("text", { x: x + COLUMN / 2, y: bottom, "text-anchor": "middle" }, text));
    write(rounds[place].round, HEIGHT + 2 * TEXT - 4);
    parts.forEach((part, number) => {
      const height = isKnown ? part * scale : 0;
      y -= height;
      image.append(svg("rect", { x, y, width: COLUMN, height, class: `part${number}` }));
    });
    write(isKnown ? sums[place].toFixed(digits) : "–", y - 4);
  });
  const figure = make("figure", {}, make("figcaption", {}, title), image);
  if (columns[0].length > 1) figure.append(make("p", { className: "legend" }, ...legend()));
  return figure;
}

const legend = () =>
  PARTS.flatMap((part, number) => {
    const rect = svg("rect", { width: 12, height: 12, class: `part${number}` });
    return [svg("svg", { width: 12, height: 12 }, rect), part];
  });

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
  "AP on val": (round) => round.ap?.toFixed(1) ?? "",
  "AP on test": (round) => round.test_ap?.toFixed(1) ?? "",
};

function fillTable(table, rounds) {
  const rowOf = (name, values) => make("tr", {}, ...values.map((value) => make(name, {}, value)));
  const rows = rounds.map((round) => rowOf("td", Object.values(COLUMNS).map((of) => of(round))));
  table.replaceChildren(rowOf("th", Object.keys(COLUMNS)), ...rows);
}

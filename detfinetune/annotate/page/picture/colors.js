/** Colours of classes, the same as in the pictures that detfinetune draws (pictures.py). */

// Okabe and Ito's palette for colour-blind people ("Color Universal Design", 2008).
const PALETTE = [
  [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0],
  [204, 121, 167],
];
// How far later rounds of the palette go towards white (positive) or black.
const SHADES = [0, 0.45, -0.4, 0.7, -0.6];

/** @returns {number[]} red, green and blue of a class */
function channels(id) {
  const shade = SHADES[Math.floor(id / PALETTE.length) % SHADES.length];
  const target = shade > 0 ? 255 : 0;
  return PALETTE[id % PALETTE.length].map((c) => Math.round(c + (target - c) * Math.abs(shade)));
}

export const classColor = (id, opacity = 1) => `rgb(${channels(id).join(" ")} / ${opacity})`;

/** Black or white, whichever is easier to read on a class's colour. */
export function textColor(id) {
  const [red, green, blue] = channels(id);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 120 ? "#000" : "#fff";
}

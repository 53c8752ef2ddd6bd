/** A list that may be very long: only the rows in sight are in the page. */

/** Rows above and below those in sight. */
const SPARE = 4;

export class RowList {
  /**
   * @param {HTMLElement} element scrolls
   * @param {number} height of a row in pixels
   * @param {() => HTMLElement} makeRow returns an empty row
   * @param {(row: HTMLElement, item: any, index: number) => void} fillRow
   */
  constructor(element, height, makeRow, fillRow) {
    Object.assign(this, { element, height, makeRow, fillRow, items: [], rows: [] });
    this.space = document.createElement("div");
    this.space.className = "space";
    element.append(this.space);
    element.addEventListener("scroll", () => this.paint());
    new ResizeObserver(() => this.paint()).observe(element);
  }

  /** Show items. */
  set(items) {
    this.items = items;
    this.space.style.height = `${items.length * this.height}px`;
    this.paint();
  }

  paint() {
    const { clientHeight, scrollTop } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / this.height) - SPARE);
    const inSight = Math.ceil(clientHeight / this.height) + 2 * SPARE;
    const count = Math.min(inSight, this.items.length - first);
    while (this.rows.length < count) {
      this.rows.push(this.makeRow());
      this.space.append(this.rows.at(-1));
    }
    this.rows.forEach((row, place) => {
      row.hidden = place >= count;
      if (row.hidden) return;
      row.style.transform = `translateY(${(first + place) * this.height}px)`;
      this.fillRow(row, this.items[first + place], first + place);
    });
  }

  /** Scroll as little as needed to show an item. */
  reveal(index) {
    if (index < 0) return;
    const top = index * this.height;
    const { clientHeight, scrollTop } = this.element;
    const lowest = top + this.height - clientHeight;
    this.element.scrollTop = Math.min(Math.max(scrollTop, lowest), top);
  }
}

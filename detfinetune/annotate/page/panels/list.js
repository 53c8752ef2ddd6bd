/** A list that may be very long: only the rows in sight are in the page. */

/** Rows above and below those in sight. */
const SPARE = 4;

export class RowList {
  /**
   * @param {HTMLElement} element scrolls
   * @param {number} height of a row in pixels
   * @param {(index: number) => HTMLElement} make returns an empty row
   * @param {(row: HTMLElement, item: any, index: number) => void} fill
   */
  constructor(element, height, make, fill) {
    this.element = element;
    this.height = height;
    this.make = make;
    this.fill = fill;
    this.items = [];
    this.rows = [];
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
    const count = Math.min(Math.ceil(clientHeight / this.height) + 2 * SPARE, this.items.length - first);
    while (this.rows.length < count) {
      this.rows.push(this.make());
      this.space.append(this.rows.at(-1));
    }
    this.rows.forEach((row, place) => {
      row.hidden = place >= count;
      if (row.hidden) return;
      row.style.transform = `translateY(${(first + place) * this.height}px)`;
      this.fill(row, this.items[first + place], first + place);
    });
  }

  /** Scroll as little as needed to show an item. */
  reveal(index) {
    if (index < 0) return;
    const top = index * this.height;
    const { clientHeight, scrollTop } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) this.element.scrollTop = top + this.height - clientHeight;
  }
}

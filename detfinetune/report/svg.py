"""Charts as SVG: axes, histograms and cells, styled by the page's style sheet.

Not made with a plotting library: these charts use the page's fonts and its light and dark colours,
show the count of each bin on hover, and are the same bytes for the same data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from markupsafe import Markup

WIDTH, HEIGHT = 420.0, 264.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 18.0, 10.0, 40.0


class Axis:
    """A range of values along an axis, linear or logarithmic."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool) -> None:
        self.low, self.high = low, high if high != low else low + 1
        self._start, self._end = start, end
        self._of: Callable[[float], float] = math.log if log else float

    def __call__(self, value: float) -> float:
        """Return the position of a value, in units of the image."""
        low, high = self._of(self.low), self._of(self.high)
        return self._start + (self._of(value) - low) / (high - low) * (self._end - self._start)


class Chart:
    """A chart with an x axis below and a y axis at the left."""

    def __init__(
        self,
        label: str,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        log_x: bool = False,
        log_y: bool = False,
    ) -> None:
        self.left, self.right = _LEFT, WIDTH - _RIGHT
        self.top, self.bottom = _TOP, HEIGHT - _BOTTOM
        self.x = Axis(*x, self.left, self.right, log_x)
        self.y = Axis(*y, self.bottom, self.top, log_y)
        self.root = ElementTree.Element(
            "svg",
            {"viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}", "role": "img", "aria-label": label},
        )

    def add(self, tag: str, tooltip: str = "", text: str = "", **attributes: object) -> None:
        """Add a mark; `class_` stands for class, and underscores for hyphens."""
        given = {
            name.rstrip("_").replace("_", "-"): _written(value)
            for name, value in attributes.items()
        }
        element = ElementTree.SubElement(self.root, tag, given)
        element.text = text or None
        if tooltip:
            ElementTree.SubElement(element, "title").text = tooltip

    def x_ticks(self, ticks: Sequence[float], title: str, words: Sequence[str] = ()) -> None:
        """Draw grid lines with their values (or `words`), and the title of the axis."""
        for at, value in enumerate(ticks):
            place = self.x(value)
            self.add("line", x1=place, x2=place, y1=self.top, y2=self.bottom, class_="grid")
            label = words[at] if words else short(value)
            self.add("text", text=label, x=place, y=self.bottom + 14, text_anchor="middle")
        middle = (self.left + self.right) / 2
        below = self.bottom + 31
        self.add("text", text=title, x=middle, y=below, text_anchor="middle", class_="axis")

    def y_ticks(self, ticks: Sequence[float], title: str) -> None:
        """Draw grid lines with their values, and the title of the axis."""
        for value in ticks:
            place = self.y(value)
            self.add("line", x1=self.left, x2=self.right, y1=place, y2=place, class_="grid")
            self.add("text", text=short(value), x=self.left - 5, y=place + 4, text_anchor="end")
        middle = (self.top + self.bottom) / 2
        upright = f"translate(11 {middle:g}) rotate(-90)"
        self.add("text", text=title, transform=upright, text_anchor="middle", class_="axis")

    def steps(self, edges: Sequence[float], values: Sequence[float], class_: str) -> None:
        """Draw a histogram; `edges` has one more entry than `values`."""
        path = f"M{self.x(edges[0]):.1f} {self.bottom:.1f}"
        for value, right in zip(values, edges[1:], strict=True):
            path += f"V{self.y(value):.1f}H{self.x(right):.1f}"
        self.add("path", d=f"{path}V{self.bottom:.1f}", class_=f"steps {class_}")

    def cell(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        opacity: float,
        tooltip: str = "",
        class_: str = "cell",
    ) -> None:
        """Draw a rectangle between pairs of values."""
        # Rounded before subtraction, so that there are no gaps between neighbours.
        x1, x2 = (round(self.x(value), 1) for value in x)
        y1, y2 = sorted(round(self.y(value), 1) for value in y)
        self.add(
            "rect", tooltip, x=x1, y=y1, width=x2 - x1, height=y2 - y1, class_=class_,
            fill_opacity=round(opacity, 3),
        )  # fmt: skip

    def markup(self) -> Markup:
        """Return the chart as escaped markup."""
        return Markup(ElementTree.tostring(self.root, encoding="unicode"))


def _written(value: object) -> str:
    return (
        f"{value:.1f}".removesuffix(".0") if isinstance(value, float) and value > 1 else str(value)
    )


def short(value: float) -> str:
    """Format a tick's value in few characters."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):.3g}{letter}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round values from `low` to `high`: steps of 1, 2 or 5 and a power of ten."""
    rough = (high - low) / about
    if rough <= 0 or not math.isfinite(rough):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def log_ticks(low: float, high: float, base: float, most: int = 8) -> list[float]:
    """Return powers of `base` from `low` to `high`; only every second or third if too many."""
    first = math.ceil(math.log(low, base) - 1e-9)
    last = math.floor(math.log(high, base) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / most))
    return [base**n for n in range(first, last + 1, step)]

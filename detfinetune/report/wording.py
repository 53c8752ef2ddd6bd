"""Formatting of numbers and names."""

from __future__ import annotations

import math
from typing import Any

_LONGEST_FIGURE = 300


def number(value: float) -> str:
    """Format a number with three or four significant digits."""
    if not math.isfinite(value):
        return "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def by(width: float, height: float) -> str:
    """Format a size, such as 12 by 30, with a multiplication sign."""
    return f"{number(width)} \N{MULTIPLICATION SIGN} {number(height)}"


def plural(count: float, word: str) -> str:
    """Format a count, such as `1 object` or `2 classes`."""
    ending = "" if count == 1 else "es" if word.endswith("s") else "s"
    return f"{count:,.0f} {word}{ending}"


def shortened(name: str, longest: int = 100) -> str:
    """Shorten a name in the middle: both ends matter in file names."""
    if len(name) <= longest:
        return name
    half = longest // 2
    return f"{name[:half]}…{name[-half:]}"


def words(name: str) -> str:
    """Return a key, such as `boxes_per_image`, as words."""
    return name.replace("_", " ")


def figure(value: Any) -> str:
    """Format a JSON value on one line, truncated if it is very long."""
    if isinstance(value, bool) or value is None:
        text = {True: "yes", False: "no", None: "-"}[value]
    elif isinstance(value, int | float):
        text = number(value)
    elif isinstance(value, dict):
        text = ", ".join(f"{words(str(key))}: {figure(item)}" for key, item in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(figure(item) for item in value)
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_FIGURE else f"{text[:_LONGEST_FIGURE]}…"

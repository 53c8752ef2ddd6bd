"""Ways to read four numbers as a box, and which boxes are plausible under each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.formats.raw_labels import Form

FORM_COLUMNS: dict[Form, str] = {
    "xyxy": "x1,y1,x2,y2",
    "xywh": "x,y,w,h",
    "cxcywh": "cx,cy,w,h",
}
_ORDERS = {
    "x1,y1,x2,y2": ("xyxy", (0, 1, 2, 3)),
    "x,y,w,h": ("xywh", (0, 1, 2, 3)),
    "cx,cy,w,h": ("cxcywh", (0, 1, 2, 3)),
    "y1,x1,y2,x2": ("xyxy", (1, 0, 3, 2)),
    "y,x,h,w": ("xywh", (1, 0, 3, 2)),
    "cy,cx,h,w": ("cxcywh", (1, 0, 3, 2)),
    "x1,x2,y1,y2": ("xyxy", (0, 2, 1, 3)),
}
"""By columns (see `data.columns`): the box format, and the positions of x, y, x or w, y or h."""

_ROUNDING_PIXELS = 1.5
"""How far a plausible box may reach outside: one-based pixels, and rounding."""

SMALLEST_PIXELS = 1.0
"""A box with a smaller side is not plausible."""


@dataclass(frozen=True)
class Hypothesis:
    """One way to read the four numbers of a box."""

    columns: str
    """As in `data.columns`, without the class."""

    normalized: bool
    """Whether coordinates are normalized by the image's width and height."""

    @property
    def form(self) -> str:
        """The box format."""
        return _ORDERS[self.columns][0]

    @property
    def transposed(self) -> bool:
        """Whether y comes before x."""
        return self.columns.startswith(("y", "cy"))

    def xyxy(self, numbers: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return xyxy in pixels; (n, 4).

        Args:
            numbers: as in the file; (n, 4).
            sizes: width and height of the images in pixels; (n, 2).
        """
        form, order = _ORDERS[self.columns]
        first, second = numbers[:, order[:2]], numbers[:, order[2:]]
        if form == "xywh":
            second = first + second
        elif form == "cxcywh":
            first, second = first - second / 2, first + second / 2
        scale = sizes if self.normalized else 1.0
        return np.concatenate([first * scale, second * scale], axis=1)


def numbers_written(
    xyxy: NDArray[np.float64], sizes: NDArray[np.float64], form: Form, normalized: bool
) -> NDArray[np.float64]:
    """Return the four numbers in the file, given the box in pixels.

    Args:
        xyxy: in pixels, not necessarily in order; (n, 4).
        sizes: width and height of the images; (n, 2).
        form: the box format of the file.
        normalized: whether the file has normalized coordinates.
    """
    if normalized:
        xyxy = xyxy / np.tile(sizes, 2)
    first, second = xyxy[:, :2], xyxy[:, 2:]
    if form == "xywh":
        return np.concatenate([first, second - first], axis=1)
    if form == "cxcywh":
        return np.concatenate([(first + second) / 2, second - first], axis=1)
    return xyxy


def candidates(current: Hypothesis) -> Iterator[Hypothesis]:
    """Yield other hypotheses, those with the fewest changes first."""
    rest = [Hypothesis(columns, normalized) for normalized in (False, True) for columns in _ORDERS]
    rest.remove(current)
    yield from sorted(
        rest,
        key=lambda other: (
            (other.normalized != current.normalized)
            + (other.form != current.form)
            + 2 * (other.transposed != current.transposed)
            + 2 * (other.columns == "x1,x2,y1,y2")
        ),
    )


def fitting(xyxy: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which boxes have corners in order, sides of at least a pixel, and are inside; (n,).

    Args:
        xyxy: in pixels; (n, 4).
        sizes: width and height of the images in pixels; (n, 2).
    """
    first, second = xyxy[:, :2], xyxy[:, 2:]
    inside = (
        (second - first >= SMALLEST_PIXELS)
        & (first >= -_ROUNDING_PIXELS)
        & (second <= sizes + _ROUNDING_PIXELS)
    )
    fits: NDArray[np.bool_] = np.logical_and.reduce(inside, axis=1)
    return fits

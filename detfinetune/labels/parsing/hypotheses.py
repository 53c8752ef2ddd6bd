"""Ways to read four numbers as a box, and which boxes are plausible under each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.formats.lines.txt import parse_columns
from detfinetune.labels.formats.raw_labels import Form
from detfinetune.labels.parsing.label_schema import LabelSchema

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

_SAMPLE = 200_000
_FEWEST_MISFITS = 10
_FEWEST_OF_FEW = 3
_MISFIT_SHARE = 0.01
_FITTING_SHARE = 0.98
_EXPLAINED = 0.9
_SURE_SHARE = 0.2
_SURE_MISFITS = 30
_AS_GOOD = 0.005


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
    def described(self) -> str:
        """Columns and unit in words."""
        unit = "normalized" if self.normalized else "absolute"
        return f"{self.columns} in {unit} coordinates"

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


@dataclass(frozen=True)
class Misfit:
    """Boxes that are not plausible as they were read, but nearly all are under another way."""

    current: Hypothesis
    better: Hypothesis
    misfits: int
    """Boxes that are not plausible as read."""

    count: int
    fits: float
    """Share of the boxes that are plausible under the better hypothesis, 0-1."""

    @property
    def share(self) -> float:
        """Share of the boxes that are not plausible as read, 0-1."""
        return self.misfits / self.count

    @property
    def sure(self) -> bool:
        """Whether there are too many to be faults of single labels."""
        return self.share >= _SURE_SHARE or self.misfits >= _SURE_MISFITS

    @property
    def problem(self) -> str:
        """What is wrong, without a full stop."""
        return (
            f"{self.misfits:,} of {self.count:,} boxes are not plausible as "
            f"{self.current.described}, but {100 * self.fits:.0f} % are as {self.better.described}"
        )


def current_hypothesis(schema: LabelSchema, form: Form) -> Hypothesis:
    """Return how boxes are read that the files give in a form."""
    return Hypothesis(FORM_COLUMNS[form], schema.normalized)


def usable_rows(written: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the finite rows, (n, 6), or an even sample of many."""
    return written[np.isfinite(written).all(axis=1)][:: max(1, len(written) // _SAMPLE)]


def find_misfit(
    xyxy: NDArray[np.float64], sizes: NDArray[np.float64], current: Hypothesis
) -> Misfit | None:
    """Return the hypothesis that fits nearly all boxes that the current one does not.

    None if almost all boxes fit now, or no hypothesis fits them.
    """
    misfits = int((~fitting(xyxy, sizes)).sum())
    count = len(xyxy)
    enough = misfits >= max(_FEWEST_MISFITS, _MISFIT_SHARE * count)
    if not (enough or (misfits >= _FEWEST_OF_FEW and misfits * 2 > count)):
        return None
    form: Form = current.form  # type: ignore[assignment]
    numbers = numbers_written(xyxy, sizes, form, current.normalized)
    best: tuple[Hypothesis, float] | None = None
    for other in candidates(current):
        share = float(fitting(other.xyxy(numbers, sizes), sizes).mean())
        if best is None or share > best[1] + _AS_GOOD:
            best = (other, share)
    if best is None or best[1] < _FITTING_SHARE:
        return None
    if (1 - best[1]) * count > (1 - _EXPLAINED) * misfits:
        return None
    return Misfit(current, best[0], misfits, count, best[1])


def option_for(schema: LabelSchema, better: Hypothesis, *, with_polygons: bool = False) -> str:
    """Return how to have labels read under a hypothesis: configuration keys, if there are any."""
    if schema.format == "csv" and better.normalized == schema.normalized:
        return (
            f"Rename the columns of the boxes to {better.columns} (one column to bbox_xyxy or "
            "bbox_xywh)."
        )
    if schema.format not in ("txt", "yolo") or with_polygons:
        rotated = (
            " Or the images were rotated by 90 degrees after they were labelled."
            if better.transposed
            else ""
        )
        return (
            f"No key changes how {schema.format} is read: fix the program that wrote these files. "
            f"They hold {better.described}, which is not what the format defines.{rotated}"
        )
    if better == Hypothesis("cx,cy,w,h", True):
        return "Rerun with data.format=yolo."
    columns = (
        f"{better.columns},class"
        if schema.columns and schema.columns[-1] == "class"
        else f"class,{better.columns}"
        if not schema.columns or "class" in schema.columns
        else better.columns
    )
    schema = LabelSchema("txt", parse_columns(columns), better.normalized, 0)
    return f"Rerun with {schema.as_options}."

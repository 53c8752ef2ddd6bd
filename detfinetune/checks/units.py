"""Labels that were read wrongly: another order of the numbers, another unit, another image.

Told by evidence: how many boxes make sense as read (in order, a pixel or more wide and high, inside
their image), and how many under another reading of the same numbers. `labels.reading` judges text
lines with their class column; this works on the boxes of any format.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place, Severity
from detfinetune.checks.hypotheses import (
    FORM_COLUMNS,
    SMALLEST_PIXELS,
    Hypothesis,
    candidates,
    fitting,
    numbers_written,
)
from detfinetune.checks.label_frames import (
    counted_from_one,
    of_turned_images,
    other_size,
    unturned,
)
from detfinetune.checks.places import MOST_PLACES, AllObjects, percent
from detfinetune.labels.dataset.ledger import Ledger
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.formats.lines.txt import box_form, parse_columns
from detfinetune.labels.formats.raw_labels import Form
from detfinetune.labels.parsing.label_schema import LabelSchema

_SAMPLE = 200_000
_FEWEST_MISFITS = 10
_FEWEST_OF_FEW = 3
_MISFIT_SHARE = 0.01
_FITTING_SHARE = 0.98
_EXPLAINED = 0.9
_SURE_SHARE = 0.2
_SURE_MISFITS = 30
_AS_GOOD = 0.005

_FORMS: dict[str, Form] = {
    "yolo": "centre_and_size",
    "coco": "top_left_and_size",
    "label_studio": "top_left_and_size",
    "via": "top_left_and_size",
}
_BAD_GEOMETRY = {"clipped", "outside", "swapped corners", "negative size", "zero size"}
_FORM_KINDS = {
    ("corners", "top_left_and_size"): "xywh_as_xyxy",
    ("corners", "centre_and_size"): "centre_as_xyxy",
    ("top_left_and_size", "corners"): "xyxy_as_xywh",
    ("top_left_and_size", "centre_and_size"): "centre_as_corner",
    ("centre_and_size", "corners"): "xyxy_as_centre",
    ("centre_and_size", "top_left_and_size"): "corner_as_centre",
}


def check_units(
    tables: Mapping[str, LabelTable],
    *,
    written: Mapping[str, NDArray[np.float64]],
    reading: LabelSchema,
    ledger: Ledger | None = None,
    turned: Mapping[str, Collection[str]] | None = None,
    form: Form | None = None,
) -> list[Finding]:
    """Return findings about how the numbers of boxes were understood.

    Args:
        tables: what was kept, by split.
        written: x1, y1, x2, y2 in pixels before any mending, and the image's width and height, of
            every label that could be read, by split on disk; (labels, 6).
        reading: how the labels were read.
        ledger: what became of the labels; its lines are where a finding points to.
        turned: by split, the images that their EXIF flag turns by a quarter.
        form: how the files give a box; None: as the format does.
    """
    rows = [part for part in written.values() if len(part)]
    if not rows:
        return []
    every = np.concatenate(rows)
    every = every[np.isfinite(every).all(axis=1)][:: max(1, len(every) // _SAMPLE)]
    corners, sizes = every[:, :4], every[:, 4:]
    form = form or form_of(reading)
    misfits = _bad_places(ledger)
    found = unturned(corners, sizes, tables, turned, misfits)
    if found is not None:
        # The rest is judged without them, so that one fault is not taken for two.
        told = of_turned_images(sizes, tables, turned)
        corners, sizes = corners[~told], sizes[~told]
    current = Hypothesis(FORM_COLUMNS[form], reading.normalized)
    better = _read_otherwise(corners, sizes, current)
    others: list[Finding | None] = []
    if better is not None:
        others.append(_reading_finding(tables, reading, current, *better, misfits))
    elif (
        found is None
        and len(rows) > 1
        and (apart := _splits_apart(tables, written, reading, current, misfits))
    ):
        others += apart
    else:
        others.append(other_size(corners, sizes, tables, misfits))
        if form == "corners" and not (reading.normalized or reading.first_pixel):
            others.append(counted_from_one(corners, sizes))
    return [finding for finding in (found, *others) if finding is not None]


def _splits_apart(
    tables: Mapping[str, LabelTable],
    written: Mapping[str, NDArray[np.float64]],
    reading: LabelSchema,
    current: Hypothesis,
    misfits: tuple[Place, ...],
) -> list[Finding]:
    """Find splits whose labels are in another order or unit than those of the other splits."""
    found = []
    for split, rows in written.items():
        rows = rows[np.isfinite(rows).all(axis=1)][:: max(1, len(rows) // _SAMPLE)]
        better = _read_otherwise(rows[:, :4], rows[:, 4:], current) if len(rows) else None
        if better is None:
            continue
        own = {split: tables[split]} if split in tables else {}
        places = tuple(place for place in misfits if place.split == split)
        finding = _reading_finding(own, reading, current, *better, places)
        found.append(
            replace(
                finding,
                title=f"Split {split} alone: {finding.title}",
                advice="Its labels are in another order or unit than those of the other splits, "
                f"and a data set is read in one way: convert them by themselves. Read alone: "
                f"{finding.advice}",
                figures={**finding.figures, "split": split},
            )
        )
    return found


def form_of(reading: LabelSchema) -> Form:
    """Return how labels of a format give a box, as far as the format fixes it."""
    if reading.format == "txt" and reading.columns:
        return box_form(reading.columns)
    return _FORMS.get(reading.format, "corners")


def _read_otherwise(
    corners: NDArray[np.float64], sizes: NDArray[np.float64], current: Hypothesis
) -> tuple[Hypothesis, int, float, float] | None:
    """Return the reading that explains nearly all that the current one cannot.

    Returns:
        The reading, boxes that do not fit now, their share, and the share that fits under it; None
        where hardly any do not fit, or nothing explains them.
    """
    misfits = int((~fitting(corners, sizes)).sum())
    count = len(corners)
    enough = misfits >= max(_FEWEST_MISFITS, _MISFIT_SHARE * count)
    if not (enough or (misfits >= _FEWEST_OF_FEW and misfits * 2 > count)):
        return None
    form: Form = current.form  # type: ignore[assignment]
    numbers = numbers_written(corners, sizes, form, current.normalized)
    best: tuple[Hypothesis, float] | None = None
    for other in candidates(current):
        share = float(fitting(other.corners(numbers, sizes), sizes).mean())
        if best is None or share > best[1] + _AS_GOOD:
            best = (other, share)
    if best is None or best[1] < _FITTING_SHARE:
        return None
    if (1 - best[1]) * count > (1 - _EXPLAINED) * misfits:
        return None
    return best[0], misfits, misfits / count, best[1]


def _reading_finding(
    tables: Mapping[str, LabelTable],
    reading: LabelSchema,
    current: Hypothesis,
    better: Hypothesis,
    misfits: int,
    share: float,
    fits: float,
    places: tuple[Place, ...],
) -> Finding:
    sure = share >= _SURE_SHARE or misfits >= _SURE_MISFITS
    severity: Severity = "error" if sure else "warning"
    option = option_for(reading, better, with_polygons=any(t.polygons for t in tables.values()))
    return Finding(
        _kind(current, better),
        severity,
        f"{percent(share)} of the boxes ({misfits:,}) make no sense as {_said(current)}, and "
        f"{percent(fits)} of all do as {_said(better)}.",
        f"{option} As read now the boxes are in the wrong place, those that seem to fit as well.",
        _with_tiny(tables, places),
        {
            "misfits": misfits, "share": round(share, 4), "fits_otherwise": round(fits, 4),
            "read_as": _said(current), "fits_as": _said(better),
        },
    )  # fmt: skip


def _kind(current: Hypothesis, better: Hypothesis) -> str:
    if current.normalized != better.normalized:
        return "fractions_as_pixels" if better.normalized else "pixels_as_fractions"
    if better.columns == "x1,x2,y1,y2":
        return "columns_in_another_order"
    if current.transposed != better.transposed:
        return "xy_swapped"
    return _FORM_KINDS[current.form, better.form]


def _said(hypothesis: Hypothesis) -> str:
    unit = "fractions" if hypothesis.normalized else "pixels"
    return f"{hypothesis.columns} in {unit}"


def option_for(reading: LabelSchema, better: Hypothesis, *, with_polygons: bool = False) -> str:
    """Return what to do for labels to be read so: configuration keys where there are any."""
    if reading.format not in ("txt", "yolo") or with_polygons:
        return (
            f"No key changes how {reading.format} is read: mend what wrote these files, so that "
            f"they hold what the format asks for (they hold {_said(better)})."
        )
    if better == Hypothesis("cx,cy,w,h", True):
        return "Give data.format=yolo."
    columns = (
        f"{better.columns},class"
        if reading.columns and reading.columns[-1] == "class"
        else f"class,{better.columns}"
        if not reading.columns or "class" in reading.columns
        else better.columns
    )
    return f"Give {LabelSchema('txt', parse_columns(columns), better.normalized, 0).as_options}."


def _bad_places(ledger: Ledger | None) -> tuple[Place, ...]:
    """Return the labels whose geometry had to be mended or rejected."""
    entries = ledger.entries if ledger is not None else []
    bad = (
        Place(entry.split, entry.image, entry.path, entry.line, entry.reason)
        for entry in entries
        if entry.line and _BAD_GEOMETRY & set(entry.kind.split(" + "))
    )
    return tuple(place for place, _ in zip(bad, range(MOST_PLACES), strict=False))


def _with_tiny(tables: Mapping[str, LabelTable], places: tuple[Place, ...]) -> tuple[Place, ...]:
    """Add what was kept but is no pixel wide or high: fractions read as pixels leave such boxes."""
    objects = AllObjects(tables)
    tiny = np.flatnonzero(objects.boxes[:, 2:].min(axis=1) < SMALLEST_PIXELS)
    more = objects.places(tiny, lambda i: f"less than {SMALLEST_PIXELS:g} px wide or high")
    return (*places, *more)[:MOST_PLACES]

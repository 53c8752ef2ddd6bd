"""Finds labels that were read wrongly: wrong column order, wrong unit, or made for another image.

Compares how many boxes are plausible as read (corners in order, sides of at least a pixel, inside
the image) with how many would be under another hypothesis. `labels.misread` checks whole lines of
text formats with their class column; this works on the boxes of any format.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place, Severity
from detfinetune.checks.places import MOST_PLACES, AllObjects, percent
from detfinetune.checks.units.hypotheses import (
    FORM_COLUMNS,
    SMALLEST_PIXELS,
    Hypothesis,
    candidates,
    fitting,
    numbers_written,
)
from detfinetune.checks.units.label_frames import (
    check_box_scale,
    check_exif_rotation,
    check_one_based,
    of_rotated_images,
)
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
    "yolo": "cxcywh",
    "coco": "xywh",
    "label_studio": "xywh",
    "via": "xywh",
}
_BAD_GEOMETRY = {"clipped", "outside", "swapped corners", "negative size", "zero size"}
_FORM_KINDS = {
    ("xyxy", "xywh"): "xywh_as_xyxy",
    ("xyxy", "cxcywh"): "cxcywh_as_xyxy",
    ("xywh", "xyxy"): "xyxy_as_xywh",
    ("xywh", "cxcywh"): "cxcywh_as_xywh",
    ("cxcywh", "xyxy"): "xyxy_as_cxcywh",
    ("cxcywh", "xywh"): "xywh_as_cxcywh",
}


def check_units(
    tables: Mapping[str, LabelTable],
    *,
    written: Mapping[str, NDArray[np.float64]],
    schema: LabelSchema,
    ledger: Ledger | None = None,
    rotated: Mapping[str, Collection[str]] | None = None,
    form: Form | None = None,
) -> list[Finding]:
    """Return findings about the column order and unit of boxes.

    Args:
        tables: labels that were kept, by split.
        written: xyxy in pixels before any fix, and the image's width and height, of every label
            that could be read, by split on disk; (labels, 6).
        schema: how the labels were read.
        ledger: what was fixed or rejected; findings point to its lines.
        rotated: by split, the images that EXIF rotates by 90 degrees.
        form: the box format of the files; None: that of the label format.
    """
    rows = [part for part in written.values() if len(part)]
    if not rows:
        return []
    every = np.concatenate(rows)
    every = every[np.isfinite(every).all(axis=1)][:: max(1, len(every) // _SAMPLE)]
    xyxy, sizes = every[:, :4], every[:, 4:]
    form = form or form_of(schema)
    misfits = _bad_places(ledger)
    found = check_exif_rotation(xyxy, sizes, tables, rotated, misfits)
    if found is not None:
        # Leave them out, so that one problem is not reported twice.
        explained = of_rotated_images(sizes, tables, rotated)
        xyxy, sizes = xyxy[~explained], sizes[~explained]
    current = Hypothesis(FORM_COLUMNS[form], schema.normalized)
    better = _better_hypothesis(xyxy, sizes, current)
    others: list[Finding | None] = []
    if better is not None:
        others.append(_schema_finding(tables, schema, current, *better, misfits))
    elif (
        found is None
        and len(rows) > 1
        and (differing := _splits_that_differ(tables, written, schema, current, misfits))
    ):
        others += differing
    else:
        others.append(check_box_scale(xyxy, sizes, tables, misfits))
        if form == "xyxy" and not (schema.normalized or schema.first_pixel):
            others.append(check_one_based(xyxy, sizes))
    return [finding for finding in (found, *others) if finding is not None]


def _splits_that_differ(
    tables: Mapping[str, LabelTable],
    written: Mapping[str, NDArray[np.float64]],
    schema: LabelSchema,
    current: Hypothesis,
    misfits: tuple[Place, ...],
) -> list[Finding]:
    """Find splits whose labels have another column order or unit than the other splits."""
    found = []
    for split, rows in written.items():
        rows = rows[np.isfinite(rows).all(axis=1)][:: max(1, len(rows) // _SAMPLE)]
        better = _better_hypothesis(rows[:, :4], rows[:, 4:], current) if len(rows) else None
        if better is None:
            continue
        own = {split: tables[split]} if split in tables else {}
        places = tuple(place for place in misfits if place.split == split)
        finding = _schema_finding(own, schema, current, *better, places)
        found.append(
            replace(
                finding,
                title=f"Split {split} only: {finding.title}",
                advice="Its labels have another column order or unit than the other splits, but a "
                f"data set is read with one schema: convert this split separately. Read alone: "
                f"{finding.advice}",
                figures={**finding.figures, "split": split},
            )
        )
    return found


def form_of(schema: LabelSchema) -> Form:
    """Return the box format of a label format, as far as it is fixed."""
    if schema.format == "txt" and schema.columns:
        return box_form(schema.columns)
    return _FORMS.get(schema.format, "xyxy")


def _better_hypothesis(
    xyxy: NDArray[np.float64], sizes: NDArray[np.float64], current: Hypothesis
) -> tuple[Hypothesis, int, float, float] | None:
    """Return the hypothesis that fits nearly all boxes that the current one does not.

    Returns:
        The hypothesis, the number of boxes that do not fit now, their share, and the share that
        fits then; None if almost all boxes fit now, or no hypothesis fits them.
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
    return best[0], misfits, misfits / count, best[1]


def _schema_finding(
    tables: Mapping[str, LabelTable],
    schema: LabelSchema,
    current: Hypothesis,
    better: Hypothesis,
    misfits: int,
    share: float,
    fits: float,
    places: tuple[Place, ...],
) -> Finding:
    sure = share >= _SURE_SHARE or misfits >= _SURE_MISFITS
    severity: Severity = "error" if sure else "warning"
    option = option_for(schema, better, with_polygons=any(t.polygons for t in tables.values()))
    return Finding(
        _kind(current, better),
        severity,
        f"{percent(share)} of the boxes ({misfits:,}) are not plausible as {_described(current)}, "
        f"but {percent(fits)} are as {_described(better)}.",
        f"{option} As read now, all boxes are in the wrong place, including those that seem to "
        "fit.",
        _with_tiny(tables, places),
        {
            "misfits": misfits, "share": round(share, 4), "fits_otherwise": round(fits, 4),
            "read_as": _described(current), "fits_as": _described(better),
        },
    )  # fmt: skip


def _kind(current: Hypothesis, better: Hypothesis) -> str:
    if current.normalized != better.normalized:
        return "normalized_as_absolute" if better.normalized else "absolute_as_normalized"
    if better.columns == "x1,x2,y1,y2":
        return "wrong_column_order"
    if current.transposed != better.transposed:
        return "xy_swapped"
    return _FORM_KINDS[current.form, better.form]


def _described(hypothesis: Hypothesis) -> str:
    unit = "normalized" if hypothesis.normalized else "absolute"
    return f"{hypothesis.columns} in {unit} coordinates"


def option_for(schema: LabelSchema, better: Hypothesis, *, with_polygons: bool = False) -> str:
    """Return how to have labels read under a hypothesis: configuration keys, if there are any."""
    if schema.format not in ("txt", "yolo") or with_polygons:
        return (
            f"No key changes how {schema.format} is read: fix the program that wrote these files. "
            f"They hold {_described(better)}, which is not what the format defines."
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


def _bad_places(ledger: Ledger | None) -> tuple[Place, ...]:
    """Return the places of labels whose geometry was fixed or rejected."""
    entries = ledger.entries if ledger is not None else []
    bad = (
        Place(
            entry.split,
            entry.image,
            entry.path,
            entry.line,
            entry.reason,
            annotation=entry.annotation,
        )
        for entry in entries
        if entry.line and _BAD_GEOMETRY & set(entry.kind.split(" + "))
    )
    return tuple(place for place, _ in zip(bad, range(MOST_PLACES), strict=False))


def _with_tiny(tables: Mapping[str, LabelTable], places: tuple[Place, ...]) -> tuple[Place, ...]:
    """Add boxes below a pixel: normalized coordinates read as absolute ones give such boxes."""
    objects = AllObjects(tables)
    tiny = np.flatnonzero(objects.boxes[:, 2:].min(axis=1) < SMALLEST_PIXELS)
    more = objects.places(tiny, lambda i: f"less than {SMALLEST_PIXELS:g} px wide or high")
    return (*places, *more)[:MOST_PLACES]

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
from detfinetune.checks.places import MOST_PLACES, AllObjects
from detfinetune.checks.units.label_frames import (
    check_box_scale,
    check_exif_rotation,
    check_one_based,
    of_rotated_images,
)
from detfinetune.labels.dataset.ledger import Ledger
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.formats.raw_labels import Form
from detfinetune.labels.parsing.hypotheses import (
    SMALLEST_PIXELS,
    Hypothesis,
    Misfit,
    current_hypothesis,
    find_misfit,
    option_for,
    usable_rows,
)
from detfinetune.labels.parsing.label_schema import LabelSchema

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
    form: Form,
    schema: LabelSchema,
    ledger: Ledger | None = None,
    rotated: Mapping[str, Collection[str]] | None = None,
) -> list[Finding]:
    """Return findings about the column order and unit of boxes.

    Args:
        tables: labels that were kept, by split.
        written: xyxy in pixels before any fix, and the image's width and height, of every label
            that could be read, by split on disk; (labels, 6).
        form: how the files give most boxes.
        schema: how the labels were read.
        ledger: what was fixed or rejected; findings point to its lines.
        rotated: by split, the images that EXIF rotates by 90 degrees.
    """
    rows = [part for part in written.values() if len(part)]
    if not rows:
        return []
    every = usable_rows(np.concatenate(rows))
    xyxy, sizes = every[:, :4], every[:, 4:]
    misfits = _bad_places(ledger)
    found = check_exif_rotation(xyxy, sizes, tables, rotated, misfits)
    if found is not None:
        # Leave them out, so that one problem is not reported twice.
        explained = of_rotated_images(sizes, tables, rotated)
        xyxy, sizes = xyxy[~explained], sizes[~explained]
    current = current_hypothesis(schema, form)
    misfit = find_misfit(xyxy, sizes, current)
    others: list[Finding | None] = []
    if misfit is not None:
        others.append(_schema_finding(tables, schema, misfit, misfits))
    elif (
        found is None
        and len(rows) > 1
        and (differing := _splits_that_differ(tables, written, schema, current, misfits))
    ):
        others += differing
    else:
        others.append(check_box_scale(xyxy, sizes, tables, misfits))
        if current.form == "xyxy" and not (schema.normalized or schema.first_pixel):
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
        rows = usable_rows(rows)
        misfit = find_misfit(rows[:, :4], rows[:, 4:], current)
        if misfit is None:
            continue
        own = {split: tables[split]} if split in tables else {}
        places = tuple(place for place in misfits if place.split == split)
        finding = _schema_finding(own, schema, misfit, places)
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


def _schema_finding(
    tables: Mapping[str, LabelTable],
    schema: LabelSchema,
    misfit: Misfit,
    places: tuple[Place, ...],
) -> Finding:
    severity: Severity = "error" if misfit.sure else "warning"
    option = option_for(
        schema, misfit.better, with_polygons=any(t.polygons for t in tables.values())
    )
    return Finding(
        _kind(misfit.current, misfit.better),
        severity,
        f"{misfit.problem}.",
        f"{option} As read now, all boxes are in the wrong place, including those that seem to "
        "fit.",
        _with_tiny(tables, places),
        {
            "misfits": misfit.misfits, "share": round(misfit.share, 4),
            "fits_otherwise": round(misfit.fits, 4), "read_as": misfit.current.described,
            "fits_as": misfit.better.described,
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

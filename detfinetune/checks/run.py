"""Runs all checks of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from detfinetune.checks.anchor_fit import AnchorSettings
from detfinetune.checks.anchors import check_anchors
from detfinetune.checks.findings import Finding, sorted_findings
from detfinetune.checks.from_ledger import ledger_findings
from detfinetune.checks.images.duplicate_findings import ImageEntry
from detfinetune.checks.images.image_facts import ImageFacts, scan_images
from detfinetune.checks.images.image_findings import image_findings, image_paths
from detfinetune.checks.objects.boxes import check_boxes
from detfinetune.checks.objects.classes import check_classes
from detfinetune.checks.objects.outliers import check_outliers
from detfinetune.checks.objects.polygons import check_polygons
from detfinetune.checks.splits.split_findings import check_splits
from detfinetune.checks.units.label_frames import check_label_sizes
from detfinetune.checks.units.label_units import check_units
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.discovered import shown_path
from detfinetune.labels.misread import check_misread

_OF_IMAGES = ("unreadable image", "missing image", "no image")
"""Kinds of ledger entries that are not a fault of the label itself."""

_FIRST_SWAPPED = 5
"""From this EXIF orientation on, width and height are swapped."""


def dataset_findings(
    dataset: LabelledDataset,
    anchors: AnchorSettings | None,
    *,
    decode: bool = True,
    num_workers: int | None = None,
) -> list[Finding]:
    """Return all findings about a data set, worst first.

    Args:
        dataset: as read.
        anchors: of the model; None skips the checks that depend on them.
        decode: decode every image once, for damage, duplicates and unusual pixels; False only
            decodes images whose header could not be read.
        num_workers: processes that decode; None: one a core.
    """
    unreadable = _unreadable_images(dataset)
    wanted = image_paths(dataset.tables) if decode and dataset.has_images else []
    facts = scan_images([*wanted, *dict.fromkeys(unreadable.values())], num_workers)
    # Images that decode although reading rejected their header are left to the ledger.
    explained = {shown: path for shown, path in unreadable.items() if not facts[path].sound}
    found = ledger_findings(dataset.ledger, explained)
    rejected = [
        ImageEntry(entry.split, entry.image or entry.path, path, facts[path])
        for entry in dataset.ledger.entries
        if not entry.line and (path := explained.get(entry.path)) is not None
    ]
    kept = {path: facts[path] for path in (*wanted, *explained.values())}
    found += image_findings(dataset.tables, kept, dataset.root, rejected)
    rotated = _rotated_images(dataset.tables, facts) if wanted else None
    of_units: list[Finding] = []
    if dataset.schema is not None:
        of_units = check_units(
            dataset.tables, written=dataset.written, form=dataset.form, schema=dataset.schema,
            ledger=dataset.ledger, rotated=rotated,
        )  # fmt: skip
    found += of_units
    # If one split differs, no schema fits all splits.
    if not any("split" in finding.figures for finding in of_units):
        found += _misread(dataset)
    found += check_label_sizes(dataset.tables, dataset.stated_sizes, rotated)
    found += table_findings(dataset.tables, dataset.classes, anchors, dataset=dataset)
    return sorted_findings(found)


def table_findings(
    tables: Mapping[str, LabelTable],
    classes: Sequence[str],
    anchors: AnchorSettings | None,
    *,
    dataset: LabelledDataset | None = None,
) -> list[Finding]:
    """Return findings about the labels that were kept; a million boxes take seconds.

    Args:
        tables: by split.
        classes: names by contiguous class id.
        anchors: of the model; None skips the checks that depend on them.
        dataset: the source of the labels, if they were just read.
    """
    found = [
        *check_classes(
            tables, classes, ledger=dataset.ledger if dataset else None,
            classes_from=_classes_from(dataset) if dataset else "",
        ),
        *check_boxes(tables, classes),
        *check_polygons(tables, classes),
        *check_splits(tables, classes),
        *check_outliers(tables, classes),
    ]  # fmt: skip
    if anchors is not None:
        found += check_anchors(tables, classes, anchors)
    return sorted_findings(found)


def _classes_from(dataset: LabelledDataset) -> str:
    """Return the file of class names relative to the data root, or the key that gave them."""
    if not dataset.classes_from:
        return ""
    return shown_path(Path(dataset.classes_from), dataset.root)


def _unreadable_images(dataset: LabelledDataset) -> dict[str, Path]:
    """Return the images that reading left out, by their path in the ledger."""
    return {
        entry.path: dataset.root / entry.path
        for entry in dataset.ledger.entries
        if entry.kind == "unreadable image" and not entry.line
    }


def _rotated_images(
    tables: Mapping[str, LabelTable], facts: Mapping[Path, ImageFacts]
) -> dict[str, set[str]]:
    """Return by split the images that EXIF rotates by 90 degrees."""
    return {
        split: {
            name
            for name in table.names
            if facts[table.image_root / name].orientation >= _FIRST_SWAPPED
        }
        for split, table in tables.items()
    }


def _misread(dataset: LabelledDataset) -> list[Finding]:
    """Check whether most labels were read wrongly."""
    verdict = check_misread(dataset)
    if not verdict.problem and verdict.better is None:
        return []
    rejected = dataset.ledger.kinds("rejected")
    if verdict.better is None and sum(rejected[kind] for kind in _OF_IMAGES) * 2 > verdict.wrong:
        # The labels may be right, but the images missing or damaged.
        return []
    problem = verdict.problem or f"{verdict.wrong} of {verdict.total} labels are wrong"
    return [
        Finding(
            kind="labels_misread",
            severity="error",
            title=f"The labels were probably read wrongly: {problem}",
            advice=verdict.advice,
            figures={"wrong": verdict.wrong, "labels": verdict.total},
        )
    ]

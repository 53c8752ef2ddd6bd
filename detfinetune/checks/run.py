"""All checks of a data set, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detfinetune.checks.anchors import AnchorSettings, check_anchors
from detfinetune.checks.boxes import check_boxes
from detfinetune.checks.classes import check_classes
from detfinetune.checks.findings import Finding, sorted_findings
from detfinetune.checks.from_ledger import ledger_findings
from detfinetune.checks.image_facts import scan_images
from detfinetune.checks.images import image_findings
from detfinetune.checks.outliers import check_outliers
from detfinetune.checks.outlines import check_outlines
from detfinetune.checks.splits import check_splits
from detfinetune.checks.units import check_units
from detfinetune.labels.dataset import LabelledDataset
from detfinetune.labels.table import LabelTable
from detfinetune.labels.verdict import judge

_QUARTER_TURNS = 5
"""EXIF orientation from which on width and height change places."""


def dataset_findings(
    dataset: LabelledDataset,
    anchors: AnchorSettings | None,
    *,
    decode: bool = True,
    num_workers: int | None = None,
) -> list[Finding]:
    """Return everything that is wrong with a data set, worst first.

    Args:
        dataset: as read.
        anchors: the model's; None leaves out what depends on them.
        decode: decode every image once, for damage, duplicates and strange pixels.
        num_workers: processes that decode; None: one a core.
    """
    found = [*_misread(dataset), *ledger_findings(dataset.ledger)]
    turned: dict[str, set[str]] | None = None
    if decode and dataset.has_images:
        paths = {
            split: [table.image_root / name for name in table.names]
            for split, table in dataset.tables.items()
        }
        once = list(dict.fromkeys(path for part in paths.values() for path in part))
        facts = scan_images(once, num_workers)
        found += image_findings(dataset.tables, facts)
        turned = {
            split: {
                name for name, path in zip(dataset.tables[split].names, part, strict=True)
                if facts[path].orientation >= _QUARTER_TURNS
            }
            for split, part in paths.items()
        }  # fmt: skip
    if dataset.reading is not None:
        found += check_units(
            dataset.tables, written=dataset.written, reading=dataset.reading,
            ledger=dataset.ledger, turned=turned,
        )  # fmt: skip
    found += table_findings(dataset.tables, dataset.classes, anchors, dataset=dataset)
    return sorted_findings(found)


def table_findings(
    tables: Mapping[str, LabelTable],
    classes: Sequence[str],
    anchors: AnchorSettings | None,
    *,
    dataset: LabelledDataset | None = None,
) -> list[Finding]:
    """Return what can be seen in the labels that were kept; a million boxes take seconds.

    Args:
        tables: by split.
        classes: names by contiguous class id.
        anchors: the model's; None leaves out what depends on them.
        dataset: where the labels are from, if they were just read.
    """
    found = [
        *check_classes(
            tables, classes, ledger=dataset.ledger if dataset else None,
            classes_from=dataset.classes_from if dataset else "",
        ),
        *check_boxes(tables, classes),
        *check_outlines(tables, classes),
        *check_splits(tables, classes),
        *check_outliers(tables, classes),
    ]  # fmt: skip
    if anchors is not None:
        found += check_anchors(
            tables, classes, image_size=anchors.image_size, max_size=anchors.max_size,
            anchor_sizes=anchors.anchor_sizes, aspect_ratios=anchors.aspect_ratios,
            strides=anchors.strides,
        )  # fmt: skip
    return sorted_findings(found)


def _misread(dataset: LabelledDataset) -> list[Finding]:
    """Find labels that were read wrongly as a whole."""
    verdict = judge(dataset)
    if not verdict.problem and verdict.better is None:
        return []
    advice = (
        f"They make sense as {verdict.better.as_options}: give that."
        if verdict.better is not None
        else "Check data.format, data.columns, data.coordinates, data.classes and data.first_class."
    )
    problem = verdict.problem or f"{verdict.wrong} of {verdict.total} labels are wrong"
    return [
        Finding(
            kind="labels_misread",
            severity="error",
            title=f"The labels were probably read wrongly: {problem}",
            advice=advice,
            figures={"wrong": verdict.wrong, "labels": verdict.total},
        )
    ]

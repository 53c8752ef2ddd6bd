"""Turns the ledger of reading into findings: what was fixed or rejected, and what to do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from detfinetune.checks.findings import Finding, Place, Severity
from detfinetune.checks.places import MOST_PLACES, counted
from detfinetune.labels.dataset.ledger import ANOTHER_SIZE, IN_NO_SPLIT, Ledger, LedgerEntry
from detfinetune.labels.images.sizes import is_image_name


@dataclass(frozen=True)
class _Rule:
    """What a kind of ledger entry means to a user."""

    kind: str
    severity: Severity
    what: str
    """Completes `12 labels: ...`."""

    advice: str
    subject: str = ""
    """What is counted; empty: labels, or files for entries without a line."""


_LOST = "The object is missing in training, so the detector learns it as background."

_RULES = {
    "clipped": _Rule(
        "box_partly_outside", "warning", "partly outside the image (clipped to it)",
        "Check a few: a little outside is harmless. Many, or far outside, mean that the labels "
        "are shifted or were made for another image size.",
    ),
    "outside": _Rule(
        "box_outside", "error", "outside the image (rejected)",
        f"{_LOST} Correct them, or check that this is the image that was labelled.",
    ),
    "zero size": _Rule(
        "box_empty", "error", "without width, height or area (rejected)",
        f"{_LOST} Redraw them, or remove the lines if they were accidental clicks.",
    ),
    "negative size": _Rule(
        "box_negative_size", "error", "negative width or height (rejected)",
        f"{_LOST} If there are many, the column order is probably wrong (data.columns).",
    ),
    "swapped corners": _Rule(
        "corners_swapped", "warning", "corners in the wrong order (swapped)",
        "Harmless now that they are fixed. If there are many, the column order is probably wrong "
        "(data.columns), such as xywh read as xyxy.",
    ),
    "duplicate": _Rule(
        "duplicate_label", "warning", "duplicate of an earlier label of the image (left out)",
        "Harmless once left out. If there are many, a file was probably merged with itself.",
    ),
    "class out of range": _Rule(
        "class_id_out_of_range", "error", "class id out of range (rejected)",
        "Give the right class names (data.classes=FILE), or set the id of the first class "
        "(data.first_class=1) if ids start at 1.",
    ),
    "unknown class": _Rule(
        "unknown_class", "error", "class name not in the list (rejected)",
        "Correct the spelling in the labels, or add the name to the list (data.classes).",
    ),
    "not finite": _Rule(
        "not_finite", "error", "NaN or infinity (rejected)",
        f"{_LOST} Correct the numbers; NaN often comes from dividing by an image size of zero.",
    ),
    "not a number": _Rule(
        "not_a_number", "error", "text instead of a number (rejected)",
        "Correct them, or set the order of the columns (data.columns).",
    ),
    "too few columns": _Rule(
        "too_few_values", "error", "too few values (rejected)",
        "The line is incomplete, or data.format or data.columns is wrong.",
    ),
    "too many columns": _Rule(
        "too_many_values", "error", "too many values (rejected)",
        "List all columns in order in data.columns, with `-` for those to ignore.",
    ),
    "wrong number of columns": _Rule(
        "wrong_number_of_values", "error", "wrong number of values (rejected)",
        "A YOLO line has 5 values, or an odd number from 7 on. Lines with a score are detections, "
        "not labels.",
    ),
    "no image": _Rule(
        "label_without_image", "error", "no image for the label file",
        "The image is missing or has another name. Add it, or remove the label file.",
    ),
    "missing image": _Rule(
        "image_missing", "error", "listed, but not found",
        "Add the image, or remove it from the list.", "image",
    ),
    "unreadable image": _Rule(
        "image_unreadable", "error", "cannot be read",
        "Copy the image again from its source; it is truncated or damaged.", "image",
    ),
    "unreadable labels": _Rule(
        "image_without_readable_labels", "note", "left out because the label file is unreadable",
        "Fix the label file. Until then the image is not used, not even as a negative.", "image",
    ),
    "unreadable label file": _Rule(
        "label_file_unreadable", "error", "label file cannot be read",
        "The file is incomplete or has another format. Its image is left out of training.",
    ),
    "labels not read": _Rule(
        "image_labels_not_read", "error", "left out because the labels have another format",
        "Convert all labels to one format.", "image",
    ),
    "same stem": _Rule(
        "label_file_shared", "warning", "share one label file with another image",
        "Rename one of them and give it its own label file.", "image",
    ),
    "listed twice": _Rule(
        "image_listed_twice", "note", "listed twice", "Remove one of the two lines.", "image",
    ),
    IN_NO_SPLIT: _Rule(
        "labelled_image_in_no_split", "warning", "labelled, but in no split (ignored)",
        "Update or remove the image lists, or move the images into a split's folder.", "image",
    ),
    "encoding": _Rule(
        "not_utf8", "note", "not in UTF-8", "Save as UTF-8, so that names are read correctly.",
    ),
    "mask of another size": _Rule(
        "mask_size_mismatch", "error", "mask has another size than the image (rejected)",
        f"{_LOST} Export the masks again for these images.",
    ),
}  # fmt: skip
# Some kinds mean something else for a label than for a file, or if nothing was lost.
_OF_LABELS = {
    "unreadable image": _Rule(
        "label_of_unreadable_image", "note", "the image cannot be read (rejected)",
        "Fix the image; it has a finding of its own.",
    ),
    "missing image": _Rule(
        "label_of_missing_image", "note", "the image is missing (rejected)",
        "Add the image; it has a finding of its own.",
    ),
}  # fmt: skip
_REMARKS = {
    "no image": _Rule(
        "empty_label_without_image", "note", "empty label file without an image",
        "Nothing is lost. Add the images if they are negatives, or remove the files.",
    ),
}  # fmt: skip
# For other kinds, the reason of each entry says everything.
_OTHER = {
    "fixed": _Rule("label_fixed", "warning", "fixed ({kind})", "Check the reason of each."),
    "rejected": _Rule(
        "label_rejected", "error", "rejected ({kind})",
        f"{_LOST} The reason of each says what is wrong.",
    ),
    "note": _Rule("remark", "note", "{kind}", "Nothing to do if you expect this."),
}  # fmt: skip


# For image lists, the path of an entry includes the line.
_LIST_LINE = re.compile(r"(?P<path>.+):(?P<line>\d+)")


def ledger_findings(ledger: Ledger, explained: Collection[str] = ()) -> list[Finding]:
    """Return one finding for each kind of entry in a ledger.

    Args:
        ledger: what became of the labels.
        explained: paths of unreadable images, as in the ledger, that have a more detailed finding.
    """
    by_rule: dict[tuple[_Rule, str], dict[int, str]] = defaultdict(dict)
    for index, entry in enumerate(ledger.entries):
        if entry.kind == "unreadable image" and not entry.line and entry.path in explained:
            continue
        if entry.kind == ANOTHER_SIZE:  # reported by `check_label_sizes`
            continue
        for kind in entry.kind.split(" + "):
            by_rule[_rule(entry, kind), entry.action].setdefault(index, kind)
    return [
        _finding(rule, action, [ledger.entries[i] for i in kinds], set(kinds.values()))
        for (rule, action), kinds in by_rule.items()
    ]


def _rule(entry: LedgerEntry, kind: str) -> _Rule:
    special = _REMARKS if entry.action == "note" else _OF_LABELS if entry.line else {}
    return special.get(kind) or _RULES.get(kind, _OTHER[entry.action])


def _finding(rule: _Rule, action: str, entries: list[LedgerEntry], kinds: set[str]) -> Finding:
    """Return the finding of a rule, given its entries and their kinds."""
    count = len(entries)
    subject = rule.subject or ("label" if all(entry.line for entry in entries) else "file")
    what = rule.what.format(kind=", ".join(sorted(kinds)))
    return Finding(
        kind=rule.kind,
        severity=rule.severity,
        title=f"{counted(count, subject)}: {what}.",
        advice=rule.advice,
        places=tuple(map(_place, entries[:MOST_PLACES])),
        figures={f"{subject}s": count},
        fixed_by_conversion=action != "note",
    )


def _place(entry: LedgerEntry) -> Place:
    detail = f"{entry.reason}   [{entry.text[:120]}]" if entry.text else entry.reason
    path, line = entry.path, entry.line
    if not line and is_image_name(path):
        return Place(entry.split, entry.image or path, detail=detail)
    if not line and (listed := _LIST_LINE.fullmatch(path)):
        path, line = listed["path"], int(listed["line"])
    return Place(entry.split, entry.image, path, line, detail, annotation=entry.annotation)

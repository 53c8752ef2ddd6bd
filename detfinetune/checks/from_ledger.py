"""Findings of what reading had to mend or reject: its ledger, by kind, with what to do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from detfinetune.checks.findings import Finding, Place, Severity
from detfinetune.checks.places import MOST_PLACES
from detfinetune.labels.dataset.ledger import ANOTHER_SIZE, IN_NO_SPLIT, Ledger, LedgerEntry
from detfinetune.labels.images.sizes import is_image_name


@dataclass(frozen=True)
class _Rule:
    """What a kind of ledger entry means to a user."""

    kind: str
    severity: Severity
    what: str
    """Completes `12 labels ...`."""

    advice: str
    subject: str = ""
    """What is counted; empty: labels, or files where an entry is of no line."""


_LOST = "The object is missing from training, so the detector learns that it is background."

_RULES = {
    "clipped": _Rule(
        "box_partly_outside", "warning", "reach out of their image and were clipped to it",
        "Look at a few: boxes a little outside are harmless; many of them, or far outside, mean "
        "that the labels were made for another image size or are shifted.",
    ),
    "outside": _Rule(
        "box_outside", "error", "lie wholly outside their image and were rejected",
        f"{_LOST} Correct them, or look whether the image is the one that was labelled.",
    ),
    "zero size": _Rule(
        "box_empty", "error", "have no width, height or area and were rejected",
        f"{_LOST} Draw them anew, or remove the lines if they were slips of the mouse.",
    ),
    "negative size": _Rule(
        "box_negative_size", "error", "have a negative width or height and were rejected",
        f"{_LOST} If there are many, the columns are probably in another order (data.columns).",
    ),
    "swapped corners": _Rule(
        "corners_swapped", "warning", "had their corners in the wrong order; they were swapped",
        "Harmless once mended; if there are many, the columns are probably in another order "
        "(data.columns), such as x,y,w,h read as corners.",
    ),
    "duplicate": _Rule(
        "box_repeated", "warning", "repeat an earlier label of their image and were left out",
        "Harmless once left out. Where they come in numbers, a file was merged with itself.",
    ),
    "class out of range": _Rule(
        "class_out_of_range", "error", "have a class number that no class has, and were rejected",
        "Give the right list of names (data.classes=FILE), or the number of the first class "
        "(data.first_class=1) where classes are counted from 1.",
    ),
    "unknown class": _Rule(
        "class_unknown", "error", "have a class name that is not in the list, and were rejected",
        "Correct the spelling in the labels, or add the name to the list (data.classes).",
    ),
    "not finite": _Rule(
        "not_finite", "error", "hold NaN or infinity and were rejected",
        f"{_LOST} Correct the numbers; a program that writes NaN divided by a zero image size.",
    ),
    "not a number": _Rule(
        "not_a_number", "error", "hold words where numbers belong, and were rejected",
        "Correct them, or name the columns in their order (data.columns).",
    ),
    "too few columns": _Rule(
        "too_few_values", "error", "hold too few values and were rejected",
        "The line was cut short, or data.format or data.columns is another.",
    ),
    "too many columns": _Rule(
        "too_many_values", "error", "hold too many values and were rejected",
        "Name all columns in their order, `-` for those to pass over (data.columns).",
    ),
    "wrong number of columns": _Rule(
        "wrong_number_of_values", "error", "hold a number of values that no line can have",
        "A YOLO line has 5 values, or an odd number from 7 on. Lines with a score are detections, "
        "not labels.",
    ),
    "no image": _Rule(
        "label_without_image", "error", "stand in a label file that has no image",
        "The image is missing or has another name. Bring it, or remove the label file.",
    ),
    "missing image": _Rule(
        "image_missing", "error", "are listed but not there",
        "Bring the image, or take it out of the list.", "image",
    ),
    "unreadable image": _Rule(
        "image_unreadable", "error", "cannot be read",
        "Copy the image again from where it came from; it was cut off or damaged.", "image",
    ),
    "unreadable labels": _Rule(
        "image_without_readable_labels", "note", "are left out, as their label file is unreadable",
        "Mend the label file: the image is no true negative, so it is not used as one.", "image",
    ),
    "unreadable label file": _Rule(
        "label_file_unreadable", "error", "stand in a label file that cannot be read",
        "The file was cut short or is of another format. Its image is left out of training.",
    ),
    "same stem": _Rule(
        "images_share_label", "warning", "share one label file with another image",
        "Give one of them another name, with a label file of its own.", "image",
    ),
    "listed twice": _Rule(
        "image_listed_twice", "note", "are listed twice", "Remove one of the two lines.", "image",
    ),
    IN_NO_SPLIT: _Rule(
        "labelled_image_in_no_split", "warning", "have labels, but are in no split",
        "Update or remove the image lists, or move the images into a split's folder.", "image",
    ),
    "encoding": _Rule(
        "not_utf8", "note", "are not in UTF-8", "Save them as UTF-8, so that names are right.",
    ),
    "mask of another size": _Rule(
        "mask_other_size", "error", "have a mask that was made for another image size",
        f"{_LOST} Export the masks again for the images as they are.",
    ),
}  # fmt: skip
# Some kinds mean another thing for a label than for a file, or where nothing was lost.
_OF_LABELS = {
    "unreadable image": _Rule(
        "label_of_unreadable_image", "note", "belong to an image that cannot be read",
        "Mend the image, which is a finding of its own; they were rejected with it.",
    ),
    "missing image": _Rule(
        "label_of_missing_image", "note", "belong to an image that is not there",
        "Bring the image, which is a finding of its own; they were rejected with it.",
    ),
}  # fmt: skip
_REMARKS = {
    "no image": _Rule(
        "empty_label_without_image", "note", "hold no label and have no image",
        "Nothing is lost. Bring the images if they are true negatives, or remove the files.",
    ),
}  # fmt: skip
# Kinds of which the line's own reason says all that there is to say.
_OTHER = {
    "fixed": _Rule("label_mended", "warning", "were mended ({kind})", "Look at the reasons given."),
    "rejected": _Rule(
        "label_rejected", "error", "were rejected ({kind})",
        f"{_LOST} The reason of each says what is wrong with it.",
    ),
    "note": _Rule("remark", "note", "({kind})", "Nothing, if it is what you expect."),
}  # fmt: skip


# Lines of image lists stand in the path, because they are no labels.
_LIST_LINE = re.compile(r"(?P<path>.+):(?P<line>\d+)")


def ledger_findings(ledger: Ledger, explained: Collection[str] = ()) -> list[Finding]:
    """Return one finding for each kind of entry in a ledger.

    Args:
        ledger: what became of the labels.
        explained: paths of unreadable images, as the ledger has them, of which another finding
            says more.
    """
    by_rule: dict[tuple[_Rule, str], dict[int, str]] = defaultdict(dict)
    for index, entry in enumerate(ledger.entries):
        if entry.kind == "unreadable image" and not entry.line and entry.path in explained:
            continue
        if entry.kind == ANOTHER_SIZE:  # `check_label_sizes` says it, with the factor
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
    """Return the finding of a rule, given its entries and the kinds that they are of."""
    count = len(entries)
    subject = rule.subject or ("label" if all(entry.line for entry in entries) else "file")
    what = rule.what.format(kind=", ".join(sorted(kinds)))
    return Finding(
        kind=rule.kind,
        severity=rule.severity,
        title=f"{count} {subject}{'s' * (count != 1)} {_agreed(what, count)}",
        advice=rule.advice,
        places=tuple(map(_place, entries[:MOST_PLACES])),
        figures={f"{subject}s": count},
        fixed_by_conversion=action != "note",
    )


def _place(entry: LedgerEntry) -> Place:
    detail = entry.reason + (f"   [{entry.text[:120]}]" if entry.text else "")
    path, line = entry.path, entry.line
    if not line and is_image_name(path):
        return Place(entry.split, entry.image or path, detail=detail)
    if not line and (listed := _LIST_LINE.fullmatch(path)):
        path, line = listed["path"], int(listed["line"])
    return Place(entry.split, entry.image, path, line, detail)


def _agreed(what: str, count: int) -> str:
    """Put the first verb into the singular for one label."""
    if count != 1:
        return what
    verb, _, rest = what.partition(" ")
    singular = {"have": "has", "were": "was", "are": "is", "cannot": "cannot"}.get(verb)
    text = f"{singular or verb + ('es' if verb.endswith('ch') else 's')} {rest}".replace(
        "their image", "its image"
    )
    text = text.replace(" and have ", " and has ")
    return text.replace("were ", "was ").replace("their ", "its ")

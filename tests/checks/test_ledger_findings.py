"""Findings from a ledger: one per rule, with title and places."""

from __future__ import annotations

import pytest

from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.from_ledger import ledger_findings
from detfinetune.checks.places import MOST_PLACES
from detfinetune.labels.dataset.ledger import Action, Ledger, LedgerEntry


def entry(kind: str, line: int = 3, action: Action = "rejected", path: str = "") -> LedgerEntry:
    return LedgerEntry("train", path or "labels/a.txt", line, action, kind, "why", "0 1 2")


def only(*entries: LedgerEntry) -> Finding:
    (finding,) = ledger_findings(Ledger(list(entries)))
    return finding


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        ("clipped", "1 label: partly outside the image (clipped to it).",
         "2 labels: partly outside the image (clipped to it)."),
        ("unreadable image", "1 label: the image cannot be read (rejected).",
         "2 labels: the image cannot be read (rejected)."),
        ("bad polygon", "1 label: rejected (bad polygon).", "2 labels: rejected (bad polygon)."),
    ],
)  # fmt: skip
def test_titles_of_one_and_of_several(kind: str, one: str, two: str) -> None:
    assert only(entry(kind)).title == one
    assert only(entry(kind, 3), entry(kind, 4)).title == two


@pytest.mark.parametrize(
    ("kind", "action", "title"),
    [
        ("unreadable image", "rejected", "1 image: cannot be read."),
        ("missing image", "rejected", "1 image: listed, but not found."),
        ("no image", "note", "1 file: empty label file without an image."),
        ("encoding", "note", "1 file: not in UTF-8."),
    ],
)
def test_titles_of_files(kind: str, action: Action, title: str) -> None:
    finding = only(entry(kind, 0, action))
    assert finding.title == title
    assert finding.fixed_by_conversion == (action == "rejected")


def test_two_fixes_of_one_label_are_two_findings() -> None:
    found = ledger_findings(Ledger([entry("swapped corners + clipped", action="fixed")]))
    assert [finding.kind for finding in found] == ["corners_swapped", "box_partly_outside"]


def test_rare_kinds_are_one_finding_and_equal_entries_are_counted() -> None:
    same = entry("bad mask", 1)
    finding = only(same, same, entry("no class", 1))
    assert finding.kind == "label_rejected"
    assert finding.title == "3 labels: rejected (bad mask, no class)."
    assert finding.figures == {"labels": 3}


def test_places_of_images_lists_and_labels() -> None:
    image = LedgerEntry("val", "images/b.jpg", 0, "rejected", "same stem", "why", "", "b.jpg")
    assert only(image).places == (Place("val", "b.jpg", detail="why"),)
    listed = entry("missing image", 0, path="lists/train.txt:12")
    assert only(listed).places == (Place("train", "", "lists/train.txt", 12, "why   [0 1 2]"),)
    label = LedgerEntry("val", "labels/b.txt", 7, "fixed", "clipped", "why", "0 1 2", "b.jpg")
    assert only(label).places == (Place("val", "b.jpg", "labels/b.txt", 7, "why   [0 1 2]"),)


def test_images_that_another_finding_explains_are_left_to_it() -> None:
    path = "images/b.jpg"
    ledger = Ledger([entry("unreadable image", 0, path=path), entry("unreadable image", 2)])
    assert [finding.kind for finding in ledger_findings(ledger)] == [
        "image_unreadable", "label_of_unreadable_image",
    ]  # fmt: skip
    (finding,) = ledger_findings(ledger, {path})
    assert finding.kind == "label_of_unreadable_image"


def test_places_are_limited_and_counts_are_not() -> None:
    many = [entry("outside", line) for line in range(1, MOST_PLACES + 11)]
    finding = only(*many)
    assert len(finding.places) == MOST_PLACES
    assert finding.figures == {"labels": MOST_PLACES + 10}

"""Counts of a data set, its classes and its ledger, and the verdict of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detfinetune.checks.findings import SEVERITIES, Finding
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import Ledger, LedgerEntry, SplitCounts
from detfinetune.pictures import class_color

_EXAMPLES = 20


@dataclass(frozen=True)
class SplitRow:
    """A split's counts."""

    name: str
    images: int
    negatives: int
    objects: int
    counts: SplitCounts


@dataclass(frozen=True)
class ClassRow:
    """A class's counts."""

    category: int
    name: str
    color: str
    """`#rrggbb`, the colour in which its objects are drawn."""

    objects: tuple[int, ...]
    """By split, in the data set's order."""

    most: int
    """Objects of the largest class, for the length of bars."""

    @property
    def total(self) -> int:
        """Objects in all splits."""
        return sum(self.objects)

    @property
    def bar(self) -> list[tuple[float, float]]:
        """Start and length of each split's part of a stacked bar, in percent of the longest."""
        parts, start = [], 0.0
        for count in self.objects:
            length = count / max(self.most, 1) * 100
            parts.append((round(start, 2), round(length, 2)))
            start += length
        return parts


@dataclass
class LedgerKind:
    """Entries of one kind."""

    action: str
    kind: str
    count: int = 0
    by_split: Counter[str] = field(default_factory=Counter)
    examples: list[LedgerEntry] = field(default_factory=list)


def split_rows(dataset: LabelledDataset) -> list[SplitRow]:
    """Return the counts of each split."""
    return [
        SplitRow(
            name=name,
            images=table.num_images,
            negatives=int((np.diff(table.starts) == 0).sum()),
            objects=table.num_objects,
            counts=dataset.ledger.counts.get(name, SplitCounts()),
        )
        for name, table in dataset.tables.items()
    ]


def class_rows(dataset: LabelledDataset) -> list[ClassRow]:
    """Return the counts of each class, in the order of their ids."""
    size = len(dataset.classes)
    counts = [np.bincount(t.categories, minlength=size) for t in dataset.tables.values()]
    most = int(np.sum(counts, axis=0).max()) if counts and size else 0
    return [
        ClassRow(
            category=category,
            name=name,
            color="#{:02x}{:02x}{:02x}".format(*class_color(category)),
            objects=tuple(int(split[category]) for split in counts),
            most=most,
        )
        for category, name in enumerate(dataset.classes)
    ]


def ledger_kinds(ledger: Ledger) -> list[LedgerKind]:
    """Return the ledger by action and kind: rejections first, then by frequency."""
    kinds: dict[tuple[str, str], LedgerKind] = {}
    for entry in ledger.entries:
        key = (entry.action, entry.kind)
        kind = kinds.setdefault(key, LedgerKind(*key))
        kind.count += 1
        kind.by_split[entry.split] += 1
        if len(kind.examples) < _EXAMPLES:
            kind.examples.append(entry)
    actions = ("rejected", "fixed", "note")
    return sorted(kinds.values(), key=lambda k: (actions.index(k.action), -k.count, k.kind))


def severity_counts(findings: Sequence[Finding]) -> dict[str, int]:
    """Return the number of findings of each severity, worst first."""
    counts = Counter(finding.severity for finding in findings)
    return {severity: counts[severity] for severity in SEVERITIES}


def verdict(findings: Sequence[Finding]) -> str:
    """Return whether the data set is ready to train, in one sentence or two."""
    counts = severity_counts(findings)
    if counts["error"]:
        if all(f.fixed_by_conversion for f in findings if f.severity == "error"):
            return "Reading fixes or rejects all of the errors. Check what is left out."
        return "Not ready to train. Fix the errors first."
    if counts["warning"]:
        return "Ready to train, but the warnings may cost accuracy."
    return "Ready to train. Check the notes." if counts["note"] else "Ready to train."

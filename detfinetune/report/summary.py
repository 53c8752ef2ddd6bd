"""What was read of a data set, and what became of it, in figures."""

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
    """As `#rrggbb`, the colour that its objects are drawn in."""

    objects: tuple[int, ...]
    """By split, in the order of the data set."""

    most: int
    """Objects of the class that has most, for the bars."""

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
    """Return the ledger by action and kind, rejections first and the frequent before the rare."""
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
    """Return one sentence that says whether to go on."""
    counts = severity_counts(findings)
    mended = [f for f in findings if f.severity == "error" and f.fixed_by_conversion]
    if counts["error"]:
        text = "Mend the errors before training: a model would learn what they say."
        if len(mended) == counts["error"]:
            text = "Every error is one that conversion mends or removes; look at what it drops."
        return text
    if counts["warning"]:
        return "Nothing here forbids training. The warnings may cost accuracy."
    if counts["note"]:
        return "Nothing here speaks against training. The notes are worth a look."
    return "Nothing was found that speaks against training."

"""Tables that sum up a data set: what happened to every label, and the objects per class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detfinetune import console
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import IN_NO_SPLIT, Ledger
from detfinetune.labels.splits.split_table import split_table

_MOST_CLASSES_SHOWN = 40


def dataset_summary(dataset: LabelledDataset) -> str:
    """Return tables of what happened to every label and how balanced the splits are."""
    cut = {
        split: table for split, table in dataset.tables.items()
        if split == "train" or dataset.wanted_shares.get(split)
    }  # fmt: skip
    # The table of shares has the counts as well.
    divided_here = len(cut) > 1 and len(cut) == len(dataset.tables)
    text = summary_tables(dataset.ledger, dataset.classes, by_class=not divided_here)
    if len(cut) < 2:
        return text
    counts = np.concatenate([table.class_counts(len(dataset.classes)) for table in cut.values()])
    ends = np.cumsum([0, *(table.num_images for table in cut.values())]).tolist()
    images = {split: range(a, b) for split, a, b in zip(cut, ends, ends[1:], strict=False)}
    shares = {split: dataset.wanted_shares[split] for split in cut if split != "train"}
    return f"{text}\n\n{split_table(counts, dataset.classes, images, shares)}"


def summary_tables(ledger: Ledger, classes: Sequence[str], *, by_class: bool = True) -> str:
    """Return the tables as text; `lines = kept + fixed + rejected`, blank lines apart."""
    rows = [
        [
            split, counts.images, counts.negatives, counts.lines, counts.kept, counts.fixed,
            counts.rejected, counts.blank, counts.rejected_images,
        ]
        for split, counts in ledger.counts.items()
    ]  # fmt: skip
    headers = [
        "split", "images", "true negatives", "lines read", "kept", "fixed", "rejected", "blank",
        "images rejected",
    ]  # fmt: skip
    if len(rows) > 1:
        rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    lost = sum(entry.kind == IN_NO_SPLIT for entry in ledger.entries)
    if lost:
        rows.append(["(labelled, in no split)", lost, *[0] * (len(headers) - 2)])
    parts = ["", console.table(rows, headers)]
    reasons = [
        [action, kind, count]
        for action in ("fixed", "rejected")
        for kind, count in ledger.kinds(action).most_common()
    ]
    if reasons:
        parts += ["", console.table(reasons, ["", "reason", "lines"])]
    totals = [
        sum(counts.objects[c] for counts in ledger.counts.values()) for c in range(len(classes))
    ]
    if by_class:
        parts += ["", _class_table(ledger, classes, totals)]
    unused = [classes[c] for c in range(len(classes)) if totals[c] == 0]
    if unused:
        parts.append(f"No objects of: {console.name_list(unused)}")
    return "\n".join(parts)


def _class_table(ledger: Ledger, classes: Sequence[str], totals: Sequence[int]) -> str:
    order = sorted(range(len(classes)), key=lambda c: (-totals[c], c))[:_MOST_CLASSES_SHOWN]
    rows = [
        [classes[c], *(counts.objects[c] for counts in ledger.counts.values()), totals[c]]
        for c in order
    ]
    text = console.table(rows, ["objects of class", *ledger.counts, "all"])
    if len(classes) > _MOST_CLASSES_SHOWN:
        text += f"\n({len(classes) - _MOST_CLASSES_SHOWN} rarer classes not shown)"
    return text

"""The tables that close a conversion: what became of every line, and the objects per class."""

from __future__ import annotations

from collections.abc import Sequence

from detfinetune import console
from detfinetune.labels.ledger import Ledger

_MOST_CLASSES_SHOWN = 40


def summary_tables(ledger: Ledger, classes: Sequence[str]) -> str:
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
    order = sorted(range(len(classes)), key=lambda c: (-totals[c], c))[:_MOST_CLASSES_SHOWN]
    class_rows = [
        [classes[c], *(counts.objects[c] for counts in ledger.counts.values()), totals[c]]
        for c in order
    ]
    parts += ["", console.table(class_rows, ["objects of class", *ledger.counts, "all"])]
    if len(classes) > _MOST_CLASSES_SHOWN:
        parts.append(f"({len(classes) - _MOST_CLASSES_SHOWN} rarer classes not shown)")
    unused = [classes[c] for c in range(len(classes)) if totals[c] == 0]
    if unused:
        parts.append(f"No objects of: {', '.join(unused)}")
    return "\n".join(parts)

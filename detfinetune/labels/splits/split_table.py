"""A table of the splits for the console, to see whether classes are balanced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detfinetune import console

_NAMES_SHOWN = 5
_MOST_CLASSES = 30
"""Of more, the most frequent are shown."""


def split_table(
    class_counts: NDArray[np.int64],
    classes: Sequence[str],
    splits: Mapping[str, Sequence[int]],
    fractions: Mapping[str, float],
) -> str:
    """Return a table of the objects of each class in each split, and the classes a split lacks.

    Args:
        class_counts: objects of each class in each image; (images, classes).
        classes: names of the classes.
        splits: image indices by split, as `assign_splits` returns them.
        fractions: wanted fraction of each split but train, as `assign_splits` takes them.
    """
    wanted = {name: share for name, share in fractions.items() if share > 0 or name in splits}
    shares = {"train": 1.0 - sum(wanted.values()), **wanted}
    parts = [np.array(splits.get(name, ()), dtype=np.int64) for name in shares]
    held = np.stack([class_counts[part].sum(axis=0) for part in parts], axis=1)
    frequent = np.argsort(-held.sum(axis=1), kind="stable")[:_MOST_CLASSES]
    rows = [_row(classes[number], held[number].tolist()) for number in sorted(frequent.tolist())]
    rows.append(_row("(images)", [len(part) for part in parts]))
    empty = class_counts.sum(axis=1) == 0
    if empty.any():
        rows.append(_row("(images without objects)", [int(empty[part].sum()) for part in parts]))
    headers = ["objects of", "all"]
    for name, share in shares.items():
        headers += [name, f"% ({100 * share:.3g})"]
    text = [console.table(rows, headers)]
    if len(classes) > _MOST_CLASSES:
        text.append(f"... and {len(classes) - _MOST_CLASSES} rarer classes.")
    for name, counts in zip(shares, held.T.tolist(), strict=True):
        total = held.sum(axis=1).tolist()
        lacking = [classes[c] for c, count in enumerate(counts) if total[c] and not count]
        if lacking:
            text.append(f"Not in {name}: {console.name_list(lacking, _NAMES_SHOWN)}.")
    return "\n".join(text)


def _row(name: str, counts: list[int]) -> list[Any]:
    total = sum(counts)
    cells: list[Any] = [name, total]
    for count in counts:
        cells += [count, 100 * count / total if total else None]
    return cells

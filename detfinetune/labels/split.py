"""A seeded split into train, val and test where the data comes without one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def seeded_split(
    items: Sequence[T], val_fraction: float, test_fraction: float, seed: int
) -> dict[str, list[T]]:
    """Divide `items` at random into train, val and test, each in the order given.

    A share above 0 gets at least one item as long as train keeps one; empty splits are left out.
    The same items in the same order with the same seed give the same split on any machine.
    """
    shuffled = list(range(len(items)))
    random.Random(seed).shuffle(shuffled)
    sizes = {}
    left = len(items) - 1
    for name, fraction in (("val", val_fraction), ("test", test_fraction)):
        wanted = max(round(len(items) * fraction), 1) if fraction > 0 else 0
        sizes[name] = max(0, min(wanted, left))
        left -= sizes[name]
    val_end = sizes["val"]
    test_end = val_end + sizes["test"]
    parts = {
        "train": shuffled[test_end:],
        "val": shuffled[:val_end],
        "test": shuffled[val_end:test_end],
    }
    return {name: [items[i] for i in sorted(part)] for name, part in parts.items() if part}

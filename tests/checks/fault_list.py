"""The faults that are planted: each is put into a clean copy and says where it must be found.

They are entered by `planted_boxes`, `planted_readings`, `planted_classes` and `planted_files`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from planted import (
    ANCHORS,
    COUNTS,
    LabelForm,
    Planted,
)

from detfinetune.checks.anchors import AnchorSettings
from detfinetune.checks.findings import Severity


class Spot(NamedTuple):
    """Where a fault is."""

    split: str = ""
    image: str = ""
    label_file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Fault:
    """A fault, how it is planted, and what is to be said of it."""

    kind: str
    severity: Severity
    plant: Callable[[Planted], list[Spot]]
    """Changes the data, and returns where the fault must be found."""

    form: LabelForm = "yolo"
    also: frozenset[str] = frozenset()
    """Whatever else of severity error or warning the fault brings about."""

    options: tuple[tuple[str, object], ...] = ()
    """Keys of `data`, if any are set."""

    only_some: bool = False
    """Whether the places found may be fewer than those planted: not each wrong box shows it."""

    anchors: AnchorSettings = ANCHORS


FAULTS: dict[str, Fault] = {}
Plant = Callable[[Planted], list[Spot]]


def fault(
    name: str,
    kind: str,
    severity: Severity,
    form: LabelForm = "yolo",
    also: tuple[str, ...] = (),
    only_some: bool = False,
    **options: object,
) -> Callable[[Plant], Plant]:
    """Enter a fault under a name."""

    def enter(plant: Plant) -> Plant:
        if name in FAULTS:
            raise ValueError(f"two faults are called '{name}'")
        FAULTS[name] = Fault(
            kind, severity, plant, form, frozenset(also), tuple(options.items()), only_some
        )
        return plant

    return enter


def at(p: Planted, split: str, number: int, line: int) -> Spot:
    """Return the spot of a label."""
    return Spot(split, p.image(split, number), p.label(split, number), line)


def every_object(p: Planted, splits: tuple[str, ...] = tuple(COUNTS)) -> list[Spot]:
    return [
        at(p, split, number, line)
        for split in splits
        for number in range(COUNTS[split])
        for line in range(1, 7)
    ]


def appended(p: Planted, *lines: str, split: str = "train", number: int = 5) -> list[Spot]:
    p.append(split, number, *lines)
    return [at(p, split, number, 7 + i) for i in range(len(lines))]

"""A data set as read: its splits in columns, its classes, and what became of every label."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from detfinetune.labels.ledger import Ledger
from detfinetune.labels.table import LabelTable


@dataclass(frozen=True)
class LabelledDataset:
    """What any label format becomes."""

    name: str
    root: Path
    format: str
    """Name of the label format, as `data.format` takes it."""

    evidence: str
    """By what the format was recognised."""

    classes: tuple[str, ...]
    """Class names; the position is the contiguous class id."""

    classes_from: str
    """File or key that gave the class names; empty where the labels' own are used."""

    tables: dict[str, LabelTable]
    """By split: train, val, test (those that there are)."""

    ledger: Ledger
    notes: tuple[str, ...] = field(default=())
    """What else a user should know of how the data was taken."""

"""A data set as read: its splits in columns, its classes, and what became of every label."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.dataset.coco_json import coco_fingerprint
from detfinetune.labels.dataset.ledger import Ledger
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.splits.split_file import SplitRow

if TYPE_CHECKING:
    from detfinetune.labels.parsing.label_schema import LabelSchema


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

    found: str = ""
    """The arrangement of files that was taken, for the user to read."""

    schema: LabelSchema | None = None
    """How the labels were read."""

    first_class: int = 0
    """The number that the first class has in the labels."""

    written: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """By split on disk: x1, y1, x2, y2 in pixels before any mending, and the image's width and
    height, of every label that could be read; (labels, 6)."""

    stated_sizes: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """By split and image: width and height that its label file says where the image has others."""

    has_images: bool = True
    """False where only the images' sizes are known."""

    wanted_shares: dict[str, float] = field(default_factory=dict)
    """Share of the images that each split but train was to get; empty where the data came divided,
    or a file divided it."""

    split_rows: tuple[SplitRow, ...] = ()
    """The split as it can be written into a file; empty where the data came divided."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all labels with their ids; it changes whenever one of them does."""
        return coco_fingerprint(self.name, self.classes, self.tables)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def has_masks(self) -> bool:
        """Whether there are objects, and every one but crowds has an outline or a mask."""
        tables = [table for table in self.tables.values() if table.num_objects]
        return bool(tables) and all(table.has_masks for table in tables)

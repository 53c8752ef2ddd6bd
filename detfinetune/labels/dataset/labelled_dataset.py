"""A data set as read: a table for each split, its classes, and the ledger of all labels."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.dataset.coco_json import coco_fingerprint
from detfinetune.labels.dataset.ledger import Ledger, LedgerEntry
from detfinetune.labels.dataset.records import SplitRow
from detfinetune.labels.dataset.table import LabelTable

if TYPE_CHECKING:
    from detfinetune.labels.formats.raw_labels import Form
    from detfinetune.labels.parsing.label_schema import LabelSchema


@dataclass(frozen=True)
class LabelledDataset:
    """A data set of any label format."""

    name: str
    root: Path
    format: str
    """Name of the label format, as `data.format` takes it."""

    evidence: str
    """How the format was detected."""

    classes: tuple[str, ...]
    """Class names; the position is the contiguous class id."""

    classes_from: str
    """File or key that gave the class names; empty if they come from the labels themselves."""

    tables: dict[str, LabelTable]
    """By split: train, val, test (those that exist)."""

    ledger: Ledger
    notes: tuple[str, ...] = field(default=())
    """What else the user should know about how the data was read."""

    found: str = ""
    """The layout that was found, for the user to read."""

    schema: LabelSchema | None = None
    """How the labels were read."""

    first_class: int = 0
    """Number of the first class in the labels."""

    written: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """By split on disk: x1, y1, x2, y2 in pixels before any fix, and the image's width and height,
    of every label that could be read; (labels, 6)."""

    form: Form = "xyxy"
    """How the files give most of these boxes."""

    stated_sizes: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """By split and image: width and height in its label file where the image differs."""

    all_rejected: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By split: images with labels of which none can be used."""

    has_images: bool = True
    """False if only the images' sizes are known."""

    wanted_shares: dict[str, float] = field(default_factory=dict)
    """Requested share of the images for each split but train; empty where the data or a split file
    already defines the splits."""

    split_rows: tuple[SplitRow, ...] = ()
    """Rows for a split file; empty where the data already defines the splits."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all labels with their ids; it changes whenever one of them does."""
        return coco_fingerprint(self.name, self.classes, self.tables)

    def without_all_rejected(self) -> LabelledDataset:
        """Return it without images of whose labels none can be used.

        As true negatives, they would teach that their objects are background.
        """
        if not any(self.all_rejected.values()):
            return self
        tables = {}
        ledger = deepcopy(self.ledger)
        for split, table in self.tables.items():
            left_out = set(self.all_rejected[split])
            kept = [at for at, name in enumerate(table.names) if name not in left_out]
            tables[split] = table.select(kept)
            counts = ledger.split(split)
            counts.images -= len(left_out)
            counts.negatives -= len(left_out)
            counts.rejected_images += len(left_out)
            for name in self.all_rejected[split]:
                path = table.image_root / name
                if path.is_relative_to(self.root):
                    path = path.relative_to(self.root)
                reason = "none of its labels can be used, so it is left out"
                ledger.entries.append(
                    LedgerEntry(
                        split, path.as_posix(), 0, "rejected", "no usable label", reason, image=name
                    )
                )
        return replace(self, tables=tables, ledger=ledger, all_rejected={})

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def has_masks(self) -> bool:
        """Whether there are objects and all but crowds have polygons or a mask."""
        tables = [table for table in self.tables.values() if table.num_objects]
        return bool(tables) and all(table.has_masks for table in tables)

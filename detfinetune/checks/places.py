"""Places of findings, and the objects of all splits in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Place
from detfinetune.labels.dataset.table import LabelTable

Scalar = TypeVar("Scalar", bound=np.generic)

MOST_PLACES = 10_000
"""Places listed for one finding; its title and figures count all of them."""


class AllObjects:
    """The objects of several splits, concatenated."""

    def __init__(self, tables: Mapping[str, LabelTable]) -> None:
        """Concatenate the tables in the order of the mapping."""
        self.tables = dict(tables)
        self._splits = tuple(self.tables)
        parts = list(self.tables.values())
        self._starts = np.cumsum([0, *(table.num_objects for table in parts)])
        self._image_starts = np.cumsum([0, *(table.num_images for table in parts)])
        self.categories: NDArray[np.int32] = _joined([t.categories for t in parts], np.int32)
        """Contiguous class ids; (objects,)."""
        self.boxes: NDArray[np.float64] = _joined([t.boxes for t in parts], np.float64, 4)
        """xywh in pixels; (objects, 4)."""
        self.crowd: NDArray[np.bool_] = _joined([t.crowd for t in parts], np.bool_)
        """Whether an object is a crowd region; (objects,)."""
        self.images: NDArray[np.int64] = _joined(
            [t.image_of + first for t, first in zip(parts, self._image_starts, strict=False)],
            np.int64,
        )
        """Index of each object's image over all splits; (objects,)."""
        self.sizes_of_images: NDArray[np.int64] = _joined([t.sizes for t in parts], np.int64, 2)
        """Width and height of each image in pixels; (images, 2)."""

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def num_images(self) -> int:
        """Images of all splits."""
        return len(self.sizes_of_images)

    @property
    def image_sizes(self) -> NDArray[np.int64]:
        """Width and height in pixels of the image of each object; (objects, 2)."""
        return self.sizes_of_images[self.images]

    @property
    def areas(self) -> NDArray[np.float64]:
        """Width times height of each box in square pixels; (objects,)."""
        areas: NDArray[np.float64] = self.boxes[:, 2] * self.boxes[:, 3]
        return areas

    def category(self, index: int) -> int:
        """Return an object's contiguous class id."""
        return int(self.categories[index])

    def row(self, index: int) -> tuple[str, LabelTable, int]:
        """Return split, table and the object's row in it."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        split = self._splits[part]
        return split, self.tables[split], int(index - self._starts[part])

    def place(self, index: int, detail: str = "", other: Place | None = None) -> Place:
        """Return an object's place."""
        split, table, row = self.row(index)
        return object_place(split, table, row, detail, other)

    def places(self, indices: Iterable[int], detail: Callable[[int], str]) -> tuple[Place, ...]:
        """Return the places of objects, at most `MOST_PLACES`.

        Args:
            indices: objects.
            detail: what is wrong with an object, given its index.
        """
        first = [int(index) for index in islice(indices, MOST_PLACES)]
        return tuple(self.place(index, detail(index)) for index in first)

    def image_place(self, image: int, detail: str = "") -> Place:
        """Return an image's place, given its index over all splits."""
        part = int(np.searchsorted(self._image_starts, image, side="right")) - 1
        split = self._splits[part]
        return image_place(split, self.tables[split], int(image - self._image_starts[part]), detail)


def object_place(
    split: str, table: LabelTable, row: int, detail: str = "", other: Place | None = None
) -> Place:
    """Return the place of the object in a row of a table, with its box and polygons."""
    image = int(np.searchsorted(table.starts, row, side="right")) - 1
    x, y, width, height = table.boxes[row].tolist()
    return Place(
        split=split,
        image=table.names[image],
        label_file=table.label_files[image],
        line=int(table.lines[row]),
        detail=detail,
        box=(x, y, width, height),
        polygons=table.polygons.get(row, ()),
        category=int(table.categories[row]),
        annotation=None if table.file_annotation_ids is None else int(table.annotation_ids[row]),
        other=other,
    )


def image_place(split: str, table: LabelTable, image: int, detail: str = "") -> Place:
    """Return the place of an image of a table."""
    return Place(
        split=split,
        image=table.names[image],
        label_file=table.label_files[image],
        detail=detail,
        image_id=None if table.file_image_ids is None else int(table.image_ids[image]),
    )


def counted(count: int, one: str, many: str = "") -> str:
    """Return `1 box`, `1,200 boxes`; without `many` an s is added."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Return a share as `12 %`, with one decimal below ten percent."""
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def _joined(parts: list[NDArray[Scalar]], dtype: type[Scalar], columns: int = 0) -> NDArray[Scalar]:
    shape = (0, columns) if columns else (0,)
    return np.concatenate([np.empty(shape, dtype), *parts]).astype(dtype, copy=False)

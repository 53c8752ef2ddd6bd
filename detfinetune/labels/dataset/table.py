"""A split in columns: a million boxes take 60 MB, and each check is a few numpy calls."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.dataset.records import Annotation, ImageRecord, Polygon, RleMask


@dataclass(frozen=True, eq=False)
class LabelTable:
    """All images of a split in sorted order, and all their objects, image by image."""

    image_root: Path
    names: tuple[str, ...]
    """Image paths relative to the image root, with forward slashes."""

    label_files: tuple[str, ...]
    """For each image its label file relative to the data root; empty where it has none."""

    sizes: NDArray[np.int64]
    """Width and height of each image in pixels, after rotation by EXIF; (images, 2)."""

    starts: NDArray[np.int64]
    """Objects `starts[i]` to `starts[i + 1]` belong to image i; (images + 1,)."""

    categories: NDArray[np.int32]
    """Contiguous class id of each object; (objects,)."""

    boxes: NDArray[np.float64]
    """XYWH in pixels, inside the image up to rounding; (objects, 4)."""

    lines: NDArray[np.int32]
    """Line of the label file on which each object starts, from 1; (objects,)."""

    crowd: NDArray[np.bool_]
    """Whether an object is a crowd region; (objects,)."""

    polygons: dict[int, tuple[Polygon, ...]] = field(default_factory=dict)
    """Polygons by object, for those that have any."""

    masks: dict[int, RleMask] = field(default_factory=dict)
    """RLE masks by object, for those that have one."""

    areas: dict[int, float] = field(default_factory=dict)
    """Square pixels by object, for those whose label file gives it."""

    file_image_ids: NDArray[np.int64] | None = None
    """COCO image ids as the label file has them, (images,); None where it has none."""

    file_annotation_ids: NDArray[np.int64] | None = None
    """COCO annotation ids as the label file has them, (objects,); None where it has none."""

    file_category_ids: tuple[int | None, ...] = ()
    """COCO category ids by contiguous class id as the label file has them; None for a class that
    it does not list."""

    @cached_property
    def image_ids(self) -> NDArray[np.int64]:
        """COCO image ids: the label file's own, or numbers from 1; (images,)."""
        if self.file_image_ids is not None:
            return self.file_image_ids
        return np.arange(1, self.num_images + 1, dtype=np.int64)

    @cached_property
    def annotation_ids(self) -> NDArray[np.int64]:
        """COCO annotation ids: the label file's own, or numbers from 1; (objects,)."""
        if self.file_annotation_ids is not None:
            return self.file_annotation_ids
        return np.arange(1, self.num_objects + 1, dtype=np.int64)

    def category_ids(self, num_classes: int) -> list[int]:
        """Return COCO category ids by contiguous class id.

        They are the label file's own; a class without one gets the next free number from 1 on.
        """
        own = [*self.file_category_ids, *[None] * num_classes][:num_classes]
        free = itertools.count(max([0, *(number for number in own if number is not None)]) + 1)
        return [next(free) if number is None else number for number in own]

    @property
    def num_images(self) -> int:
        return len(self.names)

    @property
    def num_objects(self) -> int:
        return len(self.categories)

    @cached_property
    def image_of(self) -> NDArray[np.int64]:
        """Index of the image that each object belongs to; (objects,)."""
        return np.repeat(np.arange(self.num_images), np.diff(self.starts))

    def class_counts(self, num_classes: int) -> NDArray[np.int64]:
        """Return the objects of each class in each image; (images, classes)."""
        counts = np.zeros((self.num_images, max(1, num_classes)), dtype=np.int64)
        np.add.at(counts, (self.image_of, self.categories), 1)
        return counts

    @property
    def has_masks(self) -> bool:
        """Whether there are objects and all but crowds have polygons or a mask."""
        solid = np.flatnonzero(~self.crowd)
        return bool(len(solid)) and all(i in self.polygons or i in self.masks for i in solid)

    def record(self, image: int) -> ImageRecord:
        """Return one image with its annotations."""
        annotations = tuple(
            Annotation(
                int(self.categories[index]),
                (box[0], box[1], box[2], box[3]),
                self.polygons.get(index, ()),
                self.masks.get(index),
                bool(self.crowd[index]),
                int(self.lines[index]),
                self.areas.get(index),
            )
            for index, box in zip(
                range(self.starts[image], self.starts[image + 1]),
                self.boxes[self.starts[image] : self.starts[image + 1]].tolist(),
                strict=True,
            )
        )
        width, height = self.sizes[image].tolist()
        return ImageRecord(self.names[image], width, height, annotations, self.label_files[image])

    def select(self, images: Sequence[int]) -> LabelTable:
        """Return a table of some images, in the order given."""
        chosen = np.asarray(images, dtype=np.int64)
        counts = np.diff(self.starts)[chosen]
        starts = np.concatenate(([0], np.cumsum(counts)))
        # The objects of the chosen images one after the other: each image's own from its start on.
        objects = np.arange(starts[-1]) + np.repeat(self.starts[chosen] - starts[:-1], counts)
        rare = self.polygons.keys() | self.masks.keys() | self.areas.keys()
        place = {int(old): new for new, old in enumerate(objects) if old in rare} if rare else {}
        return LabelTable(
            image_root=self.image_root,
            names=tuple(self.names[i] for i in images),
            label_files=tuple(self.label_files[i] for i in images),
            sizes=self.sizes[chosen].reshape(-1, 2),
            starts=starts.astype(np.int64),
            categories=self.categories[objects],
            boxes=self.boxes[objects].reshape(-1, 4),
            lines=self.lines[objects],
            crowd=self.crowd[objects],
            polygons={place[i]: p for i, p in self.polygons.items() if i in place},
            masks={place[i]: m for i, m in self.masks.items() if i in place},
            areas={place[i]: a for i, a in self.areas.items() if i in place},
            file_image_ids=None if self.file_image_ids is None else self.file_image_ids[chosen],
            file_annotation_ids=None
            if self.file_annotation_ids is None
            else self.file_annotation_ids[objects],
            file_category_ids=self.file_category_ids,
        )

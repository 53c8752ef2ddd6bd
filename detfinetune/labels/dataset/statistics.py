"""Measures of the training images that the recipe needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.dataset.table import LabelTable


@dataclass(frozen=True, eq=False)
class DatasetStatistics:
    """Measures of the training images and their objects."""

    table: LabelTable
    """The training split."""

    num_classes: int

    @property
    def num_images(self) -> int:
        return self.table.num_images

    @cached_property
    def median_side(self) -> float:
        """Median of the images' shorter sides, pixels; 0 without images."""
        sides = np.sort(self.table.sizes.min(axis=1))
        return float(sides[len(sides) // 2]) if len(sides) else 0.0

    @cached_property
    def object_sizes(self) -> NDArray[np.float64]:
        """Square roots of box areas relative to the image's shorter side, ascending; no crowds."""
        shorter = self.box_image_sizes.min(axis=1)
        return np.sort(np.sqrt(np.prod(self.boxes[:, 2:], axis=1)) / shorter)

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """XYWH in pixels of the file, of all objects but crowds; (objects, 4)."""
        return self.table.boxes[~self.table.crowd]

    @cached_property
    def box_image_sizes(self) -> NDArray[np.int64]:
        """Width and height of the image of each of `boxes`, pixels; (objects, 2)."""
        return self.table.sizes[self.table.image_of[~self.table.crowd]]

    @cached_property
    def objects_per_image(self) -> NDArray[np.int64]:
        """Annotations of each image, ascending; (images,)."""
        return np.sort(np.diff(self.table.starts))

    @property
    def fullest_image(self) -> int:
        """Most annotations on one image."""
        return int(self.objects_per_image[-1]) if len(self.objects_per_image) else 0

    @cached_property
    def objects_of_class(self) -> NDArray[np.int64]:
        """Annotations of each class; (classes,)."""
        return np.bincount(self.table.categories, minlength=self.num_classes)

    @cached_property
    def images_of_class(self) -> NDArray[np.int64]:
        """Images with an annotation of each class; (classes,)."""
        return np.asarray((self.table.class_counts(self.num_classes) > 0).sum(axis=0))

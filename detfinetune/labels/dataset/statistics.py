"""Measures of the training images that the recipe needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detfinetune.labels.dataset.table import LabelTable


@dataclass(frozen=True)
class DatasetStatistics:
    """Measures of the training images and their objects."""

    num_images: int

    median_side: float
    """Median of the images' shorter sides, pixels."""

    object_sizes: tuple[float, ...]
    """Square roots of box areas relative to the image's shorter side, ascending."""

    objects_per_image: tuple[int, ...]
    """Annotations of each image, ascending."""

    @property
    def fullest_image(self) -> int:
        """Most annotations on one image."""
        return self.objects_per_image[-1] if self.objects_per_image else 0


def table_statistics(table: LabelTable) -> DatasetStatistics:
    """Measure a split."""
    shorter = table.sizes.min(axis=1)
    areas = table.boxes[:, 2] * table.boxes[:, 3]
    sizes = np.sort(np.sqrt(areas) / shorter[table.image_of])
    sides = np.sort(shorter)
    return DatasetStatistics(
        num_images=table.num_images,
        median_side=float(sides[len(sides) // 2]) if len(sides) else 0.0,
        object_sizes=tuple(sizes.tolist()),
        objects_per_image=tuple(np.sort(np.diff(table.starts)).tolist()),
    )

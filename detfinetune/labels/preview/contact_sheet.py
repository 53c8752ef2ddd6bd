"""A contact sheet of labels: the quickest way to see whether they were read correctly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detfinetune import console, files, pictures
from detfinetune.errors import DataError
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.preview.objects import drawn_objects

_TILE_WIDTH = 480
_LEGEND = 24


def write_label_sheet(
    path: Path,
    table: LabelTable,
    classes: Sequence[str],
    count: int,
    split: str,
) -> None:
    """Draw `count` images of a split with their labels, evenly spaced, and write a JPEG.

    One image in four at most is a true negative. Names stand on the objects where they are few;
    the legend tells the colours otherwise.
    """
    tiles = []
    for number in choose_images(table, count):
        record = table.record(number)
        try:
            image = pictures.open_image(table.image_root / record.file_name)
        except DataError as error:
            # A header can be sound and the pixels damaged; the labels are shown all the same.
            console.warn(str(error))
            continue
        objects = drawn_objects(record, classes)
        drawn = pictures.draw_objects(image, objects, scale=_TILE_WIDTH / max(image.size))
        number = len(record.annotations)
        tiles.append((drawn, f"{record.file_name}   {number} object{'s' * (number != 1)}"))
    objects_of = np.bincount(table.categories, minlength=len(classes)).tolist()
    legend = [
        (f"{classes[c]} ({objects_of[c]})", pictures.class_color(c))
        for c in sorted(range(len(classes)), key=lambda c: -objects_of[c])[:_LEGEND]
        if objects_of[c]
    ]
    title = f"{split}: {len(tiles)} of {table.num_images} images as labelled"
    sheet = pictures.contact_sheet(tiles, tile_width=_TILE_WIDTH, title=title, legend=legend)
    with files.atomic_path(path) as temporary:
        sheet.save(temporary, format="JPEG", quality=88)


def choose_images(table: LabelTable, count: int) -> list[int]:
    """Return at most `count` images, evenly spaced, mostly with objects, in their order."""
    objects = np.diff(table.starts)
    with_objects, negatives = np.flatnonzero(objects), np.flatnonzero(objects == 0)
    some = _evenly(negatives, max(count // 4, count - len(with_objects)))
    return sorted(_evenly(with_objects, count - len(some)) + some)


def _evenly(images: NDArray[np.int64], count: int) -> list[int]:
    count = min(count, len(images))
    return [int(images[index * len(images) // count]) for index in range(count)]

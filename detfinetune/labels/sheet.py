"""A contact sheet of labels: the quickest way to see whether they were read rightly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from detfinetune import console, files, pictures
from detfinetune.errors import DataError
from detfinetune.labels.records import ImageRecord

_TILE_WIDTH = 480
_MOST_TAGS = 12
_LEGEND = 24


def write_label_sheet(
    path: Path,
    image_root: Path,
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    count: int,
    split: str,
) -> None:
    """Draw `count` images of a split with their labels, evenly spaced, and write a JPEG.

    One image in four at most is a true negative. Names stand on the objects where they are few;
    the legend tells the colours otherwise.
    """
    chosen = choose_records(records, count)
    tiles = []
    for record in chosen:
        try:
            image = pictures.open_image(image_root / record.file_name)
        except DataError as error:
            # A header can be sound and the pixels damaged; the labels are shown all the same.
            console.warn(str(error))
            continue
        tags = len(classes) > 1 and len(record.annotations) <= _MOST_TAGS
        objects = [
            pictures.DrawnObject(
                annotation.bbox,
                classes[annotation.category] if tags else "",
                annotation.category,
                annotation.polygons,
            )
            for annotation in record.annotations
        ]
        drawn = pictures.draw_objects(image, objects, scale=_TILE_WIDTH / max(image.size))
        number = len(record.annotations)
        tiles.append((drawn, f"{record.file_name}   {number} object{'s' * (number != 1)}"))
    objects_of = Counter(a.category for record in records for a in record.annotations)
    legend = [
        (f"{classes[c]} ({objects_of[c]})", pictures.class_color(c))
        for c in sorted(objects_of, key=lambda c: -objects_of[c])[:_LEGEND]
    ]
    title = f"{split}: {len(tiles)} of {len(records)} images as labelled"
    sheet = pictures.contact_sheet(tiles, tile_width=_TILE_WIDTH, title=title, legend=legend)
    with files.atomic_path(path) as temporary:
        sheet.save(temporary, format="JPEG", quality=88)


def choose_records(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """Return at most `count` records, evenly spaced, mostly with objects, in their order."""
    with_objects = [record for record in records if record.annotations]
    negatives = [record for record in records if not record.annotations]
    some = _evenly(negatives, max(count // 4, count - len(with_objects)))
    chosen = _evenly(with_objects, count - len(some)) + some
    return sorted(chosen, key=lambda record: record.file_name)


def _evenly(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    count = min(count, len(records))
    return [records[index * len(records) // count] for index in range(count)]

"""Chooses sample images of each split, and crops of the objects of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.preview.objects import (
    annotation_at,
    class_name,
    drawn_object,
    drawn_objects,
)
from detfinetune.report.album import Album, Picture, Shot
from detfinetune.report.wording import by, shortened

_SAMPLE_SIDE, _SAMPLE_BYTES = 640, 90_000
_CROP_SIDE, _CROP_BYTES = 144, 8_000
_MOST_CROPS = 480
_MOST_GALLERIES = 80
_MOST_A_CLASS = 16
_EXTREMES = 2
# At most one sample in four is a negative.
_NEGATIVES = 4

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """An image with all its labels drawn."""

    split: str
    name: str
    caption: str
    alt: str
    categories: tuple[int, ...]
    negative: bool
    picture: Picture


@dataclass(frozen=True)
class Crop:
    """An object with a margin around it."""

    split: str
    name: str
    role: str
    """`smallest`, `largest`, `elongated`, or empty."""

    size: str
    alt: str
    picture: Picture


@dataclass(frozen=True)
class Gallery:
    """Crops of one class."""

    category: int
    name: str
    objects: int
    images: int
    crops: tuple[Crop, ...]


def choose_samples(dataset: LabelledDataset, count: int, album: Album) -> list[Sample]:
    """Choose at most `count` images, evenly spaced in each split, and request their pictures."""
    shares = _shares({name: table.num_images for name, table in dataset.tables.items()}, count)
    return [
        _sample(dataset, split, image, album)
        for split, share in shares.items()
        for image in _sample_images(dataset.tables[split], share)
    ]


def _shares(images: dict[str, int], count: int) -> dict[str, int]:
    """Divide `count` evenly among splits; small splits leave their rest to the others."""
    shares = dict.fromkeys(images, 0)
    for _ in range(min(count, sum(images.values()))):
        open_splits = [name for name in images if shares[name] < images[name]]
        # With equal shares, the first split (train) gets the remainder.
        shares[min(open_splits, key=lambda name: shares[name])] += 1
    return shares


def _sample_images(table: LabelTable, count: int) -> list[int]:
    numbers = np.diff(table.starts)
    labelled, negatives = np.flatnonzero(numbers), np.flatnonzero(numbers == 0)
    some = _evenly(negatives, max(count // _NEGATIVES, count - len(labelled)))
    chosen = [*_evenly(labelled, count - len(some)).tolist(), *some.tolist()]
    return sorted(chosen)


def _evenly(indices: Indices, count: int) -> Indices:
    """Return at most `count` of `indices`, evenly spaced, in their order."""
    count = min(count, len(indices))
    return indices[np.arange(count) * len(indices) // max(count, 1)]


def _sample(dataset: LabelledDataset, split: str, image: int, album: Album) -> Sample:
    table = dataset.tables[split]
    record = table.record(image)
    counts = Counter(annotation.category for annotation in record.annotations)
    listed = ", ".join(
        f"{number} {class_name(dataset.classes, category)}"
        for category, number in counts.most_common(6)
    )
    more = f", {len(counts) - 6} more classes" if len(counts) > 6 else ""
    caption = f"{listed}{more}" if counts else "negative: no objects"
    path = table.image_root / record.file_name
    shot = Shot(path, drawn_objects(record, dataset.classes), _SAMPLE_SIDE, _SAMPLE_BYTES)
    return Sample(
        split=split,
        name=record.file_name,
        caption=caption,
        alt=f"{shortened(record.file_name)} as labelled: {caption}",
        categories=tuple(sorted(counts)),
        negative=not counts,
        picture=album.add(shot),
    )


def choose_galleries(dataset: LabelledDataset, album: Album) -> list[Gallery]:
    """Choose crops of each class: the extremes, then evenly spaced objects; rarest classes last.

    With very many classes, only the most and the least frequent ones are shown.
    """
    columns = _Columns(dataset)
    counts = np.bincount(columns.categories, minlength=len(dataset.classes))
    ranked = [int(c) for c in np.argsort(-counts, kind="stable") if counts[c]]
    if len(ranked) > _MOST_GALLERIES:
        ranked = [*ranked[: _MOST_GALLERIES // 2], *ranked[-_MOST_GALLERIES // 2 :]]
    each = min(_MOST_A_CLASS, max(4, _MOST_CROPS // max(1, len(ranked))))
    return [_gallery(dataset, columns, category, each, album) for category in ranked]


class _Columns:
    """The objects of all splits without crowd regions, concatenated."""

    def __init__(self, dataset: LabelledDataset) -> None:
        self.splits = tuple(dataset.tables)
        solid = [(table, np.flatnonzero(~table.crowd)) for table in dataset.tables.values()]
        self.split = _joined([np.full(len(own), at) for at, (_, own) in enumerate(solid)])
        self.object = _joined([own for _, own in solid])
        self.categories = _joined([table.categories[own] for table, own in solid])
        self.images = _joined([table.image_of[own] for table, own in solid])
        sides = np.concatenate([np.zeros((0, 2)), *(t.boxes[own, 2:] for t, own in solid)])
        self.area = sides[:, 0] * sides[:, 1]
        self.elongation = sides.max(axis=1) / np.maximum(sides.min(axis=1), 1e-6)


def _joined(parts: Sequence[NDArray[Any]]) -> Indices:
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)


def _gallery(
    dataset: LabelledDataset, columns: _Columns, category: int, count: int, album: Album
) -> Gallery:
    own = np.flatnonzero(columns.categories == category)
    roles = _roles(columns, own, count)
    crops = [_crop(dataset, columns, at, role, album) for at, role in roles.items()]
    images = len(np.unique(columns.split[own] * 2**40 + columns.images[own]))
    name = class_name(dataset.classes, category)
    return Gallery(category, name, len(own), images, tuple(crops))


def _roles(columns: _Columns, own: Indices, count: int) -> dict[int, str]:
    """Choose objects of a class; return the role of each by its position in `columns`."""
    by_area = own[np.argsort(columns.area[own], kind="stable")]
    by_shape = own[np.argsort(-columns.elongation[own], kind="stable")]
    roles: dict[int, str] = {}
    if len(own) > count:
        for role, ordered in (
            ("smallest", by_area),
            ("largest", by_area[::-1]),
            ("elongated", by_shape),
        ):
            for at in ordered[: min(_EXTREMES, count // 4)].tolist():
                roles.setdefault(at, role)
    rest = own[~np.isin(own, list(roles))]
    for at in _evenly(rest, count - len(roles)).tolist():
        roles[at] = ""
    return roles


def _crop(dataset: LabelledDataset, columns: _Columns, at: int, role: str, album: Album) -> Crop:
    split = columns.splits[columns.split[at]]
    table = dataset.tables[split]
    image_name = table.names[columns.images[at]]
    annotation = annotation_at(table, int(columns.object[at]))
    shot = Shot(
        table.image_root / image_name,
        (drawn_object(annotation),),
        _CROP_SIDE,
        _CROP_BYTES,
        focus=annotation.bbox,
    )
    name = class_name(dataset.classes, annotation.category)
    size = by(round(annotation.bbox[2]), round(annotation.bbox[3]))
    alt = f"{role + ' ' if role else ''}{name}, {size} pixels, in {shortened(image_name)}"
    return Crop(split, image_name, role, size, alt, album.add(shot))

"""What a run of images' label files say, in columns: the part that all cores share.

Nothing here knows of classes: what stands in the class column is carried on as a token, because
only all files together tell which classes there are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detfinetune.collector import no_cycle_search
from detfinetune.errors import DataError
from detfinetune.labels.dataset.records import Polygon, RleMask
from detfinetune.labels.formats.raw_labels import BadFile, BadLabel, RawLabel
from detfinetune.labels.images.sizes import Size
from detfinetune.labels.parsing.box_rules import CheckedShape, check_boxes
from detfinetune.labels.parsing.label_schema import FileObjects, LabelSchema
from detfinetune.labels.parsing.note_sums import NoteSums, add_notes, join_sums
from detfinetune.labels.text import read_text_file

NO_ID = -(2**63)
"""Stands for the id of an object whose label file has none."""


def get_ready() -> None:
    """Do nothing: that a new process can is because it has imported all that parsing needs."""


@dataclass(frozen=True, slots=True)
class ImageJob:
    """An image whose labels are to be parsed."""

    label: str
    """Label file relative to the data root, or absolute; empty where there is none."""

    size: Size | None
    """Of the image in pixels; None where it cannot be used, which rejects all its labels."""

    objects: FileObjects | None = None
    """What a label file of many images says of this one; None: `label` is still to be read."""

    kind: str = ""
    reason: str = ""
    """Why the image cannot be used."""


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """A label that cannot be used."""

    image: int
    """Index among the images parsed together."""

    line: int
    kind: str
    reason: str
    text: str


@dataclass
class ParsedImages:
    """Objects of some images, in columns, image by image in order."""

    counts: NDArray[np.int64]
    """Objects of each image; (images,)."""

    lines_read: NDArray[np.int64]
    """Labels that each image's file holds, good and bad; (images,)."""

    blank: NDArray[np.int64]
    """Lines that say nothing of objects; (images,)."""

    bad_files: dict[int, str]
    """Why the label file of an image cannot be read at all, by image."""

    other_sizes: dict[int, Size]
    """Width and height that a label file says where the image has others, by image."""

    guessed: dict[int, str]
    """How the label file of an image was read where it is no UTF-8, by image."""

    tokens: list[str]
    """What stands in the class column, each once."""

    token_ids: NDArray[np.int32]
    """Index into `tokens` of each object; (objects,)."""

    boxes: NDArray[np.float64]
    """Left, top, width, height in pixels, inside the image; (objects, 4)."""

    lines: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    polygons: dict[int, tuple[Polygon, ...]]
    masks: dict[int, RleMask]
    areas: dict[int, float]

    ids: NDArray[np.int64]
    """The label file's own id of each object, NO_ID where it has none; (objects,)."""

    ordinals: NDArray[np.int32]
    """Place of each object among the labels of its file; (objects,)."""

    fixes: dict[int, tuple[str, str, str]]
    """Kind, reason and text of what had to be mended, by object."""

    events: list[LabelEvent]
    """Labels that cannot be used; in order of images, and within one of lines."""

    notes: NoteSums
    """What label files hold that was passed over."""

    written: NDArray[np.float64]
    """x1, y1, x2, y2 in pixels, before any mending, of every label that could be read and whose
    image is there, and its image's width and height; (labels, 6)."""


@dataclass
class _Run:
    """The labels of a run of images, while they are gathered."""

    labels: list[RawLabel] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    """Image of each label."""

    ordinals: list[int] = field(default_factory=list)
    """Place of each label in its file."""

    lines_read: list[int] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    bad_files: dict[int, str] = field(default_factory=dict)
    other_sizes: dict[int, Size] = field(default_factory=dict)
    guessed: dict[int, str] = field(default_factory=dict)
    notes: NoteSums = field(default_factory=dict)

    events: list[LabelEvent] = field(default_factory=list)


def parse_images(
    root: Path, schema: LabelSchema, reject_mended: bool, jobs: Sequence[ImageJob]
) -> ParsedImages:
    """Parse the labels of some images, and judge their geometry.

    Args:
        root: the data root, that label files are relative to.
        reading: how labels are read.
        reject_mended: reject what would have to be mended.
        jobs: the images.
    """
    with no_cycle_search():
        return _parse_images(root, schema, reject_mended, jobs)


def _parse_images(
    root: Path, schema: LabelSchema, reject_mended: bool, jobs: Sequence[ImageJob]
) -> ParsedImages:
    run = _Run()
    for image, job in enumerate(jobs):
        try:
            found = job.objects or _read(root, schema, job)
        except BadFile as problem:
            run.bad_files[image] = str(problem)
            run.events.append(
                LabelEvent(image, problem.line, "unreadable label file", str(problem), "")
            )
            run.lines_read.append(1)
            run.blank.append(0)
            continue
        run.lines_read.append(len(found.labels) + len(found.problems))
        run.blank.append(found.blank)
        add_notes(run.notes, found.notes)
        if found.note:
            run.guessed[image] = found.note
        if found.size and job.size and found.size != job.size:
            run.other_sizes[image] = found.size
        run.events += [
            LabelEvent(image, bad.line, bad.kind, bad.reason, bad.text) for bad in found.problems
        ]
        if job.size is None:
            run.events += [
                LabelEvent(image, label.line, job.kind, job.reason, label.text)
                for label in found.labels
            ]
        else:
            run.labels += found.labels
            run.images += [image] * len(found.labels)
            run.ordinals += range(len(found.labels))
    return _judged(schema, reject_mended, jobs, run)


def _read(root: Path, schema: LabelSchema, job: ImageJob) -> FileObjects:
    if not job.label:
        return FileObjects([], [])
    try:
        file = read_text_file(os.path.join(root, job.label))  # noqa: PTH118
    except DataError as error:
        raise BadFile(str(error)) from None
    found = schema.read(file)
    found.note = file.note
    return found


def _judged(
    schema: LabelSchema, reject_mended: bool, jobs: Sequence[ImageJob], run: _Run
) -> ParsedImages:
    labels = run.labels
    images = np.array(run.images, dtype=np.int64)
    all_sizes = np.array([job.size or (0, 0) for job in jobs], dtype=np.float64).reshape(-1, 2)
    sizes = all_sizes[images]
    corners = np.array([label.corners for label in labels], dtype=np.float64).reshape(-1, 4)
    corners = schema.to_pixels(corners, sizes, [label.form for label in labels])
    boxes, keep = check_boxes(corners, sizes)
    with_polygons = [i for i, label in enumerate(labels) if label.polygons or label.mask]
    polygons: dict[int, tuple[Polygon, ...]] = {}
    fixes: dict[int, tuple[str, str, str]] = {}
    for index in sorted({*with_polygons, *np.flatnonzero(~keep).tolist()}):
        label, image = labels[index], run.images[index]
        width, height = (int(value) for value in sizes[index])
        try:
            shape = _shape(schema, label, width, height)
            if shape.fixes and reject_mended:
                raise BadLabel(shape.fixes[0][0], "; ".join(reason for _, reason in shape.fixes))
        except BadLabel as problem:
            keep[index] = False
            run.events.append(LabelEvent(image, label.line, problem.kind, str(problem), label.text))
            continue
        keep[index] = True
        boxes[index] = shape.bbox
        if shape.polygons:
            polygons[index] = shape.polygons
        if label.xywh is not None and not shape.fixes:
            polygons |= {index: label.polygons} if label.polygons else {}
        if shape.fixes:
            label.area = None  # it was the area of what has been changed
            kinds, reasons = (" + ".join(parts) for parts in zip(*shape.fixes, strict=True))
            fixes[index] = (kinds, reasons, label.text)
    if not (schema.normalized or schema.first_pixel):
        for index, label in enumerate(labels):
            if label.xywh is not None and keep[index] and index not in fixes:
                boxes[index] = label.xywh
    kept = np.flatnonzero(keep)
    place = {int(old): new for new, old in enumerate(kept)} if polygons or fixes else {}
    vocabulary: dict[str, int] = {}
    token_ids = [
        vocabulary.setdefault(labels[i].class_token, len(vocabulary)) for i in kept.tolist()
    ]
    run.events.sort(key=lambda event: (event.image, event.line))
    return ParsedImages(
        counts=np.bincount(images[kept], minlength=len(jobs)).astype(np.int64),
        lines_read=np.array(run.lines_read, dtype=np.int64),
        blank=np.array(run.blank, dtype=np.int64),
        bad_files=run.bad_files,
        other_sizes=run.other_sizes,
        guessed=run.guessed,
        tokens=list(vocabulary),
        token_ids=np.array(token_ids, dtype=np.int32),
        boxes=boxes[kept],
        lines=np.array([label.line for label in labels], dtype=np.int32)[kept],
        crowd=np.array([label.crowd for label in labels], dtype=bool)[kept],
        polygons={place[i]: outlines for i, outlines in polygons.items()},
        masks={
            new: mask for new, old in enumerate(kept.tolist())
            if (mask := labels[old].mask) is not None
        },
        areas={
            new: area for new, old in enumerate(kept.tolist())
            if (area := labels[old].area) is not None
        },
        ids=np.array(
            [NO_ID if label.identity is None else label.identity for label in labels], np.int64
        )[kept],
        ordinals=np.array(run.ordinals, dtype=np.int32)[kept],
        fixes={place[i]: fix for i, fix in fixes.items()},
        events=run.events,
        notes=run.notes,
        written=np.concatenate((corners, sizes), axis=1),
    )  # fmt: skip


def _shape(schema: LabelSchema, label: RawLabel, width: int, height: int) -> CheckedShape:
    if label.mask is not None and label.mask.size != (height, width):
        said = label.mask.size
        raise BadLabel(
            "mask of another size",
            f"the mask is {said[1]}x{said[0]} px, the image {width}x{height}",
        )
    return schema.shape(label, width, height)


def join_parsed(parts: Sequence[ParsedImages]) -> ParsedImages:
    """Return several runs as one, images in their order."""
    vocabulary: dict[str, int] = {}
    token_ids, events = [], []
    bad_files: dict[int, str] = {}
    other_sizes: dict[int, Size] = {}
    guessed: dict[int, str] = {}
    polygons: dict[int, tuple[Polygon, ...]] = {}
    masks: dict[int, RleMask] = {}
    areas: dict[int, float] = {}
    fixes: dict[int, tuple[str, str, str]] = {}
    images = objects = 0
    for part in parts:
        ids = [vocabulary.setdefault(token, len(vocabulary)) for token in part.tokens]
        token_ids.append(np.array(ids, dtype=np.int32)[part.token_ids])
        events += [
            LabelEvent(e.image + images, e.line, e.kind, e.reason, e.text) for e in part.events
        ]
        bad_files |= {image + images: reason for image, reason in part.bad_files.items()}
        other_sizes |= {image + images: size for image, size in part.other_sizes.items()}
        guessed |= {image + images: note for image, note in part.guessed.items()}
        polygons |= {index + objects: value for index, value in part.polygons.items()}
        masks |= {index + objects: value for index, value in part.masks.items()}
        areas |= {index + objects: value for index, value in part.areas.items()}
        fixes |= {index + objects: value for index, value in part.fixes.items()}
        images += len(part.counts)
        objects += len(part.lines)

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    return ParsedImages(
        counts=joined("counts"),
        lines_read=joined("lines_read"),
        blank=joined("blank"),
        bad_files=bad_files,
        other_sizes=other_sizes,
        guessed=guessed,
        tokens=list(vocabulary),
        token_ids=np.concatenate(token_ids),
        boxes=joined("boxes"),
        lines=joined("lines"),
        crowd=joined("crowd"),
        polygons=polygons,
        masks=masks,
        areas=areas,
        ids=joined("ids"),
        ordinals=joined("ordinals"),
        fixes=fixes,
        events=events,
        notes=join_sums(part.notes for part in parts),
        written=joined("written"),
    )

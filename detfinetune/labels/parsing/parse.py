"""Label files of many images -> columns of objects, each object checked against its image.

What stands in the class column is kept as a token: only all files together tell which classes
there are.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detfinetune import console
from detfinetune.errors import DataError
from detfinetune.labels.dataset.records import Polygon, RleMask
from detfinetune.labels.formats.raw_labels import BadFile, BadLabel, Form, RawLabel
from detfinetune.labels.images.sizes import Size
from detfinetune.labels.parsing.box_rules import CheckedShape, check_boxes
from detfinetune.labels.parsing.label_schema import FileObjects, LabelSchema
from detfinetune.labels.text import read_text_file

NO_ID = -(2**63)
"""Stands for the id of an object whose label file has none."""

_MANY_FILES = 2000
"""Label files from which on a progress bar is shown."""


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
    identity: int | None = None
    """The label's own id, as in `RawLabel`."""


@dataclass
class LabelFiles:
    """What label files hold, before their objects are checked."""

    labels: list[RawLabel] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    """Image of each label."""

    lines_read: list[int] = field(default_factory=list)
    """Labels that each image's file holds, good and bad."""

    blank: list[int] = field(default_factory=list)
    """Lines of each image's file that hold no object."""

    bad_files: dict[int, str] = field(default_factory=dict)
    """Why the label file of an image cannot be read at all, by image."""

    other_sizes: dict[int, Size] = field(default_factory=dict)
    """Width and height that a label file states where the image has others, by image."""

    guessed: dict[int, str] = field(default_factory=dict)
    """How the label file of an image was decoded where it is not UTF-8, by image."""

    tally: Counter[str] = field(default_factory=Counter)
    """What label files hold that was ignored or read in another way, with its count."""

    events: list[LabelEvent] = field(default_factory=list)
    """Labels that cannot be used; in the end in order of images, then lines."""


@dataclass
class ParsedImages:
    """Objects in columns, image by image in order; those that cannot be used are left out."""

    files: LabelFiles
    labels: list[RawLabel]
    """Each object as its file gives it."""

    counts: NDArray[np.int64]
    """Objects of each image; (images,)."""

    tokens: list[str]
    """What stands in the class column, each once."""

    token_ids: NDArray[np.int32]
    """Index into `tokens` of each object; (objects,)."""

    boxes: NDArray[np.float64]
    """Left, top, width, height in pixels; (objects, 4)."""

    lines: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    polygons: dict[int, tuple[Polygon, ...]]
    masks: dict[int, RleMask]
    areas: dict[int, float]

    ids: NDArray[np.int64]
    """The label file's own id of each object, NO_ID where it has none; (objects,)."""

    fixes: dict[int, tuple[str, str, str]]
    """Kind, reason and text of what was fixed, by object."""

    written: NDArray[np.float64]
    """x1, y1, x2, y2 in pixels before any fix, of every label that could be read and whose image
    is there, and its image's width and height; (labels, 6)."""

    forms: Counter[Form]
    """How the files give the boxes of these labels."""


def parse_images(
    root: Path, schema: LabelSchema, reject_fixable: bool, jobs: Sequence[ImageJob]
) -> ParsedImages:
    """Parse the labels of images and check each object against its image.

    Args:
        root: the data root, which label files are relative to.
        schema: how labels are read.
        reject_fixable: reject what would otherwise be fixed.
        jobs: the images.
    """
    return _checked(schema, reject_fixable, jobs, _read_files(root, schema, jobs))


def _read_files(root: Path, schema: LabelSchema, jobs: Sequence[ImageJob]) -> LabelFiles:
    files = LabelFiles()
    for image, job in enumerate(_with_progress(jobs)):
        try:
            found = job.objects or _read_file(root, schema, job)
        except BadFile as problem:
            files.bad_files[image] = str(problem)
            files.events.append(
                LabelEvent(image, problem.line, "unreadable label file", str(problem), "")
            )
            files.lines_read.append(1)
            files.blank.append(0)
            continue
        files.lines_read.append(len(found.labels) + len(found.problems))
        files.blank.append(found.blank)
        files.tally.update(found.tally)
        if found.note:
            files.guessed[image] = found.note
        if found.size and job.size and found.size != job.size:
            files.other_sizes[image] = found.size
        files.events += [
            LabelEvent(image, bad.line, bad.kind, bad.reason, bad.text, bad.identity)
            for bad in found.problems
        ]
        if job.size is None:
            files.events += [
                LabelEvent(image, label.line, job.kind, job.reason, label.text, label.identity)
                for label in found.labels
            ]
        else:
            files.labels += found.labels
            files.images += [image] * len(found.labels)
    return files


def _with_progress(jobs: Sequence[ImageJob]) -> Iterable[ImageJob]:
    if sum(job.objects is None for job in jobs) < _MANY_FILES:
        return jobs
    bar: Iterable[ImageJob] = console.progress(jobs, description="reading labels", unit="image")
    return bar


def _read_file(root: Path, schema: LabelSchema, job: ImageJob) -> FileObjects:
    if not job.label:
        return FileObjects([], [])
    try:
        file = read_text_file(os.path.join(root, job.label))  # noqa: PTH118
    except DataError as error:
        raise BadFile(str(error)) from None
    found = schema.read(file)
    found.note = file.note
    return found


def _checked(
    schema: LabelSchema, reject_fixable: bool, jobs: Sequence[ImageJob], files: LabelFiles
) -> ParsedImages:
    labels = files.labels
    images = np.array(files.images, dtype=np.int64)
    all_sizes = np.array([job.size or (0, 0) for job in jobs], dtype=np.float64).reshape(-1, 2)
    sizes = all_sizes[images]
    xyxy = schema.to_pixels(labels, sizes)
    boxes, keep = check_boxes(xyxy, sizes)
    polygons: dict[int, tuple[Polygon, ...]] = {}
    fixes: dict[int, tuple[str, str, str]] = {}
    verbatim = not (schema.normalized or schema.first_pixel)
    # Plain boxes that need no fix are done; each other object is looked at alone.
    special = {i for i, label in enumerate(labels) if label.polygons or label.mask}
    for index in sorted({*special, *np.flatnonzero(~keep).tolist()}):
        label, image = labels[index], files.images[index]
        width, height = (int(value) for value in sizes[index])
        try:
            shape = _shape(schema, label, width, height)
            if shape.fixes and reject_fixable:
                raise BadLabel(shape.fixes[0][0], "; ".join(reason for _, reason in shape.fixes))
        except BadLabel as problem:
            keep[index] = False
            files.events.append(
                LabelEvent(
                    image, label.line, problem.kind, str(problem), label.text, label.identity
                )
            )
            continue
        keep[index] = True
        boxes[index] = shape.bbox
        if shape.polygons:
            as_written = verbatim and label.exact_xywh is not None and not shape.fixes
            polygons[index] = label.polygons if as_written else shape.polygons
        if shape.fixes:
            label.area = None  # it was the area of what has been changed
            kinds, reasons = (" + ".join(parts) for parts in zip(*shape.fixes, strict=True))
            fixes[index] = (kinds, reasons, label.text)
    if verbatim:
        for index, label in enumerate(labels):
            if label.exact_xywh is not None and keep[index] and index not in fixes:
                boxes[index] = label.exact_xywh
    files.events.sort(key=lambda event: (event.image, event.line))
    written = np.concatenate((xyxy, sizes), axis=1)
    return _columns(files, np.flatnonzero(keep), boxes, polygons, fixes, written)


def _columns(
    files: LabelFiles,
    kept: NDArray[np.int64],
    boxes: NDArray[np.float64],
    polygons: dict[int, tuple[Polygon, ...]],
    fixes: dict[int, tuple[str, str, str]],
    written: NDArray[np.float64],
) -> ParsedImages:
    """Return the kept labels; `boxes`, `polygons` and `fixes` are by position among all."""
    labels = [files.labels[index] for index in kept.tolist()]
    place = {old: new for new, old in enumerate(kept.tolist())} if polygons or fixes else {}
    vocabulary: dict[str, int] = {}
    token_ids = [vocabulary.setdefault(label.class_token, len(vocabulary)) for label in labels]
    images = np.array(files.images, dtype=np.int64)[kept]
    ids = [NO_ID if label.identity is None else label.identity for label in labels]
    return ParsedImages(
        files=files,
        labels=labels,
        counts=np.bincount(images, minlength=len(files.lines_read)).astype(np.int64),
        tokens=list(vocabulary),
        token_ids=np.array(token_ids, dtype=np.int32),
        boxes=boxes[kept],
        lines=np.array([label.line for label in labels], dtype=np.int32),
        crowd=np.array([label.crowd for label in labels], dtype=bool),
        polygons={place[index]: shape for index, shape in polygons.items()},
        masks={i: label.mask for i, label in enumerate(labels) if label.mask is not None},
        areas={i: label.area for i, label in enumerate(labels) if label.area is not None},
        ids=np.array(ids, dtype=np.int64),
        fixes={place[index]: fix for index, fix in fixes.items()},
        written=written,
        forms=Counter(label.form for label in files.labels if label.has_box),
    )


def _shape(schema: LabelSchema, label: RawLabel, width: int, height: int) -> CheckedShape:
    if label.mask is not None and label.mask.size != (height, width):
        mask_height, mask_width = label.mask.size
        raise BadLabel(
            "mask of another size",
            f"the mask is {mask_width}x{mask_height} px, the image {width}x{height}",
        )
    return schema.shape(label, width, height)

"""One split on disk: its files, their labels, and which of them can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.class_names import ClassIndex
from detfinetune.labels.discovery.discovered import (
    DiscoveredDataset,
    ImageFile,
    SplitFiles,
    shown_path,
)
from detfinetune.labels.formats.raw_labels import BadLabel
from detfinetune.labels.images.sizes import Size, UnreadableImage
from detfinetune.labels.parsing.label_schema import FileObjects, LabelSchema
from detfinetune.labels.parsing.parse import NO_ID, ImageJob, LabelEvent, ParsedImages

V = TypeVar("V")


@dataclass
class SourceSplit:
    """A split's images, then its labels without an image."""

    root: Path
    """The data root."""

    files: SplitFiles
    schema: LabelSchema
    jobs: list[ImageJob]
    unreadable: dict[int, str]
    """Why an image cannot be read, by job."""

    parsed: ParsedImages | None = None
    categories: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """Class id of each parsed object, -1 for none; (objects,)."""

    keep: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    """Which parsed objects can be used; (objects,)."""

    events: list[LabelEvent] = field(default_factory=list)
    """Labels that cannot be used."""

    category_ids: tuple[int | None, ...] = ()
    """COCO category ids by class id, where the label file has them."""

    @property
    def found(self) -> ParsedImages:
        """The parsed labels."""
        if self.parsed is None:
            raise RuntimeError("the labels of this split are not parsed yet")
        return self.parsed

    @cached_property
    def image_of(self) -> NDArray[np.int64]:
        """Job that each parsed object belongs to; (objects,)."""
        return np.repeat(np.arange(len(self.jobs)), self.found.counts)

    def image_name(self, job: int) -> str:
        """Return the name of a job's image; empty for labels without an image."""
        return self.files.images[job].name if job < len(self.files.images) else ""

    @property
    def usable(self) -> list[int]:
        """Jobs whose image and label file can be read."""
        bad = self.found.files.bad_files
        return [
            job for job in range(len(self.files.images))
            if job not in self.unreadable and job not in bad
        ]  # fmt: skip

    @property
    def usable_names(self) -> list[str]:
        """Names of the images of these jobs."""
        return [self.image_name(job) for job in self.usable]

    def settle_classes(self, index: ClassIndex) -> None:
        """Give each object its class id; reject objects without a class, and duplicates."""
        found = self.found
        ids, problems = [], {}
        for number, token in enumerate(found.tokens):
            try:
                ids.append(index.contiguous_id(token))
            except BadLabel as problem:
                ids.append(-1)
                problems[number] = problem
        own: dict[int, int] = {}
        for name, number in self.files.category_ids.items():
            with suppress(BadLabel):
                own.setdefault(index.contiguous_id(name), number)
        self.category_ids = tuple(own.get(i) for i in range(len(index.names))) if own else ()
        table = np.array([*ids, -1], dtype=np.int32)
        self.categories = table[found.token_ids]
        self.keep = self.categories >= 0
        self.events = list(found.files.events)
        for position in np.flatnonzero(~self.keep).tolist():
            why = problems[int(found.token_ids[position])]
            self._reject(position, why.kind, str(why))
        for position, first in self._repeated():
            self.keep[position] = False
            known = self.found.labels[first].identity
            other = f"line {self.found.lines[first]}" if known is None else f"annotation {known}"
            self._reject(position, "duplicate", f"the same object as {other}")
        self.events.sort(key=lambda event: (event.image, event.line))

    @property
    def all_rejected(self) -> list[str]:
        """Images with labels of which none can be used."""
        used = set(self.image_of[self.keep].tolist())
        jobs = sorted({event.image for event in self.events} - used)
        return [name for job in jobs if (name := self.image_name(job))]

    def _reject(self, position: int, kind: str, reason: str) -> None:
        image = int(self.image_of[position])
        line = int(self.found.lines[position])
        label = self.found.labels[position]
        self.events.append(LabelEvent(image, line, kind, reason, label.text, label.identity))

    def _repeated(self) -> list[tuple[int, int]]:
        """Return the duplicates, each with the object that it repeats."""
        found = self.found
        if not len(found.lines):
            return []
        kept = np.flatnonzero(self.keep)
        rows = np.column_stack((self.image_of, self.categories, found.boxes))[kept]
        _, inverse, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        groups: dict[tuple[object, ...], int] = {}
        repeated = []
        for position in kept[counts[inverse.ravel()] > 1].tolist():
            same = (
                int(self.image_of[position]), int(self.categories[position]),
                tuple(found.boxes[position]), found.polygons.get(position),
                found.masks.get(position), bool(found.crowd[position]),
            )  # fmt: skip
            if same in groups:
                repeated.append((position, groups[same]))
            else:
                groups[same] = position
        return repeated

    def table(self) -> LabelTable:
        """Return the usable images with their objects."""
        found, jobs = self.found, self.usable
        kept = np.flatnonzero(self.keep)
        rare = found.polygons.keys() | found.masks.keys() | found.areas.keys()
        place = {int(old): new for new, old in enumerate(kept) if old in rare} if rare else {}
        per_job = np.bincount(self.image_of[kept], minlength=len(self.jobs))
        sizes = [self.jobs[job].size for job in jobs]
        return LabelTable(
            image_root=self.files.image_root,
            names=tuple(self.files.images[job].name for job in jobs),
            label_files=tuple(self.jobs[job].label for job in jobs),
            sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
            starts=np.concatenate(([0], np.cumsum(per_job[jobs]))).astype(np.int64),
            categories=self.categories[kept],
            boxes=found.boxes[kept],
            lines=found.lines[kept],
            crowd=found.crowd[kept],
            polygons=_moved(found.polygons, place),
            masks=_moved(found.masks, place),
            areas=_moved(found.areas, place),
            file_image_ids=_own_ids([_identity(self.files.images[job]) for job in jobs]),
            file_annotation_ids=_own_ids(found.ids[kept].tolist()),
            file_category_ids=self.category_ids,
        )


def _identity(image: ImageFile) -> int:
    own = image.raw.identity if image.raw is not None else None
    return NO_ID if own is None else own


def _own_ids(ids: list[int]) -> NDArray[np.int64] | None:
    """Return a file's own ids; None where one is missing or there twice, so that all are new."""
    if NO_ID in ids or len(set(ids)) < len(ids) or not ids:
        return None
    return np.array(ids, dtype=np.int64)


def _moved(values: Mapping[int, V], place: Mapping[int, int]) -> dict[int, V]:
    return {place[index]: value for index, value in values.items() if index in place}


def source_split(
    discovered: DiscoveredDataset,
    files: SplitFiles,
    schema: LabelSchema,
    sizes: Sequence[Size | UnreadableImage],
) -> SourceSplit:
    """Return a split before its labels are parsed; `sizes` are those of its images."""
    jobs, unreadable = [], {}
    for number, (image, size) in enumerate(zip(files.images, sizes, strict=True)):
        if isinstance(size, UnreadableImage):
            path = files.image_root / image.name
            unreadable[number] = str(size)
            reason = f"its image {shown_path(path, discovered.root)} cannot be read"
            jobs.append(_job(image, None, "unreadable image", reason))
        else:
            jobs.append(_job(image, size))
    for orphan in files.orphans:
        if orphan.name:
            jobs.append(_job(orphan, None, "missing image", f"there is no image '{orphan.name}'"))
        else:
            jobs.append(_job(orphan, None, "no image", "there is no image for this label file"))
    return SourceSplit(discovered.root, files, schema, jobs, unreadable)


def _job(image: ImageFile, size: Size | None, kind: str = "", reason: str = "") -> ImageJob:
    raw = image.raw
    objects = FileObjects(raw.labels, raw.problems, size=raw.size) if raw is not None else None
    return ImageJob(image.label, size, objects, kind, reason)

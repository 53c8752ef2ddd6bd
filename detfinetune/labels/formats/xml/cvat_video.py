"""CVAT for video: tracks of shapes, frame by frame, as the images that the frames are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from detfinetune.labels.formats.raw_labels import Document, RawImage, RawLabel, RawProblem
from detfinetune.labels.formats.xml.cvat_shapes import read_shape
from detfinetune.labels.formats.xml.xml_text import one_line, whole_pixels

MOST_FRAMES = 2_000_000
"""A file that claims more frames than this (a day at 25 a second) is wrong: images are made only of
its frames with objects."""

_NOT_OBJECTS = ("tag", "attribute", "image", "track")
_WHOLE = re.compile(r"\s*\d{1,9}\s*", re.ASCII)


@dataclass(frozen=True)
class _Task:
    """A video of the file: a project holds several."""

    folder: str
    """Prefix of the names of its frames; empty where the file holds one task."""

    split: str
    size: tuple[int, int] | None
    frames: range
    """As the file gives them."""


def outside(shape: Element) -> bool:
    """Whether a shape of a track is marked as not in the frame."""
    return (shape.get("outside") or "").strip().lower() in ("1", "true")


class Video:
    """What the head of a file says of its videos, and the frames that are read from tracks."""

    def __init__(self, root: Element) -> None:
        """Read the `<meta>` of the file."""
        metas = root.findall("meta")
        tasks = [t for meta in metas for t in meta.iter("task")]
        tasks = tasks or [j for meta in metas for j in meta.iter("job")]
        # Some files give the size beside the task.
        around = next((s for meta in metas for s in meta.findall("original_size")), None)
        folders = _folders(tasks)
        self._tasks = {
            _text(task, "id"): _read_task(task, folder, around)
            for task, folder in zip(tasks, folders, strict=True)
        }
        self._only = next(iter(self._tasks.values())) if len(self._tasks) == 1 else None
        self._frames: dict[tuple[_Task, int], RawImage] = {}
        self.is_interpolated = any(_text(task, "mode") == "interpolation" for task in tasks)
        """Whether the file is of a video."""

    def read(self, tracks: list[Element], lines: dict[Element, int], document: Document) -> None:
        """Add every frame, with its shapes, to the document."""
        gaps = 0
        for track in tracks:
            gaps += self._read_track(track, lines, document)
        claimed = sum(len(task.frames) for task in self._tasks.values())
        if claimed <= MOST_FRAMES:
            for task in self._tasks.values():
                for frame in task.frames:
                    self._image(task, frame)
        if not 0 < claimed <= MOST_FRAMES:
            document.notes.append(
                f"the file says {claimed or 'nowhere how many'} frames there are; those without "
                "objects are ignored"
            )
        if gaps:
            document.notes.append(
                f"{gaps} gaps in tracks: frames between two shapes of a track hold none of it, "
                "and the object may be there unlabelled; export with interpolated frames"
            )
        keys = sorted(self._frames, key=lambda key: (key[0].folder, key[1]))
        document.images.extend(self._frames[key] for key in keys)

    def _read_track(self, track: Element, lines: dict[Element, int], document: Document) -> int:
        """Add the shapes of a track to their frames; return how many gaps it has."""
        task = self._task_of(track)
        label = track.get("label")
        gaps, before = 0, None
        for shape in track:
            if shape.tag in _NOT_OBJECTS:
                continue
            text = shape.get("frame") or ""
            frame = int(text) if _WHOLE.fullmatch(text) else None
            if before is not None and frame is not None and frame > before + task.frames.step:
                gaps += 1
            before = None if outside(shape) else frame
            if outside(shape):
                continue
            read = read_shape(shape, label, lines[shape], task.size)
            if frame is None:
                reason = f"its frame is '{one_line(text)}', not a whole number"
                document.problems.append(RawProblem(read.line, "no frame", reason, read.text))
                continue
            image = self._image(task, frame)
            if isinstance(read, RawLabel):
                image.labels.append(read)
            else:
                image.problems.append(read)
        return gaps

    def _task_of(self, track: Element) -> _Task:
        """Return the task that a track names, or the only one there is."""
        if self._only is not None:
            return self._only
        key = (track.get("task_id") or "").strip()
        if key not in self._tasks:
            self._tasks[key] = _Task(f"task_{key}/" if key else "", "", None, range(0))
        return self._tasks[key]

    def _image(self, task: _Task, frame: int) -> RawImage:
        if (task, frame) not in self._frames:
            name = f"{task.folder}frame_{frame:06d}"
            self._frames[task, frame] = RawImage(name, size=task.size, split=task.split)
        return self._frames[task, frame]


def _folders(tasks: list[Element]) -> list[str]:
    """Return the prefix of the names of each task's frames: its own name, made unique."""
    if len(tasks) < 2:
        return [""] * len(tasks)
    names = [_text(task, "name").replace("\\", "/").strip("/") for task in tasks]
    return [
        f"{name}/" if name and names.count(name) == 1 else f"{name or 'task'}_{_text(task, 'id')}/"
        for name, task in zip(names, tasks, strict=True)
    ]


def _read_task(task: Element, folder: str, around: Element | None) -> _Task:
    size = task.find("original_size")
    size = around if size is None else size
    width = whole_pixels(size.findtext("width")) if size is not None else 0
    height = whole_pixels(size.findtext("height")) if size is not None else 0
    step = re.fullmatch(r"step\s*=\s*(\d{1,6})", _text(task, "frame_filter"), re.ASCII)
    first, last = _text(task, "start_frame"), _text(task, "stop_frame")
    if not (_WHOLE.fullmatch(first) and _WHOLE.fullmatch(last)):
        # Files of before 2019 say only how many there are.
        count = _text(task, "size")
        first, last = "0", str(int(count) - 1) if _WHOLE.fullmatch(count) else "-1"
    frames = range(int(first), int(last) + 1, max(1, int(step[1])) if step else 1)
    return _Task(
        folder,
        _text(task, "subset"),
        (width, height) if width and height else None,
        frames,
    )


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()

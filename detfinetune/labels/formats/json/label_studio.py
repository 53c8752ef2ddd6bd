"""Label Studio: its JSON export, a list of tasks."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from detfinetune.labels.formats.json.json_text import JsonReader, paths_in
from detfinetune.labels.formats.json.json_values import (
    clean,
    last_component,
    one_line,
    shown,
)
from detfinetune.labels.formats.json.label_studio_regions import image_size, read_regions
from detfinetune.labels.formats.raw_labels import BadFile, Document, RawImage, RawLabel, RawProblem

_IMAGE = re.compile(r"\.(jpe?g|png|bmp|tiff?|webp|gif)$", re.IGNORECASE)
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
_MIN_KEYS = {"annotation_id", "annotator", "lead_time"}
_NOTES = {
    "odd": "entries that are not tasks, or not annotations with results, ignored",
    "unlabelled": "tasks without an annotation, ignored because they are not labelled yet",
    "only cancelled": "tasks that were skipped in Label Studio, ignored",
    "others": "annotations ignored because they were cancelled, or because their task has "
    "several; the one marked ground_truth is read, else the newest",
    "other objects": "entries in the annotations ignored",
    "predictions": "predictions of models, ignored",
    "no regions": "entries that are not regions (choices, texts, relations), ignored",
    "parts": "entries that repeat a region under its id, ignored",
}


def detect_label_studio(head: str) -> str:
    """Return by what the beginning of a file (4,000 characters will do) shows Label Studio."""
    found = paths_in(head)
    if {path[0] for path in found} != {"[]"}:
        return ""
    keys = {path[1] for path in found if len(path) == 2}
    if ("[]", "annotations", "[]", "result") in found or {"data", "annotations"} <= keys:
        return "JSON list of tasks with annotations"
    return "JSON list with annotation_id and annotator (JSON-MIN)" if keys >= _MIN_KEYS else ""


def parse_label_studio(text: str) -> Document:
    """Read a Label Studio export; coordinates become normalized.

    Of several annotations of a task one is read: that marked `ground_truth`, else the newest that
    was not cancelled. Tasks that nobody labelled are left out. Notes count all that was ignored.

    Raises:
        BadFile: not valid JSON, or another kind of JSON.
    """
    tally: Counter[str] = Counter()
    document = Document(normalized=True)
    for task in _read_tasks(text, tally):
        annotation = _choose(task, tally)
        if annotation is None:
            continue
        regions = read_regions(annotation.results, task.name, tally)
        if task.image:
            image = RawImage(task.image, size=image_size(annotation.results), line=task.line)
            image.labels = [entry for entry in regions if isinstance(entry, RawLabel)]
            image.problems = [entry for entry in regions if isinstance(entry, RawProblem)]
            document.images.append(image)
        else:
            document.problems += map(_without_image, regions)
    document.notes = [f"{text}: {tally[key]}" for key, text in _NOTES.items() if tally[key]]
    return document


@dataclass
class _Annotation:
    """What one annotator did with a task."""

    results: list[tuple[int, Any]] = field(default_factory=list)
    """Line and value of each entry."""

    values: dict[str, Any] = field(default_factory=dict)

    @property
    def when(self) -> str:
        """Time of the last change; Label Studio's times sort as text."""
        times = (self.values.get("updated_at"), self.values.get("created_at"))
        return next((time for time in times if isinstance(time, str)), "")


@dataclass
class _Task:
    line: int
    name: str
    image: str
    annotations: list[_Annotation]


def _read_tasks(text: str, tally: Counter[str]) -> list[_Task]:
    reader = JsonReader(text)
    if reader.kind != "a list":
        raise BadFile(f"the JSON is {reader.kind}; Label Studio's is a list of tasks", reader.line)
    tasks: list[_Task] = []
    keys: dict[str, None] = {}
    for line in reader.items():
        if reader.kind != "an object":
            tally["odd"] += 1
            continue
        values: dict[str, Any] = {}
        annotations: list[_Annotation] = []
        for key in reader.members():
            if key == "annotations" and reader.kind == "a list":
                annotations += _read_annotations(reader, tally)
            else:
                values[key] = reader.value()
        keys |= dict.fromkeys(values)
        data = values.get("data")
        if not annotations and not isinstance(data, dict):
            tally["odd"] += 1
            continue
        predictions = values.get("predictions")
        tally["predictions"] += len(predictions) if isinstance(predictions, list) else 0
        identity, upload = values.get("id"), values.get("file_upload")
        tasks.append(
            _Task(
                line,
                f"task {shown(identity)}" if type(identity) in (int, str) else "task",
                _image_name(_image_of(data), upload if isinstance(upload, str) else ""),
                annotations,
            )
        )
    reader.end()
    if not tasks:
        if keys.keys() >= _MIN_KEYS:
            raise BadFile("this is Label Studio's JSON-MIN; export the project as JSON instead", 1)
        listed = one_line(", ".join(map(clean, list(keys)[:20]))) or "nothing"
        raise BadFile(
            f"the entries of this list have {listed}; Label Studio's tasks have data and "
            "annotations",
            1,
        )
    return tasks


def _read_annotations(reader: JsonReader, tally: Counter[str]) -> list[_Annotation]:
    """Return the annotations that have a list of results."""
    annotations = []
    for _ in reader.items():
        if reader.kind != "an object":
            tally["odd"] += 1
            continue
        annotation, has_results = _Annotation(), False
        for key in reader.members():
            if key == "result" and reader.kind == "a list":
                annotation.results += [(line, reader.value()) for line in reader.items()]
                has_results = True
            else:
                annotation.values[key] = reader.value()
        if has_results:
            annotations.append(annotation)
        else:
            tally["odd"] += 1
    return annotations


def _image_of(data: Any) -> str:
    """Return the value that names the image: that of `image`, else the first that looks so."""
    if not isinstance(data, dict):
        return ""
    if isinstance(image := data.get("image"), str):
        return image
    texts = (value for value in data.values() if isinstance(value, str))
    return next((text for text in texts if _IMAGE.search(_path_of(text))), "")


def _path_of(address: str) -> str:
    """Return the path in an address, or in the query of one of Label Studio's local files."""
    if "://" not in address and not address.startswith("/"):
        return address
    path, _, query = address.partition("?")
    local = [part[2:] for part in query.split("&") if part.startswith("d=")]
    return unquote(local[0] if local else path)


def _image_name(address: str, file_upload: str) -> str:
    if address.startswith("data:"):
        address = ""
    path = _path_of(address or file_upload)
    name = last_component(path)
    if "/data/upload/" in path or name == last_component(file_upload):
        name = _UPLOAD_PREFIX.sub("", name, count=1) if _UPLOAD_PREFIX.match(name) else name
    return clean(name)


def _choose(task: _Task, tally: Counter[str]) -> _Annotation | None:
    """Return the annotation that counts, or None for a task that nobody labelled."""
    live = [entry for entry in task.annotations if not entry.values.get("was_cancelled")]
    best = [entry for entry in live if entry.values.get("ground_truth") is True] or live
    chosen = max(reversed(best), key=lambda entry: entry.when) if best else None
    others = [entry for entry in task.annotations if entry is not chosen]
    tally["others"] += len(others)
    tally["other objects"] += sum(len(entry.results) for entry in others)
    if chosen is None:
        tally["only cancelled" if task.annotations else "unlabelled"] += 1
    return chosen


def _without_image(entry: RawLabel | RawProblem) -> RawProblem:
    if isinstance(entry, RawProblem):
        return entry
    return RawProblem(entry.line, "unknown image", "its task names no image", entry.text)

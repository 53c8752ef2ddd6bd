"""Label Studio: its JSON export, a list of tasks, and the shorter one that it calls JSON-MIN."""

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
    merge_by_name,
    one_line,
    shown,
)
from detfinetune.labels.formats.json.label_studio_regions import (
    image_size,
    looks_like_region,
    read_regions,
)
from detfinetune.labels.formats.raw_labels import BadFile, Document, RawImage, RawLabel, RawProblem

_IMAGE = re.compile(r"\.(jpe?g|png|bmp|tiff?|webp|gif)$", re.IGNORECASE)
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
_REGION_KEYS = {"rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels"}
_NOTES = {
    "no task": "entries of the list that are no tasks, passed over",
    "unlabelled": "tasks without an annotation, left out because they are not labelled yet",
    "only cancelled": "tasks that were skipped in Label Studio, left out",
    "cancelled": "cancelled annotations, passed over",
    "others": "annotations passed over because their task has several; the one marked "
    "ground_truth was taken, else the newest",
    "other objects": "entries in the annotations passed over",
    "predictions": "predictions of models, passed over",
    "no regions": "entries that are no regions (choices, texts, relations), passed over",
    "parts": "entries that repeat a region under its id, passed over",
    "no annotation": "annotations without a list of results, passed over",
}


def detect_label_studio(head: str) -> str:
    """Return by what the beginning of a file (4,000 characters will do) shows Label Studio."""
    found = paths_in(head)
    if {path[0] for path in found} != {"[]"}:
        return ""
    keys = {path[1] for path in found if len(path) == 2}
    for old in ("annotations", "completions"):
        if ("[]", old, "[]", "result") in found or {"data", old} <= keys:
            return f"JSON list of tasks with {old}"
    if any(len(path) == 4 and path[3] in _REGION_KEYS for path in found):
        return "JSON list of tasks with labels (JSON-MIN)"
    if {"annotation_id", "annotator", "lead_time"} <= keys:
        return "JSON list with annotation_id and annotator (JSON-MIN)"
    return ""


def parse_label_studio(text: str) -> Document:
    """Read a Label Studio export; coordinates become fractions of the image.

    Of several annotations of a task one is taken: that marked `ground_truth`, else the newest that
    was not cancelled. Tasks that nobody labelled are left out. Notes count all that was passed
    over.

    Raises:
        BadFile: no valid JSON, or another kind of JSON.
    """
    tally: Counter[str] = Counter()
    tasks = _read_tasks(text, tally)
    document = Document(normalized=True)
    for task in tasks:
        annotation = _choose(task, tally)
        if annotation is None:
            continue
        regions = read_regions(annotation.results, task.name, tally)
        name = _image_name(task.image, task.file_upload)
        if name:
            image = RawImage(name, size=image_size(annotation.results), line=task.line)
            image.labels = [entry for entry in regions if isinstance(entry, RawLabel)]
            image.problems = [entry for entry in regions if isinstance(entry, RawProblem)]
            document.images.append(image)
        else:
            document.problems += map(_without_image, regions)
    document.notes = [f"{text}: {tally[key]}" for key, text in _NOTES.items() if tally[key]]
    document.images = merge_by_name(document.images, document.notes)
    return document


@dataclass
class _Annotation:
    """What one annotator did with a task."""

    results: list[tuple[int, Any]] = field(default_factory=list)
    """Line and value of each entry."""

    said: dict[str, Any] = field(default_factory=dict)

    @property
    def when(self) -> str:
        """Time of the last change; Label Studio's times sort as text."""
        times = (self.said.get("updated_at"), self.said.get("created_at"))
        return next((time for time in times if isinstance(time, str)), "")


@dataclass
class _Task:
    line: int
    name: str = "task"
    image: str = ""
    file_upload: str = ""
    annotations: list[_Annotation] = field(default_factory=list)


def _read_tasks(text: str, tally: Counter[str]) -> list[_Task]:
    reader = JsonReader(text)
    if reader.kind != "a list":
        raise BadFile(
            f"the JSON is {reader.kind}; Label Studio's JSON and JSON-MIN are lists of tasks",
            reader.line,
        )
    tasks: list[_Task] = []
    by_id: dict[int | str, _Task] = {}
    sound, keys = 0, []
    for line in reader.items():
        if reader.kind != "an object":
            tally["no task"] += 1
            continue
        said: dict[str, Any] = {}
        lists: dict[str, list[tuple[int, Any]]] = {}
        task = _Task(line)
        for key in reader.members():
            keys.append(key)
            if key in ("annotations", "completions") and reader.kind == "a list":
                _read_annotations(reader, task, tally)
            elif reader.kind == "a list":
                lists.setdefault(key, []).extend((at, reader.value()) for at in reader.items())
            else:
                said[key] = reader.value()
        sound += _describe(task, said, lists, tally)
        identity = said.get("id")
        if isinstance(identity, int | str) and not isinstance(said.get("data"), dict):
            # JSON-MIN has an entry of the list for each annotation of a task.
            first = by_id.setdefault(identity, task)
            if first is not task:
                first.annotations += task.annotations
                continue
        tasks.append(task)
        keys = keys[:20]
    reader.end()
    if not sound:
        listed = one_line(", ".join(map(clean, dict.fromkeys(keys)))) or "nothing"
        raise BadFile(
            f"the entries of this list have {listed}; Label Studio's tasks have data and "
            "annotations",
            1,
        )
    return tasks


def _read_annotations(reader: JsonReader, task: _Task, tally: Counter[str]) -> None:
    for _ in reader.items():
        annotation = _Annotation()
        if reader.kind != "an object":
            tally["no annotation"] += 1
            continue
        found = False
        for key in reader.members():
            if key == "result" and reader.kind == "a list":
                annotation.results += [(line, reader.value()) for line in reader.items()]
                found = True
            else:
                annotation.said[key] = reader.value()
        if found:
            task.annotations.append(annotation)
        else:
            tally["no annotation"] += 1


def _describe(
    task: _Task, said: dict[str, Any], lists: dict[str, list[tuple[int, Any]]], tally: Counter[str]
) -> bool:
    """Fill in what a task says beside its annotations; return whether it is one at all."""
    identity = said.get("id")
    task.name = f"task {shown(identity)}" if type(identity) in (int, str) else "task"
    upload = said.get("file_upload")
    task.file_upload = upload if isinstance(upload, str) else ""
    tally["predictions"] += len(lists.pop("predictions", ()))
    data = said.get("data")
    task.image = _image_of(data if isinstance(data, dict) else said)
    if isinstance(data, dict) or task.annotations:
        return True
    regions = [
        entry
        for entries in lists.values()
        if any(looks_like_region(value) for _, value in entries)
        for entry in entries
    ]
    if regions or "annotation_id" in said:
        task.annotations.append(_Annotation(regions, said))
        return True
    return False


def _image_of(data: dict[str, Any]) -> str:
    """Return the value that names the image: that of `image`, else the first that looks so."""
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
    live = [entry for entry in task.annotations if not entry.said.get("was_cancelled")]
    tally["cancelled"] += len(task.annotations) - len(live)
    best = [entry for entry in live if entry.said.get("ground_truth") is True] or live
    chosen = max(reversed(best), key=lambda entry: entry.when) if best else None
    tally["others"] += len(live) - (chosen is not None)
    tally["other objects"] += sum(
        len(entry.results) for entry in task.annotations if entry is not chosen
    )
    if chosen is None:
        tally["only cancelled" if task.annotations else "unlabelled"] += 1
    return chosen


def _without_image(entry: RawLabel | RawProblem) -> RawProblem:
    if isinstance(entry, RawProblem):
        return entry
    return RawProblem(entry.line, "unknown image", "its task names no image", entry.text)

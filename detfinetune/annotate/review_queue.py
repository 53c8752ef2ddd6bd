"""Review queues: places in images with the reason why somebody should look at them.

A queue is a file of JSON: the findings that `detfinetune check` writes, or a list of

    {"image": "sub/a.jpg", "box": [x1, y1, x2, y2], "reason": "overlooked?",
     "class": "car", "prediction": {"box": [x1, y1, x2, y2], "class": "van", "score": 0.93}}

of which only `image` and `reason` are needed; images are relative to the data root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from detfinetune.annotate.journal import Event
from detfinetune.annotate.store import LabelImage
from detfinetune.console import warn
from detfinetune.errors import DataError

Verdict = Literal["label", "prediction", "edit"]

_Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ReviewPrediction(_Record):
    """What a model found in place of a label."""

    box: _Box
    class_name: Annotated[str, Field(alias="class")]
    score: Annotated[float, Field(ge=0, le=1)]


class ReviewItem(_Record):
    """A place to look at."""

    image: str
    """Path of the image relative to the data root, with forward slashes."""

    box: _Box | None = None
    """x1, y1, x2, y2 in pixels; None: the whole image."""

    reason: str
    class_name: Annotated[str | None, Field(alias="class")] = None
    """Of the label; None where there is none."""

    prediction: ReviewPrediction | None = None

    @property
    def id(self) -> str:
        """A hash of all of it, so that verdicts outlive a queue that is written again."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).hexdigest()


_ITEMS = TypeAdapter(tuple[ReviewItem, ...])


def read_queue(path: Path, root: Path, images: Iterable[LabelImage]) -> dict[str, ReviewItem]:
    """Return the places to review by id, in the file's order, without those of other images.

    Raises:
        DataError: it cannot be read, or is no queue of these images.
    """
    try:
        content = orjson.loads(path.read_bytes())
        if isinstance(content, dict):
            content = _from_findings(content, root)
        items = _ITEMS.validate_python(content)
    except OSError as error:
        raise DataError(f"queue={path}: cannot be read ({error.strerror or error}).") from error
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = _reason(error) if isinstance(error, ValidationError) else repr(error)
        raise DataError(
            f"queue={path}: neither the findings.json of `detfinetune check` nor a list of images, "
            f"boxes and reasons ({reason})."
        ) from error
    names = {image.name for image in images}
    known = {item.id: item for item in items if item.image in names}
    if not items:
        raise DataError(f"queue={path}: names no places in images; there is nothing to review.")
    if not known:
        raise DataError(
            f"queue={path}: none of its images, such as {items[0].image}, is in {root}. Give the "
            "queue of this folder."
        )
    if lost := sum(item.image not in names for item in items):
        warn(f"queue={path}: {lost} of {len(items)} places are in images that are not in {root}")
    return known


def _reason(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def _from_findings(content: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    """Return the places of a check's findings, worst first."""
    dataset = content["dataset"]
    classes: Sequence[str] = dataset["classes"]
    roots = {split: Path(part["image_root"]) for split, part in dataset["splits"].items()}
    items = []
    for finding in content["findings"]:
        for place in finding["places"]:
            if not place["image"] or place["split"] not in roots:
                continue
            path = roots[place["split"]] / place["image"]
            category = place["category"]
            items.append(
                {
                    "image": path.relative_to(root).as_posix()
                    if path.is_relative_to(root)
                    else str(path),
                    "box": _corners(place["box"]),
                    "reason": f"{finding['kind']}: {place['detail'] or finding['title']}",
                    "class": None if category is None else classes[category],
                }
            )
    return items


def _corners(box: list[float] | None) -> list[float] | None:
    if box is None:
        return None
    x, y, width, height = box
    return [x, y, x + width, y + height]


def verdicts(events: Iterable[Event]) -> dict[str, str]:
    """Return the last verdict on each item, by its id."""
    return {event["item"]: event["verdict"] for event in events if event["event"] == "review"}

"""COCO metrics for boxes and masks with pycocotools: AP, AR, AP per class, and matches.

Needs neither torch nor Detectron2. The metrics are those of `pycocotools.cocoeval.COCOeval`, on the
0-100 scale, without these pitfalls:

- `COCOeval.summarize` returns AP -1 unless the limit is 100 detections per image; here the metrics
  are read from the arrays of `COCOeval.accumulate`.
- `COCOeval` treats a ground truth with id 0 as unmatched; here ids are renumbered from 1.
- It cannot load an empty list of detections; here that gives an AP of 0.
- It sorts the limits, so that a limit below 10 would be ignored; here the largest limit is always
  the requested one.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detfinetune.config.schema import Task
from detfinetune.errors import DataError

Detection = dict[str, Any]
"""A COCO result: image_id, category_id, bbox (absolute XYWH), score, optional RLE segmentation."""

DEFAULT_DETECTIONS_PER_IMAGE = 100

# Positions of IoU 0.5 and 0.75 among COCO's ten thresholds 0.5, 0.55, ..., 0.95.
_IOU50, _IOU75 = 0, 5


@dataclass(frozen=True)
class Matches:
    """Matches of detections and objects at IoU 0.5, as made by COCOeval.

    All arrays have shape [D], for the detections within the limit per image and class.
    """

    detection: npt.NDArray[np.int64]
    """Index into the list of detections."""

    image_id: npt.NDArray[np.int64]
    category_id: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]

    annotation: npt.NDArray[np.int64]
    """Index into the ground truth's `annotations` of the matched object, or -1."""

    ignored: npt.NDArray[np.bool_]
    """Whether it is ignored because it lies on a crowd region."""

    num_objects: dict[int, int]
    """Objects by category id, without crowd regions."""

    @property
    def true_positive(self) -> npt.NDArray[np.bool_]:
        """Whether each detection matches an object outside crowd regions."""
        return (self.annotation >= 0) & ~self.ignored

    @property
    def false_positive(self) -> npt.NDArray[np.bool_]:
        """Whether each detection matches no object."""
        return (self.annotation < 0) & ~self.ignored


@dataclass(frozen=True)
class ClassFigures:
    """The metrics of one class; AP on 0-100, None if the split has no objects of the class."""

    name: str
    category_id: int
    ap: float | None
    ap50: float | None
    num_objects: int
    num_detections: int


@dataclass(frozen=True)
class Metrics:
    """The metrics of a set of detections for one task."""

    task: Task
    figures: dict[str, float | None]
    """AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR (at `detections_per_image`), ARs, ARm, ARl, on
    0-100; None where there are no objects."""

    classes: tuple[ClassFigures, ...]
    detections_per_image: int
    """Highest number of detections that count per image and class."""

    matches: Matches

    @property
    def ap(self) -> float | None:
        """AP averaged over IoU 0.5 to 0.95, on 0-100."""
        return self.figures["AP"]

    def to_json(self) -> dict[str, Any]:
        """Return everything except the matches as JSON values."""
        return {
            **self.figures,
            "detections_per_image": self.detections_per_image,
            "classes": {
                entry.name: {
                    "AP": entry.ap,
                    "AP50": entry.ap50,
                    "objects": entry.num_objects,
                    "detections": entry.num_detections,
                }
                for entry in self.classes
            },
        }


def score_detections(
    truth: Mapping[str, Any],
    detections: Sequence[Detection],
    task: Task = "bbox",
    detections_per_image: int = DEFAULT_DETECTIONS_PER_IMAGE,
) -> Metrics:
    """Score `detections` against COCO JSON.

    Args:
        truth: COCO JSON; not changed.
        detections: COCO results with the same image and category ids; not changed.
        task: `bbox` compares boxes, `segm` masks.
        detections_per_image: number of top-scoring detections that count per image and class.

    Raises:
        DataError: an object or detection lacks the mask that the task needs, or a detection is on
            an unknown image.
    """
    evaluation = COCOeval(
        _index(truth, _truth_entries(truth, task)),
        _index(truth, _detection_entries(truth, detections, task)),
        iouType=task,
    )
    limit = detections_per_image
    evaluation.params.maxDets = [1, min(10, limit), limit]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    matches = _read_matches(evaluation)
    return Metrics(
        task=task,
        figures=_read_figures(evaluation),
        classes=_read_classes(evaluation, truth, matches, detections),
        detections_per_image=limit,
        matches=matches,
    )


def _index(truth: Mapping[str, Any], entries: list[dict[str, Any]]) -> COCO:
    """Return an indexed COCO object without the output and the assumptions of its loaders."""
    coco = COCO()
    coco.dataset = {
        "images": truth["images"],
        "categories": truth["categories"],
        "annotations": entries,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _truth_entries(truth: Mapping[str, Any], task: Task) -> list[dict[str, Any]]:
    """Return copies of the annotations for COCOeval: id = index + 1, defaults filled in."""
    entries = []
    for position, annotation in enumerate(truth["annotations"]):
        entry = {
            "id": position + 1,
            "image_id": annotation["image_id"],
            "category_id": annotation["category_id"],
            "bbox": annotation["bbox"],
            "iscrowd": int(annotation.get("iscrowd", 0)),
        }
        if task == "segm":
            if not annotation.get("segmentation"):
                raise DataError(
                    f"annotation {annotation.get('id', position)} (image "
                    f"{annotation['image_id']}) has no mask, so masks cannot be scored. Give each "
                    "object a polygon or RLE mask, or evaluate boxes with task=bbox."
                )
            entry["segmentation"] = annotation["segmentation"]
        width, height = annotation["bbox"][2:]
        entry["area"] = annotation.get("area", width * height)
        entries.append(entry)
    return entries


def _detection_entries(
    truth: Mapping[str, Any], detections: Sequence[Detection], task: Task
) -> list[dict[str, Any]]:
    """Return copies of the detections for COCOeval: id = index + 1, with their areas."""
    known = {image["id"] for image in truth["images"]}
    entries = []
    for position, detection in enumerate(detections):
        if detection["image_id"] not in known:
            raise DataError(
                f"detection {position} is on image {detection['image_id']!r}, which is not in "
                "the ground truth. Use the data and split that the detections were made on."
            )
        entry = {
            "id": position + 1,
            "image_id": detection["image_id"],
            "category_id": detection["category_id"],
            "score": float(detection["score"]),
            "iscrowd": 0,
        }
        if task == "segm":
            if "segmentation" not in detection:
                raise DataError(
                    f"detection {position} has no mask, so masks cannot be scored. If the model "
                    "predicts only boxes, evaluate boxes with task=bbox."
                )
            entry["segmentation"] = detection["segmentation"]
            entry["area"] = float(mask_api.area(detection["segmentation"]))
        else:
            entry["bbox"] = detection["bbox"]
            entry["area"] = detection["bbox"][2] * detection["bbox"][3]
        entries.append(entry)
    return entries


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    """Mean x 100 of the defined entries: COCOeval sets -1 where there are no objects."""
    filled = values[values > -1]
    return float(filled.mean() * 100) if filled.size else None


def _read_figures(evaluation: COCOeval) -> dict[str, float | None]:
    # precision is [IoU threshold, recall step, class, area, limit]; recall has no recall step.
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    figures = {
        "AP": _mean(precision[:, :, :, 0, 2]),
        "AP50": _mean(precision[_IOU50, :, :, 0, 2]),
        "AP75": _mean(precision[_IOU75, :, :, 0, 2]),
    }
    for area, letter in enumerate("sml", start=1):
        figures[f"AP{letter}"] = _mean(precision[:, :, :, area, 2])
    figures["AR1"] = _mean(recall[:, :, 0, 0])
    figures["AR10"] = _mean(recall[:, :, 0, 1])
    figures["AR"] = _mean(recall[:, :, 0, 2])
    for area, letter in enumerate("sml", start=1):
        figures[f"AR{letter}"] = _mean(recall[:, :, area, 2])
    return figures


def _read_matches(evaluation: COCOeval) -> Matches:
    """Collect the matches at IoU 0.5 for all sizes from COCOeval's per-image results."""
    params = evaluation.params
    columns: dict[str, list[Any]] = {
        key: [] for key in ("detection", "image_id", "category_id", "score", "found", "ignored")
    }
    num_objects = dict.fromkeys(params.catIds, 0)
    images = len(params.imgIds)
    for k, category in enumerate(params.catIds):
        start = k * len(params.areaRng) * images  # the first area range is "all"
        for result in evaluation.evalImgs[start : start + images]:
            if result is None:
                continue
            num_objects[category] += int(np.count_nonzero(np.asarray(result["gtIgnore"]) == 0))
            count = len(result["dtIds"])
            columns["detection"].extend(number - 1 for number in result["dtIds"])
            columns["image_id"].extend([result["image_id"]] * count)
            columns["category_id"].extend([category] * count)
            columns["score"].extend(result["dtScores"])
            columns["found"].extend(result["dtMatches"][_IOU50] - 1)
            columns["ignored"].extend(result["dtIgnore"][_IOU50])
    return Matches(
        detection=np.array(columns["detection"], dtype=np.int64),
        image_id=np.array(columns["image_id"], dtype=np.int64),
        category_id=np.array(columns["category_id"], dtype=np.int64),
        score=np.array(columns["score"], dtype=np.float64),
        annotation=np.array(columns["found"], dtype=np.int64),
        ignored=np.array(columns["ignored"], dtype=np.bool_),
        num_objects={int(category): count for category, count in num_objects.items()},
    )


def _read_classes(
    evaluation: COCOeval,
    truth: Mapping[str, Any],
    matches: Matches,
    detections: Iterable[Detection],
) -> tuple[ClassFigures, ...]:
    names = {category["id"]: category["name"] for category in truth["categories"]}
    found = Counter(detection["category_id"] for detection in detections)
    precision = evaluation.eval["precision"]
    return tuple(
        ClassFigures(
            name=str(names[category]),
            category_id=int(category),
            ap=_mean(precision[:, :, k, 0, 2]),
            ap50=_mean(precision[_IOU50, :, k, 0, 2]),
            num_objects=matches.num_objects[int(category)],
            num_detections=found[category],
        )
        for k, category in enumerate(evaluation.params.catIds)
    )

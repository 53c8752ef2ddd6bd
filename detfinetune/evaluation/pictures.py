"""Contact sheets of ground truth beside predictions, worst images first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detfinetune.config.schema import Task
from detfinetune.evaluation.ground_truth import GroundTruth
from detfinetune.evaluation.metrics import Detection, Metrics, score_detections
from detfinetune.files import atomic_path
from detfinetune.labels.dataset.masks import segmentation_polygons
from detfinetune.pictures import DrawnObject, class_color, contact_sheet, draw_objects, open_image

_LEGEND = "TP/FP: true/false positive, FN: false negative"
_PAIRS_PER_ROW = 2
_TILE_WIDTH = 480
# On images with more predictions than this, only false positives get a score.
_MAX_SCORES = 30
# With more classes than this, each object gets its class name instead of a legend.
_MAX_LEGEND_CLASSES = 7


@dataclass(frozen=True)
class ImageErrors:
    """Counts of one image at a score threshold and IoU 0.5."""

    image_id: int
    file_name: str
    true_positives: int
    false_negatives: int
    false_positives: int

    @property
    def f1(self) -> float:
        """F1 in 0-1; 1 for an image without objects and predictions."""
        total = 2 * self.true_positives + self.false_negatives + self.false_positives
        return 2 * self.true_positives / total if total else 1.0


def rank_images(
    truth: Mapping[str, Any], metrics: Metrics, score_threshold: float
) -> list[ImageErrors]:
    """Return every image's errors, worst first: lowest F1, then most errors, then by name."""
    matches = metrics.matches
    shown = matches.score >= score_threshold
    true_positives = Counter(matches.image_id[shown & matches.true_positive].tolist())
    false_positives = Counter(matches.image_id[shown & matches.false_positive].tolist())
    objects = Counter(
        entry["image_id"] for entry in truth["annotations"] if not entry.get("iscrowd", 0)
    )
    ranked = [
        ImageErrors(
            image_id=image["id"],
            file_name=image["file_name"],
            true_positives=true_positives[image["id"]],
            false_negatives=objects[image["id"]] - true_positives[image["id"]],
            false_positives=false_positives[image["id"]],
        )
        for image in truth["images"]
    ]
    return sorted(
        ranked,
        key=lambda image: (
            image.f1, -image.false_negatives - image.false_positives, image.file_name
        ),
    )  # fmt: skip


def write_comparison(
    truth: GroundTruth,
    detections: Sequence[Detection],
    output: Path,
    *,
    count: int = 12,
    score_threshold: float = 0.5,
) -> list[ImageErrors]:
    """Write a contact sheet of the `count` worst images: ground truth beside predictions.

    False negatives (FN) and false positives (FP) are marked. Masks are drawn and compared if the
    detections have them. Nothing is written if `count` is 0 or there are no images.

    Args:
        truth: the split's ground truth.
        detections: COCO results with its image and category ids.
        output: picture file, in the format of its suffix.
        count: number of images.
        score_threshold: minimum score of the predictions that are drawn and counted.

    Returns:
        The images shown, worst first.
    """
    task: Task = "segm" if any("segmentation" in entry for entry in detections) else "bbox"
    fullest = max(Counter(entry["image_id"] for entry in detections).values(), default=1)
    metrics = score_detections(truth.content, detections, task, fullest)
    worst = rank_images(truth.content, metrics, score_threshold)[:count]
    if not worst:
        return []
    drawing = _Drawing(truth.content, detections, metrics, score_threshold)
    tiles: list[tuple[Image.Image, str]] = []
    for entry in worst:
        image = open_image(truth.image_root / entry.file_name)
        # Draw at tile size to keep lines and text legible on the sheet.
        scale = _TILE_WIDTH / image.width
        objects = drawing.objects(entry.image_id, image.size)
        predicted = drawing.predictions(entry.image_id, image.size)
        labelled = draw_objects(image, objects, scale=scale)
        found = draw_objects(image, predicted, scale=scale)
        tiles.append((labelled, f"{entry.file_name}: {len(objects)} labelled"))
        counts = (entry.true_positives, entry.false_positives, entry.false_negatives)
        tiles.append((found, "predicted: {} TP, {} FP, {} FN".format(*counts)))
    sheet = contact_sheet(
        tiles,
        columns=2 * min(_PAIRS_PER_ROW, len(worst)),
        tile_width=_TILE_WIDTH,
        title=f"Worst images first, score >= {score_threshold:.2f}. {_LEGEND}",
        legend=drawing.legend,
    )
    with atomic_path(output) as temporary:
        sheet.save(temporary, format=Image.registered_extensions()[output.suffix.lower()])
    return worst


class _Drawing:
    """Turns the objects and predictions of each image into drawn objects."""

    def __init__(
        self,
        truth: Mapping[str, Any],
        detections: Sequence[Detection],
        metrics: Metrics,
        score_threshold: float,
    ) -> None:
        self.masks = metrics.task == "segm"
        self.color = {entry["id"]: index for index, entry in enumerate(truth["categories"])}
        names = [str(entry["name"]) for entry in truth["categories"]]
        few = len(names) <= _MAX_LEGEND_CLASSES
        self.legend = [(name, class_color(at)) for at, name in enumerate(names)] if few else []
        self.names = [""] * len(names) if few else names
        matches = metrics.matches
        shown = matches.score >= score_threshold
        self.found = set(matches.annotation[shown & matches.true_positive].tolist())
        self.truth: dict[int, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
        for position, entry in enumerate(truth["annotations"]):
            if not entry.get("iscrowd", 0):
                self.truth[entry["image_id"]].append((position, entry))
        self.predicted: dict[int, list[tuple[Detection, bool]]] = defaultdict(list)
        for at in np.flatnonzero(shown).tolist():
            detection = detections[int(matches.detection[at])]
            self.predicted[detection["image_id"]].append(
                (detection, bool(matches.false_positive[at]))
            )

    def objects(self, image_id: int, size: tuple[int, int]) -> list[DrawnObject]:
        """Return the labelled objects of an image (`size`: width, height), with FN marked."""
        return [
            self._draw(entry, "" if position in self.found else "FN", size)
            for position, entry in self.truth[image_id]
        ]

    def predictions(self, image_id: int, size: tuple[int, int]) -> list[DrawnObject]:
        """Return the predictions of an image with their scores, with FP marked."""
        entries = self.predicted[image_id]
        drawn = []
        for entry, wrong in entries:
            score = f"{entry['score']:.2f}"
            text = f"FP {score}" if wrong else score if len(entries) <= _MAX_SCORES else ""
            drawn.append(self._draw(entry, text, size))
        return drawn

    def _draw(self, entry: Mapping[str, Any], text: str, size: tuple[int, int]) -> DrawnObject:
        left, top, width, height = (float(value) for value in entry["bbox"])
        segmentation = entry.get("segmentation") if self.masks else None
        color = self.color[entry["category_id"]]
        return DrawnObject(
            bbox=(left, top, width, height),
            text=f"{text} {self.names[color]}".strip(),
            color_index=color,
            polygons=segmentation_polygons(segmentation, width=size[0], height=size[1]),
        )

"""Ground truth beside predictions on held-out images, worst first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from PIL import Image

from detfinetune.evaluation.metrics import Detection, Metrics
from detfinetune.evaluation.result import EvaluationResult
from detfinetune.files import atomic_path
from detfinetune.inference.outlines import segmentation_outlines
from detfinetune.pictures import DrawnObject, contact_sheet, draw_objects, open_image

PICTURES_FILE = "comparison.jpg"
# Shown when nothing was found, and so no threshold is best.
FALLBACK_THRESHOLD = 0.5
_PAIRS_A_ROW = 2


@dataclass(frozen=True)
class ImageErrors:
    """What is right and wrong on one image at a score threshold and IoU 0.5."""

    image_id: int
    file_name: str
    hits: int
    misses: int
    false_alarms: int

    @property
    def f1(self) -> float:
        """F1 in 0-1; 1 for an image without objects on which nothing was predicted."""
        total = 2 * self.hits + self.misses + self.false_alarms
        return 2 * self.hits / total if total else 1.0


def rank_images(
    truth: Mapping[str, Any], metrics: Metrics, score_threshold: float
) -> list[ImageErrors]:
    """Return every image's errors, worst first: lowest F1, then most errors, then by name."""
    matches = metrics.matches
    shown = matches.score >= score_threshold
    hits = Counter(matches.image_id[shown & matches.hit].tolist())
    false_alarms = Counter(matches.image_id[shown & matches.false_alarm].tolist())
    objects = Counter(
        entry["image_id"] for entry in truth["annotations"] if not entry.get("iscrowd", 0)
    )
    ranked = [
        ImageErrors(
            image_id=image["id"],
            file_name=image["file_name"],
            hits=hits[image["id"]],
            misses=objects[image["id"]] - hits[image["id"]],
            false_alarms=false_alarms[image["id"]],
        )
        for image in truth["images"]
    ]
    return sorted(
        ranked, key=lambda entry: (entry.f1, -entry.misses - entry.false_alarms, entry.file_name)
    )


def write_comparison(
    truth: Mapping[str, Any],
    image_root: Path,
    detections: Sequence[Detection],
    metrics: Metrics,
    output: Path,
    *,
    count: int = 12,
    score_threshold: float = 0.5,
    title: str = "",
) -> list[ImageErrors]:
    """Write a contact sheet of the `count` worst images, each as ground truth and predictions.

    Missed objects and false alarms are named as such on the pictures. Nothing is written when
    `count` is 0 or there are no images.

    Args:
        truth: COCO JSON.
        image_root: folder that its file names are relative to.
        detections: COCO results that `metrics` was scored from.
        metrics: their figures, for one task; with `segm` outlines are drawn.
        output: picture file; its ending says the format.
        count: images shown.
        score_threshold: lowest score that is shown and counted.
        title: text at the top.

    Returns:
        The images shown, worst first.
    """
    worst = rank_images(truth, metrics, score_threshold)[:count]
    if not worst:
        return []
    drawing = _Drawing(truth, detections, metrics, score_threshold)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    tiles: list[tuple[Image.Image, str]] = []
    for entry in worst:
        image = open_image(image_root / entry.file_name)
        objects = drawing.objects(entry.image_id, sizes[entry.image_id])
        predicted = drawing.predictions(entry.image_id, sizes[entry.image_id])
        tiles.append((draw_objects(image, objects), f"{entry.file_name}: {len(objects)} labelled"))
        tiles.append(
            (
                draw_objects(image, predicted),
                f"predicted: {entry.hits} hits, {entry.misses} missed, "
                f"{entry.false_alarms} false alarms",
            )
        )
    columns = 2 * min(_PAIRS_A_ROW, len(worst))
    sheet = contact_sheet(tiles, columns=columns, title=title)
    with atomic_path(output) as temporary:
        sheet.save(temporary, format=Image.registered_extensions()[output.suffix.lower()])
    return worst


def write_pictures(
    result: EvaluationResult, output_dir: Path, count: int, score_threshold: float | None = None
) -> Path | None:
    """Write `comparison.jpg`, the `count` worst images of an evaluation; main process only.

    `score_threshold` is None for the best one of this very split. Returns the file, or None when
    there was nothing to draw.
    """
    if not result.metrics or count == 0:
        return None
    threshold = score_threshold if score_threshold is not None else result.score_threshold
    if threshold is None:
        threshold = FALLBACK_THRESHOLD
    output = output_dir / PICTURES_FILE
    shown = write_comparison(
        result.truth,
        Path(MetadataCatalog.get(result.dataset_name).image_root),
        result.detections,
        result.metrics[result.task],
        output,
        count=count,
        score_threshold=threshold,
        title=f"ground truth and predictions scoring {threshold:.2f} or more, worst images first",
    )
    return output if shown else None


class _Drawing:
    """The objects and predictions of each image, ready to draw."""

    def __init__(
        self,
        truth: Mapping[str, Any],
        detections: Sequence[Detection],
        metrics: Metrics,
        score_threshold: float,
    ) -> None:
        self.masks = metrics.task == "segm"
        names = [(category["id"], category["name"]) for category in truth["categories"]]
        self.color = {category: index for index, (category, _) in enumerate(names)}
        # The name of an only class says nothing.
        self.name = {category: name if len(names) > 1 else "" for category, name in names}
        matches = metrics.matches
        shown = matches.score >= score_threshold
        self.found = set(matches.annotation[shown & matches.hit].tolist())
        self.truth: dict[int, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
        for position, entry in enumerate(truth["annotations"]):
            if not entry.get("iscrowd", 0):
                self.truth[entry["image_id"]].append((position, entry))
        self.predicted: dict[int, list[tuple[Detection, bool]]] = defaultdict(list)
        for at in np.flatnonzero(shown).tolist():
            detection = detections[int(matches.detection[at])]
            self.predicted[detection["image_id"]].append((detection, bool(matches.false_alarm[at])))

    def objects(self, image_id: int, size: tuple[int, int]) -> list[DrawnObject]:
        """Return the labelled objects of an image; those not found say so."""
        return [
            self._draw(
                entry, self.name[entry["category_id"]], "" if at in self.found else "missed", size
            )
            for at, entry in self.truth[image_id]
        ]

    def predictions(self, image_id: int, size: tuple[int, int]) -> list[DrawnObject]:
        """Return the predictions of an image with their scores; false alarms say so."""
        return [
            self._draw(
                entry,
                f"{self.name[entry['category_id']]} {entry['score']:.2f}".strip(),
                "false alarm" if wrong else "",
                size,
            )
            for entry, wrong in self.predicted[image_id]
        ]

    def _draw(
        self, entry: Mapping[str, Any], name: str, remark: str, size: tuple[int, int]
    ) -> DrawnObject:
        left, top, width, height = (float(value) for value in entry["bbox"])
        polygons = segmentation_outlines(entry.get("segmentation"), *size) if self.masks else ()
        return DrawnObject(
            bbox=(left, top, width, height),
            text=": ".join(part for part in (remark, name) if part),
            color_index=self.color[entry["category_id"]],
            polygons=polygons,
        )

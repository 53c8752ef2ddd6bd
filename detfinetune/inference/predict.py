"""Predicts on an image, a folder or a video: pictures with detections, and COCO JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from detfinetune import console, files
from detfinetune.config.schema import PredictConfig
from detfinetune.errors import DataError
from detfinetune.inference.inputs import ImageInputs, VideoInput, find_inputs
from detfinetune.inference.predictor import FoundObject, Predictor, read_rgb
from detfinetune.inference.video import Frame, VideoWriter, open_video
from detfinetune.models.checkpoint import choose_checkpoint
from detfinetune.pictures import DrawnObject, draw_objects

RESULTS_FILE = "coco_results.json"
DATASET_FILE = "predictions.json"
PICTURE_QUALITY = 92


@dataclass(frozen=True)
class PredictionResult:
    """Summary of a prediction."""

    output: Path
    num_images: int
    """Images, or frames of a video, that were predicted on."""

    num_objects: int
    score_threshold: float
    skipped: tuple[str, ...]
    """Images that could not be read, each with the reason."""

    seconds: float


def predict(config: PredictConfig) -> PredictionResult:
    """Draw the detections on `config.input`, and write them as COCO JSON.

    The output folder has a picture of each image with the same name (or the video as MP4),
    `coco_results.json` (COCO results with file names) and `predictions.json` (the same as a COCO
    data set with images and categories, for label tools). It is written atomically. Images that
    cannot be read are skipped with a warning and listed in `predictions.json`.

    Raises:
        ConfigError: input or model is missing in the configuration.
        CheckpointError: the checkpoint cannot be used.
        DataError: the input is missing, has an unknown type, or cannot be read.
        OutputExistsError: the output exists and `overwrite` is false.
    """
    start = time.monotonic()
    inputs = find_inputs(config.input)
    output = config.output or Path("predictions") / inputs.name
    checkpoint = choose_checkpoint(config.run, config.checkpoint)
    keep = [path for path in (config.input, checkpoint, config.run) if path is not None]
    files.check_output(output, config.overwrite)
    files.check_replaceable(output, DATASET_FILE, keep)
    # Before the model is loaded, so that an output that must not be replaced is reported early.
    with files.atomic_folder(output, config.overwrite) as folder:
        predictor = Predictor(checkpoint, config.hardware, config.score_threshold)
        record = _Record(predictor.classes)
        if isinstance(inputs, ImageInputs):
            _predict_images(predictor, inputs, folder, record)
        else:
            _predict_video(predictor, inputs, folder, record)
        record.write(folder, predictor)
    result = PredictionResult(
        output=output,
        num_images=len(record.images),
        num_objects=len(record.results),
        score_threshold=predictor.score_threshold,
        skipped=tuple(record.skipped),
        seconds=time.monotonic() - start,
    )
    skipped = f", {len(result.skipped)} could not be read" if result.skipped else ""
    console.say(
        f"{result.num_objects} objects with a score of {result.score_threshold:.2f} or more in "
        f"{result.num_images} images{skipped}; pictures and COCO results are in {output}"
    )
    return result


class _Record:
    """Collects images and results in COCO format."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.categories = [{"id": at + 1, "name": name} for at, name in enumerate(classes)]
        self.images: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.skipped: list[str] = []

    def add(self, file_name: str, size: tuple[int, int], found: Iterable[FoundObject]) -> None:
        """Add an image (`size`: width, height) and its detections."""
        image_id = len(self.images) + 1
        self.images.append(
            {"id": image_id, "file_name": file_name, "width": size[0], "height": size[1]}
        )
        for entry in found:
            result: dict[str, Any] = {
                "image_id": image_id,
                "file_name": file_name,
                "category_id": entry.category + 1,
                "bbox": [round(value, 2) for value in entry.bbox],
                "score": entry.score,
            }
            if entry.segmentation is not None:
                result["segmentation"] = entry.segmentation
            self.results.append(result)

    def write(self, folder: Path, predictor: Predictor) -> None:
        """Write both JSON files."""
        annotations = [
            {
                "id": number,
                **{key: value for key, value in result.items() if key != "file_name"},
                "area": result["bbox"][2] * result["bbox"][3],
                "iscrowd": 0,
            }
            for number, result in enumerate(self.results, start=1)
        ]
        files.write_json(folder / RESULTS_FILE, self.results, indent=None)
        files.write_json(
            folder / DATASET_FILE,
            {
                "info": {
                    "description": "predictions",
                    "checkpoint": str(predictor.detector.checkpoint),
                    "score_threshold": predictor.score_threshold,
                    "skipped": self.skipped,
                },
                "licenses": [],
                "images": self.images,
                "annotations": annotations,
                "categories": self.categories,
            },
            indent=None,
        )


def _predict_images(
    predictor: Predictor, inputs: ImageInputs, folder: Path, record: _Record
) -> None:
    pictures = _picture_names(inputs.names)
    for name in console.progress(inputs.names, description="predict", unit="image"):
        try:
            pixels = read_rgb(inputs.root / name)
        except DataError as error:
            record.skipped.append(str(error))
            console.warn(str(error))
            continue
        found = predictor(pixels)
        record.add(name, (pixels.shape[1], pixels.shape[0]), found)
        picture = folder / pictures[name]
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_detections(pixels, found).save(picture, quality=PICTURE_QUALITY)
    if not record.images:
        raise DataError(
            f"input={inputs.root}: none of the {len(inputs.names)} images can be read; the first: "
            f"{record.skipped[0]}"
        )


def _picture_names(names: Sequence[str]) -> dict[str, str]:
    """Return a JPEG's name for each image; with the old suffix if two would have the same name."""
    stems = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    return {
        name: f"{stem if stems.count(stem) == 1 else name}.jpg"
        for name, stem in zip(names, stems, strict=True)
    }


def _predict_video(predictor: Predictor, video: VideoInput, folder: Path, record: _Record) -> None:
    with open_video(video.path) as (header, frames):
        bar = console.progress(frames, description="predict", total=header.num_frames, unit="frame")
        with VideoWriter(folder / f"{video.path.stem}.mp4", header) as writer:
            for number, frame in enumerate(bar):
                found = predictor(frame)
                name = f"{video.path.name}#{number}"
                record.add(name, (header.width, header.height), found)
                writer.write(np.asarray(draw_detections(frame, found)))


def draw_detections(pixels: Frame, found: Sequence[FoundObject]) -> Image.Image:
    """Draw detections on an RGB image [H, W, 3]."""
    return draw_objects(
        Image.fromarray(pixels),
        [
            DrawnObject(
                bbox=entry.bbox,
                text=f"{entry.name} {entry.score:.2f}",
                color_index=entry.category,
                polygons=entry.polygons(),
            )
            for entry in found
        ],
    )

"""Predicts on an image, a folder or a video: pictures with detections, and COCO JSON."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from detfinetune import console, files
from detfinetune.config.schema import PredictConfig
from detfinetune.errors import DataError
from detfinetune.inference.coco_record import CocoRecord, coco_entry
from detfinetune.inference.inputs import ImageInputs, VideoInput, find_inputs
from detfinetune.inference.journal import Journal, resumable_output
from detfinetune.inference.picture_names import picture_names
from detfinetune.inference.predictor import Predictor, read_rgb
from detfinetune.inference.video import VideoWriter, open_video
from detfinetune.labels.dataset.manifest import PREDICTIONS_NAME, RESULTS_NAME
from detfinetune.labels.images.size_cache import file_stamps
from detfinetune.models.checkpoint import choose_checkpoint

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
    """Images, and the part of a video, that could not be read, each with the reason."""

    seconds: float


def predict(config: PredictConfig) -> PredictionResult:
    """Draw the detections on `config.input`, and write them as COCO JSON.

    The output folder has a picture of each image with the same name (or the video as MP4),
    `coco_results.json` (COCO results with file names) and `predictions.json` (the same as a COCO
    data set with images and categories, for label tools). It is written atomically. Images that
    cannot be read are skipped with a warning and listed in `predictions.json`. What is done of a
    folder is kept in `<output>.partial` if this is interrupted, and not done again.

    Raises:
        ConfigError: input or model is missing in the configuration.
        CheckpointError: the checkpoint cannot be used.
        DataError: the input is missing, has an unknown type, or cannot be read.
        OutputExistsError: the output exists and `overwrite` is false, another process is writing
            it, or it was begun with other settings.
    """
    start = time.monotonic()
    inputs = find_inputs(config.input)
    output = config.output or Path("predictions") / inputs.name
    checkpoint = choose_checkpoint(config.run, config.checkpoint)
    keep = [path for path in (config.input, checkpoint, config.run) if path is not None]
    files.check_output(output, config.overwrite)
    files.check_replaceable(output, PREDICTIONS_NAME, keep)
    # Opened before the model is loaded, so that an output that must stay is reported early.
    if isinstance(inputs, ImageInputs):
        sources = _sources(inputs)
        made_from = _settings(config, checkpoint)
        with resumable_output(output, config.overwrite, keep, made_from, sources) as journal:
            predictor = Predictor(checkpoint, config.hardware, config.score_threshold)
            record = _Record(predictor)
            _predict_images(predictor, inputs, sources, journal, record)
            record.write(journal.folder)
    else:
        with files.atomic_folder(output, config.overwrite) as folder:
            predictor = Predictor(checkpoint, config.hardware, config.score_threshold)
            record = _Record(predictor)
            _predict_video(predictor, inputs, folder, record)
            record.write(folder)
    result = PredictionResult(
        output=output,
        num_images=len(record.images),
        num_objects=len(record.results),
        score_threshold=predictor.score_threshold,
        skipped=tuple(record.skipped),
        seconds=time.monotonic() - start,
    )
    skipped = f", {len(result.skipped)} could not be read" if result.skipped else ""
    if record.frames_expected is not None:
        skipped = f" (only {result.num_images} of {record.frames_expected} frames could be read)"
    console.say(
        f"{result.num_objects} objects with a score of {result.score_threshold:.2f} or more in "
        f"{result.num_images} images{skipped}; pictures and COCO results are in {output}"
    )
    return result


def _settings(config: PredictConfig, checkpoint: Path) -> dict[str, Any]:
    """Return what must not change between the parts of a prediction, as JSON values."""
    status = checkpoint.stat()
    changed = datetime.fromtimestamp(status.st_mtime).isoformat(" ")
    return {
        "input": str(config.input and config.input.resolve()),
        "checkpoint": f"{checkpoint.resolve()} ({status.st_size} bytes, {changed})",
        "score_threshold": config.score_threshold,
    }


def _sources(inputs: ImageInputs) -> dict[str, dict[str, Any]]:
    """Return each image's picture, and the size and time of its file, as JSON values."""
    stamps = file_stamps([inputs.root / name for name in inputs.names])
    return {
        name: {"picture": picture, "stamp": list(stamps.get(inputs.root / name, ()))}
        for name, picture in picture_names(inputs.names).items()
    }


class _Record(CocoRecord):
    """What is found, and what could not be read."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor.classes)
        self.predictor = predictor
        self.skipped: list[str] = []
        self.frames_expected: int | None = None
        """Of a video that has fewer."""

    def write(self, folder: Path) -> None:
        """Write both JSON files."""
        info = {
            "description": "predictions",
            "checkpoint": str(self.predictor.detector.checkpoint),
            "score_threshold": self.predictor.score_threshold,
            "skipped": self.skipped,
            **self._frames(),
        }
        files.write_json(folder / RESULTS_NAME, self.results, indent=None)
        files.write_json(folder / PREDICTIONS_NAME, self.dataset(info), indent=None)

    def _frames(self) -> dict[str, int]:
        if self.frames_expected is None:
            return {}
        return {"frames_read": len(self.images), "frames_expected": self.frames_expected}


def _predict_images(
    predictor: Predictor,
    inputs: ImageInputs,
    sources: dict[str, dict[str, Any]],
    journal: Journal,
    record: _Record,
) -> None:
    if journal.done:
        console.say(f"{len(journal.done)} of {len(sources)} images were done before.")
    left = [name for name in inputs.names if name not in journal.done]
    for name in console.progress(
        left, description="predict", unit="image", total=len(sources), initial=len(journal.done)
    ):
        try:
            pixels = read_rgb(inputs.root / name, predictor.window)
        except DataError as error:
            record.skipped.append(str(error))
            console.warn(str(error))
            continue
        found = predictor(pixels)
        picture = journal.folder / sources[name]["picture"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        found.plot().save(picture, quality=PICTURE_QUALITY)
        journal.add({**coco_entry(name, found), "source": sources[name]})
    if not journal.done:
        raise DataError(
            f"input={inputs.root}: none of the {len(inputs.names)} images can be read; the first: "
            f"{record.skipped[0]}"
        )
    for name in inputs.names:
        if name in journal.done:
            record.add(journal.done[name])


def _predict_video(predictor: Predictor, video: VideoInput, folder: Path, record: _Record) -> None:
    with open_video(video.path) as (header, frames):
        bar = console.progress(frames, description="predict", total=header.num_frames, unit="frame")
        with VideoWriter(folder / f"{video.path.stem}.mp4", header) as writer:
            for number, frame in enumerate(bar):
                found = predictor(frame)
                record.add(coco_entry(f"{video.path.name}#{number}", found))
                writer.write(np.asarray(found.plot()))
    if header.lacks_frames(len(record.images)):
        record.frames_expected = header.num_frames
        record.skipped.append(
            f"{video.path}: only {len(record.images)} of {header.num_frames} frames could be read. "
            "The video is damaged or incomplete: copy it again or convert it to MP4, then rerun "
            "with overwrite=true."
        )
        console.warn(record.skipped[-1])

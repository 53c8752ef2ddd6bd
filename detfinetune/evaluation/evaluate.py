"""Evaluate a run or checkpoint: COCO metrics, threshold, diagnosis, pictures, files."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from detfinetune import console
from detfinetune.config.schema import DataConfig, EvaluateConfig
from detfinetune.data.loaders import build_test_loader
from detfinetune.data.pipeline import build_test_pipeline
from detfinetune.errors import ConfigError
from detfinetune.evaluation.collect import check_classes
from detfinetune.evaluation.ground_truth import ground_truth
from detfinetune.evaluation.pictures import write_comparison
from detfinetune.evaluation.report import print_result
from detfinetune.evaluation.result import EvaluationResult
from detfinetune.evaluation.score_split import evaluate_split
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.images.hashes import hash_images
from detfinetune.labels.prepare import prepare_dataset, prepare_run_dataset
from detfinetune.labels.splits.run_split import read_run_split
from detfinetune.models.checkpoint import (
    FALLBACK_THRESHOLD,
    LoadedDetector,
    choose_checkpoint,
    load_detector,
)

PICTURES_FILE = "worst_first.jpg"
_NAMES_SHOWN = 5
_DIVIDING = {"val_fraction", "test_fraction", "folds", "split_file", "split_from"}
"""Keys that say how to divide data without splits."""


def evaluate(config: EvaluateConfig) -> EvaluationResult:
    """Evaluate a run or checkpoint on one split; print tables, write metrics and pictures.

    Writes `metrics.json`, `detections.json` (COCO results) and `worst_first.jpg` (ground truth
    beside predictions, worst images first) into `config.output`. The default is
    `evaluation/<split>` of the run, or `evaluation/<data name>_<split>` for other data.

    Raises:
        ConfigError: neither or both of `run` and `checkpoint` are given, or data without a root.
        CheckpointError: the checkpoint cannot be used, or its classes differ from the data's.
        DataError: the data cannot be read or scored.
    """
    checkpoint = choose_checkpoint(config.run, config.checkpoint)
    detector = load_detector(checkpoint, config.hardware)
    own_data = _is_own_data(config.data)
    run = run_folder(checkpoint)
    if own_data:
        data = _where_it_is_now(detector.config.data, run)
        dataset, split, changes = _run_data(data, config.split, run)
    else:
        dataset, split = _other_data(config.data, config.split)
        changes = _trained_on(dataset, split, run)
    _list_left_out(dataset, split)
    check_classes(detector.classes, dataset.classes, f"'{dataset.name}'")
    truth = ground_truth(dataset, split)
    folder = config.split if own_data else f"{dataset.name}_{config.split}"
    output = config.output or run / "evaluation" / folder
    given = config.evaluation.detections_per_image
    loader = build_test_loader(
        truth.name,
        build_test_pipeline(
            detector.config,
            detector.classes,
            labels=config.evaluation.loss,
            data_classes=dataset.classes,
        ),
        images_per_batch=detector.family.input_spec(detector.config).evaluation_batch,
        num_workers=config.hardware.num_workers,
        labels=config.evaluation.loss,
    )
    result = evaluate_split(
        detector.model,
        truth,
        loader,
        task=detector.config.task,
        classes=detector.classes,
        detections_per_image=given or detector.config.evaluation.detections_per_image,
        calibration=detector.calibration,
        score_threshold=None if config.split == "val" and own_data else detector.score_threshold,
        output_dir=output,
        provenance=_provenance(config, detector, dataset, split) | {"changes": changes},
        losses=config.evaluation.loss,
        progress_description=f"evaluate {config.split}",
    )
    print_result(result, detector.classes, title=f"{dataset.name}, {config.split}")
    thresholds = (detector.score_threshold, result.score_threshold, FALLBACK_THRESHOLD)
    write_comparison(
        truth,
        result.detections,
        output / PICTURES_FILE,
        count=config.evaluation.pictures,
        score_threshold=next(score for score in thresholds if score is not None),
    )
    console.say(f"\nresults: {output}")
    return result


def _run_data(
    data: DataConfig, split: str, run: Path
) -> tuple[LabelledDataset, str, dict[str, list[str]]]:
    """Read the data of a run; return it with the split to score, and what has changed in it."""
    dataset, run_split = prepare_run_dataset(data, run)
    if run_split is None:
        if not (run / "split.csv").is_file():
            console.warn(
                f"{run} keeps no list of its images, so the data is divided by the run's "
                "configuration again. If it has changed since, training images may be scored."
            )
        return dataset, split, {}
    changes = run_split.changes(dataset.classes, dataset.tables, split)
    meaning = {
        "missing": "images that are missing or cannot be used any more, and are not scored",
        "other content": "images that were replaced since the run began, scored as they are now",
        "other labels": "images that were relabelled since the run began, scored as they are now",
    }
    for kind, names in changes.items():
        console.warn(f"{meaning[kind]}: {len(names)} ({_listed(names)})")
    if left_out := [*run_split.new, *run_split.moved]:
        console.say(
            f"images that the run does not have in this split, left out: {len(left_out)} "
            f"({_listed(left_out)}). To train on new ones with the same test images: "
            f"data.split_from={run}"
        )
    return dataset, split, changes


def _where_it_is_now(data: DataConfig, run: Path) -> DataConfig:
    """Return the data of a run that was resumed after a move, of which older checkpoints know not.

    Its `config.yaml` has the new root.
    """
    file = run / "config.yaml"
    if data.root is None or data.root.is_dir() or not file.is_file():
        return data
    kept = yaml.safe_load(file.read_text(encoding="utf-8"))
    return data.model_copy(update={"root": Path(kept["data"]["root"])})


def _other_data(data: DataConfig, split: str) -> tuple[LabelledDataset, str]:
    """Read data that is not the run's own, and return it with the split to score.

    Data without splits is scored whole, unless `data` says how to divide it.
    """
    if _DIVIDING & data.model_fields_set:
        return prepare_dataset(data), split
    whole = data.model_copy(update={"val_fraction": 0.0, "test_fraction": 0.0})
    dataset = prepare_dataset(whole)
    if not dataset.split_rows:
        return dataset, split
    count = dataset.tables["train"].num_images
    console.say(f"The data has no splits, so all of its {count} images are scored.")
    return dataset, "train"


def _trained_on(dataset: LabelledDataset, split: str, run: Path) -> dict[str, list[str]]:
    """Warn about images of other data that the run was trained on, and return them."""
    run_split = read_run_split(run)
    if run_split is None or split not in dataset.tables:
        return {}
    known = {image.content for image in run_split.images if image.split == "train"}
    table = dataset.tables[split]
    contents = hash_images([table.image_root / name for name in table.names])
    names = [name for name, content in zip(table.names, contents, strict=True) if content in known]
    if not names:
        return {}
    console.warn(
        f"training images of {run} among those scored, so the figures are too high: {len(names)} "
        f"of {table.num_images} ({_listed(names)})"
    )
    return {"trained on": names}


def _list_left_out(dataset: LabelledDataset, split: str) -> None:
    """List images that are not scored because they, or all of their labels, cannot be read."""
    entries = [e for e in dataset.ledger.entries if e.split == split and e.rejects_image]
    if entries:
        console.warn(
            f"images left out: {len(entries)} ("
            + _listed([entry.message for entry in entries], "; ")
            + ")"
        )


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    more = len(names) - _NAMES_SHOWN
    return separator.join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def run_folder(checkpoint: Path) -> Path:
    """Return the run folder of a checkpoint, or the folder it is in if it has no run."""
    folder = checkpoint.resolve().parent
    return folder.parent if folder.name == "checkpoints" else folder


def _is_own_data(data: DataConfig) -> bool:
    """Return whether to use the run's own data, because no other data is given."""
    if data.root is not None:
        return False
    if data != DataConfig():
        raise ConfigError(
            "data.* is given without data.root. Add data.root=DIR to evaluate on other data, or "
            "remove data.* to evaluate on the run's own."
        )
    return True


def _provenance(
    config: EvaluateConfig, detector: LoadedDetector, dataset: LabelledDataset, split: str
) -> dict[str, Any]:
    """Return checkpoint, data, configuration and versions behind the metrics."""
    return {
        "checkpoint": str(detector.checkpoint),
        "iteration": detector.iteration,
        "data": dataset.name,
        "data_root": str(dataset.root.resolve()),
        "data_fingerprint": dataset.fingerprint,
        "split": config.split,
        "labels": dataset.ledger.split(split).to_json(),
        "config": config.model_dump(mode="json"),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "torchvision", "pycocotools")},
        },
    }

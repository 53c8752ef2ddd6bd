"""What a run will do: its data, its resolved configuration, its folder, where it starts."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from detectron2.utils import comm

from detfinetune.checks.findings import findings_json
from detfinetune.checks.run import dataset_findings
from detfinetune.config.schema import DataConfig, Task, TrainConfig
from detfinetune.console import say, table, warn
from detfinetune.data.loaders import batch_share
from detfinetune.engine.distributed import from_main
from detfinetune.engine.recipe import Choice, resolve_recipe, resolved_anchors, settled
from detfinetune.engine.run_folder import RunFolder, clear_leftovers, new_run_folder, write_start
from detfinetune.errors import CheckpointError, ConfigError, DataError
from detfinetune.files import write_json
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.statistics import table_statistics
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.models.checkpoint import Checkpoint, find_checkpoint, read_checkpoint
from detfinetune.models.d2_cfg import build_cfg
from detfinetune.models.settings import model_settings
from detfinetune.models.weights import BaseWeights, find_base_weights
from detfinetune.sample_scenes import sample_scenes_folder, write_sample_scenes


@dataclass(frozen=True)
class TrainingPlan:
    """All that is settled before the model is built."""

    config: TrainConfig
    """Resolved: no nulls that the recipe fills."""

    dataset: LabelledDataset
    run: RunFolder
    base_weights: BaseWeights | None = None
    """What a new run starts from; None for a resumed one."""

    resume_from: Checkpoint | None = None

    @property
    def start_iter(self) -> int:
        """Finished steps of the run so far."""
        return self.resume_from.iteration if self.resume_from else 0

    @property
    def max_iter(self) -> int:
        """Steps of the whole run."""
        return self.config.solver.max_iter or 0


def fresh_plan(config: TrainConfig) -> TrainingPlan:
    """Plan a new run; print what was chosen and why, and make its folder.

    Raises:
        DetFinetuneError: data, model or hardware cannot be used as asked.
    """
    data = from_main(lambda: _located(config.data, config.task))
    config = config.model_copy(update={"data": data})
    dataset = from_main(lambda: _prepare(data, config.task))
    resolved, choices = resolve_recipe(config, table_statistics(dataset.tables["train"]))
    batch_share(settled(resolved.solver.images_per_batch))
    # All that can be wrong is found before the run folder is made.
    device = resolved.hardware.device
    build_cfg(model_settings(resolved, dataset.num_classes, device))
    model = resolved.model
    weights = from_main(lambda: find_base_weights(model.name, model.weights, resolved.task))
    run = from_main(lambda: new_run_folder(config))
    if comm.is_main_process():
        write_start(run, resolved, dataset)
        _say_plan(resolved, dataset, choices, run)
        _check_labels(resolved, dataset, run)
    return TrainingPlan(resolved, dataset, run, base_weights=weights)


def read_stored(run: Path) -> Checkpoint:
    """Return the last checkpoint of a run that is to go on.

    Raises:
        CheckpointError: the folder is no run, or has no checkpoint that can be read.
    """
    return read_checkpoint(find_checkpoint(run, "last"))


def resumed_plan(config: TrainConfig, stored: Checkpoint) -> TrainingPlan:
    """Plan to go on with the run `config.resume` from `stored`, by the run's own configuration.

    Raises:
        ConfigError: `solver.max_iter` lies behind the run already.
        CheckpointError: the classes have changed since.
        DataError: the data has changed since.
    """
    run = RunFolder(cast(Path, config.resume))
    resolved = stored.config
    if config.solver.max_iter is not None:
        if config.solver.max_iter < stored.iteration:
            raise ConfigError(
                f"solver.max_iter={config.solver.max_iter}: the run has {stored.iteration} steps "
                "behind it already."
            )
        solver = resolved.solver.model_copy(update={"max_iter": config.solver.max_iter})
        resolved = resolved.model_copy(update={"solver": solver})
    dataset = from_main(lambda: _prepare(resolved.data, resolved.task, brief=True))
    from_main(lambda: clear_leftovers(run))
    _check_same_data(stored, dataset, run)
    if comm.is_main_process() and stored.iteration < (resolved.solver.max_iter or 0):
        say(f"resuming {run.path} after step {stored.iteration} of {resolved.solver.max_iter}")
    return TrainingPlan(resolved, dataset, run, resume_from=stored)


def _prepare(data: DataConfig, task: Task, *, brief: bool = False) -> LabelledDataset:
    dataset = prepare_dataset(data, brief=brief)
    if "train" not in dataset.tables or not dataset.tables["train"].num_images:
        raise DataError(f"{data.root}: there are no training images.")
    if not dataset.tables["train"].num_objects:
        raise DataError(f"{data.root}: the training images have no labels at all.")
    if task == "segm" and not dataset.has_masks:
        raise ConfigError(
            "task=segm needs masks, but not every label has one. Train boxes with task=bbox, "
            "or give YOLO polygons or COCO JSON with segmentation."
        )
    return dataset


def _located(data: DataConfig, task: Task) -> DataConfig:
    """Return `data` so that it can be found from any folder; the sample scenes are made first."""
    if data.root is not None:
        return data.model_copy(update={"root": data.root.absolute()})
    if not data.sample_scenes:
        return data
    folder = write_sample_scenes(sample_scenes_folder())
    labels = {"labels": "labels_txt/{split}", "format": "txt"}
    if task == "segm":
        labels = {"labels": "labels_yolo/{split}", "format": "yolo"}
    return data.model_copy(update={"root": folder, "images": "images/{split}", **labels})


def _check_same_data(stored: Checkpoint, dataset: LabelledDataset, run: RunFolder) -> None:
    if stored.classes != dataset.classes:
        raise CheckpointError(
            f"{run.path}: the classes of the data have changed since this run began.\n"
            f"  run:  {', '.join(stored.classes)}\n  data: {', '.join(dataset.classes)}"
        )
    if stored.data_fingerprint != dataset.fingerprint:
        older = (
            ", or the run was started by a version that took COCO JSON unread"
            if dataset.format == "coco"
            else ""
        )
        raise DataError(
            f"{run.path}: the data has changed since this run began (fingerprint "
            f"{dataset.fingerprint[:12]}, was {stored.data_fingerprint[:12]}){older}. Resuming "
            "would mix two data sets. Start a new run from its weights instead: "
            f"model.weights={run.best_checkpoint}"
        )


def _say_plan(
    config: TrainConfig, dataset: LabelledDataset, choices: list[Choice], run: RunFolder
) -> None:
    splits = ", ".join(
        f"{split} {part.num_images} images with {part.num_objects} objects"
        for split, part in dataset.tables.items()
    )
    say(f"data: {dataset.name}: {splits}; classes: {', '.join(dataset.classes)}")
    val = dataset.tables.get("val")
    if val is None or not val.num_objects:
        warn(
            "there is no labelled object to validate on, so no AP is measured during training and "
            "no best checkpoint is kept, only the last."
        )
    say(f"task: {config.task}; device: {config.hardware.device}; run: {run.path}\n")
    rows = [[choice.key, _short(choice.value), choice.reason] for choice in choices]
    say(table(rows, headers=("chosen for you", "", "because")) + "\n")


def _check_labels(config: TrainConfig, dataset: LabelledDataset, run: RunFolder) -> None:
    """Say what looks wrong with the labels before time is spent on them."""
    findings = dataset_findings(dataset, resolved_anchors(config), decode=False)
    write_json(run.path / "findings.json", findings_json(findings))
    rows = [[f.severity, f.title] for f in findings if f.severity != "note"]
    if not rows:
        say("labels: a quick check finds nothing wrong\n")
        return
    say(table(rows, headers=("labels", "a quick check finds")))
    say(
        "What to do about it, with pictures: python tools/check_dataset.py "
        f"{_data_options(config.data)}\n"
    )


def _data_options(data: DataConfig) -> str:
    """Return the keys that say where this data is, as a command line takes them."""
    plain = data.model_dump(mode="json", exclude={"source", "sample_scenes", "on_problem"})
    options = []
    for key, value in plain.items():
        if value == DataConfig.model_fields[key].default:
            continue
        if isinstance(value, dict):
            value = "{" + ", ".join(f"{name}: {text}" for name, text in value.items()) + "}"
        elif isinstance(value, list):
            value = "[" + ", ".join(str(text) for text in value) + "]"
        options.append(shlex.quote(f"data.{key}={value}"))
    return " ".join(options)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    return str(value)

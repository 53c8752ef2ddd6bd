"""Plan a run: its data, resolved configuration, folder and starting point."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from detectron2.utils import comm

from detfinetune.checks.findings import findings_json
from detfinetune.checks.run import dataset_findings
from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import DataConfig, Task, TrainConfig
from detfinetune.console import command_line, name_list, say, table, warn
from detfinetune.data.albumentations import check_albumentations
from detfinetune.data.loaders import images_per_process
from detfinetune.data.window import Window, grey_window
from detfinetune.engine.distributed import run_on_main
from detfinetune.engine.failures import explain_failures
from detfinetune.engine.recipe import choose_accumulate, resolve_recipe, with_steps
from detfinetune.engine.run_folder import (
    RunFolder,
    new_run_folder,
    read_run_config,
    remove_partial,
    warn_of_another_machine,
    write_config,
    write_metadata,
)
from detfinetune.engine.timing import steps_within
from detfinetune.errors import CheckpointError, ConfigError, DataError
from detfinetune.families import family_of
from detfinetune.files import write_json
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.labels.prepare import prepare_dataset, prepare_run_dataset
from detfinetune.labels.splits.run_split import RunSplit
from detfinetune.models.checkpoint import BestResult, Checkpoint
from detfinetune.models.choices import Choice
from detfinetune.models.family import BaseWeights
from detfinetune.sample_scenes import sample_scenes_folder, write_sample_scenes


@dataclass(frozen=True)
class TrainingPlan:
    """Everything decided before the model is built."""

    config: RunConfig

    dataset: LabelledDataset
    run: RunFolder
    base_weights: BaseWeights | None = None
    """Starting point of a run without a checkpoint; None for one that resumes from its own."""

    resume_from: Checkpoint | None = None

    @property
    def start_iter(self) -> int:
        """Steps finished so far."""
        return self.resume_from.iteration if self.resume_from else 0

    @property
    def max_iter(self) -> int:
        """Total steps of the run."""
        return self.config.solver.max_iter

    @property
    def to_train(self) -> bool:
        """Whether there are steps left, or the evaluation on val after the last one."""
        stored = self.resume_from
        if stored is None or stored.iteration < self.max_iter:
            return not (stored and out_of_patience(self.config, stored.best, stored.iteration))
        return "val" in self.dataset.tables and stored.evaluated < stored.iteration


def out_of_patience(config: RunConfig, best: BestResult | None, done: int) -> bool:
    """Return whether a run ends after `done` steps because the best AP is too long ago."""
    allowed = config.solver.patience * config.evaluation.eval_period
    return bool(best and allowed and done - best.iteration >= allowed)


def plan_new_run(config: TrainConfig, device: str) -> TrainingPlan:
    """Plan a new run, create its folder, and print the chosen values with reasons.

    With `solver.minutes`, steps are timed on `device`.

    Raises:
        DetFinetuneError: data, model or hardware cannot be used as configured.
    """
    data = run_on_main(lambda: _with_root(config.data, config.task))
    config = config.model_copy(update={"data": data})
    dataset = run_on_main(lambda: _prepare(data, config.task))
    window = None
    if config.augment.window is None:
        window = run_on_main(lambda: _grey_window(dataset))
    statistics = DatasetStatistics(dataset.tables["train"], dataset.num_classes)
    resolved, choices = resolve_recipe(config, statistics, window)
    if config.solver.accumulate is None:
        parts = run_on_main(lambda: choose_accumulate(resolved, dataset.num_classes))
        resolved = _with_solver(resolved, accumulate=parts.value)
        choices.append(parts)
    images_per_process(resolved.solver.images_per_batch, resolved.solver.accumulate)
    # Find configuration errors before the run folder is created.
    family = family_of(resolved.model.name)
    family.check(resolved, dataset.num_classes)
    check_albumentations(resolved)
    weights = run_on_main(lambda: family.base_weights(resolved))
    run = run_on_main(lambda: new_run_folder(config))
    if config.solver.minutes is not None:
        with explain_failures(run):
            steps, reason = steps_within(
                config.solver.minutes, resolved, dataset, weights, device,
                eval_period=config.evaluation.eval_period,
            )  # fmt: skip
        resolved, choices = with_steps(resolved, choices, steps, reason)
    if comm.is_main_process():
        write_metadata(run, resolved, dataset, choices)
        _print_plan(resolved, dataset, choices, run)
        _check_labels(resolved, dataset, run)
    return TrainingPlan(resolved, dataset, run, base_weights=weights)


def plan_resumed_run(config: TrainConfig, stored: Checkpoint | None) -> TrainingPlan:
    """Plan to resume the run `config.resume`, with the run's own configuration and split.

    Args:
        config: with `resume`; its `solver.max_iter` and `data.root` replace the run's own.
        stored: the last checkpoint; None for a run that stopped before its first one, which begins
            again.

    Raises:
        ConfigError: `solver.max_iter` is less than the finished steps.
        CheckpointError: the classes have changed since.
        DataError: the images for training or validation, or their labels, have changed since.
    """
    run = RunFolder(cast(Path, config.resume))
    own = stored.config if stored else read_run_config(run)
    done = stored.iteration if stored else 0
    if config.solver.max_iter is not None and config.solver.max_iter < done:
        raise ConfigError(
            f"solver.max_iter={config.solver.max_iter}: {run.path} has already finished "
            f"{done} steps. Give a larger value."
        )
    resolved = resumed_config(own, config)
    dataset, run_split = run_on_main(lambda: prepare_run_dataset(resolved.data, run.path))
    run_on_main(lambda: remove_partial(run))
    if stored is not None:
        _check_same_data(stored, dataset, run_split, run)
    family = family_of(resolved.model.name)
    weights = None if stored else run_on_main(lambda: family.base_weights(resolved))
    plan = TrainingPlan(resolved, dataset, run, base_weights=weights, resume_from=stored)
    if comm.is_main_process() and plan.to_train:
        _keep_config(run, own, resolved)
        run.results_file.unlink(missing_ok=True)
        warn_of_another_machine(run, resolved.hardware.device)
        if stored is None:
            say(f"{run.path} stopped before its first checkpoint, so it begins again")
        else:
            say(f"resuming {run.path} after step {done} of {plan.max_iter}")
    return plan


def resumed_config(own: RunConfig, config: TrainConfig) -> RunConfig:
    """Return a run's own configuration with what may be given beside `resume`."""
    if config.solver.max_iter is not None:
        own = _with_solver(own, max_iter=config.solver.max_iter)
    if config.data.root is not None:
        data = own.data.model_copy(update={"root": config.data.root.absolute()})
        own = own.model_copy(update={"data": data})
    return own


def check_same_images(run: RunFolder, like: RunFolder) -> None:
    """Check that two runs have the same images, labels and splits.

    Raises:
        DataError: they differ.
    """
    if run.images_file.read_bytes() != like.images_file.read_bytes():
        raise DataError(
            f"{run.path}: the data has changed since {like.path} began, so that their figures "
            f"cannot be compared. Restore it, remove {run.path}, and resume; or train all seeds "
            "again in a new folder."
        )


def _with_solver(config: RunConfig, **changes: object) -> RunConfig:
    solver = config.solver.model_copy(update=changes)
    return config.model_copy(update={"solver": solver})


def _keep_config(run: RunFolder, before: RunConfig, now: RunConfig) -> None:
    """Write what a resume changes into `config.yaml`, unless the user has edited it."""
    try:
        edited = read_run_config(run) != before
    except ConfigError:
        edited = True
    if edited:
        warn(
            f"{run.config_file} is not what this run began with. A resumed run keeps its "
            f"configuration; to train with the edited one: config={run.config_file} output_dir=NEW"
        )
    elif now != before:
        write_config(run, now)


def _prepare(data: DataConfig, task: Task) -> LabelledDataset:
    dataset = prepare_dataset(data)
    if "train" not in dataset.tables or not dataset.tables["train"].num_images:
        raise DataError(f"{data.root}: there are no training images. Check data.images.")
    if not dataset.tables["train"].num_objects:
        raise DataError(f"{data.root}: the training images have no labels. Check data.labels.")
    if task == "segm" and not dataset.has_masks:
        raise ConfigError(
            "task=segm needs masks, but not every label has one. Train boxes with task=bbox, "
            "or use YOLO polygons or COCO JSON with segmentation."
        )
    return dataset


def _grey_window(dataset: LabelledDataset) -> Window | None:
    """Return the window of the training images, or of another split if they have 8 bits."""
    train_first = sorted(dataset.tables.items(), key=lambda item: item[0] != "train")
    windows = (
        grey_window([table.image_root / name for name in table.names]) for _, table in train_first
    )
    return next(filter(None, windows), None)


def _with_root(data: DataConfig, task: Task) -> DataConfig:
    """Return `data` with an absolute root; create the sample scenes if it uses them."""
    if data.root is not None:
        return data.model_copy(update={"root": data.root.absolute()})
    if not data.sample_scenes:
        return data
    folder = write_sample_scenes(sample_scenes_folder())
    labels = {"labels": "labels_txt/{split}", "format": "txt"}
    if task == "segm":
        labels = {"labels": "labels_yolo/{split}", "format": "yolo"}
    return data.model_copy(update={"root": folder, "images": "images/{split}", **labels})


def _check_same_data(
    stored: Checkpoint, dataset: LabelledDataset, run_split: RunSplit | None, run: RunFolder
) -> None:
    if stored.classes != dataset.classes:
        raise CheckpointError(
            f"{run.path}: the classes of the data have changed since this run began. Restore "
            "them or start a new run.\n"
            f"  run:  {name_list(stored.classes)}\n  data: {name_list(dataset.classes)}"
        )
    changes: dict[str, list[str]] = {}
    if run_split is not None:
        changes = run_split.changes(dataset.classes, dataset.tables, "train", "val")
        changes = _without_unreadable(changes, stored)
    same = stored.data_fingerprint == dataset.fingerprint
    if same and not changes:
        return
    if run_split is not None and not changes:
        warn(
            "labels have changed since this run began, but none that it trains on or validates "
            "with; it goes on"
        )
        return
    listed = "".join(
        f"\n  {kind}: {len(names)} of the images, such as {names[0]}"
        for kind, names in changes.items()
    )
    older = (
        " (or the run was started by a version that did not parse COCO JSON)"
        if dataset.format == "coco" and run_split is None
        else ""
    )
    raise DataError(
        f"{run.path}: the data has changed since this run began{older}. Resuming would mix two "
        "data sets. Restore it, or start a new run from the weights of this one: "
        f"data.split_from={run.path} model.weights={run.best_checkpoint}{listed}"
    )


def _without_unreadable(changes: dict[str, list[str]], stored: Checkpoint) -> dict[str, list[str]]:
    """Return the changes that are not damaged or vanished images the run goes on without."""
    known = set(stored.setbacks.unreadable)
    if known.intersection(changes.get("missing", ())):
        warn(
            "training images have vanished since this run began; it goes on without them, with "
            "the others in another order than they would have had"
        )
    left = {kind: [name for name in names if name not in known] for kind, names in changes.items()}
    return {kind: names for kind, names in left.items() if names}


def _print_plan(
    config: RunConfig, dataset: LabelledDataset, choices: list[Choice], run: RunFolder
) -> None:
    splits = ", ".join(
        f"{split} {part.num_images} images with {part.num_objects} objects"
        for split, part in dataset.tables.items()
    )
    say(f"data: {dataset.name}: {splits}; classes: {name_list(dataset.classes)}")
    val = dataset.tables.get("val")
    if val is None or not val.num_objects:
        warn(
            "there are no labelled objects for validation, so training computes no AP and saves "
            "only the last checkpoint. Label images for validation to get the best one."
        )
    say(f"task: {config.task}; device: {config.hardware.device}; run: {run.path}\n")
    rows = [[choice.key, _format_value(choice.value), choice.reason] for choice in choices]
    say(table(rows, headers=("chosen automatically", "value", "reason")) + "\n")
    if config.augment.flip == "horizontal" and not config.augment.rotate90:
        whose = "DOTA's" if dataset.format == "dota" else "aerial and microscope"
        say(f"Images without an up, such as {whose}: augment=aerial also turns them.\n")


def _check_labels(config: RunConfig, dataset: LabelledDataset, run: RunFolder) -> None:
    """Run a quick check of the labels and print its errors and warnings."""
    anchors = family_of(config.model.name).anchors(config)
    findings = dataset_findings(dataset, anchors, decode=False)
    write_json(run.path / "findings.json", findings_json(findings))
    rows = [[f.severity, f.title] for f in findings if f.severity != "note"]
    if not rows:
        say("labels: the quick check found no problems\n")
        return
    say(table(rows, headers=("labels", "finding of the quick check")))
    say(f"For advice and pictures, run: {command_line('check')} {_data_options(config.data)}\n")


def _data_options(data: DataConfig) -> str:
    """Return the non-default data options as command-line overrides."""
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


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        between = ", " if value and isinstance(value[0], list) else " "
        return between.join(_format_value(item) for item in value)
    return str(value)

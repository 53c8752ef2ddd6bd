"""Checkpoints: one file with everything needed to resume, evaluate or predict.

A checkpoint is a dict of plain values and tensors, so that `torch.load` reads it with
`weights_only=True` and never executes code in a file. It is written atomically.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import HardwareConfig
from detfinetune.console import command_line, warn
from detfinetune.errors import CheckpointError, ConfigError, TrainingError
from detfinetune.families import family_named, family_of
from detfinetune.files import atomic_path
from detfinetune.models.calibration import UNCALIBRATED, Calibration
from detfinetune.models.detection_model import DetectionModel
from detfinetune.models.family import ModelFamily
from detfinetune.models.weight_files import CodeInFile, DamagedFile, check_finite, load_torch_file

_FORMAT = 1
# Of checkpoints that do not name theirs.
_FIRST_FAMILY = "rcnn"
_KEPT = "The previous checkpoint is unchanged. Free some space."
_OTHER_ONE = (
    "A run keeps two, checkpoints/best.pth and checkpoints/last.pth: try the other one "
    "(checkpoint=FILE, or model.weights=FILE to train from it)."
)
SEEDS_FILE = "seeds.json"
"""File that marks a folder with a run for each of several seeds."""

FALLBACK_THRESHOLD = 0.5
"""Score threshold of a model that was never evaluated on validation."""
# Number of differences between weights and model that a message lists.
_SHOWN_DIFFERENCES = 4


@dataclass(frozen=True)
class BestResult:
    """The best validation so far."""

    metric: str
    """Task and metric, such as bbox/AP."""

    value: float
    """0-100."""

    iteration: int
    """Steps completed before that evaluation."""


@dataclass(frozen=True)
class Setbacks:
    """What went wrong in a run so far, and how it goes on."""

    skipped_steps: int = 0
    """Steps that were skipped because something was not finite; each lowered the learning rate."""

    accumulate: int | None = None
    """Parts of a batch since memory was full; None: as configured."""

    unreadable: tuple[str, ...] = ()
    """Training images that could not be read, relative to their root."""


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file."""

    model: dict[str, torch.Tensor]
    classes: tuple[str, ...]
    config: RunConfig

    iteration: int
    """Completed steps."""

    optimizer: dict[str, Any] | None = None
    grad_scaler: dict[str, Any] | None = None
    ema: dict[str, torch.Tensor] | None = None
    """The averaged weights, if weights are averaged."""

    best: BestResult | None = None

    evaluated: int = 0
    """Steps completed before the last evaluation on val."""

    score_threshold: float | None = None
    """Best threshold of calibrated scores on val; None before the first evaluation."""

    calibration: Calibration = UNCALIBRATED
    """Of the scores of the best weights, fitted on val."""

    data_fingerprint: str = ""
    setbacks: Setbacks = Setbacks()


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically.

    Raises:
        TrainingError: there is too little disk space, or writing failed; an existing file is kept.
    """
    payload = {
        "format": _FORMAT,
        "family": family_of(checkpoint.config.model.name).name,
        "model": checkpoint.model,
        "classes": list(checkpoint.classes),
        "config": checkpoint.config.model_dump(mode="json"),
        "iteration": int(checkpoint.iteration),
        "optimizer": checkpoint.optimizer,
        "grad_scaler": checkpoint.grad_scaler,
        "ema": checkpoint.ema,
        "best": asdict(checkpoint.best) if checkpoint.best else None,
        "evaluated": checkpoint.evaluated,
        "score_threshold": checkpoint.score_threshold,
        "calibration": asdict(checkpoint.calibration),
        "data_fingerprint": checkpoint.data_fingerprint,
        "setbacks": asdict(checkpoint.setbacks),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    needed = 2 * _tensor_bytes(payload) + (8 << 20)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise TrainingError(
            f"{path}: the disk has {free >> 20} MiB free, a checkpoint needs {needed >> 20} MiB. "
            f"{_KEPT}"
        )
    try:
        with atomic_path(path) as temporary:
            torch.save(payload, temporary)
    except (OSError, RuntimeError) as error:
        # torch may notice here that a data loader worker has died.
        for cause in (error, error.__context__):
            if isinstance(cause, RuntimeError) and "DataLoader worker" in str(cause):
                raise cause from None
        # torch reports a failed write as a RuntimeError about file positions.
        reason = error.strerror if isinstance(error, OSError) else "is the disk full, or a quota?"
        message = f"{path}: the checkpoint cannot be written ({reason}). {_KEPT}"
        raise TrainingError(message) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: the file is missing, broken, contains code, or is not a checkpoint of
            detfinetune.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint.")
    try:
        payload = load_torch_file(path)
        check_finite(payload)
    except CodeInFile as error:
        raise CheckpointError(
            f"{path}: {error}. A run writes no code into its checkpoints: copy the file again from "
            "the run that wrote it."
        ) from error
    except DamagedFile as error:
        raise CheckpointError(f"{path}: the file is broken: {error}. {_OTHER_ONE}") from error
    except Exception as error:
        raise CheckpointError(
            f"{path}: the file is broken or not a checkpoint ({type(error).__name__}). {_OTHER_ONE}"
        ) from error
    if not isinstance(payload, dict) or payload.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path}: this is not a detfinetune checkpoint. To start from these weights, give "
            f"model.weights={path} to `{command_line('train')}`."
        )
    family_named(payload.get("family", _FIRST_FAMILY))
    try:
        config = RunConfig.model_validate(payload["config"])
    except (ValueError, ConfigError) as error:
        raise CheckpointError(
            f"{path}: its configuration is not valid in this version: {error}"
        ) from error
    except KeyError as error:
        raise _lacks_a_part(path, error) from error
    try:
        return Checkpoint(
            model=payload["model"],
            classes=tuple(payload["classes"]),
            config=config,
            iteration=payload["iteration"],
            optimizer=payload["optimizer"],
            grad_scaler=payload["grad_scaler"],
            ema=_average(payload.get("ema")),
            best=BestResult(**payload["best"]) if payload["best"] else None,
            # Older versions do not tell.
            evaluated=payload["evaluated"] if "evaluated" in payload else payload["iteration"],
            score_threshold=payload["score_threshold"],
            calibration=Calibration(**payload.get("calibration", {})),
            data_fingerprint=payload["data_fingerprint"],
            setbacks=Setbacks(**payload.get("setbacks", {})),
        )
    except (KeyError, TypeError) as error:
        raise _lacks_a_part(path, error) from error


def _average(state: dict[str, torch.Tensor] | None) -> dict[str, torch.Tensor] | None:
    """Return averaged weights under the model's names; older versions stored torch's wrapper."""
    if state is None or "n_averaged" not in state:
        return state
    return {name.removeprefix("module."): value for name, value in state.items()
            if name != "n_averaged"}  # fmt: skip


def _lacks_a_part(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: a part of the checkpoint is missing or broken: {error}.")


def find_checkpoint(run: Path, which: Literal["best", "last"] = "best") -> Path:
    """Return a run's checkpoint file; `best` falls back to `last` before the first evaluation.

    Raises:
        CheckpointError: the folder is not a run, or does not have this checkpoint.
    """
    if run.is_file():
        owner = run.resolve().parent.parent
        hint = f" The run is {owner}." if (owner / "config.yaml").is_file() else ""
        raise CheckpointError(f"{run}: this is a file, but a run is a folder.{hint}")
    if not run.is_dir():
        raise CheckpointError(f"{run}: there is no such run folder.{_nearby_runs(run)}")
    folder = run / "checkpoints"
    for name in dict.fromkeys((which, "last")):
        if (folder / f"{name}.pth").is_file():
            return folder / f"{name}.pth"
    if (run / SEEDS_FILE).is_file():
        one = next(iter(sorted(run.glob("seed_*"))), run / "seed_0")
        raise CheckpointError(f"{run}: holds a run for each of several seeds. Give one: {one}")
    if not (run / "config.yaml").is_file():
        raise CheckpointError(f"{run}: this is not a run folder (config.yaml is missing).")
    if (folder / "best.pth").is_file():
        raise CheckpointError(
            f"{run}: checkpoints/last.pth is missing, so the run cannot resume. Start a new run "
            f"from its best weights instead: model.weights={folder / 'best.pth'}"
        )
    raise CheckpointError(f"{run}: the run has no checkpoint; it stopped before the first one.")


def choose_checkpoint(run: Path | None, checkpoint: Path | None) -> Path:
    """Return the checkpoint file that `run=` or `checkpoint=` names.

    Raises:
        ConfigError: neither or both are given.
        CheckpointError: the run does not exist, or it has no checkpoint.
    """
    if run is not None and checkpoint is None:
        return find_checkpoint(run)
    if checkpoint is not None and run is None:
        return checkpoint
    given = "neither is" if run is None else "both are"
    raise ConfigError(
        f"Give either run or checkpoint; {given} given. Write run=RUN for a run's best checkpoint, "
        "or checkpoint=FILE for any other."
    )


@dataclass(frozen=True)
class LoadedDetector:
    """A trained detector."""

    model: DetectionModel
    """In eval mode, on its device."""

    config: RunConfig
    """Of its run, with this machine's hardware."""

    classes: tuple[str, ...]
    iteration: int
    score_threshold: float | None
    calibration: Calibration
    checkpoint: Path

    data_fingerprint: str = ""
    """Hash of the labels that it was trained on and validated with."""

    @property
    def family(self) -> ModelFamily:
        """The family that it belongs to."""
        return family_of(self.config.model.name)


def load_detector(checkpoint: Path, hardware: HardwareConfig) -> LoadedDetector:
    """Build the model of a checkpoint on `hardware.device` and load its weights.

    Raises:
        CheckpointError: the file cannot be read, or its weights do not fit the model.
        MissingExtraError: its family needs packages that are not installed.
    """
    stored = read_checkpoint(checkpoint)
    best = checkpoint.with_name("best.pth")
    if stored.best is not None and checkpoint.name == "last.pth" and not best.is_file():
        warn(f"{best} is missing, so {checkpoint.name} is used: not the best weights on val")
    check_device(hardware.device)
    config = RunConfig.model_validate(
        {**stored.config.model_dump(), "hardware": {**hardware.model_dump(), "precision": "fp32"}}
    )
    family = family_of(config.model.name)
    family.require_extra(config.model.name)
    model = family.build(config, stored.classes, None)
    load_weights(model, stored, checkpoint, averaged=True)
    return LoadedDetector(
        model=model.to(hardware.device).eval(),
        config=config,
        classes=stored.classes,
        iteration=stored.iteration,
        score_threshold=stored.score_threshold,
        calibration=stored.calibration,
        checkpoint=checkpoint,
        data_fingerprint=stored.data_fingerprint,
    )


def load_weights(
    model: DetectionModel, stored: Checkpoint, path: Path, *, averaged: bool = False
) -> None:
    """Load all weights of a checkpoint into a model; `averaged`: their average if there is one.

    Raises:
        CheckpointError: names or shapes differ.
    """
    try:
        model.load_checkpoint_state((stored.ema if averaged else None) or stored.model)
    except RuntimeError as error:
        # One difference a line, after a heading.
        found = [line.strip() for line in str(error).splitlines()[1:]]
        more = len(found) - _SHOWN_DIFFERENCES
        shown = [*found[:_SHOWN_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])]
        listed = "".join(f"\n  {line}" for line in shown)
        raise CheckpointError(
            f"{path}: the weights do not fit the model of its configuration with "
            f"{len(stored.classes)} classes:{listed}"
        ) from error


def check_device(device: str) -> None:
    """Raise an error for a missing device, instead of silently using another.

    Raises:
        ConfigError: the device is missing.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        if "Expected one of" in reason:
            reason = "devices are cpu, cuda, cuda:1, mps"
        raise ConfigError(
            f"hardware.device={device}: the device cannot be used ({reason}). Use hardware=cpu, or "
            f"run `{command_line('doctor')}`."
        ) from error


def _tensor_bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(_tensor_bytes(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_tensor_bytes(item) for item in value)
    return 0


def _nearby_runs(run: Path) -> str:
    parent = run.parent
    runs = sorted(file.parent.name for file in parent.glob("*/config.yaml"))
    return f" Runs in {parent}: {', '.join(runs[-8:])}." if runs else ""

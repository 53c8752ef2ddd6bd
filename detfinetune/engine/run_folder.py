"""The folder of a run: its paths, and the files written at the start."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from detfinetune import files
from detfinetune._detectron2 import detectron2_origin, detectron2_version
from detfinetune.config.load import validate
from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import TrainConfig
from detfinetune.console import warn
from detfinetune.engine.distributed import run_on_main
from detfinetune.errors import ConfigError, OutputExistsError, TrainingError
from detfinetune.files import write_json, write_text
from detfinetune.labels.convert import write_accounts
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.splits import run_split
from detfinetune.models.checkpoint import SEEDS_FILE
from detfinetune.models.choices import Choice

# Enough for logs, pictures and results.
_MIN_FREE_BYTES = 200 << 20

# Labelled images of each split on a contact sheet.
_IMAGES_PER_SHEET = 16


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def last_checkpoint(self) -> Path:
        """Everything needed to resume."""
        return self.path / "checkpoints" / "last.pth"

    @property
    def best_checkpoint(self) -> Path:
        """The weights with the best validation AP."""
        return self.path / "checkpoints" / "best.pth"

    @property
    def metrics_file(self) -> Path:
        """One JSON object per line: losses, learning rate, validation AP by step."""
        return self.path / "train_metrics.jsonl"

    @property
    def images_file(self) -> Path:
        """Each image with its split, and hashes of the file and its labels."""
        return self.path / run_split.FILE_NAME

    @property
    def log_file(self) -> Path:
        """Detectron2's log."""
        return self.path / "log.txt"

    @property
    def failed_batches(self) -> Path:
        """Images of steps that were skipped because something was not finite."""
        return self.path / "failed_batch"

    @property
    def results_file(self) -> Path:
        """Figures of the best checkpoint; its last file, so that it marks a finished run."""
        return self.path / "results.json"

    def evaluation(self, split: str) -> Path:
        """Folder of a split's evaluation."""
        return self.path / "evaluation" / split

    def result_files(self) -> list[Path]:
        """Return the files that tell of a finished run: for its trackers."""
        wanted = ("config.yaml", "checkpoints/best.pth", "results.json",
                  "evaluation/*/metrics.json", "pictures/*")  # fmt: skip
        return [file for pattern in wanted for file in sorted(self.path.glob(pattern))]


def new_run_folder(config: TrainConfig) -> RunFolder:
    """Create the folder of a new run: `output_dir`, or the next free `runs/<data.name>`.

    Raises:
        OutputExistsError: `output_dir` exists and is not empty.
        TrainingError: the disk is nearly full.
    """
    try:
        path = _make_folder(config)
    except OSError as error:
        wanted = config.output_dir or "runs"
        raise TrainingError(
            f"output_dir={wanted}: cannot create the folder ({error.strerror}). Give another one."
        ) from error
    free = shutil.disk_usage(path).free
    if free < _MIN_FREE_BYTES:
        raise TrainingError(
            f"{path}: the disk has {free >> 20} MiB free, a run needs at least "
            f"{_MIN_FREE_BYTES >> 20} MiB. Free some space or give another output_dir."
        )
    return RunFolder(path)


def _make_folder(config: TrainConfig) -> Path:
    if config.output_dir is not None:
        path = config.output_dir
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            is_run = any((path / name).is_file() for name in ("config.yaml", SEEDS_FILE))
            resume = f", or resume that run with resume={path}" if is_run else ""
            raise OutputExistsError(
                f"output_dir={path}: already exists. Give a new or empty folder{resume}"
            )
        path.mkdir(parents=True, exist_ok=True)
        return path
    return _next_free(Path("runs") / config.data.name)


def _next_free(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            candidate.mkdir()
        except FileExistsError:
            number += 1
        else:
            return candidate


def write_metadata(
    run: RunFolder, config: RunConfig, dataset: LabelledDataset, choices: list[Choice]
) -> None:
    """Write the environment, a summary of the data, its split, choices and the configuration."""
    write_json(run.path / "environment.json", environment())
    write_accounts(dataset, run.path, _IMAGES_PER_SHEET)
    run_split.write_run_split(run.path, dataset.classes, dataset.tables)
    splits = {
        split: {
            "image_root": str(table.image_root.resolve()),
            "images": table.num_images,
            "annotations": table.num_objects,
        }
        for split, table in dataset.tables.items()
    }
    write_json(
        run.path / "data.json",
        {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "classes": list(dataset.classes),
            "splits": splits,
        },
    )
    write_json(run.path / "choices.json", [asdict(choice) for choice in choices])
    # Last, because a folder with it can be resumed.
    write_config(run, config)


def write_config(run: RunFolder, config: RunConfig) -> None:
    """Write the resolved configuration of a run."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(run.config_file, "# The resolved configuration of this run.\n" + text)


def read_run_config(run: RunFolder) -> RunConfig:
    """Read the resolved configuration of a run.

    Raises:
        ConfigError: the file is not valid.
    """
    try:
        values = yaml.safe_load(run.config_file.read_text(encoding="utf-8"))
        return validate(values, RunConfig)
    except (OSError, ValueError, yaml.YAMLError, ConfigError) as error:
        raise ConfigError(
            f"{run.config_file}: cannot be used ({error}). Start a new run."
        ) from error


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Keep other processes out of a run; the lock ends with this process, however it ends.

    Raises:
        OutputExistsError: another process is training this run.
    """
    with ExitStack() as stack:
        run_on_main(lambda: stack.enter_context(files.locked(run.path)))
        yield


def warn_of_another_machine(run: RunFolder, device: str) -> None:
    """Say when the rest of a run will not be bit-equal to what it would have been."""
    try:
        before = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
        threads, version = before["torch_threads"], before["packages"]["torch"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    now, now_version = torch.get_num_threads(), _version("torch")
    changes = []
    if device == "cpu" and threads != now:
        changes.append(f"{threads} threads, now {now} (set OMP_NUM_THREADS={threads})")
    if version != now_version:
        changes.append(f"torch {version}, now {now_version}")
    if changes:
        warn(
            f"this run began with {'; '.join(changes)}: the weights will not be bit-equal to those "
            "of a run that was never stopped"
        )


def environment() -> dict[str, Any]:
    """Return versions, hardware and command line of this process."""
    packages = ("detfinetune", "torch", "torchvision", "timm", "numpy", "opencv-python",
                "pillow", "pycocotools", "hydra-core", "omegaconf")  # fmt: skip
    cuda = torch.cuda.is_available()
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if cuda else None,
        "packages": {name: _version(name) for name in packages},
        "detectron2": f"{detectron2_version()} ({detectron2_origin()})",
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def truncate_metrics(run: RunFolder, iteration: int) -> int:
    """Drop lines of steps that a resume will repeat, and lines truncated by a crash.

    Returns:
        The last step that had a line; 0 if none had.
    """
    if not run.metrics_file.is_file():
        return 0
    kept, last = [], 0
    for line in run.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            step = json.loads(line)["iteration"]
            last = max(last, step)
            if step <= iteration:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    write_text(run.metrics_file, "".join(kept))
    return last


def remove_partial(run: RunFolder) -> None:
    """Remove temporary files of a killed process; the files they were to replace are complete."""
    for leftover in run.path.rglob(".*.part"):
        leftover.unlink(missing_ok=True)

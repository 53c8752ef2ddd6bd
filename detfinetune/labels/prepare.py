"""Read a data set for training or evaluation, and tell the user what it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from detfinetune import console
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.convert import say_what_was_taken
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.misread import refuse_misread
from detfinetune.labels.read import read_dataset
from detfinetune.labels.splits.run_split import RunSplit, read_run_split
from detfinetune.labels.summary import dataset_summary


def prepare_dataset(data: DataConfig) -> LabelledDataset:
    """Read a data set of any format and refuse one that cannot be used.

    Raises:
        ConfigError: `data.root` is missing, or another key leads nowhere.
        DataError: the data cannot be used.
        LabelError: a label is wrong and `data.on_problem` is `stop`.
    """
    dataset = _with_images(read_dataset(data))
    say_what_was_taken(dataset)
    refuse_misread(dataset)
    dataset = _usable(dataset)
    console.say(dataset_summary(dataset))
    return dataset


def prepare_run_dataset(data: DataConfig, run: Path) -> tuple[LabelledDataset, RunSplit | None]:
    """Read the data of a run, divided as the run divided it, and print one line about it.

    Returns:
        The data set, and what has changed since the run began; None where the run keeps no split.

    Raises: as `prepare_dataset`.
    """
    run_split = read_run_split(run)
    if run_split is None and (run / "split.csv").is_file():
        # Runs of versions without images.csv.
        changes = {"split_file": (run / "split.csv").resolve(), "folds": None, "fold": None}
        data = data.model_copy(update=changes)
    dataset = _usable(_with_images(read_dataset(data, run_split)))
    counts = dataset.ledger.counts.values()
    fixed, rejected = (sum(getattr(c, k) for c in counts) for k in ("fixed", "rejected"))
    console.say(
        f"Data in {dataset.root}: {dataset.found} ({dataset.format}; {fixed} labels fixed, "
        f"{rejected} rejected)"
    )
    return dataset, run_split


def _usable(dataset: LabelledDataset) -> LabelledDataset:
    """Return it without images of whose labels none can be used, and without empty splits."""
    dataset = dataset.without_all_rejected()
    kept = {split: table for split, table in dataset.tables.items() if table.num_images}
    for split in dataset.tables:
        if split not in kept:
            console.warn(f"split {split} is left out: none of its images can be used")
    return replace(dataset, tables=kept)


def _with_images(dataset: LabelledDataset) -> LabelledDataset:
    if not dataset.has_images:
        raise DataError(
            "data.image_sizes gives sizes without images, which cannot be trained on. Give the "
            "images with data.images=FOLDER and leave data.image_sizes out."
        )
    return dataset

"""Labels in any format -> COCO JSON, with a ledger of everything that was fixed or rejected.

`read` has the rules for single labels; `misread` refuses labels that are wrong as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detfinetune import console, files
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.coco_json import write_coco
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import Ledger
from detfinetune.labels.dataset.manifest import MANIFEST_NAME, write_manifest
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.misread import refuse_misread
from detfinetune.labels.preview.contact_sheet import write_label_sheet
from detfinetune.labels.read import read_dataset
from detfinetune.labels.splits.split_file import write_split_file
from detfinetune.labels.summary import dataset_summary


@dataclass(frozen=True)
class ConversionResult:
    """What a conversion wrote."""

    dataset: LabelledDataset
    folder: Path

    @property
    def ledger(self) -> Ledger:
        """What was fixed or rejected."""
        return self.dataset.ledger


def convert_dataset(
    data: DataConfig, output: Path, *, overwrite: bool = False, contact_sheet: int = 16
) -> ConversionResult:
    """Convert labels into COCO JSON in the folder `output`.

    Writes `train.json`, `val.json`, `test.json` (those that exist), `dataset.json`,
    `ledger.csv`, `classes.txt`, `labels_<split>.jpg` and, unless the data defines its splits,
    `split.csv`, all at once or not at all.

    Args:
        data: where the labels are and how to read them.
        output: folder to write.
        overwrite: replace `output` when it exists.
        contact_sheet: images a split on its contact sheet; 0 draws none.

    Raises:
        ConfigError, DataError: nothing usable is there, or the labels are mostly wrong.
        LabelError: a label is wrong and `data.on_problem` is `stop`.
        OutputExistsError: `output` exists and `overwrite` is false, or it is not a folder that a
            conversion wrote.
    """
    files.check_output(output, overwrite)
    root = require_root(data)
    files.check_replaceable(output, MANIFEST_NAME, keep=[root])
    if (root / MANIFEST_NAME).is_file():
        raise DataError(f"{root}: already converted; train on it with data.root={root}.")
    dataset = read_dataset(data)
    say_what_was_taken(dataset)
    refuse_misread(dataset)
    dataset = dataset.without_all_rejected()
    result = write_converted(dataset, output, overwrite=overwrite, contact_sheet=contact_sheet)
    console.say(dataset_summary(dataset))
    console.say(f"\nWritten to {output}: {', '.join(sorted(p.name for p in output.iterdir()))}")
    return result


def write_converted(
    dataset: LabelledDataset, output: Path, *, overwrite: bool = False, contact_sheet: int = 0
) -> ConversionResult:
    """Write a data set that was read as COCO JSON, all its files at once; print nothing."""
    classes, tables = dataset.classes, dataset.tables
    with files.atomic_folder(output, overwrite) as folder:
        for split, table in tables.items():
            write_coco(folder / f"{split}.json", dataset.name, split, classes, table)
        write_accounts(dataset, folder, contact_sheet)
        write_manifest(
            folder,
            name=dataset.name,
            classes=classes,
            source=dataset.root,
            image_roots={split: table.image_root for split, table in tables.items()},
            counts={s: (table.num_images, table.num_objects) for s, table in tables.items()},
        )
    return ConversionResult(dataset, output)


def say_what_was_taken(dataset: LabelledDataset) -> None:
    """Print what was found and how it is read."""
    console.say(f"Data in {dataset.root}: {dataset.found}")
    console.say(f"Format: {dataset.format} ({dataset.evidence})")
    names = dataset.classes
    shown = console.name_list(names)
    numbered = f", numbered from {dataset.first_class}" if dataset.first_class else ""
    if dataset.classes_from:
        console.say(f"Classes: {shown} (from {dataset.classes_from}{numbered})")
    elif all(name.startswith("class_") for name in names):
        console.warn(
            f"no class names were found, so the classes are {shown}. To name them, give "
            "data.classes=[first,second] or put a classes.txt beside the labels."
        )
    else:
        console.say(f"Classes: {shown} (the labels' own names)")
    for note in dataset.notes:
        console.say(f"Note: {note}")


def write_accounts(dataset: LabelledDataset, folder: Path, contact_sheet: int) -> None:
    """Write the record of how labels were read: ledger, class list, split file, contact sheets.

    Args:
        dataset: as read.
        folder: must exist.
        contact_sheet: images a split on its contact sheet; 0 draws none.
    """
    files.write_text(folder / "ledger.csv", dataset.ledger.to_csv())
    files.write_text(folder / "classes.txt", "".join(f"{name}\n" for name in dataset.classes))
    if dataset.split_rows:
        write_split_file(folder / "split.csv", dataset.split_rows)
    for split, table in dataset.tables.items():
        if contact_sheet and dataset.has_images:
            path = folder / f"labels_{split}.jpg"
            write_label_sheet(path, table, dataset.classes, contact_sheet, split)

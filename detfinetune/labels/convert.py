"""Labels in any format -> COCO JSON, with a ledger of everything that was fixed or rejected.

`read` has the rules for single labels. Where more than half of them are rejected, or mended
alike, the labels were probably read wrongly: that is an error which shows the reasons and, where
one is found, the reading that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detfinetune import console, files
from detfinetune.collector import no_cycle_search
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.coco_json import write_coco
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import Ledger
from detfinetune.labels.dataset.manifest import MANIFEST_NAME, write_manifest
from detfinetune.labels.dataset.summary import dataset_summary
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.discover import discover_dataset
from detfinetune.labels.discovery.discovered import DiscoveredDataset
from detfinetune.labels.misread import refuse_mostly_wrong
from detfinetune.labels.preview.contact_sheet import write_label_sheet
from detfinetune.labels.read import read_discovered
from detfinetune.labels.splits.split_file import write_split_file


@dataclass(frozen=True)
class ConversionResult:
    """What a conversion made."""

    dataset: LabelledDataset
    folder: Path

    @property
    def ledger(self) -> Ledger:
        """What was fixed or rejected."""
        return self.dataset.ledger


def convert_dataset(
    data: DataConfig,
    output: Path,
    *,
    overwrite: bool = False,
    num_workers: int | None = None,
    contact_sheet: int = 16,
) -> ConversionResult:
    """Convert labels into COCO JSON in the folder `output`.

    Writes `train.json`, `val.json`, `test.json` (those that there are), `dataset.json`,
    `ledger.csv`, `classes.txt`, `labels_<split>.jpg` and, where the data came in one piece,
    `split.csv`, all at once or not at all.

    Args:
        data: where the labels are and how to read them.
        output: folder to write.
        overwrite: replace `output` when it is there.
        num_workers: processes and threads that read; None: by the number of cores.
        contact_sheet: images a split on its contact sheet; 0 draws none.

    Raises:
        ConfigError, DataError: nothing usable is there, or the labels are mostly wrong.
        LabelError: a label is wrong and `data.on_problem` is `stop`.
        OutputExistsError: `output` is there and `overwrite` is false, or it is no folder that a
            conversion made.
    """
    files.check_output(output, overwrite)
    root = require_root(data)
    files.check_replaceable(output, MANIFEST_NAME, keep=[root])
    if (root / MANIFEST_NAME).is_file():
        raise DataError(f"{root}: was converted already; train on it with data.root={root}.")
    with no_cycle_search():
        result = convert_discovered(
            data, discover_dataset(data, root), output, overwrite=overwrite,
            num_workers=num_workers, contact_sheet=contact_sheet,
        )  # fmt: skip
    console.say(f"\nWritten to {output}: {', '.join(sorted(p.name for p in output.iterdir()))}")
    return result


def convert_discovered(
    data: DataConfig,
    gathered: DiscoveredDataset,
    output: Path,
    *,
    overwrite: bool = False,
    num_workers: int | None = None,
    contact_sheet: int = 16,
) -> ConversionResult:
    """Do what `convert_dataset` does for a data set that was gathered already."""
    with no_cycle_search():
        dataset = read_discovered(data, gathered, num_workers=num_workers)
    say_what_was_taken(dataset)
    refuse_mostly_wrong(dataset)
    result = write_converted(dataset, output, overwrite=overwrite, contact_sheet=contact_sheet)
    console.say(dataset_summary(dataset))
    return result


def write_converted(
    dataset: LabelledDataset, output: Path, *, overwrite: bool = False, contact_sheet: int = 0
) -> ConversionResult:
    """Write a data set that was read as COCO JSON, all its files at once, without a word."""
    with no_cycle_search(), files.atomic_folder(output, overwrite) as folder:
        _write(dataset, folder, contact_sheet)
    return ConversionResult(dataset, output)


def say_what_was_taken(dataset: LabelledDataset) -> None:
    """Tell the user what was found, and how it is read."""
    console.say(f"Data in {dataset.root}: {dataset.found}")
    console.say(f"Format: {dataset.format} ({dataset.evidence})")
    names = dataset.classes
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    numbered = f", numbered from {dataset.first_class}" if dataset.first_class else ""
    if dataset.classes_from:
        console.say(f"Classes: {shown} (from {dataset.classes_from}{numbered})")
    elif all(name.startswith("class_") for name in names):
        console.warn(
            f"no class names were found; the labels' own are used: {shown}. To name them, give "
            "data.classes=[first,second] or put a classes.txt beside the labels."
        )
    else:
        console.say(f"Classes: {shown} (the labels' own names)")
    for note in dataset.notes:
        console.say(f"Note: {note}")


def _write(dataset: LabelledDataset, folder: Path, contact_sheet: int) -> None:
    classes, tables = dataset.classes, dataset.tables
    for split, table in tables.items():
        write_coco(folder / f"{split}.json", dataset.name, split, classes, table)
    write_accounts(dataset, folder, contact_sheet)
    write_manifest(
        folder,
        name=dataset.name,
        classes=classes,
        fingerprint=dataset.fingerprint,
        source=dataset.root,
        image_roots={split: table.image_root for split, table in tables.items()},
        counts={split: (table.num_images, table.num_objects) for split, table in tables.items()},
    )


def write_accounts(dataset: LabelledDataset, folder: Path, contact_sheet: int) -> None:
    """Write what shows how labels were read: ledger, class list, split file, contact sheets.

    Args:
        dataset: as read.
        folder: is there already.
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

"""Labels in any format -> YOLO, VOC, txt or Florence-2's JSONL, with a report of what is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detfinetune import console, files
from detfinetune.config.schema import ConvertConfig, DataConfig
from detfinetune.labels.convert import (
    ConversionResult,
    convert_dataset,
    say_what_was_taken,
    write_accounts,
)
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import Ledger
from detfinetune.labels.dataset.manifest import EXPORT_NAME
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.misread import refuse_misread
from detfinetune.labels.read import read_dataset
from detfinetune.labels.summary import dataset_summary
from detfinetune.labels.writers import WrittenLabels
from detfinetune.labels.writers.florence import split_folder, write_florence
from detfinetune.labels.writers.txt import write_txt
from detfinetune.labels.writers.voc import write_voc
from detfinetune.labels.writers.yolo import write_yolo, write_yolo_names

ExportFormat = Literal["yolo", "voc", "txt", "florence"]
Images = Literal["leave", "link", "copy"]


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote."""

    written: tuple[WrittenLabels, ...]
    """By split, with what was lost."""

    ledger: Ledger
    folder: Path


def export_dataset(
    data: DataConfig,
    output: Path,
    output_format: ExportFormat,
    *,
    overwrite: bool = False,
    contact_sheet: int = 16,
    images: Images = "leave",
) -> ExportResult:
    """Convert labels into another format in the folder `output`, all at once or not at all.

    Also writes `classes.txt`, `ledger.csv`, `export.json`, contact sheets and, unless the data
    defines its splits, `split.csv`.

    Args:
        data: where the labels are and how to read them.
        output: folder to write.
        output_format: yolo (polygons if there are any), voc, txt or florence.
        overwrite: replace `output` if it exists.
        contact_sheet: images a split on its contact sheet; 0 draws none.
        images: leave them, or link or copy them into `images/<split>`
            (`JPEGImages/<split>` for VOC; `train`, `valid`, `test` for Florence-2), as other tools
            expect.

    Raises:
        ConfigError, DataError: nothing usable is there, or the labels are mostly wrong.
        LabelError: a label is wrong and `data.on_problem` is `stop`.
        OutputExistsError: `output` exists and `overwrite` is false, or it is not an export.
    """
    files.check_output(output, overwrite)
    root = require_root(data)
    files.check_replaceable(output, EXPORT_NAME, keep=[root])
    dataset = read_dataset(data)
    say_what_was_taken(dataset)
    refuse_misread(dataset)
    dataset = dataset.without_all_rejected()
    result = export_read(
        dataset, output, output_format, overwrite=overwrite, contact_sheet=contact_sheet,
        images=images,
    )  # fmt: skip
    console.say(dataset_summary(dataset))
    console.say(f"\nWritten to {output}:")
    for written in result.written:
        console.say(f"  {written.text()}")
    if images == "leave":
        console.say(
            "Images stay where they are. To have them beside the labels, rerun with images=link or "
            "images=copy."
        )
    return result


def export_read(
    dataset: LabelledDataset,
    output: Path,
    output_format: ExportFormat,
    *,
    overwrite: bool = False,
    contact_sheet: int = 0,
    images: Images = "leave",
) -> ExportResult:
    """Export a data set that was read already; print nothing."""
    with files.atomic_folder(output, overwrite) as folder:
        written = []
        for split, table in dataset.tables.items():
            written.append(_write_split(dataset, folder, output_format, split, table))
            if images != "leave":
                own = {"voc": f"JPEGImages/{split}", "florence": split_folder(split)}
                place = own.get(output_format, f"images/{split}")
                _bring_images(table, folder / place, images)
        if output_format == "yolo":
            write_yolo_names(folder, dataset.classes, list(dataset.tables))
        write_accounts(dataset, folder, contact_sheet)
        files.write_json(folder / EXPORT_NAME, _description(dataset, output_format, written))
    return ExportResult(tuple(written), dataset.ledger, output)


def _write_split(
    dataset: LabelledDataset, folder: Path, output_format: ExportFormat, split: str,
    table: LabelTable,
) -> WrittenLabels:  # fmt: skip
    if output_format == "yolo":
        return write_yolo(folder, split, table, dataset.classes)
    if output_format == "voc":
        return write_voc(folder, split, table, dataset.classes)
    if output_format == "florence":
        return write_florence(folder, split, table, dataset.classes)
    return write_txt(folder, split, table, dataset.classes)


def _bring_images(table: LabelTable, folder: Path, images: Images) -> None:
    names: Iterable[str] = table.names
    if images == "copy":
        names = console.progress(table.names, description="copying images", unit="image")
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = (table.image_root / name).resolve()
        if images == "link":
            target.symlink_to(source)
        else:
            shutil.copy2(source, target)


def _description(
    dataset: LabelledDataset, output_format: str, written: list[WrittenLabels]
) -> dict[str, object]:
    return {
        "format": output_format,
        "name": dataset.name,
        "classes": list(dataset.classes),
        "source": str(dataset.root.resolve()),
        "splits": {
            part.split: {
                "image_root": str(dataset.tables[part.split].image_root.resolve()),
                "files": part.files,
                "objects": part.objects,
                "left_out": dict(part.left_out),
                "lossless": part.lossless,
            }
            for part in written
        },
    }


def convert_labels(config: ConvertConfig) -> ConversionResult | ExportResult:
    """Convert labels as a configuration says.

    Raises:
        ConfigError, DataError: nothing usable is there, or the labels are mostly wrong.
        LabelError: a label is wrong and `data.on_problem` is `stop`.
        OutputExistsError: the output exists and must not be replaced.
    """
    name = config.output_format
    output = config.output or Path("datasets") / f"{config.data.name}_{name}"
    if name == "coco":
        return convert_dataset(
            config.data, output, overwrite=config.overwrite, contact_sheet=config.contact_sheet
        )
    return export_dataset(
        config.data, output, name, overwrite=config.overwrite, images=config.images,
        contact_sheet=config.contact_sheet,
    )  # fmt: skip

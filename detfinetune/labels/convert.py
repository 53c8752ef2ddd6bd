"""Label files -> COCO JSON, with a ledger of everything that was fixed or rejected.

The rules, beside those of `gather` (which image, which label file) and `checks` (geometry):

- a line that repeats an earlier line of its file, or its class and box, is rejected as duplicate
- a line with too few or too many values, values that are no finite numbers, a class number out
  of range or an unknown class name is rejected
- an image that cannot be read is rejected, with all lines of its label file
- empty lines, comments (`#`) and a heading with column names say nothing, and are counted apart
- every other line is kept or fixed: lines read = kept + fixed + rejected

`data.on_problem` says what a problem leads to: `fix` mends what can be mended and rejects the
rest, `reject` rejects both, `stop` raises at the first. Where more than half of the lines are
rejected, or mended alike, the labels were probably read wrongly: that is an error which shows
the reasons and, where one is found, the reading that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detfinetune import console, files
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.classes import ClassIndex, build_class_index, given_class_names
from detfinetune.labels.coco_json import write_coco
from detfinetune.labels.coco_layout import find_coco_files
from detfinetune.labels.convert_lines import LineConverter, all_lines
from detfinetune.labels.formats.objects import BadLabel
from detfinetune.labels.gather import Gathered, gather_dataset
from detfinetune.labels.image_sizes import Size, UnreadableImage, read_image_sizes
from detfinetune.labels.ledger import Ledger
from detfinetune.labels.manifest import MANIFEST_NAME, fingerprint_files, write_manifest
from detfinetune.labels.reading import Reading, choose_reading
from detfinetune.labels.records import (
    DatasetManifest,
    DatasetSplit,
    ImageRecord,
)
from detfinetune.labels.root import require_root
from detfinetune.labels.sheet import write_label_sheet
from detfinetune.labels.summary import summary_tables
from detfinetune.labels.verdict import refuse_mostly_wrong


@dataclass(frozen=True)
class ConversionResult:
    """What a conversion made."""

    manifest: DatasetManifest
    ledger: Ledger
    folder: Path


def convert_dataset(
    data: DataConfig,
    output: Path,
    *,
    overwrite: bool = False,
    num_workers: int | None = None,
    contact_sheet: int = 16,
) -> ConversionResult:
    """Convert txt or YOLO labels into COCO JSON in the folder `output`.

    Writes `train.json`, `val.json`, `test.json` (those that there are), `dataset.json`,
    `ledger.csv`, `classes.txt` and `labels_<split>.jpg`, all at once or not at all.

    Args:
        data: where the labels are and how to read them.
        output: folder to write.
        overwrite: replace `output` when it is there.
        num_workers: threads that read image headers; None: by the number of cores.
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
    _refuse_coco(data, root)
    gathered = gather_dataset(data, root)
    result = convert_gathered(
        data, gathered, output, overwrite=overwrite, num_workers=num_workers,
        contact_sheet=contact_sheet,
    )  # fmt: skip
    console.say(f"\nWritten to {output}: {', '.join(sorted(p.name for p in output.iterdir()))}")
    return result


def convert_gathered(
    data: DataConfig,
    gathered: Gathered,
    output: Path,
    *,
    overwrite: bool = False,
    num_workers: int | None = None,
    contact_sheet: int = 16,
) -> ConversionResult:
    """Do what `convert_dataset` does for a data set that was gathered already."""
    reading = choose_reading(data, all_lines(gathered))
    index, names_from = _class_index(data, gathered, reading)
    _say_what_was_taken(gathered, reading, index, names_from)
    sizes = _image_sizes(gathered, num_workers)
    converter = LineConverter(data, gathered, reading, index, sizes)
    records = {split: converter.convert_split(split) for split in gathered.splits}
    converter.ledger.check_sums()
    refuse_mostly_wrong(converter)
    with files.atomic_folder(output, overwrite) as folder:
        manifest = _write(data, gathered, converter, records, folder, contact_sheet)
    console.say(summary_tables(converter.ledger, index.names))
    moved = {
        name: replace(split, json_file=output / split.json_file.name)
        for name, split in manifest.splits.items()
    }
    return ConversionResult(replace(manifest, splits=moved), converter.ledger, output)


def _refuse_coco(data: DataConfig, root: Path) -> None:
    if (root / MANIFEST_NAME).is_file():
        raise DataError(f"{root}: was converted already; train on it with data.root={root}.")
    if data.format in ("txt", "yolo") or data.labels:
        return
    found = [] if data.format == "coco" else list(find_coco_files(data, root).values())
    if found or data.format == "coco":
        listed = f" ({', '.join(str(path) for path in found)})" if found else ""
        raise DataError(
            f"{root}: is COCO JSON already{listed}; train on it as it is. To convert .txt labels "
            "that are there as well, give data.format=txt or data.format=yolo."
        )


def _class_index(data: DataConfig, gathered: Gathered, reading: Reading) -> tuple[ClassIndex, str]:
    """Return the class list and where it is from."""
    names, names_from = given_class_names(data, gathered.root, gathered.label_folders)
    tokens = set()
    for line in all_lines(gathered):
        try:
            tokens.add(reading.parse(line).class_token)
        except BadLabel:
            continue
    if names is None and not tokens:
        raise DataError(
            f"{gathered.root}: no label line can be read as {reading.as_options}, and there is no "
            "file with class names. The first lines are:\n"
            + "\n".join(f"  {line[:80]}" for line in all_lines(gathered)[:3])
        )
    return build_class_index(tokens, names, data.first_class), names_from


def _say_what_was_taken(
    gathered: Gathered, reading: Reading, index: ClassIndex, names_from: str
) -> None:
    console.say(f"Data in {gathered.root}: {gathered.layout.found}")
    console.say(f"Format: {reading.format} ({reading.evidence})")
    shown = ", ".join(index.names[:20]) + (", ..." if len(index.names) > 20 else "")
    numbered = f", numbered from {index.first_class}" if index.first_class else ""
    if names_from:
        console.say(f"Classes: {shown} (from {names_from}{numbered})")
    else:
        console.warn(
            f"no class names were found; the labels' own are used: {shown}. To name them, give "
            "data.classes=[first,second] or put a classes.txt beside the labels."
        )
    for note in gathered.notes:
        console.say(f"Note: {note}")


def _image_sizes(gathered: Gathered, num_workers: int | None) -> dict[Path, Size | UnreadableImage]:
    if gathered.sizes is not None:
        return {
            split.image_root / name: size
            for split in gathered.splits.values()
            for name, size in gathered.sizes.items()
        }
    paths = {
        split.image_root / image.name: None
        for split in gathered.splits.values()
        for image in split.images
    }
    return read_image_sizes(list(paths), num_workers)


def _write(
    data: DataConfig,
    gathered: Gathered,
    converter: LineConverter,
    records: dict[str, list[ImageRecord]],
    folder: Path,
    contact_sheet: int,
) -> DatasetManifest:
    """Write all files into `folder` and return the manifest, whose paths lie there."""
    classes = converter.index.names
    splits = {}
    for split, images in records.items():
        json_file = folder / f"{split}.json"
        write_coco(json_file, data.name, split, classes, images)
        image_root = gathered.splits[split].image_root.resolve()
        count = sum(len(record.annotations) for record in images)
        splits[split] = DatasetSplit(json_file, image_root, len(images), count)
        if contact_sheet and gathered.sizes is None:
            path = folder / f"labels_{split}.jpg"
            write_label_sheet(path, image_root, images, classes, contact_sheet, split)
    files.write_text(folder / "ledger.csv", converter.ledger.to_csv())
    files.write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
    manifest = DatasetManifest(
        name=data.name,
        classes=classes,
        splits=splits,
        fingerprint=fingerprint_files({name: s.json_file for name, s in splits.items()}),
        has_masks=_has_masks(list(records.values())),
        source=str(gathered.root.resolve()),
    )
    write_manifest(folder, manifest)
    return manifest


def _has_masks(records: Sequence[Sequence[ImageRecord]]) -> bool:
    annotations = [a for split in records for record in split for a in record.annotations]
    return bool(annotations) and all(a.polygons for a in annotations)

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
from detfinetune.errors import DataError, LabelError
from detfinetune.labels.classes import (
    ClassIndex,
    build_class_index,
    check_class_names,
    find_class_names,
    read_class_names,
)
from detfinetune.labels.coco_json import write_coco
from detfinetune.labels.coco_layout import find_coco_files
from detfinetune.labels.formats.lines import BadLine, is_comment, is_heading
from detfinetune.labels.gather import Gathered, ImageFile, LabelFile, SplitFiles, gather_dataset
from detfinetune.labels.image_sizes import Size, UnreadableImage, read_image_sizes
from detfinetune.labels.ledger import Ledger, LedgerEntry, SplitCounts
from detfinetune.labels.manifest import MANIFEST_NAME, fingerprint_files, write_manifest
from detfinetune.labels.reading import Reading, choose_reading, suggest_reading
from detfinetune.labels.records import (
    Annotation,
    DatasetManifest,
    DatasetSplit,
    ImageRecord,
)
from detfinetune.labels.root import require_root
from detfinetune.labels.sheet import write_label_sheet
from detfinetune.labels.summary import summary_tables

_TOO_FEW_TO_JUDGE = 10
_EXAMPLES = 3


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
        OutputExistsError: `output` is there and `overwrite` is false.
    """
    files.check_output(output, overwrite)
    root = require_root(data)
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
    reading = choose_reading(data, _all_lines(gathered))
    index, names_from = _class_index(data, gathered, reading)
    _say_what_was_taken(gathered, reading, index, names_from)
    sizes = _image_sizes(gathered, num_workers)
    converter = _Converter(data, gathered, reading, index, sizes)
    records = {split: converter.convert_split(split) for split in gathered.splits}
    converter.ledger.check_sums()
    _refuse_mostly_wrong(converter)
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


class _Converter:
    """Turns label lines into records, and keeps the ledger."""

    def __init__(
        self,
        data: DataConfig,
        gathered: Gathered,
        reading: Reading,
        index: ClassIndex,
        sizes: dict[Path, Size | UnreadableImage],
    ) -> None:
        self.policy = data.on_problem
        self.gathered = gathered
        self.reading = reading
        self.index = index
        self.sizes = sizes
        self.ledger = Ledger(list(gathered.entries))
        self.judged: list[tuple[str, int, int]] = []
        """Every line that has an image, with the image's size."""
        for entry in gathered.entries:
            if entry.action == "rejected":
                self._stop_at(entry)

    def convert_split(self, split: str) -> list[ImageRecord]:
        """Return the records of a split in sorted order."""
        source = self.gathered.splits[split]
        counts = self.ledger.split(split)
        counts.rejected_images = source.rejected_images
        records = []
        for image in source.images:
            size = self.sizes[source.image_root / image.name]
            if isinstance(size, UnreadableImage):
                self._reject_image(split, source, image, size)
                continue
            annotations = self._annotations(split, image.label, size) if image.label else []
            records.append(ImageRecord(image.name, *size, tuple(annotations)))
            counts.unlabelled += image.label is None
        for label in source.orphans:
            self._reject_file(split, label, "no image", "there is no image for this label file")
        counts.images = len(records)
        counts.negatives = sum(not record.annotations for record in records)
        return records

    def _annotations(self, split: str, label: LabelFile, size: Size) -> list[Annotation]:
        counts = self.ledger.split(split)
        kept: list[Annotation] = []
        seen: dict[Annotation, int] = {}
        for number, line in _object_lines(label, counts):
            self.judged.append((line, *size))
            try:
                annotation, fixes = self._annotation(line, size)
                if annotation in seen:
                    raise BadLine("duplicate", f"the same object as line {seen[annotation]}")
                if fixes and self.policy == "reject":
                    raise BadLine(fixes[0][0], "; ".join(reason for _, reason in fixes))
            except BadLine as problem:
                self._enter(split, label, number, "rejected", problem.kind, str(problem), line)
                counts.rejected += 1
                continue
            if fixes:
                kinds, reasons = (" + ".join(parts) for parts in zip(*fixes, strict=True))
                self._enter(split, label, number, "fixed", kinds, reasons, line)
                counts.fixed += 1
            else:
                counts.kept += 1
            seen[annotation] = number
            kept.append(annotation)
            counts.objects[annotation.category] += 1
        return kept

    def _annotation(self, line: str, size: Size) -> tuple[Annotation, tuple[tuple[str, str], ...]]:
        raw = self.reading.parse(line)
        category = self.index.contiguous_id(raw.class_token)
        shape = self.reading.shape(raw, *size)
        polygons = (shape.polygon,) if shape.polygon else ()
        return Annotation(category, shape.bbox, polygons), shape.fixes

    def _reject_image(
        self, split: str, source: SplitFiles, image: ImageFile, problem: UnreadableImage
    ) -> None:
        path = source.image_root / image.name
        root = self.gathered.root
        shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        entry = LedgerEntry(split, shown, 0, "rejected", "unreadable image", str(problem))
        self._stop_at(entry)
        self.ledger.add(entry)
        self.ledger.split(split).rejected_images += 1
        if image.label is not None:
            reason = f"its image {shown} cannot be read"
            self._reject_file(split, image.label, "unreadable image", reason)

    def _reject_file(self, split: str, label: LabelFile, kind: str, reason: str) -> None:
        counts = self.ledger.split(split)
        lines = list(_object_lines(label, counts))
        for number, line in lines:
            self._enter(split, label, number, "rejected", kind, reason, line)
            counts.rejected += 1
        if not lines:
            self.ledger.add(
                LedgerEntry(split, label.shown, 0, "note", kind, f"{reason}; it is empty")
            )

    def _enter(
        self, split: str, label: LabelFile, number: int, action: str, kind: str, reason: str,
        line: str,
    ) -> None:  # fmt: skip
        entry = LedgerEntry(split, label.shown, number, action, kind, reason, line)  # type: ignore[arg-type]
        self._stop_at(entry)
        self.ledger.add(entry)

    def _stop_at(self, entry: LedgerEntry) -> None:
        if self.policy == "stop":
            text = f"\n  {entry.text}" if entry.text else ""
            raise LabelError(
                f"{entry.message}{text}\nMend it, or go on without stopping: "
                "data.on_problem=fix (or reject)."
            )


def _object_lines(label: LabelFile, counts: SplitCounts) -> list[tuple[int, str]]:
    """Return the numbered lines that speak of objects, and count them and the others."""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(label.text.lines, start=1):
        if is_comment(line) or (not lines and is_heading(line)):
            counts.blank += 1
        else:
            lines.append((number, line))
    counts.lines += len(lines)
    return lines


def _all_lines(gathered: Gathered) -> list[str]:
    """Return the object lines of every label file that has an image."""
    return [
        line
        for files_ in gathered.splits.values()
        for image in files_.images
        if image.label is not None
        for _, line in _object_lines(image.label, SplitCounts())
    ]


def _class_index(data: DataConfig, gathered: Gathered, reading: Reading) -> tuple[ClassIndex, str]:
    """Return the class list and where it is from."""
    root = gathered.root
    if isinstance(data.classes, Path):
        path = root / data.classes.expanduser()
        if not path.is_file():
            raise DataError(
                f"data.classes: there is no file {path}. Give a file with one class name a line, "
                "or the names themselves: data.classes=[first,second]."
            )
        names, names_from = read_class_names(path), str(path)
    elif data.classes is not None:
        names, names_from = check_class_names(data.classes, "data.classes"), "data.classes"
    elif found := find_class_names(root, _label_folders(gathered)):
        names, names_from = found.names, found.found_in
    else:
        names, names_from = None, ""
    tokens = set()
    for line in _all_lines(gathered):
        try:
            tokens.add(reading.parse(line).class_token)
        except BadLine:
            continue
    if names is None and not tokens:
        raise DataError(
            f"{root}: no label line can be read as {reading.as_options}, and there is no file "
            "with class names.\n" + "\n".join(f"  {line}" for line in _all_lines(gathered)[:3])
        )
    return build_class_index(tokens, names, data.first_class), names_from


def _label_folders(gathered: Gathered) -> list[Path]:
    return [source.labels for source in gathered.layout.splits.values()]


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


def _refuse_mostly_wrong(converter: _Converter) -> None:
    """Stop when so much is wrong that the labels were probably read wrongly."""
    ledger = converter.ledger
    total = SplitCounts(
        lines=sum(counts.lines for counts in ledger.counts.values()),
        rejected=sum(counts.rejected for counts in ledger.counts.values()),
    )
    swapped = sum(
        count for kind, count in ledger.kinds("fixed").items() if "swapped corners" in kind
    )
    problem = ""
    if total.rejected * 2 > total.lines:
        problem = f"{total.rejected} of {total.lines} label lines are wrong"
    elif swapped * 2 > total.lines >= _TOO_FEW_TO_JUDGE:
        problem = f"{swapped} of {total.lines} label lines have swapped corners"
    for split, counts in ledger.counts.items():
        if not problem and counts.rejected * 2 > counts.lines >= _TOO_FEW_TO_JUDGE:
            problem = f"{counts.rejected} of {counts.lines} label lines of split {split} are wrong"
    images = sum(counts.images for counts in ledger.counts.values())
    if not problem and images == 0:
        problem = "no image can be used"
    bad = total.rejected + swapped
    better = None
    if bad * 5 > total.lines:
        better = suggest_reading(converter.judged, converter.reading, converter.index.names)
    if problem:
        raise DataError(_mostly_wrong(converter, problem, better))
    if better is not None:
        console.warn(f"{bad} of {total.lines} label lines are wrong; {_advice(better)}")


def _mostly_wrong(converter: _Converter, problem: str, better: Reading | None) -> str:
    kinds = converter.ledger.kinds("rejected") + converter.ledger.kinds("fixed")
    text = [f"{converter.gathered.root}: {problem}, read as {converter.reading.as_options}:"]
    for kind, count in kinds.most_common():
        text.append(f"  {count} x {kind}")
        examples = [e for e in converter.ledger.entries if e.kind == kind and e.line]
        for entry in examples[:_EXAMPLES]:
            text.append(
                f"      {entry.message}" + (f"   [{entry.text[:60]}]" if entry.text else "")
            )
    unreadable = [e for e in converter.ledger.entries if e.action == "rejected" and not e.line]
    text += [f"  {entry.message}" for entry in unreadable[:_EXAMPLES]]
    text.append(
        _advice(better)
        if better is not None
        else "Check data.format, data.columns, data.coordinates, data.classes and "
        "data.first_class, or remove the wrong lines from the labels."
    )
    return "\n".join(text)


def _advice(better: Reading) -> str:
    return f"they make sense as {better.as_options}: give that."


def _write(
    data: DataConfig,
    gathered: Gathered,
    converter: _Converter,
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

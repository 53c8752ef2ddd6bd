"""Label lines -> image records, with every line kept, fixed or rejected in the ledger."""

from __future__ import annotations

from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import LabelError
from detfinetune.labels.classes import ClassIndex
from detfinetune.labels.formats.lines import is_comment, is_heading
from detfinetune.labels.formats.objects import BadLabel
from detfinetune.labels.gather import Gathered, ImageFile, LabelFile, SplitFiles
from detfinetune.labels.image_sizes import Size, UnreadableImage
from detfinetune.labels.ledger import Ledger, LedgerEntry, SplitCounts
from detfinetune.labels.reading import Reading
from detfinetune.labels.records import Annotation, ImageRecord


class LineConverter:
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
        for number, line in object_lines(label, counts):
            self.judged.append((line, *size))
            try:
                annotation, fixes = self._annotation(line, size)
                if annotation in seen:
                    raise BadLabel("duplicate", f"the same object as line {seen[annotation]}")
                if fixes and self.policy == "reject":
                    raise BadLabel(fixes[0][0], "; ".join(reason for _, reason in fixes))
            except BadLabel as problem:
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
        lines = list(object_lines(label, counts))
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


def object_lines(label: LabelFile, counts: SplitCounts) -> list[tuple[int, str]]:
    """Return the numbered lines that speak of objects, and count them and the others."""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(label.text.lines, start=1):
        if is_comment(line) or (not lines and is_heading(line)):
            counts.blank += 1
        else:
            lines.append((number, line))
    counts.lines += len(lines)
    return lines


def all_lines(gathered: Gathered) -> list[str]:
    """Return the object lines of every label file that has an image."""
    return [
        line
        for files_ in gathered.splits.values()
        for image in files_.images
        if image.label is not None
        for _, line in object_lines(image.label, SplitCounts())
    ]

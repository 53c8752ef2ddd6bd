"""Writes the ledger of a data set that was read: every label kept, fixed or rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from detfinetune.config.schema import DataConfig
from detfinetune.errors import LabelError
from detfinetune.labels.dataset.ledger import ANOTHER_SIZE, Action, Ledger, LedgerEntry
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.discovered import DiscoveredDataset, shown_path
from detfinetune.labels.parsing.source_split import SourceSplit
from detfinetune.labels.splits.divide import Division
from detfinetune.labels.text import read_text_file


def write_accounts(
    data: DataConfig,
    gathered: DiscoveredDataset,
    sources: Mapping[str, SourceSplit],
    cuts: Mapping[str, Division],
    tables: Mapping[str, LabelTable],
    names_from: str = "",
) -> Ledger:
    """Return the ledger of a data set, its sums checked.

    Args:
        data: how labels were asked to be read.
        gathered: the files.
        sources: what they say, by split on disk.
        cuts: where their images went.
        tables: what was kept, by split.
        names_from: the file or key that gave the class names, if any did.

    Raises:
        LabelError: something is wrong and `data.on_problem` is `stop`.
        RuntimeError: the sums do not agree, which is a fault of this program.
    """
    ledger = Ledger()
    for entry in gathered.entries:
        ledger.add(replace(entry, split="train") if entry.split == "all" else entry)
    if (path := gathered.root / names_from).is_file() and (note := read_text_file(path).note):
        shown = shown_path(path, gathered.root)
        ledger.add(LedgerEntry("", shown, 0, "note", "encoding", f"the class names are {note}"))
    for split in tables:
        ledger.split(split)
    for split, source in sources.items():
        _Accounts(ledger, source, _split_of_jobs(source, cuts[split])).write()
    for split, table in tables.items():
        counts = ledger.split(split)
        counts.images = table.num_images
        counts.negatives = int((np.diff(table.starts) == 0).sum())
        counts.unlabelled = sum(not label for label in table.label_files)
        objects = np.bincount(table.categories)
        counts.objects = Counter({i: int(n) for i, n in enumerate(objects) if n})
        counts.kept = table.num_objects - counts.fixed
    ledger.check_sums()
    if data.on_problem == "stop":
        _stop_at_the_first(ledger)
    return ledger


def _split_of_jobs(source: SourceSplit, cut: Division) -> list[str]:
    """Return each job's split, or nothing where a split file leaves the image out.

    What cannot be used counts for the first.
    """
    first = next(iter(cut.images), "train")
    splits = [first] * len(source.jobs)
    usable = source.usable
    for job in usable:
        splits[job] = ""
    for split, images in cut.images.items():
        for image in images:
            splits[usable[image]] = split
    return splits


class _Accounts:
    """The accounts of one split on disk."""

    def __init__(self, ledger: Ledger, source: SourceSplit, split_of: list[str]) -> None:
        self.ledger = ledger
        self.source = source
        self.split_of = split_of

    def write(self) -> None:
        source, found = self.source, self.source.found
        first = next(filter(None, self.split_of), "train")
        self.ledger.split(first).rejected_images += source.files.rejected_images
        by_job: dict[int, list[LedgerEntry]] = {}
        for event in source.events:
            by_job.setdefault(event.image, []).append(
                self._entry(event.image, event.line, "rejected", event.kind, event.reason,
                            event.text)
            )  # fmt: skip
        for position, (kind, reason, text) in found.fixes.items():
            if source.keep[position]:
                job = int(source.image_of[position])
                line = int(found.lines[position])
                by_job.setdefault(job, []).append(
                    self._entry(job, line, "fixed", kind, reason, text)
                )
        for job, split in enumerate(self.split_of):
            if not split:
                continue
            entries = sorted(by_job.get(job, []), key=lambda entry: entry.line)
            counts = self.ledger.split(split)
            counts.lines += int(found.lines_read[job])
            counts.blank += int(found.blank[job])
            counts.fixed += sum(entry.action == "fixed" for entry in entries)
            counts.rejected += sum(entry.action == "rejected" for entry in entries)
            self._judge_file(job, split)
            for entry in entries:
                self.ledger.add(entry)

    def _judge_file(self, job: int, split: str) -> None:
        """Enter images that cannot be used, and label files without one that hold nothing."""
        source, found = self.source, self.source.found
        label = source.jobs[job].label
        if job in found.other_sizes:
            self._note_size(job, split)
        if job in found.guessed:
            name = source.files.images[job].name if job < len(source.files.images) else ""
            note = found.guessed[job]
            self.ledger.add(LedgerEntry(split, label, 0, "note", "encoding", note, "", name))
        if job in source.unreadable:
            self._reject_image(job, split, "unreadable image", source.unreadable[job])
        elif job < len(source.files.images):
            if job in found.bad_files:
                reason = f"its label file {label} cannot be read"
                self._reject_image(job, split, "unreadable labels", reason)
        elif label and not found.lines_read[job] and source.jobs[job].kind == "no image":
            reason = f"{source.jobs[job].reason}; it is empty"
            self.ledger.add(LedgerEntry(split, label, 0, "note", "no image", reason))

    def _reject_image(self, job: int, split: str, kind: str, reason: str) -> None:
        name = self.source.files.images[job].name
        shown = shown_path(self.source.files.image_root / name, self.source.root)
        self.ledger.add(LedgerEntry(split, shown, 0, "rejected", kind, reason, "", name))
        self.ledger.split(split).rejected_images += 1

    def _note_size(self, job: int, split: str) -> None:
        """Note that a label file was made for an image of another size."""
        said, size = self.source.found.other_sizes[job], self.source.jobs[job].size
        if size is None:
            return
        turned = "; turned by its EXIF flag" if said == size[::-1] else ""
        reason = f"says {said[0]}x{said[1]} px, the image has {size[0]}x{size[1]}{turned}"
        label, name = self.source.jobs[job].label, self.source.files.images[job].name
        self.ledger.add(LedgerEntry(split, label, 0, "note", ANOTHER_SIZE, reason, "", name))

    def _entry(
        self, job: int, line: int, action: Action, kind: str, reason: str, text: str
    ) -> LedgerEntry:
        label = self.source.jobs[job].label
        images = self.source.files.images
        image = images[job].name if job < len(images) else ""
        # A label always stands on a line; 0 would mean the whole file.
        return LedgerEntry(
            self.split_of[job], label, max(line, 1), action, kind, reason, text, image
        )


def _stop_at_the_first(ledger: Ledger) -> None:
    for entry in ledger.entries:
        if entry.action == "note":
            continue
        text = f"\n  {entry.text}" if entry.text else ""
        raise LabelError(
            f"{entry.message}{text}\nMend it, or go on without stopping: "
            "data.on_problem=fix (or reject)."
        )

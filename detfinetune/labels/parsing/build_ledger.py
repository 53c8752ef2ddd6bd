"""Builds the ledger of a data set that was read: every label kept, fixed or rejected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from detfinetune.config.schema import DataConfig
from detfinetune.console import escape_name
from detfinetune.errors import LabelError
from detfinetune.labels.dataset.ledger import (
    ANOTHER_SIZE,
    Action,
    Ledger,
    LedgerEntry,
)
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.discovered import DiscoveredDataset, shown_path
from detfinetune.labels.parsing.source_split import SourceSplit
from detfinetune.labels.splits.divide import Division
from detfinetune.labels.text import read_text_file


def build_ledger(
    data: DataConfig,
    discovered: DiscoveredDataset,
    sources: Mapping[str, SourceSplit],
    divisions: Mapping[str, Division],
    tables: Mapping[str, LabelTable],
    names_from: str = "",
) -> Ledger:
    """Return the ledger of a data set, its sums checked.

    Args:
        data: how labels were to be read.
        discovered: the files.
        sources: what they hold, by split on disk.
        divisions: where their images went.
        tables: what was kept, by split.
        names_from: the file or key that gave the class names, if any did.

    Raises:
        LabelError: something is wrong and `data.on_problem` is `stop`.
        RuntimeError: the sums do not agree, which is a bug of this program.
    """
    ledger = Ledger()
    for entry in discovered.entries:
        ledger.entries.append(replace(entry, split="train") if entry.split == "all" else entry)
    path = discovered.root / names_from
    is_label_file = path in discovered.format.files.values()
    if path.is_file() and not is_label_file and (note := read_text_file(path).note):
        shown = shown_path(path, discovered.root)
        ledger.entries.append(
            LedgerEntry("", shown, 0, "note", "encoding", f"the class names are {note}")
        )
    for split in tables:
        ledger.split(split)
    for split, source in sources.items():
        _add_source(ledger, source, divisions[split])
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


def _add_source(ledger: Ledger, source: SourceSplit, division: Division) -> None:
    """Enter all labels and images of one split on disk."""
    split_of = _split_of_jobs(source, division)
    found = source.found
    first = next(filter(None, split_of), "train")
    ledger.split(first).rejected_images += source.files.rejected_images

    def entry(
        job: int, line: int, action: Action, kind: str, reason: str, text: str, own: int | None
    ) -> None:
        # A label always stands on a line; 0 would mean the whole file.
        by_job[job].append(
            LedgerEntry(split_of[job], source.jobs[job].label, max(line, 1), action, kind, reason,
                        text, source.image_name(job), own)
        )  # fmt: skip

    by_job: defaultdict[int, list[LedgerEntry]] = defaultdict(list)
    for event in source.events:
        entry(
            event.image, event.line, "rejected", event.kind, event.reason, event.text,
            event.identity,
        )  # fmt: skip
    for position, (kind, reason, text) in found.fixes.items():
        if source.keep[position]:
            job, line = int(source.image_of[position]), int(found.lines[position])
            entry(job, line, "fixed", kind, reason, text, found.labels[position].identity)
    for job, split in enumerate(split_of):
        if not split:
            continue
        counts = ledger.split(split)
        counts.lines += found.files.lines_read[job]
        counts.blank += found.files.blank[job]
        counts.fixed += sum(entry.action == "fixed" for entry in by_job[job])
        counts.rejected += sum(entry.action == "rejected" for entry in by_job[job])
        _add_file(ledger, source, job, split)
        ledger.entries.extend(sorted(by_job[job], key=lambda each: each.line))


def _split_of_jobs(source: SourceSplit, division: Division) -> list[str]:
    """Return each job's split, or nothing where a split file leaves the image out.

    What cannot be used counts for the first split.
    """
    first = next(iter(division.images), "train")
    splits = [first] * len(source.jobs)
    usable = source.usable
    for job in usable:
        splits[job] = ""
    for split, images in division.images.items():
        for image in images:
            splits[usable[image]] = split
    return splits


def _add_file(ledger: Ledger, source: SourceSplit, job: int, split: str) -> None:
    """Enter what concerns an image or its label file as a whole."""
    files = source.found.files
    image, label, size = source.image_name(job), source.jobs[job].label, source.jobs[job].size

    def note(kind: str, reason: str, name: str = image) -> None:
        ledger.entries.append(LedgerEntry(split, label, 0, "note", kind, reason, "", name))

    def reject(kind: str, reason: str) -> None:
        shown = shown_path(source.files.image_root / image, source.root)
        ledger.entries.append(LedgerEntry(split, shown, 0, "rejected", kind, reason, "", image))
        ledger.split(split).rejected_images += 1

    if job in files.other_sizes and size is not None:
        stated = files.other_sizes[job]
        swapped = "; width and height are swapped" if stated == size[::-1] else ""
        note(
            ANOTHER_SIZE,
            f"says {stated[0]}x{stated[1]} px, the image has {size[0]}x{size[1]}{swapped}",
        )
    if job in files.guessed:
        note("encoding", files.guessed[job])
    if job in source.unreadable:
        reject("unreadable image", source.unreadable[job])
    elif image and job in files.bad_files:
        reject("unreadable labels", f"its label file {label} cannot be read")
    elif source.jobs[job].kind == "no image" and not files.lines_read[job]:
        note("no image", f"{source.jobs[job].reason}; it is empty")


def _stop_at_the_first(ledger: Ledger) -> None:
    for entry in ledger.entries:
        if entry.action == "note":
            continue
        text = f"\n  {escape_name(entry.text)}" if entry.text else ""
        raise LabelError(
            f"{entry.message}{text}\nFix it, or continue past it with data.on_problem=fix or "
            "data.on_problem=reject."
        )

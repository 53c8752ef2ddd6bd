"""Any labels -> a data set in columns, with every label kept, fixed or rejected in the ledger.

The rules, beside those of gathering (which image, which label file) and `geometry`:

- a label that repeats an earlier one of its image, class and shape alike, is rejected as duplicate
- a label with too few or too many values, values that are no finite numbers, a class number out
  of range or an unknown class name is rejected
- an image that cannot be read is rejected, with all its labels; so is one whose label file cannot
- empty lines, comments (`#`) and a heading with column names say nothing, and are counted apart
- every other label is kept or fixed: labels read = kept + fixed + rejected

`data.on_problem` says what a problem leads to: `fix` mends what can be mended and rejects the
rest, `reject` rejects both, `stop` raises at the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from detfinetune import console
from detfinetune.collector import no_cycle_search
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.class_names import (
    ClassIndex,
    build_class_index,
    given_class_names,
)
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.discover import discover_dataset
from detfinetune.labels.discovery.discovered import DiscoveredDataset, shown_path
from detfinetune.labels.images.sizes import Size, UnreadableImage, read_image_sizes
from detfinetune.labels.parsing.build_ledger import write_accounts
from detfinetune.labels.parsing.label_schema import LabelSchema, choose_schema
from detfinetune.labels.parsing.note_sums import join_sums, summed_notes
from detfinetune.labels.parsing.parse import (
    ImageJob,
    ParsedImages,
    get_ready,
    join_parsed,
    parse_images,
)
from detfinetune.labels.parsing.source_split import SourceSplit, source_split
from detfinetune.labels.splits.divide import Division, divide_split, refuse_to_divide
from detfinetune.labels.text import read_text_file
from detfinetune.parallel import Workers

_SAMPLED_FILES = 100
_CHUNK = 1000
_EXAMPLES = 3
_WORTH_PROCESSES = 10_000
"""Images from which on other processes save more time than their start takes."""


def read_dataset(data: DataConfig, *, num_workers: int | None = None) -> LabelledDataset:
    """Find and read the labels of `data`, whatever their format, and check each against its image.

    Args:
        data: where the labels are and how to read them.
        num_workers: processes that read; None: by the number of cores.

    Raises:
        ConfigError, DataError: nothing usable is there.
        LabelError: a label is wrong and `data.on_problem` is `stop`.
    """
    with no_cycle_search():
        gathered = discover_dataset(data, require_root(data))
        return read_discovered(data, gathered, num_workers=num_workers)


def read_discovered(
    data: DataConfig, gathered: DiscoveredDataset, *, num_workers: int | None = None
) -> LabelledDataset:
    """Do what `read_dataset` does for a data set whose files were found already."""
    num_images = sum(len(files.images) for files in gathered.splits.values())
    worth_it = num_images >= _WORTH_PROCESSES
    with Workers(num_workers if worth_it else 0, initializer=get_ready) as workers:
        workers.start()
        reading = _settle_reading(data, gathered)
        sizes = _image_sizes(gathered, num_workers, workers)
        sources = {
            split: source_split(gathered, files, reading, sizes[split])
            for split, files in gathered.splits.items()
        }
        _parse(data, reading, sources, workers)
    index, names_from = _class_index(data, gathered, reading, sources)
    for source in sources.values():
        source.settle_classes(index)
    cuts = {split: _cut(data, gathered, split, sources, index) for split in sources}
    tables = _tables(sources, cuts)
    ledger = write_accounts(data, gathered, sources, cuts, tables, names_from)
    sums = join_sums(source.found.notes for source in sources.values())
    of_cuts = [note for cut in cuts.values() for note in cut.notes]
    return LabelledDataset(
        name=data.name,
        root=gathered.root,
        format=reading.format,
        evidence=reading.evidence,
        classes=index.names,
        classes_from=names_from,
        tables=tables,
        ledger=ledger,
        notes=(*gathered.notes, *summed_notes(sums), *of_cuts),
        found=gathered.found,
        reading=reading,
        first_class=index.first_class,
        stated_sizes=_stated_sizes(sources, tables),
        written={split: source.found.written for split, source in sources.items()},
        has_images=gathered.sizes is None,
        wanted_shares={s: share for cut in cuts.values() for s, share in cut.shares.items()},
        split_rows=tuple(row for cut in cuts.values() for row in cut.rows),
    )


def _settle_reading(data: DataConfig, gathered: DiscoveredDataset) -> LabelSchema:
    choice = gathered.format
    if choice.format is None:
        return choose_schema(data, sample_lines(gathered))
    first_pixel = data.first_pixel
    return LabelSchema(choice.format.name, (), gathered.normalized, first_pixel, choice.evidence)


def sample_lines(gathered: DiscoveredDataset) -> list[str]:
    """Return the lines of some label files that have an image, evenly spaced."""
    labels = [
        image.label for files in gathered.splits.values() for image in files.images if image.label
    ]
    chosen = labels[:: max(1, len(labels) // _SAMPLED_FILES)]
    lines = []
    for label in chosen:
        lines += _object_lines(gathered.root / label)
    if not lines and len(chosen) < len(labels):
        lines = [line for label in labels for line in _object_lines(gathered.root / label)]
    return lines


def _object_lines(path: Path) -> list[str]:
    any_line = LabelSchema("txt", (), False, 0)
    lines: list[str] = []
    try:
        text = read_text_file(path)
    except DataError:
        return []
    for line in text.lines:
        if not any_line.says_nothing(line, first=not lines):
            lines.append(line)
    return lines


def _image_sizes(
    gathered: DiscoveredDataset, num_workers: int | None, workers: Workers
) -> dict[str, list[Size | UnreadableImage]]:
    """Return the size of each image, or why it cannot be read, by split and in order."""
    if gathered.sizes is not None:
        given = gathered.sizes
        return {
            split: [given[image.name] for image in files.images]
            for split, files in gathered.splits.items()
        }
    # Splits may share images; each is read once.
    paths = {
        split: [files.image_root / image.name for image in files.images]
        for split, files in gathered.splits.items()
    }
    once = list(dict.fromkeys(path for part in paths.values() for path in part))
    sizes = read_image_sizes(once, num_workers, workers)
    return {split: [sizes[path] for path in part] for split, part in paths.items()}


def _parse(
    data: DataConfig,
    reading: LabelSchema,
    sources: Mapping[str, SourceSplit],
    workers: Workers,
) -> None:
    """Parse the labels of all splits, on all cores where there are many files."""
    for source in sources.values():
        chunks = [source.jobs[i : i + _CHUNK] for i in range(0, len(source.jobs), _CHUNK)] or [[]]
        work = partial(parse_images, source.root, reading, data.on_problem == "reject")
        in_files = any(job.objects is None and job.label for job in source.jobs)
        # What is read already takes longer to send than to look at.
        parts = workers.map(work, chunks) if in_files else map(work, chunks)
        source.parsed = join_parsed(_with_progress(parts, chunks))


def _with_progress(
    parts: Iterable[ParsedImages], chunks: Sequence[list[ImageJob]]
) -> list[ParsedImages]:
    total = sum(map(len, chunks))
    if len(chunks) < 3:
        return list(parts)
    done = []
    bar: tqdm[Any] = console.progress(description="reading labels", total=total, unit="image")
    with bar:
        for part in parts:
            done.append(part)
            bar.update(len(part.counts))
    return done


def _class_index(
    data: DataConfig,
    gathered: DiscoveredDataset,
    reading: LabelSchema,
    sources: Mapping[str, SourceSplit],
) -> tuple[ClassIndex, str]:
    """Return the class list and where it is from; empty: from the labels themselves."""
    tokens = {token for source in sources.values() for token in source.found.tokens}
    if data.classes is None and gathered.classes:
        # The files' own list comes first, and what it lacks is not lost for that.
        new = sorted(token for token in tokens if token and token not in gathered.classes)
        return ClassIndex((*gathered.classes, *new), 0), gathered.found
    names, names_from = given_class_names(data, gathered.root, gathered.label_folders)
    words = {token for token in tokens if not token.isdigit()}
    if names is not None and data.classes is None and gathered.format.format is not None:
        known = {name.lower() for name in names}
        if any(word and word.lower() not in known for word in words):
            # A list of some other labels that happens to lie beside these.
            names, names_from = None, ""
    if names is None and not tokens:
        raise DataError(_nothing_readable(gathered, reading, sources))
    return build_class_index(tokens, names, data.first_class), names_from


def _nothing_readable(
    gathered: DiscoveredDataset, reading: LabelSchema, sources: Mapping[str, SourceSplit]
) -> str:
    unreadable = [
        f"  {shown_path(source.files.image_root / source.files.images[job].name, gathered.root)}: "
        f"{reason}"
        for source in sources.values() for job, reason in source.unreadable.items()
    ]  # fmt: skip
    if unreadable and not any(source.usable for source in sources.values()):
        listed = "\n".join(unreadable[:_EXAMPLES])
        return f"{gathered.root}: none of the {len(unreadable)} images can be read:\n{listed}"
    text = f"{gathered.root}: no label can be read as {reading.as_options}, and there is no "
    events = [event for source in sources.values() for event in source.found.events]
    if gathered.format.format is None:
        shown = [f"  {line[:80]}" for line in sample_lines(gathered)[:3]]
        return f"{text}file with class names. The first lines are:\n" + "\n".join(shown)
    shown = [f"  {event.reason}   [{event.text[:60]}]" for event in events[:_EXAMPLES]]
    if not shown:
        return f"{text}class list. No label file holds an object."
    return f"{text}class list. What was wrong with the first:\n" + "\n".join(shown)


def _cut(
    data: DataConfig,
    gathered: DiscoveredDataset,
    split: str,
    sources: Mapping[str, SourceSplit],
    index: ClassIndex,
) -> Division:
    """Say which images of a split on disk go to which split of the data set."""
    source = sources[split]
    whole = split == "all"
    wanted = data.val_fraction > 0 or data.folds or data.split_file
    lacks_val = split == "train" and "val" not in sources and wanted
    if "val" in sources or gathered.divided:
        refuse_to_divide(data, list(sources))
    if gathered.divided or not (whole or lacks_val):
        return Division({split: list(range(len(source.usable)))})
    table = source.table()
    counts = table.class_counts(len(index.names))
    return divide_split(data, source.root, table.names, counts, whole=whole)


def _stated_sizes(
    sources: Mapping[str, SourceSplit], tables: Mapping[str, LabelTable]
) -> dict[str, dict[str, Size]]:
    stated = {
        source.files.images[job].name: size
        for source in sources.values()
        for job, size in source.found.other_sizes.items()
    }
    if not stated:
        return {}
    return {
        split: {name: stated[name] for name in table.names if name in stated}
        for split, table in tables.items()
    }


def _tables(
    sources: Mapping[str, SourceSplit], cuts: Mapping[str, Division]
) -> dict[str, LabelTable]:
    tables = {}
    for split, source in sources.items():
        whole = source.table()
        for name, images in cuts[split].images.items():
            everything = len(images) == whole.num_images
            tables[name] = whole if everything else whole.select(images)
    return {split: tables[split] for split in ("train", "val", "test") if split in tables}

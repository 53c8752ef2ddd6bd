"""Any labels -> a data set in columns, with every label kept, fixed or rejected in the ledger.

The rules, beside those of discovery (which image, which label file) and `parsing.box_rules`:

- a label that repeats an earlier one of its image (same class, same shape) is a duplicate and is
  rejected
- a label with too few or too many values, values that are not finite numbers, a class number out
  of range or an unknown class name is rejected
- an image that cannot be read is rejected with all its labels, and so is one whose label file
  cannot be read
- an image of whose labels none can be used is noted in `all_rejected`; training and conversion
  leave it out
- empty lines, comments (`#`) and a header with column names are counted apart
- every other label is kept or fixed: labels read = kept + fixed + rejected

`data.on_problem` decides what happens to a wrong label: `fix` fixes what can be fixed and rejects
the rest, `reject` rejects both, `stop` raises at the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from detfinetune.collector import no_cycle_search
from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.split_names import SPLIT_NAMES
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.class_names import (
    ClassIndex,
    ClassNames,
    build_class_index,
    class_number,
    find_class_names,
    given_class_names,
)
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.discover import discover_dataset
from detfinetune.labels.discovery.discovered import DiscoveredDataset, shown_path
from detfinetune.labels.images.hashes import hash_images
from detfinetune.labels.images.sizes import Size, UnreadableImage, read_image_sizes
from detfinetune.labels.parsing.build_ledger import build_ledger
from detfinetune.labels.parsing.label_schema import LabelSchema, choose_schema
from detfinetune.labels.parsing.parse import parse_images
from detfinetune.labels.parsing.source_split import SourceSplit, source_split
from detfinetune.labels.splits.divide import Division, divide_split, refuse_to_divide
from detfinetune.labels.splits.run_split import RunSplit, extended_split
from detfinetune.labels.splits.split_file import split_rows
from detfinetune.labels.text import read_text_file

_SAMPLED_FILES = 100
_EXAMPLES = 3


def read_dataset(data: DataConfig, run_split: RunSplit | None = None) -> LabelledDataset:
    """Find and read the labels of `data`, whatever their format, and check each against its image.

    Args:
        data: where the labels are and how to read them.
        run_split: gives the images their splits, instead of `data`; collects what has changed.

    Raises:
        ConfigError, DataError: nothing usable is there.
        LabelError: a label is wrong and `data.on_problem` is `stop`.
    """
    # Reading makes many objects and no cycles: looking for cycles would double the time.
    with no_cycle_search():
        if run_split is None and data.split_from is not None:
            run_split = extended_split(data.split_from)
        return _read_discovered(data, discover_dataset(data, require_root(data)), run_split)


def _read_discovered(
    data: DataConfig, discovered: DiscoveredDataset, run_split: RunSplit | None
) -> LabelledDataset:
    schema = _settle_schema(data, discovered)
    sizes = _image_sizes(discovered)
    sources = {
        split: source_split(discovered, files, schema, sizes[split])
        for split, files in discovered.splits.items()
    }
    for source in sources.values():
        source.parsed = parse_images(source.root, schema, data.on_problem == "reject", source.jobs)
    index, names_from = _class_index(data, discovered, schema, sources)
    for source in sources.values():
        source.settle_classes(index)
    divisions = {
        split: _divide(data, discovered, split, sources, index, run_split) for split in sources
    }
    tables = _tables(sources, divisions)
    forms = sum((source.found.forms for source in sources.values()), Counter())
    ledger = build_ledger(data, discovered, sources, divisions, tables, names_from)
    return LabelledDataset(
        name=data.name,
        root=discovered.root,
        format=schema.format,
        evidence=schema.evidence,
        classes=index.names,
        classes_from=names_from,
        tables=tables,
        ledger=ledger,
        notes=(
            *discovered.notes,
            *_tally_notes(sources),
            *(note for division in divisions.values() for note in division.notes),
            *([run_split.summary] if run_split is not None and run_split.extend else []),
        ),
        found=discovered.found,
        schema=schema,
        first_class=index.first_class,
        stated_sizes=_stated_sizes(sources, divisions, tables),
        all_rejected=_all_rejected(sources, divisions, tables),
        written={split: source.found.written for split, source in sources.items()},
        form=forms.most_common(1)[0][0] if forms else "xyxy",
        has_images=discovered.sizes is None,
        wanted_shares={
            split: share
            for division in divisions.values()
            for split, share in division.shares.items()
        },
        split_rows=tuple(row for division in divisions.values() for row in division.rows),
    )


def _settle_schema(data: DataConfig, discovered: DiscoveredDataset) -> LabelSchema:
    choice = discovered.format
    if choice.format is None:
        return choose_schema(data, sample_lines(discovered))
    return LabelSchema(
        choice.format.name, (), discovered.normalized, data.first_pixel, choice.evidence
    )


def sample_lines(discovered: DiscoveredDataset) -> list[str]:
    """Return the lines of some label files that have an image, evenly spaced."""
    labels = [
        image.label for files in discovered.splits.values() for image in files.images if image.label
    ]
    chosen = labels[:: max(1, len(labels) // _SAMPLED_FILES)]
    lines = [line for label in chosen for line in _object_lines(discovered.root / label)]
    if not lines and len(chosen) < len(labels):
        lines = [line for label in labels for line in _object_lines(discovered.root / label)]
    return lines


def _object_lines(path: Path) -> list[str]:
    any_line = LabelSchema("txt", (), False, 0)
    lines: list[str] = []
    try:
        text = read_text_file(path)
    except DataError:
        return []
    for line in text.lines:
        if not any_line.is_not_an_object(line, first=not lines):
            lines.append(line)
    return lines


def _image_sizes(discovered: DiscoveredDataset) -> dict[str, list[Size | UnreadableImage]]:
    """Return the size of each image, or why it cannot be read, by split and in order."""
    if discovered.sizes is not None:
        given = discovered.sizes
        return {
            split: [given[image.name] for image in files.images]
            for split, files in discovered.splits.items()
        }
    # Splits may share images; each is read once.
    paths = {
        split: [files.image_root / image.name for image in files.images]
        for split, files in discovered.splits.items()
    }
    once = list(dict.fromkeys(path for part in paths.values() for path in part))
    sizes = read_image_sizes(once)
    return {split: [sizes[path] for path in part] for split, part in paths.items()}


def _tally_notes(sources: Mapping[str, SourceSplit]) -> list[str]:
    """Return what label files hold that was ignored, the most frequent first."""
    tally: Counter[str] = Counter()
    for source in sources.values():
        tally.update(source.found.files.tally)
    return [f"{what}: {count}" for what, count in tally.most_common() if count]


def _class_index(
    data: DataConfig,
    discovered: DiscoveredDataset,
    schema: LabelSchema,
    sources: Mapping[str, SourceSplit],
) -> tuple[ClassIndex, str]:
    """Return the class list and its source; empty where the labels themselves give the names."""
    tokens = {token for source in sources.values() for token in source.found.tokens}
    if data.classes is None and discovered.classes:
        # The files' own list comes first; classes that it lacks are added.
        new = sorted(token for token in tokens if token and token not in discovered.classes)
        declared = (*discovered.classes, *new)
        return ClassIndex(declared, 0, numbers_are_names=True), discovered.found
    writes_names = discovered.format.format is not None
    found = given_class_names(data, discovered.root) or _found_class_names(discovered, tokens)
    if found is not None and data.classes is None and writes_names:
        known = {name.lower() for name in found.names}
        words = {token for token in tokens if token and class_number(token) is None}
        if any(word.lower() not in known for word in words):
            # The class list of some other labels that happens to lie beside these.
            found = None
    if found is None and not tokens:
        raise DataError(_nothing_readable(discovered, schema, sources))
    names = found.names if found else None
    index = build_class_index(tokens, names, data.first_class, numbers_are_names=writes_names)
    discovered.notes += found.notes if found else ()
    return index, found.found_in if found else ""


def _found_class_names(discovered: DiscoveredDataset, tokens: Collection[str]) -> ClassNames | None:
    """Return the class list beside or above the label files that are read."""
    files = (image.label for split in discovered.splits.values() for image in split.images)
    places = sorted({label.rpartition("/")[0] for label in files if label})
    return find_class_names(
        discovered.root, [discovered.root / place for place in places], discovered.label_folders,
        numbered=any(class_number(token) is not None for token in tokens),
    )  # fmt: skip


def _nothing_readable(
    discovered: DiscoveredDataset, schema: LabelSchema, sources: Mapping[str, SourceSplit]
) -> str:
    root = discovered.root
    unreadable = [
        f"  {shown_path(source.files.image_root / source.files.images[job].name, root)}: {reason}"
        for source in sources.values()
        for job, reason in source.unreadable.items()
    ]
    if unreadable and not any(source.usable for source in sources.values()):
        listed = "\n".join(unreadable[:_EXAMPLES])
        return f"{root}: none of the {len(unreadable)} images can be read:\n{listed}"
    text = f"{root}: no label can be read as {schema.as_options}, and there is no class list. "
    if discovered.format.format is None:
        shown = [f"  {line[:80]}" for line in sample_lines(discovered)[:_EXAMPLES]]
        return (
            f"{text}Give the order of the columns, with - for those to ignore, such as "
            "data.columns=class,cx,cy,w,h,-. The first lines are:\n" + "\n".join(shown)
        )
    events = [event for source in sources.values() for event in source.found.files.events]
    if not events:
        return f"{text}No label file holds an object."
    shown = [f"  {event.reason}   [{event.text[:60]}]" for event in events[:_EXAMPLES]]
    return f"{text}The first problems are:\n" + "\n".join(shown)


def _divide(
    data: DataConfig,
    discovered: DiscoveredDataset,
    split: str,
    sources: Mapping[str, SourceSplit],
    index: ClassIndex,
    run_split: RunSplit | None,
) -> Division:
    """Return which images of a split on disk go to which split of the data set."""
    source = sources[split]
    whole = split == "all"
    wanted = data.val_fraction > 0 or data.folds or data.split_file
    lacks_val = split == "train" and "val" not in sources and wanted
    if run_split is not None:
        names = source.usable_names
        contents = hash_images([source.files.image_root / name for name in names])
        into = tuple(SPLIT_NAMES) if whole else ("train", "val") if lacks_val else (split,)
        images = run_split.divide(split, names, contents, into)
        return Division(images, rows=split_rows(names, images) if len(into) > 1 else [])
    if "val" in sources or discovered.divided:
        refuse_to_divide(data, list(sources))
    if discovered.divided or not (whole or lacks_val):
        return Division({split: list(range(len(source.usable)))})
    table = source.table()
    counts = table.class_counts(len(index.names))
    return divide_split(data, source.root, table.names, counts, index.names, whole=whole)


def _stated_sizes(
    sources: Mapping[str, SourceSplit],
    divisions: Mapping[str, Division],
    tables: Mapping[str, LabelTable],
) -> dict[str, dict[str, Size]]:
    """Return sizes that label files state and their images do not have, by split and image."""
    stated = {}
    for split, source in sources.items():
        sizes = source.found.files.other_sizes
        own = {source.files.images[job].name: size for job, size in sizes.items()}
        for part in divisions[split].images if own else ():
            stated[part] = {name: own[name] for name in tables[part].names if name in own}
    return stated


def _all_rejected(
    sources: Mapping[str, SourceSplit],
    divisions: Mapping[str, Division],
    tables: Mapping[str, LabelTable],
) -> dict[str, tuple[str, ...]]:
    names: dict[str, list[str]] = {split: [] for split in tables}
    for source_name, source in sources.items():
        rejected = set(source.all_rejected)
        whole = source.usable_names
        for split, images in divisions[source_name].images.items():
            names[split] += [name for image in images if (name := whole[image]) in rejected]
    return {split: tuple(found) for split, found in names.items()}


def _tables(
    sources: Mapping[str, SourceSplit], divisions: Mapping[str, Division]
) -> dict[str, LabelTable]:
    tables: dict[str, LabelTable] = {}
    for split, source in sources.items():
        whole = source.table()
        for name, images in divisions[split].images.items():
            if name in tables:
                raise ConfigError(
                    f"data.split_file, or the split of the run, puts training images into {name}, "
                    "which the data has already. Put them into train or val; or, to divide all of "
                    "the data by the file, give data.images and data.labels as folders that hold "
                    "all of it."
                )
            everything = len(images) == whole.num_images
            tables[name] = whole if everything else whole.select(images)
    return {split: tables[split] for split in SPLIT_NAMES if split in tables}

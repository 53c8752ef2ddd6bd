"""Report the files, folders and labelled images in the data root that are not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.labels.dataset.ledger import IN_NO_SPLIT, LedgerEntry
from detfinetune.labels.dataset.manifest import MANIFEST_NAME
from detfinetune.labels.dataset.split_names import names_on_disk, split_in, split_words
from detfinetune.labels.discovery.detect_format import Detected, FormatChoice, LabelLikeFiles
from detfinetune.labels.discovery.discovered import DiscoveredDataset, shown_path
from detfinetune.labels.discovery.folders import (
    IMAGE_FOLDERS,
    is_label_name,
    names_below,
    swap_part,
)
from detfinetune.labels.discovery.match_images import label_key, match_labels
from detfinetune.labels.discovery.unsupported import REFUSED_SUFFIXES, WAY_OUT
from detfinetune.labels.images.sizes import is_image_name

_SHOWN = 3
_MOST_DETECTED = 20


def note_unused(data: DataConfig, discovered: DiscoveredDataset) -> None:
    """Note label-like files, split folders and lists that are not used, and enter lost images."""
    if (discovered.root / MANIFEST_NAME).is_file():
        return  # a converted folder, whose manifest names its files
    if discovered.format.seen is not None:
        discovered.notes += _unused_files(data, discovered, discovered.format.seen)
    if discovered.sizes is None:
        discovered.notes += _unused_splits(data, discovered)
        if discovered.format.file_per_image:
            discovered.entries += _in_no_split(data, discovered)


# --- label-like files -------------------------------------------------------------------------


def _unused_files(
    data: DataConfig, discovered: DiscoveredDataset, seen: LabelLikeFiles
) -> list[str]:
    """Return a note for each group of label-like files that are not read, with the reason."""
    choice = discovered.format
    groups: dict[str, list[str]] = {}
    for suffix, names in seen.by_suffix.items():
        beside = set(seen.beside.get(suffix, ()))
        is_own = choice.file_per_image and suffix == choice.suffix
        free = [
            # The ledger has those of an image that is in no split.
            name for name in names
            if not (is_own and name in beside) and not _is_used(data, discovered, name)
        ]  # fmt: skip
        named_as_image = [name for name in free if name in beside]
        if suffix == ".txt":
            # Others are read-mes, class lists and image lists more often than labels.
            if named_as_image:
                groups["one object a line (data.format=txt or yolo reads these)"] = named_as_image
            continue
        others = [name for name in free if name not in beside]
        for part in (named_as_image, others[_MOST_DETECTED:]):
            if part:
                reason = _reason(suffix, seen.format_of_most(part), choice)
                groups.setdefault(reason, []).extend(part)
        for name in others[:_MOST_DETECTED]:
            reason = choice.not_chosen.get(name) or _reason(suffix, seen.detect(name), choice)
            groups.setdefault(reason, []).append(name)
    return [f"{_listed(names)} not read: {reason}" for reason, names in groups.items()]


def _is_used(data: DataConfig, discovered: DiscoveredDataset, name: str) -> bool:
    choice, path = discovered.format, discovered.root / name
    given = (data.split_file, data.image_sizes, data.classes, data.split_groups)
    if path in choice.files.values() or any(
        isinstance(key, str | Path) and (discovered.root / key) == path for key in given
    ):
        return True
    if choice.file_per_image:
        # Those of no image are entered in the ledger.
        is_below = any(folder in path.parents for folder in discovered.label_folders)
        return is_below and path.suffix.lower() == choice.suffix
    is_openimages = choice.format is not None and choice.format.name == "openimages"
    return is_openimages and path.name.startswith("class-descriptions")


def _reason(suffix: str, found: Detected | None, choice: FormatChoice) -> str:
    if found is None:
        if suffix in REFUSED_SUFFIXES:
            return f"{REFUSED_SUFFIXES[suffix]} is not a supported format; {WAY_OUT}"
        return "not recognised as labels"
    name = found[0].name
    taken = f"format {choice.format.name} was" if choice.format else "the .txt files were"
    if choice.format is not None and name == choice.format.name:
        return f"other files of the format {name} are read (data.annotations=FILE reads these)"
    return f"format {name}; {taken} chosen (data.format={name} reads these)"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} {'is' if len(names) == 1 else 'are'}"


# --- folders and lists of a split's name ------------------------------------------------------


def _unused_splits(data: DataConfig, discovered: DiscoveredDataset) -> list[str]:
    """Return a note for each folder or list that names a split and does not make one."""
    root, names = discovered.root, names_on_disk(data)
    suffix = discovered.format.suffix if discovered.format.file_per_image else ""
    words = split_words(data)
    images: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    lists = []
    for name in names_below(root):
        folder, _, file = name.rpartition("/")
        stem, _, ending = file.lower().rpartition(".")
        if ending == "txt" and stem in words:
            lists.append(root / name)
        elif is_image_name(file):
            images[folder] += 1
        elif suffix and is_label_name(file, suffix):
            labels[folder] += 1
    images, labels = _by_split_folder(images, names), _by_split_folder(labels, names)
    used = {files.image_root for files in discovered.splits.values()} | set(
        discovered.label_folders
    )
    divided = set(discovered.splits) != {"all"} or bool(discovered.image_lists)
    notes = []
    for place, count in sorted(images.items()):
        place_path = root / place
        if not any(
            own == place_path
            or place_path in own.parents
            or (divided and own in place_path.parents)
            for own in used
        ):
            split = split_in(place_path.name, names)
            own = swap_part(Path(place), IMAGE_FOLDERS, "labels") or Path(place)
            count_labels = labels[place] or labels[own.as_posix()]
            why = _why_unused(discovered, place_path, count_labels, split in discovered.splits)
            notes.append(f"{place}/ ({count} images) is not used as split {split}: {why}")
    return notes + _unused_lists(discovered, lists)


def _why_unused(discovered: DiscoveredDataset, folder: Path, labels: int, found: bool) -> str:
    if not discovered.format.file_per_image:
        if any(
            folder in (files.image_root / image.name).parents
            for files in discovered.splits.values() for image in files.images
        ):  # fmt: skip
            return f"{discovered.found} lists its images and names no split"
        return "no label file lists its images"
    if not labels:
        return "it holds no labels"
    if found:
        return "other folders or lists make the splits"
    return (
        "it does not divide the data alone; give data.images=FOLDER and data.labels=FOLDER, with "
        "{split} in place of the split's name"
    )


def _by_split_folder(counts: Counter[str], names: Mapping[str, tuple[str, ...]]) -> Counter[str]:
    """Return counts of the outermost folders of a split's name."""
    total: Counter[str] = Counter()
    for folder, count in counts.items():
        parts = folder.split("/")
        depth = next((d for d, part in enumerate(parts, 1) if split_in(part, names)), 0)
        if depth:
            total["/".join(parts[:depth])] += count
    return total


def _unused_lists(discovered: DiscoveredDataset, lists: Iterable[Path]) -> list[str]:
    used = set(discovered.image_lists)
    places = {path.parent for path in used}
    notes = []
    for path in lists:
        # Beside the lists of train and val, trainval lists them both again.
        if path in used or (path.stem.lower() == "trainval" and path.parent in places):
            continue
        why = (
            f"the splits are those of {discovered.found}"
            if set(discovered.splits) != {"all"}
            else "the other lists are missing; give data.image_list={split}.txt or remove it"
        )
        notes.append(f"{shown_path(path, discovered.root)} is not used as an image list: {why}")
    return notes


# --- labelled images --------------------------------------------------------------------------


def _in_no_split(data: DataConfig, discovered: DiscoveredDataset) -> list[LedgerEntry]:
    """Return an entry for each image that has a label file and belongs to no split."""
    root, suffix = discovered.root, discovered.format.suffix
    used: set[str] = set()
    places = []
    for files in discovered.splits.values():
        place = shown_path(files.image_root, root)
        places.append("" if place == "." else f"{place}/")
        used.update(places[-1] + image.name for image in files.images)
        used.update(file.label for file in (*files.images, *files.orphans))
    # With configured folders, images elsewhere are ignored on purpose.
    chosen = bool(data.images or data.labels or data.splits)
    images, labels = [], {}
    for name in names_below(root):
        if name in used:
            continue
        if is_image_name(name):
            if not chosen or name.startswith(tuple(places)):
                images.append(name)
        elif is_label_name(name, suffix):
            labels[label_key(name)] = name
    lists = ", ".join(shown_path(path, root) for path in discovered.image_lists)
    why = f"{lists} do not list it" if lists else "it is outside of the folders that make splits"
    matched = match_labels(images, labels)
    return [
        LedgerEntry(
            "", name, 0, "note", IN_NO_SPLIT, f"ignored: it has labels ({labels[key]}), but {why}",
            "", name,
        )
        for name, key in sorted(matched.label_of.items())
    ]  # fmt: skip

"""Read labels made with `detfinetune label`: only images that a person has finished take part."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.ledger import LedgerEntry
from detfinetune.labels.dataset.split_names import SPLIT_NAMES
from detfinetune.labels.discovery.detect_format import FormatChoice
from detfinetune.labels.discovery.discovered import (
    DiscoveredDataset,
    ImageFile,
    SplitFiles,
    image_names,
    shown_path,
)
from detfinetune.labels.formats.json.label_store import (
    DOCUMENT_SUFFIX,
    DOCUMENTS_FOLDER,
    parse_class_list,
    parse_document,
    raw_image,
)
from detfinetune.labels.formats.raw_labels import BadFile
from detfinetune.labels.text import read_text_file


def discover_store(data: DataConfig, root: Path, choice: FormatChoice) -> DiscoveredDataset:
    """Read the documents of all images below `root`.

    Once a document names a split, images without one are for training.

    Raises:
        ConfigError, DataError: a file is damaged, or no image is finished.
    """
    path = choice.files["all"]
    folder = path.parent
    classes = _class_names(path)
    names = image_names(root)
    there = set(names)
    states: Counter[str] = Counter()
    parts: dict[str, list[ImageFile]] = {}
    splits: set[str] = set()
    entries = []
    for name, label in document_files(folder):
        shown = shown_path(label, root)
        try:
            document = parse_document(read_text_file(label).text)
        except BadFile as problem:
            raise DataError(
                f"{label}: damaged ({problem}). Restore it, or remove it to label its image again."
            ) from None
        if name not in there:
            entries.append(
                LedgerEntry("all", shown, 0, "note", "missing image", f"there is no image {name}")
            )
            continue
        there.remove(name)
        states[document.state] += 1
        splits.add(document.split or "")
        if document.state == "done":
            image = ImageFile(name, shown, raw_image(name, document, classes))
            parts.setdefault(document.split or "", []).append(image)
    states["todo"] += len(there)
    if not parts:
        raise DataError(
            f"{folder}: no image is finished yet ({_listed(states)}). Finish some with "
            f"`detfinetune label {root}`."
        )
    undivided = "all" if splits == {""} else "train"
    if "" in parts:
        parts.setdefault(undivided, []).extend(parts.pop(""))
    left_out = {state: count for state, count in states.items() if state != "done" and count}
    discovered = DiscoveredDataset(
        root,
        choice,
        f"labels made with `detfinetune label` in {shown_path(folder, root)}",
        [folder],
        {
            split: SplitFiles(root, tuple(sorted(parts[split], key=lambda image: image.name)))
            for split in (*SPLIT_NAMES, "all")
            if split in parts
        },
        entries=entries,
        classes=classes,
    )
    if left_out:
        discovered.notes.append(f"images that are not finished, left out: {_listed(left_out)}")
    if entries:
        discovered.notes.append(f"{len(entries)} labelled images are missing; see the ledger")
    return discovered


def document_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the image's name, with forward slashes, and the path of each document of a store."""
    top = folder / DOCUMENTS_FOLDER
    for place, folders, files in os.walk(top):
        folders.sort()
        inside = Path(place).relative_to(top)
        for file in sorted(files):
            # Those that begin with a dot are unfinished.
            if file.endswith(DOCUMENT_SUFFIX) and not file.startswith("."):
                name = (inside / file.removesuffix(DOCUMENT_SUFFIX)).as_posix()
                yield name, Path(place) / file


def _class_names(path: Path) -> tuple[str, ...]:
    try:
        return parse_class_list(read_text_file(path).text).classes
    except BadFile as problem:
        raise DataError(f"{path}: damaged ({problem}). Restore the class list.") from None


def _listed(states: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if count)

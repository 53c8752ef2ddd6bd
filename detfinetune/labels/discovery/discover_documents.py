"""Match images with label files that each describe many of them.

- a file lists the images of its split; one without objects is a true negative, and images that no
  file lists are ignored, with a note
- a listed image that is missing is rejected, with all its labels
- a subset that the file gives for an image is its split
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.ledger import LedgerEntry
from detfinetune.labels.dataset.manifest import converted_image_roots
from detfinetune.labels.dataset.split_names import SPLIT_NAMES
from detfinetune.labels.discovery.annotation_files import find_image_root, split_of
from detfinetune.labels.discovery.class_descriptions import name_classes
from detfinetune.labels.discovery.detect_format import FormatChoice
from detfinetune.labels.discovery.discovered import (
    DiscoveredDataset,
    ImageFile,
    SplitFiles,
    image_names,
    other_case_note,
    shown_path,
)
from detfinetune.labels.discovery.match_images import NameFinder
from detfinetune.labels.discovery.split_sources import refuse_missing_splits
from detfinetune.labels.formats.raw_labels import BadFile, Document, RawImage
from detfinetune.labels.formats.registry import DocumentFormat
from detfinetune.labels.text import read_text_file

_EXAMPLES = 3


@dataclass
class _Source:
    """One label file and its content."""

    path: Path
    shown: str
    document: Document
    note: str
    """How it was decoded; empty for UTF-8."""


def discover_documents(data: DataConfig, root: Path, choice: FormatChoice) -> DiscoveredDataset:
    """Read the label files of a data set whose files describe many images each.

    Raises:
        ConfigError, DataError: a file cannot be read, or none of its images was found.
    """
    wanted = choice.format
    if wanted is None:
        raise ValueError("formats of one object a line have a file for each image")
    sources = {split: _read(path, root, wanted) for split, path in choice.files.items()}
    listed = ", ".join(source.shown for source in sources.values())
    documents = [source.document for source in sources.values()]
    folders = [source.path.parent for source in sources.values()]
    discovered = DiscoveredDataset(
        root,
        choice,
        listed,
        folders,
        {},
        notes=name_classes(documents, folders, root) if wanted.name == "openimages" else [],
        entries=[
            LedgerEntry(split, source.shown, 0, "note", "encoding", source.note)
            for split, source in sources.items() if source.note
        ],
        classes=_classes(documents),
        normalized=_one_unit(sources),
    )  # fmt: skip
    matcher = _Matcher(data, discovered)
    for split, source in sources.items():
        by_split = _by_subset(data, split, source)
        discovered.notes += [f"{source.shown}: {note}" for note in source.document.notes]
        for name, images in by_split.items():
            if name in discovered.splits:
                raise DataError(
                    f"{source.shown}: its subset '{name}' is also the split of another file. Keep "
                    "the subsets, or a file for each split, but not both."
                )
            discovered.splits[name] = matcher.match(name, source, images)
    matcher.note_unlisted([source.shown for source in sources.values()])
    refuse_missing_splits(data, root, discovered.splits)
    discovered.divided = set(converted_image_roots(root)) >= set(discovered.splits)
    if set(discovered.splits) == {"train"} and not discovered.divided:
        discovered.splits = {"all": discovered.splits["train"]}
    order = (*SPLIT_NAMES, "all")
    discovered.splits = {s: discovered.splits[s] for s in order if s in discovered.splits}
    if not any(files.images for files in discovered.splits.values()):
        if not any(image.name for document in documents for image in document.images):
            raise DataError(f"{root}: {listed} lists no images (data.format={wanted.name}).")
        raise DataError(
            f"{root}: none of the images in {listed} was found. Give data.images=FOLDER."
        )
    return discovered


def _one_unit(sources: Mapping[str, _Source]) -> bool:
    """Return whether all files with objects have normalized coordinates.

    Raises:
        DataError: some have and some have not.
    """
    units = {
        source.document.normalized: source.shown
        for source in sources.values() if any(image.labels for image in source.document.images)
    }  # fmt: skip
    if len(units) > 1:
        raise DataError(
            f"{units[True]} has normalized coordinates, {units[False]} has absolute ones. Convert "
            "them to one unit."
        )
    return next(iter(units), False)


def _read(path: Path, root: Path, wanted: DocumentFormat) -> _Source:
    file = read_text_file(path)
    try:
        return _Source(path, shown_path(path, root), wanted.parse(file.text), file.note)
    except BadFile as problem:
        where = f"{path}:{problem.line}" if problem.line else str(path)
        raise DataError(f"{where}: {problem} (data.format={wanted.name})") from None


def _classes(documents: Iterable[Document]) -> tuple[str, ...]:
    """Return the classes that the files declare, in order of first appearance."""
    names: dict[str, None] = {}
    for document in documents:
        names |= dict.fromkeys(document.classes)
    return tuple(names)


def _by_subset(data: DataConfig, split: str, source: _Source) -> dict[str, list[RawImage]]:
    """Return the images by split: each image's own subset, else that of the file's name.

    Raises:
        DataError: a subset is not a split, while others are.
    """
    document = source.document
    words = {image.split for image in document.images}
    own = {word: split_of(Path(word), data) if word else "all" for word in words}
    splits = {named for word, named in own.items() if word} - {"all"}
    unknown = sorted(word for word, named in own.items() if word and named == "all")
    if splits and unknown:
        line = next(image.line for image in document.images if image.split == unknown[0])
        where = f"{source.path}:{line}" if line else str(source.path)
        raise DataError(
            f"{where}: subset '{unknown[0]}' is not a split, but others are: "
            f"{', '.join(sorted(splits))}. Rename it, or remove its images."
        )
    parts: dict[str, list[RawImage]] = {}
    for image in document.images:
        named = own[image.split] if image.split and splits else split
        parts.setdefault(named, []).append(image)
    if len(parts) > 1 and "all" in parts:
        # Images without a subset, beside others with one, belong to training.
        document.notes.append(f"images without a subset, put into train: {len(parts['all'])}")
        parts["train"] = parts.get("train", []) + parts.pop("all")
    if document.problems:
        stray = RawImage("", problems=document.problems)
        parts.setdefault(next(iter(parts), split), []).append(stray)
    return parts


class _Matcher:
    """Matches the entries of label files with the images on disk."""

    def __init__(self, data: DataConfig, discovered: DiscoveredDataset) -> None:
        self.data = data
        self.discovered = discovered
        self._finders: dict[Path, NameFinder] = {}
        self._on_disk: dict[Path, list[str]] = {}
        self._found: dict[Path, set[str]] = {}

    def match(self, split: str, source: _Source, images: list[RawImage]) -> SplitFiles:
        """Return the files of a split.

        Raises:
            DataError: the images are not found, or most are missing.
        """
        names = [image.name for image in images if image.name]
        image_root = self._image_root(split, source, names)
        find = self._finder(image_root)
        found: dict[str, RawImage] = {}
        orphans: list[ImageFile] = []
        missing: list[RawImage] = []
        again: list[str] = []
        claims = _claims(find, images)
        for image in images:
            name = claims.get(_plain(image.name))
            if name is None:
                orphans.append(ImageFile(image.name, source.shown, image))
                missing += [image] if image.name else []
            elif name in found:
                again.append(image.name)
                found[name].labels += image.labels
                found[name].problems += image.problems
                found[name].size = found[name].size or image.size
            else:
                found[name] = image
        other_case = {name: found[name].name for name in find.other_case if name in found}
        self.discovered.notes += other_case_note(source.shown, other_case)
        if again:
            self.discovered.notes.append(
                f"{source.shown}: {len(again)} images listed more than once, with the objects of "
                f"all entries, such as '{again[0]}'"
            )
        if len(missing) > len(found):
            raise DataError(
                f"{source.path}: {len(missing)} of its {len(names)} images were not found in "
                f"{image_root}: {find.why_not(missing[0].name)}. Give the folder with "
                "data.images=FOLDER."
            )
        for image in missing:
            where = f"{source.shown}:{image.line}" if image.line else source.shown
            reason = find.why_not(image.name)
            self.discovered.entries.append(
                LedgerEntry(split, where, 0, "rejected", "missing image", reason, image.name)
            )
        self._found.setdefault(image_root, set()).update(found)
        return SplitFiles(
            image_root,
            tuple(ImageFile(name, source.shown, found[name]) for name in sorted(found)),
            tuple(orphans),
            len(missing),
            source.document.category_ids,
        )

    def note_unlisted(self, shown: Sequence[str]) -> None:
        """Note the images that no label file lists; splits may share a folder."""
        listed = f"{', '.join(shown[:-1])} or {shown[-1]}" if len(shown) > 1 else shown[0]
        for image_root, found in self._found.items():
            unlisted = [name for name in self._on_disk[image_root] if name not in found]
            if unlisted:
                self.discovered.notes.append(
                    f"{len(unlisted)} images in {shown_path(image_root, self.discovered.root)} are "
                    f"not in {listed} and are ignored, such as {', '.join(unlisted[:_EXAMPLES])}"
                )

    def _finder(self, image_root: Path) -> NameFinder:
        if image_root not in self._finders:
            self._on_disk[image_root] = image_names(image_root)
            self._finders[image_root] = NameFinder(self._on_disk[image_root])
        return self._finders[image_root]

    def _image_root(self, split: str, source: _Source, names: list[str]) -> Path:
        """Return the folder of a split's images; a converted folder names it."""
        root = self.discovered.root
        if self.data.images is None and split in (roots := converted_image_roots(root)):
            return roots[split]
        return find_image_root(self.data, root, split, source.path, names)


def _plain(name: str) -> str:
    """Return an entry's path in one spelling."""
    path = unicodedata.normalize("NFC", name.replace("\\", "/"))
    return posixpath.normpath(path) if path else ""


def _claims(find: NameFinder, images: Sequence[RawImage]) -> dict[str, str]:
    """Return the image on disk of each entry.

    An image whose very path is listed belongs to that entry; of several other entries that could
    mean one image (`cam1/1.jpg` and `cam2/1.jpg` for `1.jpg`), none gets it.
    """
    entries = dict.fromkeys(_plain(image.name) for image in images if image.name)
    found = {entry: name for entry in entries if (name := find(entry)) is not None}
    exact = {name for entry, name in found.items() if entry == _plain(name)}
    number = Counter(found.values())
    return {
        entry: name
        for entry, name in found.items()
        if entry == _plain(name) or (name not in exact and number[name] == 1)
    }

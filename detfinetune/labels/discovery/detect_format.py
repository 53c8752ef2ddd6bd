"""Detect the label format of a data set and the files that are in it.

Only the head of a file is read here, and that of each file at most once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.split_names import names_on_disk, split_in, split_words
from detfinetune.labels.discovery.annotation_files import (
    choose_by_split,
    configured_annotations,
    holds_other_annotations,
)
from detfinetune.labels.discovery.folders import is_label_name, names_below
from detfinetune.labels.discovery.unsupported import REFUSED_SUFFIXES
from detfinetune.labels.formats.json.label_store import STORE_FOLDER, STORE_NAME
from detfinetune.labels.formats.raw_labels import BadFile
from detfinetune.labels.formats.registry import (
    DOCUMENT_FORMATS,
    LINE_FORMATS,
    DocumentFormat,
    detect_file_format,
    explain_unreadable,
)
from detfinetune.labels.images.sizes import is_image_name
from detfinetune.labels.text import read_head, read_text_file

_SAMPLED_FILES = 5
_SHOWN = 3
_PER_IMAGE = (".txt", ".xml", ".json")
_DOCUMENTS = (".xml", ".json", ".jsonl", ".csv", ".tsv")
_LABEL_NAMES = ("instances_", "_annotations.")
_COCO_KEYS = ('"images"', '"annotations"', '"categories"')

_FOUR_NUMBERS = re.compile(r"(-?[\d.]+[\s,;]+){3}-?[\d.]")

Detected = tuple[DocumentFormat, str]


class LabelLikeFiles:
    """The files below the data root that could hold labels, and what their heads show."""

    def __init__(self, root: Path, inside: str = "") -> None:
        """Look below `root`; label files only where their path starts with `inside`."""
        self.root = root
        self.stems: set[str] = set()
        self.by_suffix: dict[str, list[str]] = {}
        self._detected: dict[str, Detected | None] = {}
        for name in names_below(root):
            stem, _, ending = name.rpartition("/")[2].rpartition(".")
            suffix = f".{ending.lower()}"
            if is_image_name(name):
                self.stems.add(stem.casefold())
            elif (
                suffix in {*_PER_IMAGE, *_DOCUMENTS, *REFUSED_SUFFIXES}
                and name.startswith(inside)
                and is_label_name(name, suffix)
            ):
                self.by_suffix.setdefault(suffix, []).append(name)

    def detect(self, name: str) -> Detected | None:
        """Return the format of a file and the evidence for it, or None."""
        if name not in self._detected:
            self._detected[name] = detect_file(self.root / name)
        return self._detected[name]

    def is_named_as_image(self, name: str) -> bool:
        """Whether a file has the name of an image: `a.txt` or `a.jpg.txt` for `a.jpg`."""
        stem = name.rpartition("/")[2].rpartition(".")[0].casefold()
        return stem in self.stems or stem.rpartition(".")[0] in self.stems

    @cached_property
    def beside(self) -> dict[str, list[str]]:
        """Files named as an image, by suffix."""
        return {
            suffix: [name for name in names if self.is_named_as_image(name)]
            for suffix, names in self.by_suffix.items()
        }

    def documents(self, suffix: str) -> list[str]:
        """Return the files of a suffix that are not named as an image, in sorted order."""
        named = set(self.beside.get(suffix, ()))
        return [name for name in self.by_suffix.get(suffix, ()) if name not in named]

    def beside_by_stem(self, other_than: str) -> dict[str, list[str]]:
        """Return files named as an image, without those of a suffix, by their stem in lower case.

        Args:
            other_than: the suffix of the files that are read.
        """
        found: dict[str, list[str]] = {}
        for suffix, names in self.beside.items():
            for name in names if suffix != other_than else ():
                stem = name.rpartition("/")[2].rpartition(".")[0]
                found.setdefault(stem.casefold(), []).append(name)
        return found

    def holds_objects(self, name: str) -> bool:
        """Whether a file holds labels of a known format, also if they are damaged."""
        path = self.root / name
        if path.suffix.lower() == ".txt":
            return _FOUR_NUMBERS.search(read_text_file(path).text) is not None
        known = self.detect(name)
        if known is None:
            return False
        try:
            images = known[0].parse(read_text_file(path).text).images
        except BadFile:
            return True
        return any(image.labels or image.problems for image in images)

    def of_format(self, wanted: DocumentFormat, *, named_as_image: bool = True) -> list[str]:
        """Return the files in the wanted format, optionally without those named as an image."""
        suffixes = [s for s in _DOCUMENTS if s.replace(".tsv", ".csv") == wanted.suffix]
        names = [
            name for suffix in suffixes
            for name in (self.by_suffix.get(suffix, ()) if named_as_image
                         else self.documents(suffix))
        ]  # fmt: skip
        return [n for n in names if (known := self.detect(n)) and known[0].name == wanted.name]

    def format_of_most(self, names: Sequence[str]) -> Detected | None:
        """Return the format of most of some files, evenly spaced."""
        sample = names[:: max(1, len(names) // _SAMPLED_FILES)]
        found = [known for name in sample if (known := self.detect(name)) is not None]
        if not found:
            return None
        name = Counter(known.name for known, _ in found).most_common(1)[0][0]
        return next(pair for pair in found if pair[0].name == name)


@dataclass(frozen=True)
class FormatChoice:
    """A format; None for the formats of one object a line, which the lines show later."""

    format: DocumentFormat | None
    evidence: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The label files by split, for a format whose files describe many images each."""

    not_chosen: Mapping[str, str] = field(default_factory=dict)
    """Why other files of the format are not read, by name."""

    seen: LabelLikeFiles | None = None
    """What else is there; None where the configuration names the file."""

    @property
    def suffix(self) -> str:
        return self.format.suffix if self.format else ".txt"

    @property
    def file_per_image(self) -> bool:
        return self.format is None or self.format.file_per_image


def choose_format(data: DataConfig, root: Path) -> FormatChoice:
    """Choose the format from the configuration or, with `auto`, from the files.

    Labels made with `detfinetune label` come first, then COCO JSON; then the file type of which
    most are named as an image (.txt, .xml, .json); then files that describe many images (.xml,
    .json, .jsonl, .csv).

    Raises:
        ConfigError: `data.annotations` leads nowhere.
        DataError: no file is in the format, or several could be the same split.
    """
    named = root / Path(data.labels).expanduser() if data.labels else None
    store = (named or root / STORE_FOLDER) / STORE_NAME
    if data.format in ("auto", "detfinetune") and not data.annotations and store.is_file():
        return FormatChoice(*_format_of_file(store), {"all": store})
    files = {"all": named} if named is not None and named.is_file() else {}
    if data.annotations:
        files = configured_annotations(data, root)
    wanted = DOCUMENT_FORMATS.get(data.format)
    evidence = f"data.format={data.format}"
    if files and data.format not in LINE_FORMATS:
        if wanted is None:
            wanted, evidence = _format_of_file(next(iter(files.values())))
        return FormatChoice(wanted, evidence, files)
    inside = ""
    if named is not None and named.is_dir() and named != root and named.is_relative_to(root):
        inside = f"{named.relative_to(root).as_posix()}/"
    seen = LabelLikeFiles(root, inside)
    if data.format in LINE_FORMATS or (wanted is not None and wanted.file_per_image):
        return FormatChoice(wanted, evidence if wanted else "", seen=seen)
    if wanted is not None:
        return _documents(data, seen, wanted, evidence, seen.of_format(wanted))
    coco = DOCUMENT_FORMATS["coco"]
    names = seen.of_format(coco, named_as_image=False) if data.labels is None else []
    if not all(map(holds_other_annotations, names)):
        evidence = next(known[1] for name in names if (known := seen.detect(name)))
        return _documents(data, seen, coco, evidence, names)
    return _detected_choice(data, seen)


def _format_of_file(path: Path) -> Detected:
    found = detect_file(path)
    if found is None:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty. Export the labels again.")
        names = ", ".join(DOCUMENT_FORMATS)
        raise DataError(
            f"{path}: the label format was not recognised. Give it with data.format, one of "
            f"{names}; the error then says what is missing."
        )
    return found


def _detected_choice(data: DataConfig, seen: LabelLikeFiles) -> FormatChoice:
    matching = {suffix: len(seen.beside.get(suffix, ())) for suffix in _PER_IMAGE}
    best = max(_PER_IMAGE, key=lambda suffix: matching[suffix])  # the first of equal ones
    if matching[best] and best == ".txt":
        return FormatChoice(None, seen=seen)
    if matching[best] and (found := seen.format_of_most(seen.beside[best])):
        wanted, evidence = found
        if wanted.file_per_image:
            return FormatChoice(wanted, evidence, seen=seen)
        return _documents(data, seen, wanted, evidence, seen.of_format(wanted))
    for suffix in _DOCUMENTS:
        if found := seen.format_of_most(seen.by_suffix.get(suffix, [])):
            wanted, evidence = found
            if wanted.file_per_image:
                return FormatChoice(wanted, evidence, seen=seen)
            return _documents(data, seen, wanted, evidence, seen.of_format(wanted))
    return FormatChoice(None, seen=seen)


def _documents(
    data: DataConfig,
    seen: LabelLikeFiles,
    wanted: DocumentFormat,
    evidence: str,
    names: Iterable[str],
) -> FormatChoice:
    """Return the choice of a format whose files describe many images each.

    Raises:
        DataError: there is no such file, two could be the same split, or one is damaged.
    """
    names = list(names)
    if not names:
        raise DataError(_no_such_file(seen, wanted))
    files, not_chosen = choose_by_split(data, seen.root, names)
    _refuse_damaged(data, seen, wanted, files)
    return FormatChoice(wanted, evidence, files, not_chosen, seen)


def _refuse_damaged(
    data: DataConfig, seen: LabelLikeFiles, wanted: DocumentFormat, files: Mapping[str, Path]
) -> None:
    """Stop at a damaged file of a missing split, which would be filled with random images.

    Raises:
        DataError: there is such a file.
    """
    names = names_on_disk(data)
    for name in seen.documents(wanted.suffix):
        stem = Path(name).stem.lower()
        split = split_in(stem, names) or split_in(Path(name).parent.name, names)
        by_name = stem in {*split_words(data), "annotations"} or stem.startswith(_LABEL_NAMES)
        if by_name and split not in files and seen.detect(name) is None:
            raise DataError(
                f"{seen.root / name}: the name is that of a label file of split {split}, but it is "
                f"damaged or not in the format {wanted.name}. Fix, rename or remove it, or name "
                "the label files with data.annotations."
            )


def _no_such_file(seen: LabelLikeFiles, wanted: DocumentFormat) -> str:
    """Return why no file of a format was found, with what is wrong with the nearest ones."""
    suffixes = (".csv", ".tsv") if wanted.suffix == ".csv" else (wanted.suffix,)
    names = [name for suffix in suffixes for name in seen.by_suffix.get(suffix, [])]
    names.sort(key=lambda name: name.count("/"))
    text = f"{seen.root}: data.format={wanted.name}, but no {wanted.suffix} file is in this format."
    for name in names[:_SHOWN]:
        text += f"\n  {name}{explain_unreadable(wanted, read_text_file(seen.root / name).text)}"
    return (
        f"{text}\nGive the file with data.annotations=FILE ({{split}} stands for the split's name)."
    )


def detect_file(path: Path) -> Detected | None:
    """Return the format of a file and the evidence in its head, or None."""
    try:
        text = read_head(path)
    except DataError:
        return None
    suffix = path.suffix.lower()
    found = detect_file_format(text, suffix)
    if found is None and suffix == ".json" and any(key in text for key in _COCO_KEYS):
        # One large mask may fill the head.
        text = read_text_file(path).text
        if all(key in text for key in _COCO_KEYS):
            return DOCUMENT_FORMATS["coco"], "JSON with images, annotations and categories"
    return found

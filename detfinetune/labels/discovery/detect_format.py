"""Which label format a data set is in, and by what that was recognised."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.discovery.annotation_files import configured_annotations, find_coco_files
from detfinetune.labels.discovery.folders import is_label_name, names_below
from detfinetune.labels.formats.registry import (
    DOCUMENT_FORMATS,
    LINE_FORMATS,
    DocumentFormat,
    detect_file_format,
)
from detfinetune.labels.images.sizes import is_image_name
from detfinetune.labels.text import read_text_file

_SAMPLED_FILES = 5
_SUFFIXES = (".txt", ".xml", ".json", ".csv", ".tsv")


@dataclass(frozen=True)
class FormatChoice:
    """A format, or None for those of one object a line, which their lines tell apart."""

    format: DocumentFormat | None
    evidence: str = ""
    note: str = ""
    """What else is there, for the user to read."""

    @property
    def suffix(self) -> str:
        return self.format.suffix if self.format else ".txt"

    @property
    def file_per_image(self) -> bool:
        return self.format is None or self.format.file_per_image


def choose_format(data: DataConfig, root: Path) -> FormatChoice:
    """Settle the format from the configuration and, where it says `auto`, from the files.

    COCO JSON comes first; then the kind of file of which most have the name of an image (.txt,
    .xml, .json); then a file that describes many images (.xml, .json, .csv).

    Raises:
        DataError: the file that `data.annotations` names is in no known format.
    """
    if data.format in LINE_FORMATS:
        return FormatChoice(None)
    if data.format != "auto":
        return FormatChoice(DOCUMENT_FORMATS[data.format], f"data.format={data.format}")
    if data.annotations:
        return _of_document(next(iter(configured_annotations(data, root).values())))
    named = root / Path(data.labels).expanduser() if data.labels else None
    if named is not None and named.is_file():
        return _of_document(named)
    if named is None and find_coco_files(data, root):
        return FormatChoice(DOCUMENT_FORMATS["coco"], "JSON with images, annotations, categories")
    folder = named if named is not None and named.is_dir() else root
    return _of_folder(folder, root) or FormatChoice(None)


def _of_document(path: Path) -> FormatChoice:
    found = _detect_file(path)
    if found is None:
        names = ", ".join(DOCUMENT_FORMATS)
        raise DataError(
            f"{path}: is in no known label format. Say which it should be with data.format, one "
            f"of {names}; the error then says what is missing."
        )
    return FormatChoice(*found)


def _of_folder(folder: Path, root: Path) -> FormatChoice | None:
    """Judge the label files below `folder`; images are looked for in all of `root`."""
    files: dict[str, list[str]] = defaultdict(list)
    stems: set[str] = set()
    inside = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    for name in names_below(root):
        stem, _, ending = name.rpartition("/")[2].rpartition(".")
        suffix = f".{ending.lower()}"
        if is_image_name(name):
            stems.add(stem)
        elif suffix in _SUFFIXES and name.startswith(inside) and is_label_name(name, suffix):
            files[suffix].append(name)
    # `a.jpg` may have the label file `a.jpg.txt`.
    matching = {
        suffix: sum(_is_named_alike(name, stems) for name in names)
        for suffix, names in files.items()
    }
    beside = [suffix for suffix in (".txt", ".xml", ".json") if matching.get(suffix)]
    if beside:
        best = max(beside, key=lambda suffix: matching[suffix])  # the first of those alike
        choice = FormatChoice(None) if best == ".txt" else _of_sample(root, files[best])
        others = [suffix for suffix in beside if suffix != best and len(files[suffix]) > 1]
        if choice is not None:
            return FormatChoice(choice.format, choice.evidence, _others_note(root, others, files))
    for suffix in _SUFFIXES[1:]:
        choice = _of_sample(root, files[suffix])
        if choice is not None:
            return choice
    return None


def _is_named_alike(name: str, stems: set[str]) -> bool:
    """Whether a file has the name of an image, without its last ending or the last two."""
    stem = name.rpartition("/")[2].rpartition(".")[0]
    return stem in stems or stem.rpartition(".")[0] in stems


def _of_sample(root: Path, names: list[str]) -> FormatChoice | None:
    """Return the format of most of some files, evenly spaced."""
    chosen = [root / name for name in names[:: max(1, len(names) // _SAMPLED_FILES)]]
    found = [known for path in chosen if (known := _detect_file(path)) is not None]
    if not found:
        return None
    name = Counter(known.name for known, _ in found).most_common(1)[0][0]
    return FormatChoice(*next(pair for pair in found if pair[0].name == name))


def _detect_file(path: Path) -> tuple[DocumentFormat, str] | None:
    try:
        text = read_text_file(path).text
    except DataError:
        return None
    return detect_file_format(text, path.suffix.lower())


def _others_note(root: Path, suffixes: Iterable[str], files: dict[str, list[str]]) -> str:
    listed = []
    for suffix in suffixes:
        choice = FormatChoice(None) if suffix == ".txt" else _of_sample(root, files[suffix])
        if choice is not None:
            name = choice.format.name if choice.format else "txt or yolo"
            listed.append(f"{len(files[suffix])} {suffix} files (data.format={name})")
    return f"there are also {' and '.join(listed)}; they are not read" if listed else ""

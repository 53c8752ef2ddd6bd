"""Class names: where they come from, and the class id of a number or name in a label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from detfinetune.errors import DataError, did_you_mean
from detfinetune.labels.formats.raw_labels import BadLabel
from detfinetune.labels.text import read_text_file

if TYPE_CHECKING:
    from detfinetune.config.schema import DataConfig

CLASS_FILES = ("classes.txt", "obj.names", "classes.names", "names.txt", "_darknet.labels")
YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")

_INTEGER = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)
_MOST_CLASSES = 10_000


@dataclass(frozen=True)
class ClassNames:
    """Class names and where they were found."""

    names: tuple[str, ...]
    found_in: str
    notes: tuple[str, ...] = ()
    """Other lists that are ignored, for the user."""


def given_class_names(data: DataConfig, root: Path) -> ClassNames | None:
    """Return the class names of `data.classes`, if it is set.

    Raises:
        DataError: they are wrong, or the file that it names is not there.
    """
    if data.classes is None:
        return None
    if isinstance(data.classes, list):
        return ClassNames(check_class_names(data.classes, "data.classes"), "data.classes")
    path = root / data.classes.expanduser()
    if not path.is_file():
        raise DataError(
            f"data.classes: there is no file {path}. Give a file with one class name a line, "
            "or the names themselves: data.classes=[first,second]."
        )
    return ClassNames(read_class_names(path), str(path))


def find_class_names(
    root: Path, folders: Iterable[Path], tops: Sequence[Path] = (), *, numbered: bool = True
) -> ClassNames | None:
    """Return the class list nearest to label files.

    Args:
        root: the data root.
        folders: those of label files; lists are looked for there and above, up to `root`.
        tops: folders outside of `root` up to which lists are looked for, too.
        numbered: whether classes are given by their numbers, which lists in another order swap.

    Raises:
        DataError: a list is wrong, or the nearest ones of two folders contradict each other.
    """
    in_folder: dict[Path, list[Path]] = {}
    nearest: dict[Path, tuple[str, ...]] = {}
    for folder in folders:
        above = [f for f in (folder, *folder.parents) if any(map(f.is_relative_to, (root, *tops)))]
        for place in dict.fromkeys((*above, root)):
            if place not in in_folder:
                in_folder[place] = _lists_in(place)
        first = next((path for f in (*above, root) for path in in_folder[f]), None)
        if first is not None and first not in nearest:
            nearest[first] = read_class_names(first)
    if not nearest:
        return None
    chosen = max(nearest, key=lambda path: len(nearest[path]))
    names = nearest[chosen]
    for path, others in nearest.items():
        if numbered and others != names[: len(others)]:
            raise DataError(
                f"{path}: its classes ({', '.join(others[:5])}) contradict those of {chosen} "
                f"({', '.join(names[:5])}), so numbers mean other classes in the labels of each. "
                "Renumber the labels of one; or give the list that all of them follow with "
                "data.classes=FILE."
            )
    ignored = [path for found in in_folder.values() for path in found if path not in nearest]
    notes = (
        f"{path} is not used: the classes are those of {chosen} (data.classes=FILE chooses a list)"
        for path in ignored if _differs(path, names)
    )  # fmt: skip
    return ClassNames(names, str(chosen), tuple(notes))


def _lists_in(folder: Path) -> list[Path]:
    """Return the class lists in a folder, the likeliest first."""
    files = [folder / name for name in (*CLASS_FILES, *YAML_FILES)]
    files += [path for path in sorted(folder.glob("*.names")) if path not in files]
    return [path for path in files if path.is_file() and _may_list_classes(path)]


def _may_list_classes(path: Path) -> bool:
    try:
        return path.suffix not in (".yaml", ".yml") or "names" in read_yaml(path)
    except DataError:
        return True  # which is an error where it is the nearest list


def _differs(path: Path, names: tuple[str, ...]) -> bool:
    try:
        return read_class_names(path) != names
    except DataError:
        return True


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names from a text file (one a line) or the `names` of a YAML file.

    Raises:
        DataError: unreadable, empty, a name twice, a gap in the numbers, or not as many as `nc`.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        return _names_from_yaml(path)
    names = list(read_text_file(path).lines)
    while names and not names[-1]:
        names.pop()
    for number, name in enumerate(names, start=1):
        if not name:
            raise DataError(
                f"{path}:{number}: empty line among the class names; the lines' order gives the "
                "class numbers, so remove it or name the class."
            )
    return check_class_names(names, str(path))


def check_class_names(names: Iterable[object], where: str) -> tuple[str, ...]:
    """Return `names` as strings.

    Raises:
        DataError: there are none, or one is there twice.
    """
    texts = tuple(str(name).strip() for name in names)
    if not texts:
        raise DataError(f"{where}: holds no class names.")
    for number, text in enumerate(texts):
        if not text:
            raise DataError(f"{where}: class {number} has an empty name.")
        if text in texts[:number]:
            raise DataError(
                f"{where}: class name '{text}' is repeated (classes {texts.index(text)} and "
                f"{number}); each class needs a name of its own."
            )
    return texts


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping.

    Raises:
        DataError: it is not a YAML mapping.
    """
    try:
        content = yaml.safe_load("\n".join(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            f"{path}: cannot be read as YAML ({' '.join(str(error).split())})."
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: is not a YAML file of `key: value` lines.")
    return content


def _names_from_yaml(path: Path) -> tuple[str, ...]:
    content = read_yaml(path)
    names = content.get("names")
    if isinstance(names, dict):
        numbers = sorted(names, key=lambda key: (not isinstance(key, int), str(key).zfill(9)))
        if [str(number) for number in numbers] != [str(n) for n in range(len(numbers))]:
            raise DataError(
                f"{path}: names: the numbers must run from 0 without a gap, not {numbers}."
            )
        names = [names[number] for number in numbers]
    if not isinstance(names, list):
        raise DataError(f"{path}: has no `names:` list with the class names.")
    texts = check_class_names(names, f"{path}: names")
    if isinstance(content.get("nc"), int) and content["nc"] != len(texts):
        raise DataError(f"{path}: nc is {content['nc']}, but names holds {len(texts)} classes.")
    return texts


def class_number(token: str) -> int | None:
    """Return the integer that a class column holds (`3`, `3.0`), or None."""
    return int(float(token)) if _INTEGER.fullmatch(token) and len(token) < 16 else None


class ClassIndex:
    """Translates the values of the class column into contiguous ids."""

    def __init__(
        self, names: tuple[str, ...], first_class: int, *, numbers_are_names: bool = False
    ) -> None:
        """Take the class names in order, and the number that the first has in the labels.

        With `numbers_are_names` a number that is a class name means that class: formats that
        write names would else take digit classes ("1", "2", ...) for positions.
        """
        self.names = names
        self.first_class = first_class
        self.numbers_are_names = numbers_are_names
        self.has_number_names = numbers_are_names and any(
            class_number(name) is not None for name in names
        )
        lowered = [name.lower() for name in names]
        # A name in other case is understood where only one class can be meant.
        self._ids = {name: lowered.index(name) for name in lowered if lowered.count(name) == 1}
        self._ids |= {name: index for index, name in enumerate(names)}

    def contiguous_id(self, token: str) -> int:
        """Return the id from 0 of a class number or name; a label without class is class 0.

        Raises:
            BadLabel: the number is out of range, or the name unknown.
        """
        if not token:
            return 0
        number = class_number(token)
        if self.numbers_are_names and token in self._ids:
            return self._ids[token]
        if number is not None and not self.has_number_names:
            last = self.first_class + len(self.names) - 1
            if self.first_class <= number <= last:
                return number - self.first_class
            raise BadLabel(
                "class out of range",
                f"class {number} is out of range: the {len(self.names)} classes are numbered "
                f"{self.first_class} to {last}",
            )
        found = self._ids.get(token, self._ids.get(token.lower()))
        if found is None:
            raise BadLabel(
                "unknown class", f"unknown class '{token[:60]}'.{did_you_mean(token, self.names)}"
            )
        return found


def build_class_index(
    tokens: Iterable[str],
    names: tuple[str, ...] | None,
    first_class: int | None,
    *,
    numbers_are_names: bool = False,
) -> ClassIndex:
    """Return the class list from the given `names`, or else from the labels.

    Without names, numbers become `class_<number>`; words, and numbers beside them, are the names in
    sorted order.
    Where `first_class` is None, it is 1 if no number is 0 and the highest is the number of classes
    (without names: if no number is 0), else 0.

    Raises:
        DataError: no names and nothing usable in the labels.
    """
    seen = set(tokens)
    numbers = {number for token in seen if (number := class_number(token)) is not None}
    numbers = {number for number in numbers if number >= 0}
    if names is not None:
        if first_class is None:
            first_class = int(bool(numbers) and 0 not in numbers and max(numbers) == len(names))
        return ClassIndex(names, first_class, numbers_are_names=numbers_are_names)
    words = {token for token in seen if token and class_number(token) is None}
    if words and (numbers_are_names or len(words) >= len(numbers)):
        # Beside words, numbers are names as well, such as the digits of licence plates.
        digits = {token for token in seen if (class_number(token) or 0) >= 0} - {""}
        return ClassIndex(tuple(sorted(words | digits)), 0, numbers_are_names=True)
    if first_class is None:
        first_class = int(bool(numbers) and 0 not in numbers)
    if not numbers:
        if "" in seen:
            return ClassIndex(("object",), 0)
        raise DataError(
            "The labels have no classes, and no class names were found beside them. Give them with "
            "data.classes=[first,second] or data.classes=FILE."
        )
    if max(numbers) >= _MOST_CLASSES:
        raise DataError(
            f"Class numbers in the labels reach {max(numbers)}: check the class column. Give the "
            "order of the columns, such as data.columns=x1,y1,x2,y2,class, or the class names "
            "with data.classes=FILE."
        )
    return ClassIndex(
        tuple(f"class_{number}" for number in range(first_class, max(numbers) + 1)), first_class
    )

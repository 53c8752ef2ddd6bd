"""OpenImages' tables of class names: its labels hold ids such as `/m/0k4j` instead."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from detfinetune.errors import DataError
from detfinetune.labels.discovery.discovered import shown_path
from detfinetune.labels.formats.raw_labels import BadFile, Document
from detfinetune.labels.formats.tables.openimages import read_class_descriptions
from detfinetune.labels.text import read_text_file

_PATTERN = "class-descriptions*.csv"


def name_classes(documents: Iterable[Document], folders: Iterable[Path], root: Path) -> list[str]:
    """Replace class ids by the names in the nearest table.

    Args:
        documents: OpenImages tables that were read; their labels are changed.
        folders: those of the tables; the names are looked up there and above, up to `root`.
        root: the data root.

    Returns:
        Notes for the user.

    Raises:
        DataError: the table of names cannot be read.
    """
    path = next((found for folder in folders for found in _nearest(folder, root)), None)
    if path is None:
        return []
    try:
        names = read_class_descriptions(read_text_file(path).text)
    except BadFile as problem:
        where = f"{path}:{problem.line}" if problem.line else str(path)
        raise DataError(f"{where}: {problem}. Fix or remove this table of class names.") from None
    named = 0
    for document in documents:
        for image in document.images:
            for label in image.labels:
                named += label.class_token in names
                label.class_token = names.get(label.class_token, label.class_token)
    return [f"class names are those of {shown_path(path, root)}"] if named else []


def _nearest(folder: Path, root: Path) -> Iterable[Path]:
    while folder.is_relative_to(root):
        yield from sorted(folder.glob(_PATTERN))
        folder = folder.parent

"""The label formats by name, and which of them a file is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from detfinetune.labels.formats.coco import parse_coco, recognise_coco
from detfinetune.labels.formats.csv_table import parse_csv, recognise_csv
from detfinetune.labels.formats.cvat import parse_cvat, recognise_cvat
from detfinetune.labels.formats.label_studio import parse_label_studio, recognise_label_studio
from detfinetune.labels.formats.labelme import parse_labelme, recognise_labelme
from detfinetune.labels.formats.objects import Document
from detfinetune.labels.formats.openimages import parse_openimages, recognise_openimages
from detfinetune.labels.formats.via import parse_via, recognise_via
from detfinetune.labels.formats.voc import parse_voc, recognise_voc

LINE_FORMATS = ("txt", "yolo", "dota")
"""Formats of one object a line, in a .txt file an image."""


@dataclass(frozen=True)
class DocumentFormat:
    """A format whose files are read as a whole."""

    name: str
    """As `data.format` takes it."""

    suffix: str
    file_per_image: bool
    """Whether each image has a label file of its name; else one file holds many images."""

    recognise: Callable[[str], str]
    """Takes a file's text; returns by what it was recognised, or nothing."""

    parse: Callable[[str], Document]
    """Takes a file's text; raises BadFile."""


# In the order in which they are asked whether a file is theirs.
DOCUMENT_FORMATS = {
    f.name: f
    for f in (
        DocumentFormat("voc", ".xml", True, recognise_voc, parse_voc),
        DocumentFormat("cvat", ".xml", False, recognise_cvat, parse_cvat),
        DocumentFormat("coco", ".json", False, recognise_coco, parse_coco),
        DocumentFormat("labelme", ".json", True, recognise_labelme, parse_labelme),
        DocumentFormat("label_studio", ".json", False, recognise_label_studio, parse_label_studio),
        DocumentFormat("via", ".json", False, recognise_via, parse_via),
        DocumentFormat("openimages", ".csv", False, recognise_openimages, parse_openimages),
        DocumentFormat("csv", ".csv", False, recognise_csv, parse_csv),
    )
}


def recognise_text(text: str, suffix: str) -> tuple[DocumentFormat, str] | None:
    """Return the format of a label file and by what it was recognised, or None.

    Args:
        text: of the file, or its first few thousand characters.
        suffix: the file's ending, with its dot.
    """
    # Tables are written under other endings too.
    suffix = ".csv" if suffix in (".tsv", ".csv") else suffix
    for known in DOCUMENT_FORMATS.values():
        if known.suffix == suffix and (evidence := known.recognise(text)):
            return known, evidence
    return None

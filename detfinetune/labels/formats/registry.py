"""The label formats by name, and detection of a file's format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from detfinetune.labels.formats.json.coco import detect_coco, parse_coco
from detfinetune.labels.formats.json.florence import detect_florence, parse_florence
from detfinetune.labels.formats.json.label_store import detect_store, parse_store
from detfinetune.labels.formats.json.label_studio import detect_label_studio, parse_label_studio
from detfinetune.labels.formats.json.labelme import detect_labelme, parse_labelme
from detfinetune.labels.formats.json.via import detect_via, parse_via
from detfinetune.labels.formats.raw_labels import BadFile, Document
from detfinetune.labels.formats.tables.csv_table import detect_csv, parse_csv
from detfinetune.labels.formats.tables.openimages import detect_openimages, parse_openimages
from detfinetune.labels.formats.xml.cvat import detect_cvat, parse_cvat
from detfinetune.labels.formats.xml.voc import detect_voc, parse_voc

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

    detect: Callable[[str], str]
    """Takes a file's text; returns by what it was detected, or nothing."""

    parse: Callable[[str], Document]
    """Takes a file's text; raises BadFile."""


# A file is of the first format that detects it.
DOCUMENT_FORMATS = {
    f.name: f
    for f in (
        DocumentFormat("voc", ".xml", True, detect_voc, parse_voc),
        DocumentFormat("cvat", ".xml", False, detect_cvat, parse_cvat),
        DocumentFormat("detfinetune", ".json", False, detect_store, parse_store),
        DocumentFormat("coco", ".json", False, detect_coco, parse_coco),
        DocumentFormat("labelme", ".json", True, detect_labelme, parse_labelme),
        DocumentFormat("label_studio", ".json", False, detect_label_studio, parse_label_studio),
        DocumentFormat("via", ".json", False, detect_via, parse_via),
        DocumentFormat("florence", ".jsonl", False, detect_florence, parse_florence),
        DocumentFormat("openimages", ".csv", False, detect_openimages, parse_openimages),
        DocumentFormat("csv", ".csv", False, detect_csv, parse_csv),
    )
}


def detect_file_format(text: str, suffix: str) -> tuple[DocumentFormat, str] | None:
    """Return the format of a label file and by what it was detected, or None.

    Args:
        text: of the file, or its first few thousand characters.
        suffix: the file's ending, with its dot.
    """
    # Tables are written under other endings too.
    suffix = ".csv" if suffix in (".tsv", ".csv") else suffix
    for known in DOCUMENT_FORMATS.values():
        if known.suffix == suffix and (evidence := known.detect(text)):
            return known, evidence
    return None


def explain_unreadable(known: DocumentFormat, text: str) -> str:
    """Return why a file cannot be read, to be put behind its path (`:1: ...`); empty if it can."""
    try:
        known.parse(text)
    except BadFile as problem:
        return f":{problem.line}: {problem}" if problem.line else f": {problem}"
    return ""

"""Known formats that are not supported: refused by name, with the way out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from detfinetune.errors import DataError
from detfinetune.labels.discovery.folders import walk
from detfinetune.labels.images.sizes import is_image_name
from detfinetune.labels.text import read_head

REFUSED_SUFFIXES = {
    ".geojson": "GeoJSON (such as xView's)",
    ".jsonl": "JSON Lines other than Florence-2's",
    ".ndjson": "JSON Lines",
    ".parquet": "Parquet",
    ".tfrecord": "TFRecord",
}
WAY_OUT = "convert it to COCO JSON, or to CSV with the columns filename,xmin,ymin,xmax,ymax,class"

_VISDRONE_LINE = re.compile(r"(-?\d+,){4}[01],(\d|1[01]),-?[01],[0-2],?")
_SAMPLED_FILES = 5
_MOST_FILES = 50


def refuse_unsupported(root: Path) -> None:
    """Stop where no label file was found, but empty or unsupported ones are there.

    Raises:
        DataError: names the first of them, what it is, and what to do.
    """
    texts = 0
    for path in walk(root):
        suffix = path.suffix.lower()
        if suffix in (".json", ".jsonl", ".xml", ".csv", ".tsv") and path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty. Export the labels again, or remove it.")
        if suffix in REFUSED_SUFFIXES:
            format_name = REFUSED_SUFFIXES[suffix]
        elif suffix == ".txt" and texts < _MOST_FILES and _is_wider_face(_head(path)):
            format_name = "WIDER FACE's list of boxes"
        else:
            texts += suffix == ".txt"
            continue
        raise DataError(f"{path}: {format_name} is not a supported format; {WAY_OUT}.")


def _head(path: Path) -> str:
    try:
        return read_head(path)
    except DataError:
        return ""  # the reader of labels reports it


def _is_wider_face(head: str) -> bool:
    """Whether a text starts with an image's name, a count, and a line of ten numbers."""
    lines = [line.strip() for line in head.split("\n", 3)[:3]]
    return (
        len(lines) == 3
        and is_image_name(lines[0])
        and lines[1].isdigit()
        and re.fullmatch(r"(-?\d+ ?){10}", lines[2]) is not None
    )


def refuse_visdrone(root: Path, names: Sequence[str]) -> None:
    """Stop at label files of VisDrone, whose ignored regions would be read as objects.

    Raises:
        DataError: the files are such ones; shows columns that read them.
    """
    sample = [root / name for name in names[:: max(1, len(names) // _SAMPLED_FILES)]]
    lines = [line.strip() for path in sample for line in _head(path).split("\n")[:20]]
    lines = [line for line in lines if line]
    if lines and all(map(_VISDRONE_LINE.fullmatch, lines)):
        raise DataError(
            f"{sample[0]}: the labels look like those of VisDrone (left, top, width, height, "
            "score, category, truncation, occlusion), which is not a supported format: lines with "
            "score 0 or category 0 are regions to ignore, not objects. Convert the labels to COCO "
            "JSON, or remove those lines from a copy and rerun with "
            "data.columns=x,y,w,h,-,class,-,- data.first_class=1 data.classes=[pedestrian,people,"
            "bicycle,car,van,truck,tricycle,awning-tricycle,bus,motor,others]."
        )

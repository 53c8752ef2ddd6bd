"""Pascal VOC: one XML file an image, and lists that say which image belongs to which split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from detfinetune.errors import DataError
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.writers import WrittenLabels, check_classes
from detfinetune.labels.writers.files import (
    kept_objects,
    label_names,
    pixel_corners,
    write_label_files,
)
from detfinetune.labels.writers.txt import boxes_written

# What XML 1.0 cannot hold, and line ends, which the lists of images cannot.
_NOT_IN_XML = re.compile("[\x00-\x08\n\x0b\x0c\r\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_IMAGE = """<annotation>
  <folder>{folder}</folder>
  <filename>{filename}</filename>
  <size>
    <width>{width}</width>
    <height>{height}</height>
    <depth>3</depth>
  </size>
  <segmented>0</segmented>
{objects}</annotation>
"""
_OBJECT = """  <object>
    <name>%s</name>
    <pose>Unspecified</pose>
    <truncated>0</truncated>
    <difficult>0</difficult>
    <bndbox>
      <xmin>%s</xmin>
      <ymin>%s</ymin>
      <xmax>%s</xmax>
      <ymax>%s</ymax>
    </bndbox>
  </object>
"""


def write_voc(folder: Path, split: str, table: LabelTable, classes: Sequence[str]) -> WrittenLabels:
    """Write `Annotations/<split>/<image>.xml` and `ImageSets/Main/<split>.txt` below `folder`.

    Coordinates are distances from the image's top left corner in pixels, exact to a millionth:
    they are not rounded to whole pixels, and the first pixel is not 1 but reaches from 0 to 1.
    So reading back gives the same boxes; a program that wants whole numbers must round them.
    `<filename>` is the path below the image root. Depth is not known and written as 3.
    Polygons and crowd regions cannot be written in this format; both are counted.

    Raises:
        DataError: two images would share a file, or a name holds what XML cannot.
    """
    check_classes(table.categories.tolist(), classes)
    _check_names("class name", classes)
    _check_names("image name", (*table.names, split))
    names = label_names(table, ".xml")
    texts = _texts(split, table, [escape(name) for name in classes])
    write_label_files(folder / "Annotations" / split, names, texts)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    listed = "".join(f"{name.removesuffix('.xml')}\n" for name in names)
    (lists / f"{split}.txt").write_text(listed, encoding="utf-8", newline="\n")
    return boxes_written("voc", split, table)


def _texts(split: str, table: LabelTable, classes: Sequence[str]) -> list[str]:
    xyxy = pixel_corners(table.boxes)
    categories = table.categories.tolist()
    return [
        _IMAGE.format(
            folder=escape(split),
            filename=escape(name),
            width=width,
            height=height,
            objects="".join(_OBJECT % (classes[categories[i]], *xyxy[i]) for i in objects),
        )
        for name, (width, height), objects in zip(
            table.names, table.sizes.tolist(), kept_objects(table), strict=True
        )
    ]


def _check_names(what: str, names: Sequence[str]) -> None:
    for name in names:
        if _NOT_IN_XML.search(name):
            raise DataError(
                f"{what} {name!r} holds a character that XML cannot. Rename it, or write another "
                "format."
            )

"""Data for the label benchmark, the same each time it is made, and a check of what came of it.

A folder holds the same boxes twice, each time beside images of its own:

    yolo/  images/  labels/  classes.txt  data.yaml
    voc/   JPEGImages/  Annotations/  ImageSets/Main/default.txt  labelmap.txt

The last two files of each are what supervision and datumaro want to see. All images are files of
their own, but show only a few different pictures: their headers are real, their pixels repeat.
"""

from __future__ import annotations

import io
import json
import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLASSES = ("bolt", "gear", "nut", "spring", "washer")
LAYOUTS = ("yolo", "voc")
BOXES_PER_IMAGE = 10

# Ten on average; one image in twenty shows nothing.
_COUNTS = (10, 7, 13, 9, 11, 0, 20, 5, 15, 10, 8, 12, 10, 4, 16, 10, 6, 14, 3, 17)
_SIZES = ((640, 480), (480, 640), (500, 375), (800, 600), (600, 800), (1024, 683), (640, 427))
_GRAIN = 64
_QUALITY = 60
_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
_MARK = "made.json"
_VERSION = 1
# Files that were changed a moment ago are kept in no cache; these look as old as anyone's.
_LAST_CHANGE = 1_700_000_000

Box = tuple[int, int, int, int, int]
"""Class, left, top, width and height in pixels."""


def make_data(folder: Path, num_images: int) -> Path:
    """Write both layouts for `num_images` images into `folder`, unless they are there already.

    Raises:
        FileExistsError: the folder holds something else.
    """
    mark = {"version": _VERSION, "images": num_images}
    if (folder / _MARK).is_file():
        if json.loads((folder / _MARK).read_text(encoding="utf-8")) == mark:
            return folder
        raise FileExistsError(f"{folder}: holds other data of this benchmark; remove it first.")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder}: is not empty, and not from this benchmark; give another one."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as unfinished:
        made = Path(unfinished) / "data"
        _write_layouts(made, num_images)
        (made / _MARK).write_text(json.dumps(mark), encoding="utf-8")
        made.replace(folder)
    return folder


def _write_layouts(folder: Path, num_images: int) -> None:
    pictures = [_picture(number) for number in range(2 * len(_SIZES))]
    for part in ("yolo/images", "yolo/labels", "voc/JPEGImages", "voc/Annotations"):
        (folder / part).mkdir(parents=True)
    (folder / "voc/ImageSets/Main").mkdir(parents=True)
    names = [image_name(index) for index in range(num_images)]
    for index, name in enumerate(names):
        for images in (folder / "yolo/images", folder / "voc/JPEGImages"):
            path = images / f"{name}.jpg"
            path.write_bytes(pictures[index % len(pictures)])
            os.utime(path, (_LAST_CHANGE, _LAST_CHANGE))
        size, boxes = image_size(index), boxes_of(index)
        (folder / f"yolo/labels/{name}.txt").write_text(_yolo(boxes, size), encoding="utf-8")
        (folder / f"voc/Annotations/{name}.xml").write_text(_voc(name, boxes, size), "utf-8")
    _write_lines(folder / "yolo/classes.txt", CLASSES)
    _write_lines(folder / "yolo/data.yaml", [f"nc: {len(CLASSES)}", f"names: {[*CLASSES]}"])
    _write_lines(folder / "voc/labelmap.txt", [f"{name}:::" for name in CLASSES])
    _write_lines(folder / "voc/ImageSets/Main/default.txt", names)


def read_all(folder: Path) -> None:
    """Bring every file into the page cache, so that the first to run has no harder time."""
    for place, _, names in os.walk(folder):
        for name in names:
            Path(place, name).read_bytes()


def image_name(index: int) -> str:
    """Name of an image, without ending."""
    return f"{index:06d}"


def image_size(index: int) -> tuple[int, int]:
    """Width and height of an image in pixels."""
    return _SIZES[index % len(_SIZES)]


def num_boxes(num_images: int) -> int:
    """Boxes on the first `num_images` images."""
    rounds, rest = divmod(num_images, len(_COUNTS))
    return rounds * sum(_COUNTS) + sum(_COUNTS[:rest])


def boxes_of(index: int) -> list[Box]:
    """Return the boxes of an image in their order, inside it, 8 to 160 pixels on a side."""
    rng = random.Random(index)
    width, height = image_size(index)
    boxes = []
    for _ in range(_COUNTS[index % len(_COUNTS)]):
        w, h = rng.randint(8, 160), rng.randint(8, 160)
        x, y = rng.randint(1, width - w - 1), rng.randint(1, height - h - 1)
        boxes.append((rng.randrange(len(CLASSES)), x, y, w, h))
    return boxes


def _picture(number: int) -> bytes:
    """Return a JPEG of 8 to 33 kB, 18 on average; every other has EXIF that does not turn it."""
    from PIL import Image  # Those who only ask for boxes need no Pillow.

    width, height = image_size(number)
    columns, rows = width // _GRAIN, height // _GRAIN
    grains = random.Random(number).randbytes(3 * columns * rows)
    picture = Image.frombytes("RGB", (columns, rows), grains).resize((width, height))
    exif = Image.Exif()
    if number % 2:
        exif[_MAKE], exif[_MODEL], exif[_ORIENTATION] = "No camera", "Benchmark", 1
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY, exif=exif)
    return stream.getvalue()


def _yolo(boxes: Sequence[Box], size: tuple[int, int]) -> str:
    width, height = size
    return "".join(
        f"{label} {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} "
        f"{w / width:.6f} {h / height:.6f}\n"
        for label, x, y, w, h in boxes
    )


def _voc(name: str, boxes: Sequence[Box], size: tuple[int, int]) -> str:
    objects = "".join(
        f"\t<object>\n\t\t<name>{CLASSES[label]}</name>\n\t\t<pose>Unspecified</pose>\n"
        "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{x}</xmin>\n\t\t\t<ymin>{y}</ymin>\n"
        f"\t\t\t<xmax>{x + w}</xmax>\n\t\t\t<ymax>{y + h}</ymax>\n"
        "\t\t</bndbox>\n\t</object>\n"
        for label, x, y, w, h in boxes
    )
    return (
        "<annotation>\n\t<folder>JPEGImages</folder>\n"
        f"\t<filename>{name}.jpg</filename>\n"
        f"\t<size>\n\t\t<width>{size[0]}</width>\n\t\t<height>{size[1]}</height>\n"
        f"\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n{objects}</annotation>\n"
    )


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """What a COCO JSON, or several, hold of the data."""

    images: int
    boxes: int
    wrong_sizes: int
    """Images whose width or height is not theirs."""

    wrong_classes: int
    """Boxes of another class, on images with all their boxes."""

    largest_shift: float
    """Pixels between an edge and where it was written, at most, on images with all their boxes."""

    def remarks(self, num_images: int) -> list[str]:
        """Say what is not as it was written; nothing where all is."""
        boxes = num_boxes(num_images)
        found = [
            (self.images != num_images, f"{self.images} of {num_images} images"),
            (self.boxes != boxes, f"{self.boxes} of {boxes} boxes"),
            (self.wrong_sizes, f"{self.wrong_sizes} image sizes wrong"),
            (self.wrong_classes, f"{self.wrong_classes} classes wrong"),
            (self.largest_shift > 0.01, f"edges moved by up to {self.largest_shift:.2f} px"),
        ]
        return [text for is_so, text in found if is_so]


def check_outcome(coco_files: Sequence[Path]) -> Outcome:
    """Compare COCO JSON with the boxes that were written, image by image.

    Classes count as right by name or, where a tool read no names, by number.
    """
    images = boxes = wrong_sizes = wrong_classes = 0
    largest_shift = 0.0
    for path in coco_files:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in content["categories"]}
        by_image = defaultdict(list)
        for found in content["annotations"]:
            by_image[found["image_id"]].append((names[found["category_id"]], found["bbox"]))
        images += len(content["images"])
        boxes += len(content["annotations"])
        for image in content["images"]:
            index = int(Path(image["file_name"]).stem)
            wrong_sizes += (image["width"], image["height"]) != image_size(index)
            expected, found = boxes_of(index), by_image[image["id"]]
            if len(expected) != len(found):
                continue
            for (label, *box), (name, bbox) in zip(expected, found, strict=True):
                wrong_classes += name not in (CLASSES[label], str(label))
                largest_shift = max(largest_shift, _shift(box, bbox))
    return Outcome(images, boxes, wrong_sizes, wrong_classes, largest_shift)


def _shift(box: Sequence[float], other: Sequence[float]) -> float:
    """Return by how much the edges of two boxes, left, top, width, height, differ at most."""
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    x, y, w, h = other
    return max(abs(left - x), abs(top - y), abs(right - x - w), abs(bottom - y - h))

"""A clean data set with real structure, in several label formats, and a copy to plant faults in."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from detfinetune.checks.anchors import AnchorSettings

CLASSES = ("car", "house", "tree")
SIZE = (256, 192)
COUNTS = {"train": 40, "val": 20, "test": 20}
"""A held-out split needs 20 images and 100 objects for nothing to be said of its size."""
ANCHORS = AnchorSettings(192, 320, (16.0, 32.0, 64.0, 128.0, 256.0))

LabelForm = Literal["yolo", "polygons", "txt", "voc"]
Corners = tuple[int, int, int, int]

_CELL = 64
_OBJECTS = 6
_COLOURS = ((230, 60, 50), (60, 70, 200), (30, 110, 40))


@dataclass
class Scene:
    """An image and what is on it."""

    name: str
    """Without ending."""

    objects: list[tuple[int, Corners]] = field(default_factory=list)
    """Class and x1, y1, x2, y2 in pixels."""


def make_scenes(seed: int = 0) -> dict[str, list[Scene]]:
    """Return the scenes of each split: 6 objects of 20 to 52 px, none overlapping, two a class."""
    generator = np.random.default_rng(seed)
    return {
        split: [_scene(generator, f"{split}_{number:03}") for number in range(count)]
        for split, count in COUNTS.items()
    }


def _scene(generator: np.random.Generator, name: str) -> Scene:
    scene = Scene(name)
    cells = generator.permutation(12)[:_OBJECTS].tolist()
    for place, cell in enumerate(cells):
        width, height = np.exp(generator.normal(np.log(34), 0.15, 2)).clip(20, 52).astype(int)
        x = cell % 4 * _CELL + int(generator.integers(3, _CELL - 3 - width))
        y = cell // 4 * _CELL + int(generator.integers(3, _CELL - 3 - height))
        scene.objects.append((place % len(CLASSES), (x, y, x + int(width), y + int(height))))
    return scene


def draw(scene: Scene, seed: int) -> Image.Image:
    """Return the picture of a scene: its objects on ground that is like no other's."""
    generator = np.random.default_rng(seed)
    ground = generator.integers(60, 200, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(ground).resize(SIZE, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for category, (x1, y1, x2, y2) in scene.objects:
        box = (x1, y1, x2 - 1, y2 - 1)
        if category == 2:
            pen.ellipse(box, fill=_COLOURS[category])
        else:
            pen.rectangle(box, fill=_COLOURS[category], outline=(20, 20, 20))
    return image


def encoded(image: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    """Return an image's file content."""
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def normalized(xyxy: tuple[float, ...]) -> tuple[float, float, float, float]:
    """Return centre and size of x1, y1, x2, y2 in normalized coordinates."""
    x1, y1, x2, y2 = xyxy
    width, height = SIZE
    return (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height


def yolo_line(category: int, xyxy: tuple[float, ...]) -> str:
    return " ".join([str(category), *(f"{value:.6f}" for value in normalized(xyxy))])


def polygon_line(category: int, points: list[tuple[float, float]]) -> str:
    """Return a YOLO line of a polygon, points in pixels."""
    shares = [f"{x / SIZE[0]:.6f} {y / SIZE[1]:.6f}" for x, y in points]
    return " ".join([str(category), *shares])


def txt_line(category: int, xyxy: tuple[float, ...]) -> str:
    return " ".join(map(str, (category, *xyxy)))


def corner_points(xyxy: Corners) -> list[tuple[float, float]]:
    """Return six points around a box, the corners and two between."""
    x1, y1, x2, y2 = xyxy
    middle = (y1 + y2) / 2
    return [(x1, y1), (x2, y1), (x2, middle), (x2, y2), (x1, y2), (x1, middle)]


def voc_text(scene: Scene, size: tuple[int, int] = SIZE, names: tuple[str, ...] = CLASSES) -> str:
    """Return a VOC file in which the object number n (from 0) starts at line 8 + 9 n."""
    lines = [
        "<annotation>",
        f"  <filename>{scene.name}.jpg</filename>",
        "  <size>",
        f"    <width>{size[0]}</width>",
        f"    <height>{size[1]}</height>",
        "    <depth>3</depth>",
        "  </size>",
    ]
    for category, xyxy in scene.objects:
        parts = zip(("xmin", "ymin", "xmax", "ymax"), xyxy, strict=True)
        lines += [
            "  <object>",
            f"    <name>{names[category]}</name>",
            "    <bndbox>",
            *(f"      <{tag}>{value}</{tag}>" for tag, value in parts),
            "    </bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


_WRITERS: dict[LabelForm, Callable[[Scene], str]] = {
    "yolo": lambda scene: "".join(f"{yolo_line(*item)}\n" for item in scene.objects),
    "polygons": lambda scene: "".join(
        f"{polygon_line(category, corner_points(xyxy))}\n" for category, xyxy in scene.objects
    ),
    "txt": lambda scene: "".join(f"{txt_line(*item)}\n" for item in scene.objects),
    "voc": voc_text,
}


def write_clean(folder: Path, scenes: dict[str, list[Scene]]) -> Path:
    """Write the images, and the labels in every form, each form a whole data set.

    The images of all forms are the same files.
    """
    for form, write in _WRITERS.items():
        root = folder / form
        number = 0
        for split, listed in scenes.items():
            (root / "images" / split).mkdir(parents=True)
            (root / "labels" / split).mkdir(parents=True)
            for scene in listed:
                number += 1
                image = root / "images" / split / f"{scene.name}.jpg"
                if form == "yolo":
                    image.write_bytes(encoded(draw(scene, number), quality=90))
                else:
                    os.link(folder / "yolo" / image.relative_to(root), image)
                label = (
                    root / "labels" / split / f"{scene.name}.{'xml' if form == 'voc' else 'txt'}"
                )
                label.write_text(write(scene), encoding="utf-8")
        (root / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    return folder


class Planted:
    """A copy of the clean data set in one form, to be changed."""

    def __init__(self, clean: Path, root: Path, form: LabelForm, scenes: dict[str, list[Scene]]):
        """Copy `clean/form` to `root`; the images are linked, and replaced when written."""
        shutil.copytree(clean / form / "labels", root / "labels")
        shutil.copytree(clean / form / "images", root / "images", copy_function=os.link)
        shutil.copy(clean / form / "classes.txt", root / "classes.txt")
        self.root = root
        self.scenes = scenes
        self.suffix = ".xml" if form == "voc" else ".txt"

    def label(self, split: str, number: int) -> str:
        """Return a label file's path relative to the root."""
        return f"labels/{split}/{self.scenes[split][number].name}{self.suffix}"

    def image(self, split: str, number: int) -> str:
        """Return an image's name."""
        return f"{self.scenes[split][number].name}.jpg"

    def write(self, path: str, content: str | bytes) -> None:
        """Replace a file by another of that name, so that linked ones stay as they are."""
        target = self.root / path
        target.unlink(missing_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def write_image(self, split: str, number: int, content: bytes) -> None:
        self.write(f"images/{split}/{self.image(split, number)}", content)

    def read_image(self, split: str, number: int) -> Image.Image:
        with Image.open(self.root / "images" / split / self.image(split, number)) as image:
            return image.convert("RGB")

    def lines(self, split: str, number: int) -> list[str]:
        """Return the lines of a label file."""
        return (self.root / self.label(split, number)).read_text(encoding="utf-8").splitlines()

    def write_lines(self, split: str, number: int, lines: list[str]) -> None:
        self.write(self.label(split, number), "".join(f"{line}\n" for line in lines))

    def append(self, split: str, number: int, *lines: str) -> None:
        """Put lines behind those of a label file; the first becomes line 7."""
        self.write_lines(split, number, [*self.lines(split, number), *lines])

    def rewrite(
        self, line_of: Callable[[int, Corners], str], splits: tuple[str, ...] = tuple(COUNTS)
    ) -> None:
        """Write every label anew from its class and corners."""
        for split in splits:
            for number, scene in enumerate(self.scenes[split]):
                self.write_lines(split, number, [line_of(*item) for item in scene.objects])

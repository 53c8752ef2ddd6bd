"""Checks of a COCO JSON that is taken as it is: everything that would fail in training, at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detfinetune.errors import DataError
from detfinetune.labels.images.sizes import UnreadableImage, read_image_sizes

_EXAMPLES = 3
_NEEDED = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}


@dataclass
class Problems:
    """Problems by kind, each with its first examples."""

    count: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, example: str) -> None:
        """Count a problem."""
        self.count[kind] += 1
        if len(shown := self.examples.setdefault(kind, [])) < _EXAMPLES:
            shown.append(example)

    def text(self) -> str:
        """Return a line a kind, with the count and the first examples."""
        lines = []
        for kind, count in self.count.most_common():
            more = ", ..." if count > len(self.examples[kind]) else ""
            lines.append(f"  {count} x {kind}: {', '.join(self.examples[kind])}{more}")
        return "\n".join(lines)


@dataclass(frozen=True)
class CocoSummary:
    """What a checked COCO file holds."""

    categories: dict[int, str]
    """Names by category id."""

    num_images: int
    num_annotations: int
    has_masks: bool
    """Whether there are annotations and every one but crowds has an outline."""

    degenerate: int
    """Boxes without width or height; training passes over them."""


def check_coco(path: Path, content: Mapping[str, Any], image_root: Path) -> CocoSummary:
    """Check a COCO data set and its images; ids need not be contiguous, `info` may be missing.

    Raises:
        DataError: lists every kind of problem with its count and first examples.
    """
    problems = Problems()
    for key, needed in _NEEDED.items():
        _check_list(content, key, needed, problems)
    if problems.count:
        raise _error(path, problems)
    images, annotations, categories = (content[key] for key in _NEEDED)
    _check_ids(images, annotations, categories, problems)
    degenerate = 0
    for annotation in annotations:
        box = annotation["bbox"]
        if not _is_box(box):
            problems.add("bbox is not four finite numbers", f"annotation {annotation['id']}: {box}")
        else:
            degenerate += box[2] <= 0 or box[3] <= 0
    _check_run_lengths(images, annotations, problems)
    _check_image_files(images, image_root, problems)
    if problems.count:
        raise _error(path, problems)
    solid = [annotation for annotation in annotations if not annotation.get("iscrowd")]
    return CocoSummary(
        {int(category["id"]): str(category["name"]) for category in categories},
        len(images),
        len(annotations),
        bool(solid) and all(annotation.get("segmentation") for annotation in solid),
        degenerate,
    )


def _check_list(
    content: Mapping[str, Any], key: str, needed: Sequence[str], problems: Problems
) -> None:
    items = content.get(key)
    if not isinstance(items, list):
        problems.add(
            f"'{key}' is missing or no list", f"the file has {', '.join(content) or 'no key'}"
        )
        return
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            problems.add(f"{key} with something else than objects", f"{key}[{index}]")
            continue
        for name in needed:
            if name not in item:
                problems.add(f"{key} without '{name}'", f"{key}[{index}]")


def _check_ids(
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    categories: list[dict[str, Any]],
    problems: Problems,
) -> None:
    for key, items in (
        ("images", images),
        ("annotations", annotations),
        ("categories", categories),
    ):
        for identity, count in Counter(item["id"] for item in items).items():
            if count > 1:
                problems.add(f"{key} with the same id", f"{identity} ({count} times)")
    if not categories:
        problems.add("no categories", "'categories' is empty")
    for name, count in Counter(category["name"] for category in categories).items():
        if count > 1:
            problems.add("categories with the same name", f"'{name}' ({count} times)")
    image_ids = {image["id"] for image in images}
    category_ids = {category["id"] for category in categories}
    for annotation in annotations:
        if annotation["image_id"] not in image_ids:
            problems.add(
                "annotations of an image that is not in 'images'",
                f"annotation {annotation['id']}: image_id {annotation['image_id']}",
            )
        if annotation["category_id"] not in category_ids:
            problems.add(
                "annotations of a category that is not in 'categories'",
                f"annotation {annotation['id']}: category_id {annotation['category_id']}",
            )


def _check_run_lengths(
    images: list[dict[str, Any]], annotations: list[dict[str, Any]], problems: Problems
) -> None:
    """Make sure that uncompressed masks fill their image: pycocotools may never return else."""
    sizes = {image["id"]: [image["height"], image["width"]] for image in images}
    for annotation in annotations:
        mask = annotation.get("segmentation")
        if not isinstance(mask, dict):
            continue
        size, counts = mask.get("size"), mask.get("counts")
        if size is None or size != sizes.get(annotation["image_id"]):
            problems.add(
                "masks whose 'size' is not [height, width] of their image",
                f"annotation {annotation['id']}: {size}",
            )
        elif isinstance(counts, list) and sum(counts) != size[0] * size[1]:
            problems.add(
                "masks whose 'counts' do not add up to height x width",
                f"annotation {annotation['id']}: {sum(counts)}, not {size[0] * size[1]}",
            )


def _is_box(box: object) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(v, int | float) and math.isfinite(v) for v in box)
    )


def _check_image_files(images: list[dict[str, Any]], image_root: Path, problems: Problems) -> None:
    """Make sure each image is there, can be read and has the size that the JSON says."""
    paths = {image_root / image["file_name"]: image for image in images}
    missing = [path for path in paths if not path.is_file()]
    for path in missing:
        problems.add(f"images missing in {image_root}", str(paths[path]["file_name"]))
    sizes = read_image_sizes([path for path in paths if path not in set(missing)])
    for path, size in sizes.items():
        image = paths[path]
        said = (image["width"], image["height"])
        if isinstance(size, UnreadableImage):
            problems.add("images that cannot be read", f"{image['file_name']} ({size})")
        elif size != said:
            turned = "; turned by its EXIF flag" if size == said[::-1] else ""
            problems.add(
                "images of another size than the JSON says",
                f"{image['file_name']} is {size[0]}x{size[1]}, not {said[0]}x{said[1]}{turned}",
            )


def _error(path: Path, problems: Problems) -> DataError:
    count = sum(problems.count.values())
    missing = any(kind.startswith("images missing") for kind in problems.count)
    remedy = "Give data.images=FOLDER, or take them out of the JSON. " if missing else ""
    return DataError(
        f"{path}: cannot be used as it is, {count} problem{'s' if count > 1 else ''}:\n"
        f"{problems.text()}\n{remedy}A conversion keeps what is right and lists the rest: python "
        "tools/convert_labels.py data.root=DIR output=OUT, then train on data.root=OUT."
    )

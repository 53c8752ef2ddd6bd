"""The same boxes from every format, and from every format that is written, to the thousandth."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as mask_api

from detfinetune.config.schema import DataConfig
from detfinetune.labels.convert import convert_dataset, write_converted
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.export import export_dataset, export_read
from detfinetune.labels.read import read_dataset
from detfinetune.labels.writers import CROWD

pytestmark = pytest.mark.benchmark_data

Corners = tuple[float, float, float, float]
Boxes = dict[tuple[str, str], list[Corners]]
Written = Literal["coco", "yolo", "voc", "txt"]

READ_BACK_PIXELS = 0.001
"""How far a side may move when labels are written and read again."""

SOURCES: dict[str, tuple[dict[str, str], str, str]] = {
    "COCO, numbered from 1": (
        {"annotations": "gts/coco_format_v1/instances_default.json"},
        "coco", "JSON with images and annotations and categories",
    ),
    "COCO, with ids as text": (
        {"annotations": "gts/coco_format_v2/instances_v2.json"},
        "coco", "JSON with images and annotations",
    ),
    "CVAT": (
        {"annotations": "gts/cvat_format/annotations.xml"}, "cvat", "<annotations> with <image>",
    ),
    "OpenImages": (
        {"annotations": "gts/openimages_format/all_bounding_boxes.csv"},
        "openimages", "a heading with ImageID, LabelName, XMin, XMax, YMin, YMax",
    ),
    "Pascal VOC": (
        {"labels": "gts/pascalvoc_format"},
        "voc", "<annotation> with <object> and <bndbox>",
    ),
    "ImageNet": (
        {"labels": "gts/imagenet_format/Annotations"},
        "voc", "<annotation> with <object> and <bndbox>",
    ),
    "LabelMe": (
        {"labels": "gts/labelme_format"}, "labelme", "JSON with imagePath and imageData",
    ),
    "YOLO": (
        {"labels": "gts/yolo_format/obj_train_data", "classes": "gts/yolo_format/obj.names"},
        "yolo", "5 values a line, values between 0 and 1",
    ),
}  # fmt: skip
"""Options, and what `data.format=auto` then takes, and by what."""


def in_one_piece(root: Path, **options: Any) -> DataConfig:
    return DataConfig(root=root, val_fraction=0.0, test_fraction=0.0, **options)


def boxes_of(table: LabelTable, classes: tuple[str, ...]) -> Boxes:
    found: Boxes = defaultdict(list)
    for image, category, (x, y, w, h) in zip(
        table.image_of, table.categories, table.boxes.tolist(), strict=True
    ):
        found[table.names[image], classes[category]].append((x, y, x + w, y + h))
    return found


def largest_difference(expected: Boxes, found: Boxes) -> float:
    """Return by how much a side differs at most; the boxes of an image and class pair off."""
    assert expected.keys() == found.keys()
    worst = 0.0
    for key, boxes in expected.items():
        left = list(found[key])
        assert len(left) == len(boxes), key
        for box in boxes:
            distances = [max(abs(np.subtract(box, other))) for other in left]
            nearest = int(np.argmin(distances))
            worst = max(worst, distances[nearest])
            left.pop(nearest)
    return worst


def source_boxes(path: Path) -> Boxes:
    """Read COCO JSON by hand, apart from the code under test."""
    content = json.loads(path.read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    classes = {category["id"]: category["name"] for category in content["categories"]}
    found: Boxes = defaultdict(list)
    for entry in content["annotations"]:
        x, y, w, h = entry["bbox"]
        key = names[entry["image_id"]], classes[entry["category_id"]]
        found[key].append((x, y, x + w, y + h))
    return found


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_each_format_gives_the_same_273_boxes(shared_data: Path, name: str) -> None:
    root = shared_data / "label_formats"
    options, expected_format, evidence = SOURCES[name]
    dataset = read_dataset(in_one_piece(root, images="images", **options))
    assert (dataset.format, dataset.evidence) == (expected_format, evidence)
    assert list(dataset.tables) == ["train"]
    table = dataset.tables["train"]
    assert (table.num_images, table.num_objects, len(dataset.classes)) == (100, 273, 20)
    counts = dataset.ledger.counts["train"]
    assert (counts.lines, counts.kept, counts.rejected_images) == (273, 273, 0)
    assert dataset.ledger.entries == []
    source = source_boxes(root / "gts/coco_format_v1/instances_default.json")
    assert sum(map(len, source.values())) == 273
    assert largest_difference(source, boxes_of(table, dataset.classes)) <= 0.5


# --- boxes written and read back ------------------------------------------------------------------


def written_and_read(data: DataConfig, output_format: Written, output: Path) -> LabelledDataset:
    """Convert into a format, and read what was written with nothing but its folder given."""
    if output_format == "coco":
        convert_dataset(data, output, contact_sheet=0)
    else:
        result = export_dataset(data, output, output_format, contact_sheet=0, images="link")
        assert all(part.lossless for part in result.written)
    return read_dataset(in_one_piece(output))


@pytest.mark.parametrize("output_format", ["coco", "yolo", "voc", "txt"])
@pytest.mark.parametrize("name", ["label_formats", "bccd"])
def test_each_written_format_reads_back_equal(
    shared_data: Path, tmp_path: Path, name: str, output_format: Written
) -> None:
    options = {"label_formats": {"images": "images", **SOURCES["LabelMe"][0]}, "bccd": {}}[name]
    data = in_one_piece(shared_data / name, **options)
    before = read_dataset(data)
    after = written_and_read(data, output_format, tmp_path / "out")
    assert after.format == output_format
    assert after.classes == before.classes
    assert after.ledger.entries == []
    assert list(after.tables) == list(before.tables)
    total = 0
    for split, table in before.tables.items():
        again = after.tables[split]
        assert again.names == table.names
        assert again.sizes.tolist() == table.sizes.tolist()
        # Not only the same boxes, but in the same order.
        assert again.image_of.tolist() == table.image_of.tolist()
        assert again.categories.tolist() == table.categories.tolist()
        assert np.abs(again.boxes - table.boxes).max() <= READ_BACK_PIXELS
        total += again.num_objects
    assert total == {"label_formats": 273, "bccd": 4886}[name]


@pytest.mark.parametrize("name", ["label_formats", "bccd", "chess"])
def test_florence_moves_sides_by_half_a_bin_at_most(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    options = {"images": "images", **SOURCES["LabelMe"][0]} if name == "label_formats" else {}
    before = read_dataset(in_one_piece(shared_data / name, **options))
    export_read(before, tmp_path / "out", "florence", images="link")
    after = read_dataset(in_one_piece(tmp_path / "out"))
    assert (after.format, after.classes) == ("florence", before.classes)
    assert after.ledger.entries == []
    total = 0
    for split, table in before.tables.items():
        again = after.tables[split]
        assert again.names == table.names
        assert again.image_of.tolist() == table.image_of.tolist()
        assert again.categories.tolist() == table.categories.tolist()
        half_bins = np.tile(table.sizes[table.image_of] / 2000, 2)
        assert (np.abs(corners(again) - corners(table)) <= half_bins + READ_BACK_PIXELS).all()
        total += again.num_objects
    assert total == {"label_formats": 273, "bccd": 4886, "chess": 2380}[name]
    # What was read is written as it was: the centre of a bin lies in that bin.
    export_read(after, tmp_path / "again", "florence")
    for file in (tmp_path / "out").glob("*/annotations.jsonl"):
        assert (tmp_path / "again" / file.parent.name / file.name).read_bytes() == file.read_bytes()


def corners(table: LabelTable) -> NDArray[np.float64]:
    return np.hstack((table.boxes[:, :2], table.boxes[:, :2] + table.boxes[:, 2:]))


# --- masks written and read back ------------------------------------------------------------------


def source_masks(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return each image's annotations, with names and pycocotools' own masks, by hand."""
    content = json.loads(path.read_text())
    images = {image["id"]: image for image in content["images"]}
    classes = {category["id"]: category["name"] for category in content["categories"]}
    found: dict[str, list[dict[str, Any]]] = {image["file_name"]: [] for image in images.values()}
    for entry in content["annotations"]:
        image = images[entry["image_id"]]
        mask = run_lengths(entry["segmentation"], image["width"], image["height"])
        found[image["file_name"]].append(
            {
                "class": classes[entry["category_id"]],
                "crowd": bool(entry.get("iscrowd")),
                "area": entry["area"],
                "bbox": entry["bbox"],
                "mask": mask,
                "parts": 0 if isinstance(entry["segmentation"], dict)
                else len(entry["segmentation"]),
            }
        )  # fmt: skip
    return found


def run_lengths(segmentation: Any, width: int, height: int) -> Mapping[str, Any]:
    if isinstance(segmentation, list):
        merged: Mapping[str, Any] = mask_api.merge(
            mask_api.frPyObjects(segmentation, height, width)
        )
        return merged
    if isinstance(segmentation["counts"], list):
        encoded: Mapping[str, Any] = mask_api.frPyObjects(segmentation, height, width)
        return encoded
    counts = segmentation["counts"]
    return {**segmentation, "counts": counts.encode() if isinstance(counts, str) else counts}


def mask_iou(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Return the IoU of two masks; 1 where both are empty."""
    a: NDArray[np.bool_] = mask_api.decode(first) > 0
    b: NDArray[np.bool_] = mask_api.decode(second) > 0
    assert a.shape == b.shape
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


SETS = {
    "coco_tiny": {"train": "annotations/instances_train2017.json",
                  "val": "annotations/instances_val2017.json"},
    "nuclei": {split: f"{split}.json" for split in ("train", "val", "test")},
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_coco_keeps_every_mask(shared_data: Path, tmp_path: Path, name: str) -> None:
    root = shared_data / name
    read = read_dataset(DataConfig(root=root))
    assert {entry.action for entry in read.ledger.entries} <= {"note"}
    write_converted(read, tmp_path / "out")
    again = read_dataset(DataConfig(root=tmp_path / "out"))
    assert again.ledger.entries == []
    assert list(again.tables) == list(SETS[name])
    crowds = outlines = 0
    for split, source in SETS[name].items():
        expected = source_masks(root / source)
        found = source_masks(tmp_path / "out" / f"{split}.json")
        assert found.keys() == expected.keys()
        for image, entries in expected.items():
            assert len(found[image]) == len(entries)
            for was, now in zip(entries, found[image], strict=True):
                assert mask_iou(was["mask"], now["mask"]) == 1.0
                for key in ("class", "crowd", "parts"):
                    assert now[key] == was[key]
                assert now["area"] == pytest.approx(was["area"], abs=1e-3)
                assert now["bbox"] == pytest.approx(was["bbox"], abs=READ_BACK_PIXELS)
                crowds += was["crowd"]
                outlines += was["parts"]
        _assert_same_shapes(read.tables[split], again.tables[split])
    assert (crowds, outlines) == {"coco_tiny": (17, 1659), "nuclei": (0, 5604)}[name]


def _assert_same_shapes(before: LabelTable, after: LabelTable) -> None:
    assert after.boxes.tolist() == before.boxes.tolist()
    assert after.polygons == before.polygons
    assert after.crowd.tolist() == before.crowd.tolist()
    assert after.areas == before.areas
    assert after.masks == before.masks


@pytest.mark.parametrize("name", SETS)
def test_yolo_polygons_lose_what_is_stated(shared_data: Path, tmp_path: Path, name: str) -> None:
    read = read_dataset(DataConfig(root=shared_data / name))
    result = export_read(read, tmp_path / "out", "yolo", images="link")
    again = read_dataset(DataConfig(root=tmp_path / "out"))
    assert (again.format, again.classes) == ("yolo", read.classes)
    assert again.ledger.entries == []
    for stated in result.written:
        before, after = read.tables[stated.split], again.tables[stated.split]
        assert after.names == before.names
        solid = np.flatnonzero(~before.crowd).tolist()
        crowds = before.num_objects - len(solid)
        assert dict(stated.left_out) == ({CROWD: crowds} if crowds else {})
        assert stated.objects == after.num_objects == len(solid)
        ious, moved, boxes_only = _polygon_loss(before, after, solid)
        assert stated.boxes_only == boxes_only
        assert stated.boxes_moved == moved
        assert stated.polygons_changed == len(ious)
        assert stated.iou_min == (pytest.approx(min(ious)) if ious else None)
        assert not stated.lossless
    figures = {part.split: (part.left_out.total(), part.polygons_changed, part.boxes_only,
                            part.boxes_moved) for part in result.written}  # fmt: skip
    assert (
        figures
        == {
            "coco_tiny": {"train": (6, 55, 0, 0), "val": (11, 65, 0, 0)},
            "nuclei": {"train": (0, 0, 1, 3316), "val": (0, 0, 0, 1120), "test": (0, 0, 0, 1167)},
        }[name]
    )


def _polygon_loss(
    before: LabelTable, after: LabelTable, solid: list[int]
) -> tuple[list[float], int, int]:
    """Measure what became of polygons: the IoUs of those changed, boxes moved, and boxes alone."""
    ious: list[float] = []
    moved = boxes_only = 0
    assert after.categories.tolist() == before.categories[solid].tolist()
    assert after.image_of.tolist() == before.image_of[solid].tolist()
    for now, was in enumerate(solid):
        if now not in after.polygons:
            boxes_only += 1
            assert np.abs(after.boxes[now] - before.boxes[was]).max() <= READ_BACK_PIXELS
            continue
        (outline,) = after.polygons[now]
        parts = before.polygons[was]
        x, y, w, h = before.boxes[was]
        left, top, width, height = after.boxes[now]
        sides = np.subtract((x, y, x + w, y + h), (left, top, left + width, top + height))
        moved += bool(np.abs(sides).max() > 0.5)
        if len(parts) == 1:
            assert np.abs(np.subtract(outline, parts[0])).max() <= READ_BACK_PIXELS
            continue
        size = before.sizes[before.image_of[was]].tolist()
        ious.append(
            mask_iou(run_lengths([list(p) for p in parts], *size),
                     run_lengths([list(outline)], *size))
        )  # fmt: skip
    return ious, moved, boxes_only

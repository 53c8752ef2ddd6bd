"""What is written is read back: equal boxes, polygons with the loss that was stated."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_tables import table_of
from numpy.typing import NDArray
from pycocotools import mask as mask_api

from detfinetune.errors import DataError
from detfinetune.labels.dataset.masks import decoded
from detfinetune.labels.dataset.records import Annotation, Box, ImageRecord, Polygon, RleMask
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.formats.json.florence import parse_florence
from detfinetune.labels.formats.lines.txt import parse_txt_line
from detfinetune.labels.formats.lines.yolo import parse_yolo_line
from detfinetune.labels.parsing.box_rules import check_box, check_polygon, polygon_area
from detfinetune.labels.writers import CROWD, WrittenLabels
from detfinetune.labels.writers.florence import write_florence
from detfinetune.labels.writers.polygons import join_rings, one_polygon
from detfinetune.labels.writers.txt import write_txt
from detfinetune.labels.writers.voc import write_voc
from detfinetune.labels.writers.yolo import write_yolo, write_yolo_names

CLASSES = ("cat", "dog & <friends>", "größte Kuh")
SQUARE: Polygon = (10, 10, 30, 10, 30, 30, 10, 30)


def image(name: str, *annotations: Annotation, size: tuple[int, int] = (100, 80)) -> ImageRecord:
    return ImageRecord(name, *size, annotations)


def box(category: int, *numbers: float, **more: Any) -> Annotation:
    return Annotation(category, numbers, **more)  # type: ignore[arg-type]


def run_lengths(mask: NDArray[np.bool_]) -> RleMask:
    encoded = mask_api.encode(np.asfortranarray(mask, dtype=np.uint8))
    height, width = mask.shape
    return RleMask((height, width), encoded["counts"].decode())


def filled(polygons: Sequence[Polygon], width: int, height: int) -> NDArray[np.bool_]:
    """Return the pixels of polygons by pycocotools, apart from the code under test."""
    encoded = mask_api.merge(mask_api.frPyObjects([list(p) for p in polygons], height, width))
    return np.asarray(mask_api.decode(encoded), dtype=bool)


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def random_table(seed: int, images: int = 40) -> LabelTable:
    """Boxes with three decimals in images of many sizes, in nested folders, some without any."""
    random = np.random.default_rng(seed)
    records = []
    for index in range(images):
        size = tuple(random.integers(40, 6000, 2).tolist())
        annotations = []
        for _ in range(index % 4):
            x1, x2 = np.sort(random.integers(0, size[0] * 1000, 2)) / 1000
            y1, y2 = np.sort(random.integers(0, size[1] * 1000, 2)) / 1000
            numbers = (x1, y1, round(x2 - x1, 3) + 0.02, round(y2 - y1, 3) + 0.02)
            xyxy = (x1, y1, x1 + numbers[2], y1 + numbers[3])
            bbox = check_box(xyxy, *size).bbox
            annotations.append(Annotation(int(random.integers(3)), bbox))
        folder = ("", "a/", "a/b c/")[index % 3]
        records.append(ImageRecord(f"{folder}{index}.v1.jpg", *size, tuple(annotations)))
    return table_of(Path(), records)


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_yolo_boxes_read_back_equal(tmp_path: Path) -> None:
    table = random_table(0)
    written = write_yolo(tmp_path, "train", table, CLASSES)
    assert (written.files, written.objects, written.lossless) == (40, table.num_objects, True)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 40
    for record in map(table.record, range(table.num_images)):
        path = tmp_path / "labels" / "train" / record.file_name
        found = []
        for line in lines_of(path.with_suffix(".txt")):
            raw = parse_yolo_line(line)
            size = (record.width, record.height)
            xyxy = [v * size[i % 2] for i, v in enumerate(raw.xyxy)]
            x, y, w, h = record.annotations[len(found)].bbox
            assert xyxy == pytest.approx((x, y, x + w, y + h), abs=0.0005)
            found.append((int(raw.class_token), check_box(xyxy, *size, sized=True).bbox))
        assert found == [(a.category, a.bbox) for a in record.annotations]


def test_yolo_numbers_have_no_zeros_at_the_end(tmp_path: Path) -> None:
    table = table_of(
        Path(),
        [
            image("a.jpg", box(2, 25, 20, 50, 40), box(0, 0, 0, 100, 80)),
            image("sub/b.jpg", box(1, 0, 0, 0.011, 80 / 3)),
            image("c.jpg"),
        ],
    )
    write_yolo(tmp_path, "val", table, CLASSES)
    labels = tmp_path / "labels" / "val"
    assert (labels / "a.txt").read_bytes() == b"2 0.5 0.5 0.5 0.5\n0 0.5 0.5 1 1\n"
    content = (labels / "sub" / "b.txt").read_bytes()
    assert content == b"1 0.000055 0.166666667 0.00011 0.333333333\n"
    assert (labels / "c.txt").read_bytes() == b""


def test_txt_reads_back_equal(tmp_path: Path) -> None:
    table = random_table(1)
    written = write_txt(tmp_path, "train", table, CLASSES)
    assert (written.files, written.objects, written.lossless) == (40, table.num_objects, True)
    assert lines_of(tmp_path / "classes.txt") == list(CLASSES)
    columns = ("class", "x1", "y1", "x2", "y2")
    for record in map(table.record, range(table.num_images)):
        path = (tmp_path / "labels" / "train" / record.file_name).with_suffix(".txt")
        raws = [parse_txt_line(line, columns) for line in lines_of(path)]
        found = [
            (int(raw.class_token), check_box(raw.xyxy, record.width, record.height).bbox)
            for raw in raws
        ]
        assert found == [(a.category, a.bbox) for a in record.annotations]


def test_voc_reads_back_equal(tmp_path: Path) -> None:
    table = random_table(2)
    written = write_voc(tmp_path, "train", table, CLASSES)
    assert (written.files, written.objects, written.lossless) == (40, table.num_objects, True)
    for record in map(table.record, range(table.num_images)):
        path = (tmp_path / "Annotations" / "train" / record.file_name).with_suffix(".xml")
        root = ElementTree.parse(path).getroot()
        assert root.findtext("filename") == record.file_name
        assert [root.findtext(f"size/{side}") for side in ("width", "height")] == [
            str(record.width), str(record.height),
        ]  # fmt: skip
        found = []
        for node in root.iter("object"):
            assert [node.findtext(flag) for flag in ("difficult", "truncated")] == ["0", "0"]
            x1, y1, x2, y2 = (
                float(node.findtext(f"bndbox/{side}", ""))
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
            bbox = check_box((x1, y1, x2, y2), record.width, record.height).bbox
            found.append((CLASSES.index(node.findtext("name", "")), bbox))
        assert found == [(a.category, a.bbox) for a in record.annotations]
    names = [name.removesuffix(".jpg") for name in table.names]
    assert lines_of(tmp_path / "ImageSets" / "Main" / "train.txt") == names


def test_voc_text(tmp_path: Path) -> None:
    table = table_of(Path(), [image("a&b.jpg", box(1, 1, 2, 10.25, 20))])
    write_voc(tmp_path, "val", table, CLASSES)
    text = (tmp_path / "Annotations" / "val" / "a&b.xml").read_text(encoding="utf-8")
    assert "<filename>a&amp;b.jpg</filename>" in text
    assert "<name>dog &amp; &lt;friends&gt;</name>" in text
    bounds = "<xmin>1</xmin> <ymin>2</ymin> <xmax>11.25</xmax> <ymax>22</ymax>"
    assert bounds in " ".join(text.split())


def test_names_for_yolo(tmp_path: Path) -> None:
    write_yolo_names(tmp_path, ("cat", "no", "größte: Kuh"), ("train", "val"))
    assert lines_of(tmp_path / "classes.txt") == ["cat", "no", "größte: Kuh"]
    content = yaml.safe_load((tmp_path / "data.yaml").read_text(encoding="utf-8"))
    assert content == {
        "path": "",
        "train": "images/train",
        "val": "images/val",
        "nc": 3,
        "names": {0: "cat", 1: "no", 2: "größte: Kuh"},
    }


def test_florence_reads_back_within_half_a_bin(tmp_path: Path) -> None:
    table = random_table(3)
    written = write_florence(tmp_path, "val", table, CLASSES)
    assert (written.files, written.objects) == (1, table.num_objects)
    images = parse_florence((tmp_path / "valid" / "annotations.jsonl").read_text("utf-8")).images
    moved = 0
    for record, found in zip(map(table.record, range(table.num_images)), images, strict=True):
        assert (found.name, found.problems) == (record.file_name, [])
        for annotation, raw in zip(record.annotations, found.labels, strict=True):
            assert raw.class_token == CLASSES[annotation.category]
            x, y, w, h = annotation.bbox
            sides = np.subtract(
                raw.xyxy, np.divide((x, y, x + w, y + h), (record.width, record.height) * 2)
            )
            # A box within one bin is widened to two.
            tiny = w < record.width / 1000 or h < record.height / 1000
            assert np.abs(sides).max() <= (0.0015 if tiny else 0.0005) + 1e-9
            moved += bool((np.abs(sides) > 0.5 / np.array((record.width, record.height) * 2)).any())
    assert written.boxes_moved == moved > 0
    assert f"changed: {moved} boxes by more than 0.5 px; the centre of the bins" in written.text()
    assert not written.lossless


def test_florence_text(tmp_path: Path) -> None:
    table = table_of(
        Path(),
        [image("ü/a.jpg", box(2, 0, 40, 100, 40), box(0, 5, 8, 0.05, 0.04)), image("b.jpg"),
         image("c.jpg", box(0, 99.99, 79.99, 0.01, 0.01))],
    )  # fmt: skip
    written = write_florence(tmp_path, "train", table, CLASSES)
    assert lines_of(tmp_path / "train" / "annotations.jsonl") == [
        '{"image": "ü/a.jpg", "prefix": "<OD>", "suffix": "größte Kuh<loc_0><loc_500><loc_999>'
        '<loc_999>cat<loc_49><loc_99><loc_50><loc_100>"}',
        '{"image": "b.jpg", "prefix": "<OD>", "suffix": ""}',
        '{"image": "c.jpg", "prefix": "<OD>", "suffix": "cat<loc_998><loc_998><loc_999><loc_999>"}',
    ]
    assert written.lossless
    with pytest.raises(DataError, match="class name 'a<loc_1>' holds a location token"):
        write_florence(tmp_path, "val", table, ("a<loc_1>", "b", "c"))


@pytest.mark.parametrize("name", ["write_voc", "write_txt", "write_florence"])
def test_what_boxes_cannot_say_is_counted(tmp_path: Path, name: str) -> None:
    table = table_of(
        Path(),
        [
            image(
                "a.jpg",
                box(0, 10, 10, 20, 20, polygons=(SQUARE,)),
                box(0, 0, 0, 50, 50, crowd=True, mask=run_lengths(np.ones((80, 100), bool))),
                box(1, 10, 10, 20, 20),
                box(1, 0, 0, 100, 80, mask=run_lengths(np.ones((80, 100), bool))),
            )
        ],
    )
    written = write(name, tmp_path, table)
    assert (written.objects, written.polygons_lost, written.lossless) == (3, 2, False)
    assert written.left_out == {CROWD: 1}
    assert f"left out: {CROWD}: 1" in written.text()
    assert "lost: the polygons of 2 objects; only their boxes are written" in written.text()


def write(name: str, folder: Path, table: LabelTable) -> WrittenLabels:
    if name == "write_yolo":
        return write_yolo(folder, "train", table, CLASSES)
    writers = {"write_voc": write_voc, "write_txt": write_txt, "write_florence": write_florence}
    return writers[name](folder, "train", table, CLASSES)


@pytest.mark.parametrize("name", ["write_yolo", "write_voc", "write_txt"])
def test_names_that_would_collide_or_leave_the_folder_are_refused(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(DataError, match=r"'s/a.jpg' and 's/a.png' would share the label file s/a"):
        write(name, tmp_path, table_of(Path(), [image("s/a.jpg"), image("s/a.png")]))
    for outside in ("../a.jpg", "/a.jpg"):
        with pytest.raises(DataError, match="outside the output"):
            write(name, tmp_path, table_of(Path(), [image(outside)]))
    assert not list(tmp_path.rglob("a.*"))


def test_voc_refuses_what_xml_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds a character that XML cannot"):
        write_voc(tmp_path, "train", table_of(Path(), [image("a\x01.jpg")]), CLASSES)
    assert not any(tmp_path.iterdir())


def test_categories_without_a_name_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    table = table_of(Path(), [image("a.jpg", box(3, 1, 1, 5, 5))])
    with pytest.raises(ValueError, match="categories 3 to 3, 3 names"):
        write_txt(tmp_path, "train", table, CLASSES)


# --- polygons -------------------------------------------------------------------------------


def read_polygons(folder: Path, split: str, record: ImageRecord) -> list[tuple[Box, Polygon]]:
    """Read an image's label file by the parsers, into pixels."""
    path = (folder / "labels" / split / record.file_name).with_suffix(".txt")
    size = (record.width, record.height)
    found: list[tuple[Box, Polygon]] = []
    for line in lines_of(path):
        raw = parse_yolo_line(line)
        if raw.polygons:
            scaled = tuple(v * size[i % 2] for i, v in enumerate(raw.polygons[0]))
            shape = check_polygon(scaled, *size)
        else:
            xyxy = [v * size[i % 2] for i, v in enumerate(raw.xyxy)]
            shape = check_box(xyxy, *size, sized=True)
        found.append((shape.bbox, shape.polygons[0] if shape.polygons else ()))
    return found


def test_single_polygons_are_written_as_they_are(tmp_path: Path) -> None:
    odd: Polygon = (0.001, 7.333, 99.999, 10.5, 50.25, 79.987)
    record = image(
        "a.jpg",
        box(0, 10, 10, 20, 20, polygons=(SQUARE,)),
        box(1, 0.001, 7.333, 99.998, 72.654, polygons=(odd,)),
        box(2, 1, 2, 3, 4),
        box(2, 1, 2, 3, 4, polygons=((1, 2, 3, 4),)),
        box(2, 1, 2, 3, 4, polygons=((1, 2, 3, 4, 2, 3),)),
    )
    written = write_yolo(tmp_path, "t", table_of(Path(), [record]), CLASSES)
    assert read_polygons(tmp_path, "t", record) == [
        ((10, 10, 20, 20), SQUARE),
        ((0.001, 7.333, 99.998, 72.654), odd),
        *[((1, 2, 3, 4), ())] * 3,
    ]
    assert (written.objects, written.boxes_only, written.polygons_changed) == (5, 3, 0)
    assert (written.iou_min, written.boxes_moved) == (None, 0)
    assert written.lossless
    assert "written as boxes, without a polygon: 3" in written.text()


def test_several_polygons_become_one_ring_with_the_same_pixels(tmp_path: Path) -> None:
    parts: tuple[Polygon, ...] = (
        SQUARE,
        (60, 40, 90, 40, 90, 70),
        (20, 20, 50, 20, 50, 50, 20, 50),
    )
    record = image("a.jpg", box(0, 10, 10, 80, 60, polygons=parts))
    written = write_yolo(tmp_path, "t", table_of(Path(), [record]), CLASSES)
    ((bbox, ring),) = read_polygons(tmp_path, "t", record)
    assert bbox == (10, 10, 80, 60)
    # 400 and 900 overlap in 100; the triangle has 450.
    assert polygon_area(ring) == pytest.approx(400 + 900 - 100 + 450)
    assert np.array_equal(filled([ring], 100, 80), filled(parts, 100, 80))
    assert (written.polygons_changed, written.iou_min) == (1, 1.0)
    assert "joined or traced: 1 polygon; lowest mask IoU with the original 1.0000" in written.text()


def test_a_mask_with_holes_becomes_one_ring_with_the_same_pixels(tmp_path: Path) -> None:
    mask = np.zeros((80, 100), bool)
    mask[5:40, 10:60] = True
    mask[10:20, 20:30] = False
    mask[25:30, 40:50] = False
    mask[12:15, 22:25] = True
    mask[70:80, 90:100] = True
    record = image("a.jpg", box(0, 10, 5, 90, 75, mask=run_lengths(mask)))
    written = write_yolo(tmp_path, "t", table_of(Path(), [record]), CLASSES)
    ((bbox, ring),) = read_polygons(tmp_path, "t", record)
    assert bbox == (10, 5, 90, 75)
    assert polygon_area(ring) == mask.sum() == 35 * 50 - 100 - 50 + 9 + 100
    assert np.array_equal(filled([ring], 100, 80), mask)
    assert (written.iou_min, written.lossless) == (1.0, True)
    # OpenCV, with which others fill, draws borders and bridges a pixel wide; else it agrees.
    canvas = np.zeros((80, 100), np.uint8)
    cv2.fillPoly(canvas, [np.round(np.reshape(ring, (-1, 2))).astype(np.int32)], 1)
    assert canvas[17, 28] == 0 == canvas[27, 45]
    assert canvas[13, 23] == 1 == canvas[75, 95] == canvas[30, 30]


def test_uncompressed_run_lengths_are_traced() -> None:
    # Column by column: 80 rows of which 10 to 29 are filled in columns 1 and 2.
    counts = (90, 20, 60, 20, 80 * 100 - 190)
    lengths = RleMask((80, 100), counts)
    assert decoded(lengths).sum() == 40
    ring = one_polygon((), lengths, 100, 80)
    assert sorted(zip(ring[0::2], ring[1::2], strict=True)) == [(1, 10), (1, 30), (3, 10), (3, 30)]


def test_a_pixel_is_a_square_of_one_by_one() -> None:
    mask = np.zeros((5, 7), bool)
    assert one_polygon((), run_lengths(mask), 7, 5) == ()
    mask[2, 3] = True
    ring = one_polygon((), run_lengths(mask), 7, 5)
    assert sorted(zip(ring[0::2], ring[1::2], strict=True)) == [(3, 2), (3, 3), (4, 2), (4, 3)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_any_mask_keeps_every_pixel(mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    ring = one_polygon((), run_lengths(mask), width, height)
    if not mask.any():
        assert ring == ()
        return
    assert polygon_area(ring) == mask.sum()
    assert np.array_equal(filled([ring], width, height), mask)


def test_bridges_join_the_nearest_points() -> None:
    first = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], dtype=float)
    far, near = first + np.array([100, 0]), first + np.array([20, 0])
    joined = join_rings([first, far, near])
    # Each of the two joined rings adds its points, its first point again, and the way back.
    assert len(joined) == 4 + 2 * (4 + 2)
    steps = np.abs(np.diff(joined, axis=0)).max(axis=1)
    assert sorted(steps)[-4:] == [10, 10, 70, 70]
    assert polygon_area(joined.ravel().tolist()) == 300


def test_a_mask_of_specks_takes_no_hours() -> None:
    mask = np.zeros((120, 120), bool)
    mask[::2, ::2] = True
    start = time.process_time()
    ring = one_polygon((), run_lengths(mask), 120, 120)
    assert time.process_time() - start < 5
    assert polygon_area(ring) == mask.sum() == 3600
    assert np.array_equal(filled([ring], 120, 120), mask)


# --- real data ------------------------------------------------------------------------------


def coco_table(path: Path) -> tuple[LabelTable, list[str]]:
    """Read COCO JSON by hand, apart from the code under test."""
    content = json.loads(path.read_text())
    categories = sorted(content["categories"], key=lambda c: c["id"])
    place = {category["id"]: index for index, category in enumerate(categories)}
    of_image: dict[int, list[Annotation]] = {}
    for entry in content["annotations"]:
        shape = entry["segmentation"]
        mask = None
        if isinstance(shape, dict):
            counts = shape["counts"]
            counts = counts if isinstance(counts, str) else tuple(counts)
            mask, shape = RleMask((shape["size"][0], shape["size"][1]), counts), []
        annotation = Annotation(
            place[entry["category_id"]],
            tuple(map(float, entry["bbox"])),  # type: ignore[arg-type]
            tuple(tuple(map(float, polygon)) for polygon in shape),
            mask,
            bool(entry["iscrowd"]),
        )
        of_image.setdefault(entry["image_id"], []).append(annotation)
    records = [
        ImageRecord(i["file_name"], i["width"], i["height"], tuple(of_image.get(i["id"], ())))
        for i in content["images"]
    ]
    return table_of(path.parent, records), [category["name"] for category in categories]


def measured(folder: Path, table: LabelTable) -> tuple[list[float], int]:
    """Return the mask IoU of each object that had to be joined or traced, and the boxes moved."""
    ious, moved = [], 0
    for record in map(table.record, range(table.num_images)):
        size = (record.width, record.height)
        kept = [a for a in record.annotations if not a.crowd]
        found = read_polygons(folder, "t", record)
        assert len(found) == len(kept)
        for annotation, (bbox, ring) in zip(kept, found, strict=True):
            x, y, w, h = annotation.bbox
            sides = zip((x, y, x + w, y + h), _corners(bbox), strict=True)
            moved += bool(ring) and any(abs(a - b) > 0.5 for a, b in sides)
            if annotation.mask is not None and not annotation.polygons:
                before = decoded(annotation.mask)
            elif len(annotation.polygons) > 1:
                before = filled(annotation.polygons, *size)
            else:
                continue
            ious.append(iou(before, filled([ring], *size)))
    return ious, moved


def _corners(bbox: Box) -> tuple[float, ...]:
    x, y, w, h = bbox
    return (x, y, x + w, y + h)


@pytest.mark.benchmark_data
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_coco_through_yolo_polygons(shared_data: Path, tmp_path: Path, split: str) -> None:
    table, classes = coco_table(shared_data / "coco_tiny/annotations" / f"instances_{split}.json")
    written = write_yolo(tmp_path, "t", table, classes)
    ious, moved = measured(tmp_path, table)
    crowds = int(table.crowd.sum())
    assert (written.objects, written.left_out.total()) == (table.num_objects - crowds, crowds)
    assert crowds > 0
    assert written.polygons_changed == len(ious) > 50
    assert written.iou_min == pytest.approx(min(ious))
    assert written.boxes_moved == moved
    assert min(ious) > 0.998
    assert f"lowest mask IoU with the original {min(ious):.4f}" in written.text()


@pytest.mark.benchmark_data
def test_masks_of_coco_are_traced_to_the_pixel(shared_data: Path, tmp_path: Path) -> None:
    """As if all objects were masks: then holes and parts are what tracing makes of them."""
    table, classes = coco_table(shared_data / "coco_tiny/annotations/instances_val2017.json")
    records = []
    for record in map(table.record, range(table.num_images)):
        size = (record.width, record.height)
        solid = [a for a in record.annotations if not a.crowd]
        masks = [filled(a.polygons, *size) for a in solid]
        annotations = [
            Annotation(a.category, a.bbox, mask=run_lengths(mask))
            for a, mask in zip(solid, masks, strict=True)
            if mask.any()
        ]
        records.append(ImageRecord(record.file_name, *size, tuple(annotations)))
    masked = table_of(Path(), records)
    written = write_yolo(tmp_path, "t", masked, classes)
    assert written.polygons_changed == masked.num_objects > 700
    assert written.iou_min == 1.0
    assert measured(tmp_path, masked)[0] == [1.0] * masked.num_objects


@pytest.mark.benchmark_data
def test_nuclei_through_yolo_polygons(shared_data: Path, tmp_path: Path) -> None:
    table, classes = coco_table(shared_data / "nuclei" / "train.json")
    written = write_yolo(tmp_path, "t", table, classes)
    # Annotation 551 rasterises to nothing. The source's boxes are a pixel larger than its polygons.
    assert (written.objects, written.boxes_only, written.polygons_changed) == (3317, 1, 0)
    ious, moved = measured(tmp_path, table)
    assert (written.boxes_moved, ious) == (moved, [])
    assert moved == 3316
    for record in map(table.record, range(table.num_images)):
        for annotation, (_, ring) in zip(
            record.annotations, read_polygons(tmp_path, "t", record), strict=True
        ):
            if ring:
                assert np.abs(np.subtract(ring, annotation.polygons[0])).max() <= 0.0005

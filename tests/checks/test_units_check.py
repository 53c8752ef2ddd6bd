"""Labels that were read wrongly: the finding has the lines, and the schema that fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from table_cases import CLASSES, Records, by_kind, clean_records, tables_of, wheres

from detfinetune.checks.findings import Finding
from detfinetune.checks.units.label_frames import check_label_sizes
from detfinetune.checks.units.label_units import check_units
from detfinetune.config.schema import DataConfig
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.records import Box
from detfinetune.labels.parsing.hypotheses import (
    Hypothesis,
    candidates,
    fitting,
    numbers_written,
    option_for,
)
from detfinetune.labels.parsing.label_schema import LabelSchema
from detfinetune.labels.read import read_dataset

Writer = Callable[[Box, int, int], Sequence[float]]

# The four numbers of a box as some tool writes them.
WRITERS: dict[str, Writer] = {
    "x1,y1,x2,y2": lambda b, w, h: (b[0], b[1], b[0] + b[2], b[1] + b[3]),
    "x,y,w,h": lambda b, w, h: b,
    "cx,cy,w,h": lambda b, w, h: (b[0] + b[2] / 2, b[1] + b[3] / 2, b[2], b[3]),
    "y1,x1,y2,x2": lambda b, w, h: (b[1], b[0], b[1] + b[3], b[0] + b[2]),
    "x1,x2,y1,y2": lambda b, w, h: (b[0], b[0] + b[2], b[1], b[1] + b[3]),
    "yolo": lambda b, w, h: (
        (b[0] + b[2] / 2) / w, (b[1] + b[3] / 2) / h, b[2] / w, b[3] / h,
    ),
    "normalized": lambda b, w, h: (b[0] / w, b[1] / h, (b[0] + b[2]) / w, (b[1] + b[3]) / h),
}  # fmt: skip


def read(tmp_path: Path, records: Records, writer: Writer, **options: Any) -> LabelledDataset:
    """Write records as text files and read them as the options say."""
    rows = ["file_name,width,height"]
    for record in records["train"]:
        label = tmp_path / record.label_file
        label.parent.mkdir(exist_ok=True)
        lines = [
            f"{CLASSES[a.category]} "
            + " ".join(f"{value:.6g}" for value in writer(a.bbox, record.width, record.height))
            for a in record.annotations
        ]
        label.write_text("".join(f"{line}\n" for line in lines))
        rows.append(f"{record.file_name},{record.width},{record.height}")
    (tmp_path / "sizes.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    data = DataConfig(
        root=tmp_path, labels="labels", image_sizes=Path("sizes.csv"), val_fraction=0,
        test_fraction=0, **options,
    )  # fmt: skip
    return read_dataset(data)


def findings_of(dataset: LabelledDataset, **options: Any) -> dict[str, Finding]:
    assert dataset.schema is not None
    return by_kind(
        check_units(
            dataset.tables, written=dataset.written, form=dataset.form, schema=dataset.schema,
            ledger=dataset.ledger, **options,
        )
    )  # fmt: skip


def edgy_records(count: int = 60) -> Records:
    """Return records whose objects lie anywhere, up to the images' edges."""
    records = clean_records({"train": count})
    generator = np.random.default_rng(4)
    changed = []
    for record in records["train"]:
        annotations = []
        for a in record.annotations:
            w, h = a.bbox[2:]
            x, y = generator.uniform(0, (640 - w, 480 - h)).round(1)
            annotations.append(type(a)(a.category, (float(x), float(y), w, h), line=a.line))
        changed.append(type(record)(record.file_name, 640, 480, tuple(annotations),
                                    record.label_file))  # fmt: skip
    return {"train": changed}


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("x1,y1,x2,y2", {"columns": "class,x1,y1,x2,y2"}),
        ("x,y,w,h", {"columns": "class,x,y,w,h"}),
        ("cx,cy,w,h", {"columns": "class,cx,cy,w,h"}),
        ("y1,x1,y2,x2", {"columns": "class,y1,x1,y2,x2"}),
        ("yolo", {}),
        ("normalized", {"columns": "class,x1,y1,x2,y2", "coordinates": "normalized"}),
    ],
)
def test_what_is_read_as_written_raises_nothing(
    tmp_path: Path, written: str, options: dict[str, str]
) -> None:
    assert findings_of(read(tmp_path, edgy_records(), WRITERS[written], **options)) == {}


@pytest.mark.parametrize(
    ("kind", "written", "options", "advice"),
    [
        ("xywh_as_xyxy", "x,y,w,h", {"columns": "class,x1,y1,x2,y2"}, "columns=class,x1,y1,w,h"),
        ("xyxy_as_xywh", "x1,y1,x2,y2", {"columns": "class,x,y,w,h"}, "columns=class,x1,y1,x2,y2"),
        ("cxcywh_as_xyxy", "cx,cy,w,h", {"columns": "class,x1,y1,x2,y2"}, "columns=class,cx,cy"),
        ("cxcywh_as_xywh", "cx,cy,w,h", {"columns": "class,x,y,w,h"}, "columns=class,cx,cy"),
        ("xywh_as_cxcywh", "x,y,w,h", {"columns": "class,cx,cy,w,h"}, "columns=class,x1,y1,w,h"),
        ("xyxy_as_cxcywh", "x1,y1,x2,y2", {"columns": "class,cx,cy,w,h"}, "class,x1,y1,x2,y2"),
        ("xy_swapped", "y1,x1,y2,x2", {"columns": "class,x1,y1,x2,y2"}, "class,y1,x1,y2,x2"),
        ("wrong_column_order", "x1,x2,y1,y2", {"columns": "class,x1,y1,x2,y2"},
         "class,x1,x2,y1,y2"),
        ("absolute_as_normalized", "cx,cy,w,h", {"format": "yolo"}, "class,cx,cy,w,h"),
        ("absolute_as_normalized", "x1,y1,x2,y2",
         {"columns": "class,x1,y1,x2,y2", "coordinates": "normalized"}, "coordinates=absolute"),
        ("normalized_as_absolute", "normalized",
         {"columns": "class,x1,y1,x2,y2", "coordinates": "absolute"}, "coordinates=normalized"),
        ("normalized_as_absolute", "yolo",
         {"columns": "class,cx,cy,w,h", "coordinates": "absolute"}, "data.format=yolo"),
        ("cxcywh_as_xywh", "yolo",
         {"columns": "class,x,y,w,h", "coordinates": "normalized"}, "data.format=yolo"),
    ],
)  # fmt: skip
def test_a_better_schema_is_named_and_removes_the_finding(
    tmp_path: Path, kind: str, written: str, options: dict[str, str], advice: str
) -> None:
    records = edgy_records()
    dataset = read(tmp_path, records, WRITERS[written], **{"format": "txt", **options})
    found = findings_of(dataset)
    assert set(found) == {kind}
    finding = found[kind]
    assert finding.severity == "error"
    assert advice in finding.advice
    # Every place is a line that is not plausible as read: fixed, rejected, or below a pixel.
    bad = {f"{e.path}:{e.line}" for e in dataset.ledger.entries if e.line}
    table = dataset.tables["train"]
    for row in np.flatnonzero(table.boxes[:, 2:].min(axis=1) < 1).tolist():
        bad.add(f"{table.label_files[table.image_of[row]]}:{table.lines[row]}")
    assert bad
    assert set(wheres(finding)) == bad
    given = dict(re.findall(r"data\.(\w+)=([^\s]+?)\.?(?=\s|$)", finding.advice))
    assert findings_of(read(tmp_path, records, WRITERS[written], **given)) == {}


def test_the_class_column_keeps_its_place(tmp_path: Path) -> None:
    last = LabelSchema("txt", ("x1", "y1", "x2", "y2", "class"), False, 0)
    none = LabelSchema("txt", ("x1", "y1", "x2", "y2"), False, 0)
    better = Hypothesis("cx,cy,w,h", False)
    assert "data.columns=cx,cy,w,h,class " in option_for(last, better)
    assert "data.columns=cx,cy,w,h " in option_for(none, better)
    assert option_for(none, Hypothesis("cx,cy,w,h", True)) == "Rerun with data.format=yolo."
    assert "No key" in option_for(LabelSchema("coco", (), False, 0), better)


@pytest.mark.parametrize("overhang", [12, 30])
def test_boxes_that_hang_over_the_edges_alone_are_not_misread(
    tmp_path: Path, overhang: int
) -> None:
    records = edgy_records()
    generator = np.random.default_rng(0)

    def careless(b: Box, w: int, h: int) -> Sequence[float]:
        a, c, d, e = generator.uniform(0, overhang, 4)
        return (b[0] - a, b[1] - c, b[0] + b[2] + d, b[1] + b[3] + e)

    dataset = read(tmp_path, records, careless, format="txt", columns="class,x1,y1,x2,y2")
    assert dataset.ledger.counts["train"].fixed > 10
    assert findings_of(dataset) == {}


def rotated_dataset(tmp_path: Path, wrong: bool) -> tuple[LabelledDataset, list[str]]:
    """Return labels of 60 pictures, six of them 480x640 after EXIF rotation."""
    records = edgy_records()
    images = list(records["train"])
    names = []
    for number in range(0, 60, 10):
        record = images[number]
        boxes = record.annotations if wrong else [
            type(a)(a.category, (a.bbox[1], a.bbox[0], a.bbox[3], a.bbox[2]), line=a.line)
            for a in record.annotations
        ]  # fmt: skip
        images[number] = type(record)(record.file_name, 480, 640, tuple(boxes), record.label_file)
        names.append(record.file_name)
    records = {"train": images}
    dataset = read(
        tmp_path, records, WRITERS["x1,y1,x2,y2"], format="txt", columns="class,x1,y1,x2,y2"
    )
    return dataset, names


def test_boxes_before_exif_rotation(tmp_path: Path) -> None:
    dataset, names = rotated_dataset(tmp_path, wrong=True)
    found = findings_of(dataset, rotated={"train": names})
    assert set(found) == {"boxes_before_exif_rotation"}
    finding = found["boxes_before_exif_rotation"]
    assert finding.severity == "error"
    assert finding.figures["rotated_images"] == 6
    lines = [place for place in finding.places if place.line]
    assert {place.where for place in lines} == {
        f"{e.path}:{e.line}" for e in dataset.ledger.entries
    }
    assert {place.label_file for place in lines} <= {
        f"labels/{name.removesuffix('.jpg')}.txt" for name in names
    }


def test_transposed_boxes_of_images_without_the_flag_are_not_blamed_on_it(tmp_path: Path) -> None:
    dataset, names = rotated_dataset(tmp_path, wrong=True)
    assert "boxes_before_exif_rotation" not in findings_of(dataset, rotated={"train": []})
    # One flagged image has the size of the five others.
    assert "boxes_before_exif_rotation" not in findings_of(dataset, rotated={"train": names[:1]})


def test_rotated_images_labelled_as_seen_raise_nothing(tmp_path: Path) -> None:
    dataset, names = rotated_dataset(tmp_path, wrong=False)
    assert findings_of(dataset, rotated={"train": names}) == {}


@pytest.mark.parametrize(("factor", "severity"), [(2.0, "error"), (0.5, "warning")])
def test_labels_of_another_image_size(tmp_path: Path, factor: float, severity: str) -> None:
    def scaled(b: Box, w: int, h: int) -> Sequence[float]:
        return tuple(value * factor for value in WRITERS["x1,y1,x2,y2"](b, w, h))

    dataset = read(tmp_path, edgy_records(), scaled, format="txt", columns="class,x1,y1,x2,y2")
    found = findings_of(dataset)
    assert set(found) == {"box_scale_mismatch"}
    finding = found["box_scale_mismatch"]
    assert finding.severity == severity
    assert finding.figures["factor"] == pytest.approx(factor, rel=0.02)
    if factor > 1:
        assert set(wheres(finding)) == {f"{e.path}:{e.line}" for e in dataset.ledger.entries}
    else:
        assert len(finding.places) == 60


def test_objects_in_the_middle_are_not_of_another_size(tmp_path: Path) -> None:
    def middle(b: Box, w: int, h: int) -> Sequence[float]:
        x1, y1, x2, y2 = WRITERS["x1,y1,x2,y2"](b, w, h)
        return (x1 / 2 + 160, y1 / 2 + 120, x2 / 2 + 160, y2 / 2 + 120)

    dataset = read(tmp_path, edgy_records(), middle, format="txt", columns="class,x1,y1,x2,y2")
    assert findings_of(dataset) == {}


def test_label_files_with_another_size() -> None:
    tables = tables_of(clean_records({"train": 5}))
    names = tables["train"].names
    same = {name: (640, 480) for name in names}
    assert check_label_sizes(tables, {"train": same}) == []
    assert check_label_sizes(tables, {"train": {names[0]: (0, 0)}}) == []
    other = {**same, names[2]: (1280, 960), names[3]: (1280, 960)}
    (finding,) = check_label_sizes(tables, {"train": other})
    assert finding.severity == "warning"
    assert wheres(finding) == ["labels/train_002.txt", "labels/train_003.txt"]
    assert finding.figures == {"images": 2, "factor": 2.0}
    for rotated, reason in (
        ({"train": {names[1]}}, "(width and height swapped, as before EXIF rotation)"),
        ({"train": {names[2]}}, "(width and height swapped)"),
        (None, "(width and height swapped)"),
    ):
        (finding,) = check_label_sizes(tables, {"train": {names[1]: (480, 640)}}, rotated)
        assert reason in finding.title


def test_one_based_pixels_are_noted(tmp_path: Path) -> None:
    def from_one(b: Box, w: int, h: int) -> Sequence[float]:
        x1, y1, x2, y2 = (round(value) for value in WRITERS["x1,y1,x2,y2"](b, w, h))
        # A tenth of the objects begin at the left edge, a tenth end at the right one.
        return (1 if x1 < 60 else x1 + 1, y1 + 1, w if x2 > 580 else x2, y2)

    options = {"format": "txt", "columns": "class,x1,y1,x2,y2"}
    found = findings_of(read(tmp_path, edgy_records(), from_one, **options))
    assert [(kind, f.severity) for kind, f in found.items()] == [("one_based_pixels", "note")]
    assert "data.first_pixel=1" in found["one_based_pixels"].advice
    again = read(tmp_path, edgy_records(), from_one, **options, first_pixel=1)
    assert findings_of(again) == {}


def test_numbers_and_corners_are_inverse() -> None:
    xyxy = np.array([[10.0, 20.0, 50.0, 40.0], [1.0, 2.0, 3.0, 4.0]])
    sizes = np.array([[100.0, 50.0], [10.0, 8.0]])
    for hypothesis in (
        Hypothesis("x1,y1,x2,y2", True), Hypothesis("x,y,w,h", False),
        Hypothesis("cx,cy,w,h", True),
    ):  # fmt: skip
        form: Any = hypothesis.form
        numbers = numbers_written(xyxy, sizes, form, hypothesis.normalized)
        assert hypothesis.xyxy(numbers, sizes) == pytest.approx(xyxy)
    current = Hypothesis("x1,y1,x2,y2", False)
    assert current not in list(candidates(current))
    assert len(list(candidates(current))) == 13
    assert fitting(xyxy, sizes).tolist() == [True, True]
    assert fitting(xyxy[:, [2, 1, 0, 3]], sizes).tolist() == [False, False]


@pytest.mark.parametrize(
    ("heading", "row", "kind"),
    [
        ("image,x,y,width,height,class", "{},{},{},{}", "xyxy_as_xywh"),
        ("image,bbox,class", '"[{}, {}, {}, {}]"', "xyxy_as_xywh"),
        ("image,x1,y1,x2,y2,class", "{},{},{},{}", ""),
    ],
)
def test_columns_of_a_table_that_hold_another_form(
    tmp_path: Path, heading: str, row: str, kind: str
) -> None:
    lines = [heading]
    for record in edgy_records()["train"]:
        (tmp_path / record.file_name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (record.width, record.height)).save(tmp_path / record.file_name)
        for a in record.annotations:
            numbers = row.format(*WRITERS["x1,y1,x2,y2"](a.bbox, 0, 0))
            lines.append(f"{record.file_name},{numbers},{CLASSES[a.category]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    dataset = read_dataset(DataConfig(root=tmp_path, val_fraction=0, test_fraction=0))
    found = findings_of(dataset)
    assert list(found) == ([kind] if kind else [])
    assert not kind or "Rename the columns of the boxes to x1,y1,x2,y2" in found[kind].advice


@pytest.mark.benchmark_data
@pytest.mark.parametrize(
    ("name", "options", "kinds"),
    [
        ("airport", {}, []),
        ("bccd", {}, []),
        ("deeppcb", {"columns": "x1,y1,x2,y2,class"}, []),
        ("chess", {}, []),
        ("nuclei", {}, []),
        ("coco_tiny", {}, []),
        ("bccd", {"format": "voc"}, ["one_based_pixels"]),
        ("airport", {"format": "txt", "columns": "class,x,y,w,h"}, ["xyxy_as_xywh"]),
        ("airport", {"format": "yolo"}, ["absolute_as_normalized"]),
        ("chess", {"format": "txt", "columns": "class,x,y,w,h"}, ["cxcywh_as_xywh"]),
    ],
)
def test_real_sets(shared_data: Path, name: str, options: dict[str, Any], kinds: list[str]) -> None:
    dataset = read_dataset(DataConfig(root=shared_data / name, **options))
    assert list(findings_of(dataset)) == kinds

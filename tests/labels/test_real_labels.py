"""The real data sets, to the box: what their sources hold is what comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detfinetune.config.load import load_train_config
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.convert import ConversionResult, convert_dataset
from detfinetune.labels.prepare import prepare_dataset

pytestmark = pytest.mark.benchmark_data


def convert(root: Path, tmp_path: Path, **options: object) -> ConversionResult:
    return convert_dataset(DataConfig(root=root, **options), tmp_path / "out", contact_sheet=0)  # type: ignore[arg-type]


def images(result: ConversionResult) -> dict[str, int]:
    return {name: table.num_images for name, table in result.dataset.tables.items()}


def total(result: ConversionResult, what: str) -> int:
    return sum(getattr(counts, what) for counts in result.ledger.counts.values())


def test_bccd(shared_data: Path, tmp_path: Path) -> None:
    result = convert(shared_data / "bccd", tmp_path)
    assert images(result) == {"train": 205, "val": 87, "test": 72}
    assert result.dataset.classes == ("RBC", "WBC", "Platelets")
    assert (total(result, "lines"), total(result, "kept"), total(result, "rejected")) == (
        4888, 4886, 2,
    )  # fmt: skip
    assert [entry.message for entry in result.ledger.entries] == [
        "labels/train/BloodImage_00343.txt:4: width 0 and height 0 px: no area",
        "labels/val/BloodImage_00338.txt:13: width 0 and height 0 px: no area",
    ]


def test_airport(shared_data: Path, tmp_path: Path) -> None:
    result = convert(shared_data / "airport", tmp_path)
    assert images(result) == {"train": 236, "val": 68, "test": 34}
    assert (total(result, "kept"), total(result, "fixed"), total(result, "rejected")) == (
        4923, 0, 0,
    )  # fmt: skip
    empty = [
        path
        for path in (shared_data / "airport/labels").rglob("*.txt")
        if not path.read_text().strip()
    ]
    assert total(result, "negatives") == len(empty) == 5


def test_deeppcb(shared_data: Path, tmp_path: Path) -> None:
    result = convert(shared_data / "deeppcb", tmp_path, columns="x1,y1,x2,y2,class")
    assert images(result) == {"train": 849, "val": 151, "test": 500}
    assert (total(result, "kept"), total(result, "lines")) == (10_013, 10_013)
    objects = sum((counts.objects for counts in result.ledger.counts.values()), start=type(
        result.ledger.counts["train"].objects)())  # fmt: skip
    # The source numbers its classes from 1: 1 open, 2 short, ...
    assert [objects[c] for c in range(6)] == [1942, 1506, 1965, 1625, 1474, 1501]


def test_deeppcb_without_its_columns_is_told_them(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"make sense as .*data\.columns=x1,y1,x2,y2,class "):
        convert(shared_data / "deeppcb", tmp_path)


def test_vhr10_without_images(shared_data: Path, tmp_path: Path) -> None:
    result = convert(
        shared_data / "vhr10_labels",
        tmp_path,
        format="txt",
        columns="x1,y1,x2,y2,class",
        image_sizes="annotations.json",
        val_fraction=0,
        test_fraction=0,
    )
    counts = result.ledger.counts["train"]
    assert (counts.kept, counts.fixed, counts.rejected, counts.blank) == (3896, 0, 0, 24)
    assert counts.images == 650
    assert result.dataset.classes == tuple(f"class_{n}" for n in range(1, 11))


def test_yolo_labels_equal_the_coco_file_of_the_same_boxes(
    shared_data: Path, tmp_path: Path
) -> None:
    convert(
        shared_data / "label_formats",
        tmp_path,
        images="images",
        labels="gts/yolo_format/obj_train_data",
        val_fraction=0,
        test_fraction=0,
    )

    def by_image(path: Path) -> dict[str, list[tuple[str, list[float]]]]:
        content = json.loads(path.read_text())
        files = {image["id"]: image["file_name"] for image in content["images"]}
        classes = {c["id"]: c["name"] for c in content["categories"]}
        found: dict[str, list[tuple[str, list[float]]]] = {name: [] for name in files.values()}
        for a in content["annotations"]:
            found[files[a["image_id"]]].append((classes[a["category_id"]], a["bbox"]))
        return found

    ours = by_image(tmp_path / "out/train.json")
    theirs = by_image(shared_data / "label_formats/gts/coco_format_v1/instances_default.json")
    assert sum(map(len, ours.values())) == 273
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        for label, box in expected:
            match = min(
                (sum(abs(a - b) for a, b in zip(box, other, strict=True)), n)
                for n, (other_label, other) in enumerate(ours[name])
                if other_label == label
            )[1]
            assert ours[name].pop(match)[1] == pytest.approx(box, abs=0.5)
    assert not any(ours.values())


@pytest.mark.parametrize(
    ("name", "expected", "masks"),
    [
        ("nuclei", {"train": (120, 3317), "val": (40, 1120), "test": (40, 1167)}, True),
        ("coco_tiny", {"train": (80, 705), "val": (80, 815)}, True),
        ("chess", {"train": (134, 2050), "val": (11, 172), "test": (11, 158)}, False),
    ],
)
def test_prepare(shared_data: Path, name: str, expected: dict, masks: bool) -> None:
    dataset = prepare_dataset(DataConfig(root=shared_data / name))
    assert {
        split: (table.num_images, table.num_objects) for split, table in dataset.tables.items()
    } == expected
    assert dataset.has_masks == masks


@pytest.mark.parametrize("name", ["bccd", "airport", "nuclei"])
def test_shipped_configuration_and_what_is_found_by_itself_agree(
    shared_data: Path, name: str
) -> None:
    root = shared_data / name
    shipped = prepare_dataset(load_train_config([f"data={name}", f"data.root={root}"]).data)
    found = prepare_dataset(DataConfig(name=name, root=root))
    assert found.fingerprint == shipped.fingerprint
    assert found.classes == shipped.classes
    assert {s: v.image_root.resolve() for s, v in found.tables.items()} == {
        s: v.image_root.resolve() for s, v in shipped.tables.items()
    }

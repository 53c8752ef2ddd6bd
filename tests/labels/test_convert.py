"""Whole conversions of small data sets, to the figure and to the byte."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from PIL import Image
from pycocotools.coco import COCO

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError, DetFinetuneError, OutputExistsError
from detfinetune.labels.convert import ConversionResult, convert_dataset

WHOLE = {"val_fraction": 0.0, "test_fraction": 0.0}


def convert(root: Path, **options: object) -> ConversionResult:
    """Convert without cutting splits, into a folder beside `root`."""
    data = DataConfig(root=root, **(WHOLE | options))  # type: ignore[arg-type]
    return convert_dataset(data, root.parent / "out", overwrite=True, contact_sheet=2)


def boxes(result: ConversionResult, split: str = "train") -> list[tuple[str, str, list[float]]]:
    """Return file name, class name and box of every annotation."""
    coco = json.loads((result.folder / f"{split}.json").read_text())
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    classes = {category["id"]: category["name"] for category in coco["categories"]}
    return [
        (names[a["image_id"]], classes[a["category_id"]], a["bbox"]) for a in coco["annotations"]
    ]


def test_yolo_boxes_and_polygons_in_one_file(make_dataset) -> None:
    text = "1 0.5 0.5 0.2 0.25\n0 0.1 0.1 0.3 0.1 0.3 0.6\n"
    root = make_dataset(["images/a.jpg"], {"labels/a.txt": text, "classes.txt": "cat\ndog\n"})
    result = convert(root)
    coco = json.loads((result.folder / "train.json").read_text())
    assert boxes(result) == [("a.jpg", "dog", [40, 30, 20, 20]), ("a.jpg", "cat", [10, 8, 20, 40])]
    assert [a["area"] for a in coco["annotations"]] == [400, 400]
    assert [a["segmentation"] for a in coco["annotations"]] == [[], [[10, 8, 30, 8, 30, 48]]]
    assert not result.dataset.has_masks


@pytest.mark.parametrize(
    ("options", "line", "box"),
    [
        ({}, "0 10 20 30 50", [10, 20, 20, 30]),
        ({"first_pixel": 1}, "0 10 20 30 50", [9, 19, 21, 31]),
        ({"columns": "x,y,w,h,class"}, "10 20 30 50 0", [10, 20, 30, 50]),
        ({"columns": "x,y,w,h,class", "first_pixel": 1}, "10 20 30 50 0", [9, 19, 30, 50]),
        ({"columns": "class,cx,cy,w,h"}, "0 50 40 20 10", [40, 35, 20, 10]),
        ({"columns": "class,cx,cy,w,h", "first_pixel": 1}, "0 50 40 20 10", [39.5, 34.5, 20, 10]),
        ({"columns": "class,x1,x2,y1,y2"}, "0 .1 .3 .25 .5", [10, 20, 20, 20]),
        ({"columns": "y1,x1,y2,x2,class"}, "[20, 10, 50, 30], 'cat'", [10, 20, 20, 30]),
        ({"format": "yolo"}, "0 0.5 0.5 1 1", [0, 0, 100, 80]),
        ({"format": "txt", "coordinates": "normalized"}, "0 0 0 1 1", [0, 0, 100, 80]),
        ({"format": "txt", "coordinates": "absolute"}, "0 0 0 1 1", [0, 0, 1, 1]),
    ],
)
def test_ways_to_write_a_box(make_dataset, options, line: str, box: list[float]) -> None:
    root = make_dataset(["images/a.jpg"], {"labels/a.txt": line, "classes.txt": "cat"})
    assert boxes(convert(root, **options)) == [("a.jpg", "cat", box)]


def test_normalized_that_fit_as_corners_only(make_dataset) -> None:
    text = "".join(f"0 0.{n} 0.{n} 0.9{n} 0.95\n" for n in range(4, 9))
    root = make_dataset(["a.jpg"], {"a.txt": text, "classes.txt": "cat"})
    assert boxes(convert(root))[0][2] == [40, 32, 54, 44]


def test_json_is_complete_and_pycocotools_reads_it(make_dataset) -> None:
    root = make_dataset(
        {"images/ä b.jpg": (100, 80), "images/sub/c.png": (60, 50), "images/none.jpg": (10, 10)},
        {"labels/ä b.txt": "0 1 2 3 4\n0 5 6 7 8\n", "labels/sub/c.txt": "1 1 1 9 9\n",
         "classes.txt": "cat\ndog\n"},
    )  # fmt: skip
    result = convert(root)
    content = json.loads((result.folder / "train.json").read_text(encoding="utf-8"))
    assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
    assert [image["file_name"] for image in content["images"]] == [
        "none.jpg", "sub/c.png", "ä b.jpg",
    ]  # fmt: skip
    assert [image["id"] for image in content["images"]] == [1, 2, 3]
    assert [annotation["id"] for annotation in content["annotations"]] == [1, 2, 3]
    assert content["annotations"][0] == {
        "id": 1, "image_id": 2, "category_id": 2, "bbox": [1, 1, 8, 8], "area": 64, "iscrowd": 0,
        "segmentation": [],
    }  # fmt: skip
    coco = COCO(str(result.folder / "train.json"))
    assert len(coco.getAnnIds(imgIds=[3])) == 2
    assert coco.loadCats([2])[0]["name"] == "dog"
    assert all((result.dataset.tables["train"].image_root / i["file_name"]).is_file()
               for i in content["images"])  # fmt: skip


def test_same_labels_give_the_same_bytes(make_dataset) -> None:
    names = [f"{n}" for n in range(12)]
    texts = {f"labels/{n}.txt": f"0 {n} 1 30 40\n9 1 1 2 2\n0 1 1 20 20\n" for n in names}
    root = make_dataset([f"images/{n}.jpg" for n in names], texts | {"classes.txt": "cat"})
    data = DataConfig(root=root)
    written = []
    for out in ("one", "two"):
        folder = root.parent / out
        convert_dataset(data, folder)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {
        "train.json", "val.json", "test.json", "dataset.json", "ledger.csv", "classes.txt",
        "split.csv",
        "labels_train.jpg", "labels_val.jpg", "labels_test.jpg",
    }  # fmt: skip


def test_ledger_and_counts(make_dataset) -> None:
    text = (
        "# a comment\n\n0 10 10 20 20\n0 10 10 20 20\n0 90 70 120 90\n7 1 1 2 2\n"
        "0 30 30 20 20\n0 5 5 5 9\n1 1 1 60 60\n0 40 40 50 50\n"
    )
    root = make_dataset(["images/a.jpg"], {"labels/a.txt": text, "classes.txt": "cat\ndog"})
    result = convert(root)
    counts = result.dataset.ledger.counts["train"]
    assert (counts.lines, counts.kept, counts.fixed, counts.rejected, counts.blank) == (
        8, 3, 2, 3, 2,
    )  # fmt: skip
    with (result.folder / "ledger.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["line"], row["action"], row["kind"]) for row in rows] == [
        ("4", "rejected", "duplicate"),
        ("5", "fixed", "clipped"),
        ("6", "rejected", "class out of range"),
        ("7", "fixed", "swapped corners"),
        ("8", "rejected", "zero size"),
    ]
    assert rows[0]["message"] == "labels/a.txt:4: the same object as line 3"
    assert rows[0]["text"] == "0 10 10 20 20"
    assert boxes(result)[2][2] == [20, 20, 10, 10]


def test_reject_policy_keeps_only_what_is_right(make_dataset) -> None:
    text = "0 10 10 20 20\n0 11 10 20 20\n0 90 70 120 90\n0 30 30 20 20\n"
    root = make_dataset(["images/a.jpg"], {"labels/a.txt": text, "classes.txt": "cat"})
    counts = convert(root, on_problem="reject").ledger.counts["train"]
    assert (counts.kept, counts.fixed, counts.rejected) == (2, 0, 2)


def test_negatives_orphans_and_unreadable_images(make_dataset) -> None:
    images = [f"images/{name}.jpg" for name in ("a", "b", "empty", "unlabelled", "broken")]
    texts = {
        "labels/a.txt": "0 1 1 9 9\n" * 1 + "0 1 1 8 8\n0 1 1 7 7\n",
        "labels/b.txt": "0 1 1 9 9\n0 1 1 8 8\n",
        "labels/empty.txt": "\n",
        "labels/gone.txt": "0 1 1 9 9\n\n",
        "labels/broken.txt": "0 1 1 9 9\n0 1 1 8 8\n",
        "classes.txt": "cat",
    }
    root = make_dataset(images, texts)
    broken = root / "images/broken.jpg"
    broken.write_bytes(broken.read_bytes()[:400])
    result = convert(root)
    counts = result.dataset.ledger.counts["train"]
    assert (counts.images, counts.negatives, counts.unlabelled, counts.rejected_images) == (
        4, 2, 1, 1,
    )  # fmt: skip
    assert (counts.lines, counts.kept, counts.rejected, counts.blank) == (8, 5, 3, 2)
    messages = [entry.message for entry in result.dataset.ledger.entries]
    assert "labels/gone.txt:1: there is no image for this label file" in messages
    assert "labels/broken.txt:2: its image images/broken.jpg cannot be read" in messages
    assert any(message.startswith("images/broken.jpg: the image") for message in messages)


def test_two_images_for_one_label(make_dataset) -> None:
    root = make_dataset(["images/a.jpg", "images/a.png"], {"labels/a.txt": "0 1 1 9 9"})
    result = convert(root)
    assert [name for name, _, _ in boxes(result)] == ["a.jpg"]
    assert result.ledger.entries[0].message == (
        "images/a.png: has the same label file as 'a.jpg'; this image is ignored"
    )


def test_image_turned_by_exif_takes_labels_as_it_is_seen(make_dataset) -> None:
    root = make_dataset([], {"labels/a.txt": "0 1 1 39 49", "classes.txt": "cat"})
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "images").mkdir()
    Image.new("RGB", (50, 40)).save(root / "images/a.jpg", exif=exif)
    result = convert(root)
    image = json.loads((result.folder / "train.json").read_text())["images"][0]
    assert (image["width"], image["height"]) == (40, 50)
    assert boxes(result)[0][2] == [1, 1, 38, 48]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff0 1 1 9 9\r\n0 2 2 9 9\r\n".encode(),
        "0 1 1 9 9 \n0 2 2 9 9\t\n".encode("utf-16"),
        b"0 1 1 9 9\r0 2 2 9 9",
        b"class x1 y1 x2 y2\n0 1 1 9 9\n0 2 2 9 9\n\x1a",
        b"0 1 1 9 9\n# \xe9t\xe9\n0 2 2 9 9\n",
    ],
)
def test_text_files_of_all_kinds(make_dataset, content: bytes) -> None:
    root = make_dataset(["images/a.jpg"], {"labels/a.txt": content, "classes.txt": "cat"})
    assert [box for _, _, box in boxes(convert(root))] == [[1, 1, 8, 8], [2, 2, 7, 7]]


def test_class_names_in_the_labels(make_dataset) -> None:
    root = make_dataset(["a.jpg"], {"a.txt": "white pawn 1 1 9 9\nélan 2 2 9 9\n"})
    result = convert(root)
    assert result.dataset.classes == ("white pawn", "élan")
    assert [name for _, name, _ in boxes(result)] == ["white pawn", "élan"]


def test_sizes_without_images(make_dataset) -> None:
    root = make_dataset(
        [],
        {"labels/a.txt": "0 1 1 9 9", "labels/b.txt": "0 0 0 300 9",
         "sizes.csv": "file_name,width,height\na.jpg,100,80\nb.jpg,200,80\nc.jpg,9,9\n"},
    )  # fmt: skip
    result = convert(root, image_sizes="sizes.csv")
    assert boxes(result) == [
        ("a.jpg", "class_0", [1, 1, 8, 8]), ("b.jpg", "class_0", [0, 0, 200, 9]),
    ]  # fmt: skip
    assert result.dataset.ledger.counts["train"].negatives == 1


def test_existing_output_is_left_alone(make_dataset) -> None:
    root = make_dataset(["a.jpg"], {"a.txt": "0 1 1 9 9"})
    out = root.parent / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="overwrite=true"):
        convert_dataset(DataConfig(root=root), out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("output", ["data", ".", "foreign"])
def test_overwriting_never_takes_what_no_conversion_made(make_dataset, output: str) -> None:
    root = make_dataset(["a.jpg"], {"a.txt": "0 1 1 9 9"})
    foreign = root.parent / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="Choose another folder"):
        convert_dataset(DataConfig(root=root), root.parent / output, overwrite=True)
    assert (foreign / "mine.txt").read_text() == "keep"
    assert (root / "a.jpg").is_file()


def test_failed_conversion_leaves_nothing(make_dataset) -> None:
    root = make_dataset(["a.jpg"], {"a.txt": "0 1 1 9"})
    with pytest.raises(DataError):
        convert_dataset(DataConfig(root=root, classes=["cat"]), root.parent / "out")
    assert [path.name for path in root.parent.iterdir()] == ["data"]


def test_output_inside_the_data_is_not_read_again(make_dataset) -> None:
    root = make_dataset(["a.jpg", "b.jpg"], {"a.txt": "0 1 1 9 9", "b.txt": "0 1 1 9 9"})
    data = DataConfig(root=root, **WHOLE)
    first = convert_dataset(data, root / "coco")
    again = convert_dataset(data, root / "coco", overwrite=True)
    assert again.dataset.tables["train"].num_images == 2
    assert again.dataset.fingerprint == first.dataset.fingerprint


def test_any_text_at_all_ends_in_sums_that_agree_or_in_an_error_for_the_user(make_dataset) -> None:
    """Lines made of random pieces: none may get lost, none may crash the conversion."""
    rng = random.Random(0)
    pieces = ["0", "1", "7", "-1", "0.5", "1.5", "nan", "cat", "10", "99", "1e9", "(", ")", ",",
              ";", "#", "\t", " ", "'", "é", "0,5", "inf", "1e999", "٣", "\0"]  # fmt: skip
    outcomes = {"converted": 0, "refused": 0}
    for trial in range(60):
        good = "0 10 10 30 30\n" * (trial % 2) + "1 20 20 40 40\n1 20 20 41 40\n" * (trial % 3)
        lines = [" ".join(rng.choices(pieces, k=rng.randint(1, 9))) for _ in range(trial % 7)]
        text = good + "\n".join(lines)
        root = make_dataset(
            ["a.jpg"], {"a.txt": text, "classes.txt": "cat\ndog"}, folder=f"fuzz{trial}"
        )
        options = {"format": rng.choice(["auto", "txt", "yolo"])}
        try:
            counts = convert(root, **options).ledger.counts["train"]
        except DetFinetuneError:
            outcomes["refused"] += 1
            continue
        outcomes["converted"] += 1
        assert counts.lines == counts.kept + counts.fixed + counts.rejected
        assert counts.lines + counts.blank >= len([x for x in text.splitlines() if x.strip()])
    assert min(outcomes.values()) > 5, outcomes


def test_labels_lost_to_a_short_class_list_are_not_lost_in_silence(
    make_dataset, tmp_path: Path, capsys
) -> None:
    lines = "0 0.5 0.5 0.2 0.2\n0 0.2 0.2 0.1 0.1\n1 0.7 0.7 0.2 0.2\n"
    root = make_dataset(["a.jpg"], {"a.txt": lines})
    result = convert_dataset(DataConfig(root=root, classes=["cat"]), tmp_path / "out")
    assert result.dataset.ledger.kinds("rejected") == {"class out of range": 1}
    assert "1 labels are rejected because their class is not among" in capsys.readouterr().err

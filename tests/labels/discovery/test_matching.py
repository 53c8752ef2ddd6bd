"""Which label file and which entry of a list belong to which image, where names are repeated."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import MakeDataset

from detfinetune.checks.from_ledger import ledger_findings
from detfinetune.config.schema import DataConfig
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.read import read_dataset

LINE = "0 0.5 0.5 0.2 0.2\n"


def read(root: Path) -> LabelledDataset:
    return read_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0))


def label_files(dataset: LabelledDataset, split: str = "train") -> dict[str, str]:
    table = dataset.tables[split]
    return dict(zip(table.names, table.label_files, strict=True))


def entries(dataset: LabelledDataset) -> list[tuple[str, str]]:
    return [(entry.kind, entry.path) for entry in dataset.ledger.entries]


def coco(*names: str) -> str:
    images = [
        {"id": n, "file_name": name, "width": 100, "height": 80} for n, name in enumerate(names)
    ]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [5, 5, 20, 20]}
        for n in range(len(names))
    ]
    categories = [{"id": 1, "name": "x"}]
    return json.dumps({"images": images, "annotations": boxes, "categories": categories})


def test_a_listed_image_has_the_label_file_of_its_own_folder(make_dataset: MakeDataset) -> None:
    names = ["train/1", "train/2", "val/2", "val/3"]
    texts = {f"labels/{name}.txt": LINE for name in names}
    texts |= {
        "train.txt": "./images/train/1.jpg\n./images/train/2.jpg\n",
        "val.txt": "./images/val/2.jpg\n./images/val/3.jpg\n",
        "data.yaml": "train: train.txt\nval: val.txt\nnames: [a]\n",
    }
    dataset = read(make_dataset([f"images/{name}.jpg" for name in names], texts))
    found = label_files(dataset) | label_files(dataset, "val")
    assert found == {f"images/{name}.jpg": f"labels/{name}.txt" for name in names}
    assert dataset.notes == ()


def test_images_whose_label_file_is_unclear_are_named(make_dataset: MakeDataset) -> None:
    images = ["photos/a/1.jpg", "photos/a/2.jpg", "photos/b/1.jpg"]
    texts = {f"marks/{name}.txt": LINE for name in ("a/1", "a/2", "b/1")}
    root = make_dataset(images, texts)
    dataset = read(root)
    assert label_files(dataset) == {
        "photos/a/1.jpg": "", "photos/a/2.jpg": "marks/a/2.txt", "photos/b/1.jpg": "",
    }  # fmt: skip
    assert dataset.notes[0].startswith(f"{root}: 2 images, such as photos/a/1.jpg, count as")


def test_an_unlisted_image_keeps_its_label_file(make_dataset: MakeDataset) -> None:
    images = [f"images/{cam}/{n}.jpg" for cam in "ab" for n in range(2)]
    texts = dict.fromkeys(["labels/a/1.txt", "labels/b/0.txt", "labels/b/1.txt"], LINE)
    texts |= {"train.txt": "images/a/0.jpg\nimages/a/1.jpg\n", "val.txt": "images/b/1.jpg\n"}
    dataset = read(make_dataset(images, texts))
    assert label_files(dataset) == {"a/0.jpg": "", "a/1.jpg": "labels/a/1.txt"}
    assert entries(dataset) == [("in no split", "images/b/0.jpg")]


def test_a_listed_image_comes_before_an_unlisted_one_of_its_stem(make_dataset: MakeDataset) -> None:
    texts = {"labels/a.txt": LINE, "labels/b.txt": LINE}
    texts |= {"train.txt": "images/a.png\n", "val.txt": "images/b.jpg\n"}
    images = ["images/a.jpg", "images/a.png", "images/b.jpg"]
    dataset = read(make_dataset(images, texts))
    assert label_files(dataset) == {"a.png": "labels/a.txt"}
    assert dataset.ledger.counts["train"].rejected_images == 0


def test_the_label_file_of_a_missing_image_goes_to_no_other_folder(
    make_dataset: MakeDataset,
) -> None:
    texts = dict.fromkeys(["labels/a/1.txt", "labels/b/0.txt", "labels/b/1.txt"], LINE)
    dataset = read(make_dataset(["images/a/0.jpg", "images/a/1.jpg", "images/b/1.jpg"], texts))
    assert label_files(dataset)["a/0.jpg"] == ""
    assert entries(dataset) == [("no image", "labels/b/0.txt")]


def test_the_entry_of_a_missing_image_means_no_image_of_another_folder(
    make_dataset: MakeDataset,
) -> None:
    names = [f"b/{n}.jpg" for n in range(3)]
    root = make_dataset(["images/a/0.jpg", "images/b/1.jpg", "images/b/2.jpg"], {})
    # Entries may be paths of another computer.
    for above in ("", "images/", "C:\\\\data\\\\images\\\\"):
        (root / "boxes.json").write_text(coco(*(f"{above}{name}" for name in names)))
        dataset = read(root)
        assert [name[-7:] for name in dataset.tables["train"].names] == ["b/1.jpg", "b/2.jpg"]
        assert ("missing image", "boxes.json:1") in entries(dataset)


def test_a_list_takes_no_image_of_another_split(make_dataset: MakeDataset) -> None:
    names = ["train/0", "train/1", "train/2", "val/0", "val/1"]
    texts = {f"labels/{name}.txt": LINE for name in [*names, "val/2"]}
    texts |= {
        "train.txt": "images/train/0.jpg\n",
        "val.txt": "images/val/0.jpg\nimages/val/1.jpg\nimages/val/2.jpg\n",
        "data.yaml": "train: train.txt\nval: val.txt\nnames: [a]\n",
    }
    dataset = read(make_dataset([f"images/{name}.jpg" for name in names], texts))
    assert dataset.tables["val"].names == ("images/val/0.jpg", "images/val/1.jpg")
    assert entries(dataset)[:2] == [
        ("missing image", "val.txt:3"),
        ("in no split", "images/train/1.jpg"),
    ]


def voc(name: str = "x") -> str:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    objects = f"<object><name>{name}</name>{box}</object>" if name else ""
    size = "<size><width>100</width><height>80</height><depth>3</depth></size>"
    return f"<annotation><filename>a</filename>{size}{objects}</annotation>"


def test_an_image_whose_labels_have_another_format_is_no_true_negative(
    make_dataset: MakeDataset,
) -> None:
    texts = {f"{letter}.txt": LINE for letter in "abh"} | {"e.json": "{}", "g.txt": ""}
    texts |= {"c.xml": voc(), "d.xml": voc(""), "f.jpg.xml": voc()[:-9], "g.xml": voc()}
    dataset = read(make_dataset([f"{letter}.jpg" for letter in "abcdefgh"], texts))
    assert [name[0] for name in label_files(dataset)] == ["a", "b", "d", "e", "g", "h"]
    assert entries(dataset) == [("labels not read", "c.jpg"), ("labels not read", "f.jpg")]
    assert dataset.ledger.counts["train"].rejected_images == 2
    [finding] = ledger_findings(dataset.ledger)
    assert finding.kind == "image_labels_not_read"
    texts = {f"{letter}.xml": voc() for letter in "abe"} | {"c.txt": LINE, "d.txt": "a red car\n"}
    dataset = read(make_dataset([f"{letter}.jpg" for letter in "abcde"], texts, "more"))
    assert list(label_files(dataset)) == ["a.jpg", "b.jpg", "d.jpg", "e.jpg"]


def test_upper_and_lower_case_may_differ(make_dataset: MakeDataset) -> None:
    images = ["images/a 1.png", "images/b.png", "images/c.png", "images/C.png", "images/d.png"]
    texts = {f"labels/{name}.txt": LINE for name in ("A 1", "B", "b", "C", "x/D")}
    dataset = read(make_dataset(images, texts))
    assert label_files(dataset) == {
        "C.png": "labels/C.txt", "a 1.png": "labels/A 1.txt", "b.png": "labels/b.txt",
        "c.png": "", "d.png": "labels/x/D.txt",
    }  # fmt: skip
    assert entries(dataset) == [("no image", "labels/B.txt")]
    assert dataset.notes[0].startswith("labels: 2 names differ from those of their images in upper")


def test_entries_may_differ_in_upper_and_lower_case(make_dataset: MakeDataset) -> None:
    root = make_dataset(["images/A.JPG", "images/b.jpg"], {"boxes.json": coco("a.jpg", "B.jpg")})
    dataset = read(root)
    assert label_files(dataset) == {"A.JPG": "boxes.json", "b.jpg": "boxes.json"}
    assert "boxes.json: 2 names differ" in dataset.notes[0]
    root = make_dataset(
        ["aB.jpg", "Ab.jpg", "c.jpg"], {"boxes.json": coco("c.jpg", "ab.jpg")}, "two"
    )
    assert list(label_files(read(root))) == ["c.jpg"]
    texts = {"a.txt": LINE, "b.txt": LINE, "train.txt": "A.jpg\n", "val.txt": "b.JPG\n"}
    dataset = read(make_dataset(["a.jpg", "b.jpg"], texts, "lists"))
    assert (dataset.tables["train"].names, dataset.tables["val"].names) == (("a.jpg",), ("b.jpg",))

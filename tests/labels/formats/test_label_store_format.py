"""Labels made with `detfinetune label` as a label format: only what a person has finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import MakeDataset
from hand_made import CLASSES, SCENE, yolo

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.convert import convert_dataset
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.records import RleMask
from detfinetune.labels.formats.json.label_store import (
    ClassList,
    ImageDocument,
    Shape,
    document_text,
)
from detfinetune.labels.read import read_dataset

IN_ONE_PIECE = {"val_fraction": 0.0, "test_fraction": 0.0}


def shape(
    identity: str, class_id: int, x: float, y: float, w: float, h: float, **values: Any
) -> Shape:
    return Shape(id=identity, class_id=class_id, box=(x, y, x + w, y + h), **values)


def document(name: str, state: str = "done", **values: Any) -> ImageDocument:
    """Return the document of an image of the hand-made scene."""
    shapes = tuple(
        shape(f"s{n}", CLASSES.index(label), *box)
        for n, (label, *box) in enumerate(SCENE.get(name, ()))
    )
    return ImageDocument(
        **{"width": 100, "height": 80, "state": state, "shapes": shapes, "revision": 1, **values}
    )


def store(
    documents: dict[str, ImageDocument],
    folder: str = ".detfinetune",
    classes: tuple[str, ...] = CLASSES,
) -> dict[str, str]:
    """Return the files of a store."""
    texts = {f"{folder}/labels/{k}.json": document_text(v) for k, v in documents.items()}
    return texts | {f"{folder}/store.json": ClassList(classes=classes).model_dump_json()}


def found(dataset: LabelledDataset, split: str = "train") -> dict[str, list[tuple[Any, ...]]]:
    table = dataset.tables[split]
    scene: dict[str, list[tuple[Any, ...]]] = {name: [] for name in table.names}
    for image, category, box in zip(table.image_of, table.categories, table.boxes, strict=True):
        scene[table.names[image]].append((dataset.classes[category], *box.tolist()))
    return scene


def test_finished_images_are_read_and_the_others_left_out(make_dataset: MakeDataset) -> None:
    documents = {name: document(name) for name in SCENE}
    documents |= {"p.jpg": document("a.jpg", "proposed"), "u.jpg": document("a.jpg", "unsure")}
    root = make_dataset([*documents, "new1.jpg", "new2.jpg"], store(documents))
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert (dataset.format, dataset.found) == (
        "detfinetune", "labels made with `detfinetune label` in .detfinetune",
    )  # fmt: skip
    assert dataset.classes == CLASSES
    assert found(dataset) == SCENE
    counts = dataset.ledger.counts["train"]
    assert (counts.images, counts.negatives, counts.unlabelled) == (3, 1, 0)
    assert dataset.notes[0] == (
        "images that are not finished, left out: 1 proposed, 2 todo, 1 unsure"
    )


def test_proposals_that_nobody_looked_at_never_train(make_dataset: MakeDataset) -> None:
    shapes = (shape("a", 0, 1, 1, 9, 9), shape("b", 1, 20, 1, 9, 9, accepted=False))
    root = make_dataset(["a.jpg"], store({"a.jpg": document("a.jpg", shapes=shapes)}))
    assert found(read_dataset(DataConfig(root=root, **IN_ONE_PIECE))) == {
        "a.jpg": [("car", 1, 1, 9, 9)]
    }


def test_the_store_comes_before_other_labels_unless_their_format_is_given(
    make_dataset: MakeDataset,
) -> None:
    texts = {"a.txt": yolo(SCENE["b.jpg"]), "classes.txt": "car\ndog\n"}
    root = make_dataset(["a.jpg"], {**texts, **store({"a.jpg": document("a.jpg")})})
    assert found(read_dataset(DataConfig(root=root, **IN_ONE_PIECE))) == {"a.jpg": SCENE["a.jpg"]}
    given = read_dataset(DataConfig(root=root, format="yolo", **IN_ONE_PIECE))
    assert found(given) == {"a.jpg": SCENE["b.jpg"]}


def test_a_store_elsewhere_is_named_by_data_labels(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    make_dataset([], store({"sub/a.jpg": document("a.jpg")}, "kept"), folder="elsewhere")
    root = make_dataset(["sub/a.jpg", "sub/new.jpg"], {})
    data = DataConfig(root=root, labels=str(tmp_path / "elsewhere" / "kept"), **IN_ONE_PIECE)
    assert found(read_dataset(data)) == {"sub/a.jpg": SCENE["a.jpg"]}


def test_polygons_masks_and_crowds_are_read(make_dataset: MakeDataset) -> None:
    polygon = (10.0, 10.0, 30.0, 10.0, 30.0, 40.0)
    mask = {"size": [80, 100], "counts": [800, 80, 7120]}
    shapes = (
        shape("p", 0, 10, 10, 20, 30, polygons=(polygon,)),
        shape("m", 1, 10, 0, 1, 80, mask=mask, crowd=True),
    )
    root = make_dataset(["a.jpg"], store({"a.jpg": document("a.jpg", shapes=shapes)}))
    table = read_dataset(DataConfig(root=root, **IN_ONE_PIECE)).tables["train"]
    first, second = table.record(0).annotations
    assert (first.polygons, first.bbox, first.line) == ((polygon,), (10, 10, 20, 30), 2)
    assert (second.mask, second.crowd, second.line) == (
        RleMask((80, 100), (800, 80, 7120)), True, 3,
    )  # fmt: skip


def test_the_usual_splits_apply(make_dataset: MakeDataset) -> None:
    documents = {f"{n:02}.jpg": document("a.jpg") for n in range(20)}
    root = make_dataset(list(documents), store(documents))
    tables = read_dataset(DataConfig(root=root)).tables
    assert {split: table.num_images for split, table in tables.items()} == {
        "train": 14, "val": 3, "test": 3,
    }  # fmt: skip


def test_the_blind_test_slice_is_the_test_split(make_dataset: MakeDataset) -> None:
    documents = {f"{n:02}.jpg": document("a.jpg") for n in range(20)}
    documents |= {f"{n}.jpg": document("a.jpg", split="test") for n in "xyz"}
    root = make_dataset(list(documents), store(documents))
    tables = read_dataset(DataConfig(root=root)).tables
    assert tables["test"].names == ("x.jpg", "y.jpg", "z.jpg")
    assert (tables["train"].num_images, tables["val"].num_images) == (17, 3)


def test_no_other_test_split_is_made_while_the_slice_is_not_labelled(
    make_dataset: MakeDataset,
) -> None:
    documents = {f"{n:02}.jpg": document("a.jpg") for n in range(10)}
    documents["x.jpg"] = document("a.jpg", "todo", split="test")
    root = make_dataset(list(documents), store(documents))
    assert set(read_dataset(DataConfig(root=root)).tables) == {"train", "val"}


def test_splits_of_the_images_are_kept(make_dataset: MakeDataset) -> None:
    documents = {f"{s}.jpg": document("a.jpg", split=s) for s in ("train", "val", "test")}
    root = make_dataset([*documents, "new.jpg"], store({**documents, "new.jpg": document("b.jpg")}))
    tables = read_dataset(DataConfig(root=root)).tables
    assert {split: table.names for split, table in tables.items()} == {
        "train": ("new.jpg", "train.jpg"), "val": ("val.jpg",), "test": ("test.jpg",),
    }  # fmt: skip


def test_class_names_that_look_like_numbers_are_names(make_dataset: MakeDataset) -> None:
    shapes = (shape("a", 0, 1, 1, 9, 9), shape("b", 1, 20, 1, 9, 9))
    files = store({"a.jpg": document("a.jpg", shapes=shapes)}, classes=("1", "0"))
    dataset = read_dataset(DataConfig(root=make_dataset(["a.jpg"], files), **IN_ONE_PIECE))
    assert found(dataset)["a.jpg"] == [("1", 1, 1, 9, 9), ("0", 20, 1, 9, 9)]


def test_it_converts_with_all_sums(make_dataset: MakeDataset, tmp_path: Path) -> None:
    root = make_dataset(list(SCENE), store({name: document(name) for name in SCENE}))
    result = convert_dataset(DataConfig(root=root, **IN_ONE_PIECE), tmp_path / "out")
    again = read_dataset(DataConfig(root=result.folder))
    assert found(again) == SCENE


def test_no_image_is_finished(make_dataset: MakeDataset) -> None:
    root = make_dataset(["a.jpg", "b.jpg"], store({"a.jpg": document("a.jpg", "proposed")}))
    with pytest.raises(
        DataError, match=r"no image is finished yet \(1 proposed, 1 todo\)\. Finish"
    ):
        read_dataset(DataConfig(root=root))


def test_a_labelled_image_that_is_missing_is_noted(make_dataset: MakeDataset) -> None:
    documents = {"a.jpg": document("a.jpg"), "gone.jpg": document("a.jpg")}
    dataset = read_dataset(
        DataConfig(root=make_dataset(["a.jpg"], store(documents)), **IN_ONE_PIECE)
    )
    (entry,) = dataset.ledger.entries
    assert (entry.kind, entry.path) == ("missing image", ".detfinetune/labels/gone.jpg.json")
    assert "1 labelled images are missing; see the ledger" in dataset.notes


def test_an_unknown_class_is_rejected_with_its_line(make_dataset: MakeDataset) -> None:
    shapes = (shape("a", 0, 1, 1, 9, 9), shape("b", 7, 20, 1, 9, 9))
    root = make_dataset(["a.jpg"], store({"a.jpg": document("a.jpg", shapes=shapes)}))
    (entry,) = read_dataset(DataConfig(root=root, **IN_ONE_PIECE)).ledger.entries
    assert entry.message == ".detfinetune/labels/a.jpg.json:3: class 7 is not in store.json"


@pytest.mark.parametrize("name", ["store.json", "labels/a.jpg.json"])
def test_a_damaged_file_is_named(make_dataset: MakeDataset, name: str) -> None:
    files = store({"a.jpg": document("a.jpg")})
    files[f".detfinetune/{name}"] = files[f".detfinetune/{name}"][:-5]
    root = make_dataset(["a.jpg"], files)
    with pytest.raises(DataError, match=rf"{name}: damaged \(Invalid JSON.*Restore"):
        read_dataset(DataConfig(root=root))


def test_the_format_is_given_but_there_is_no_store(make_dataset: MakeDataset) -> None:
    root = make_dataset(["a.jpg"], {})
    with pytest.raises(DataError, match=r"data\.format=detfinetune, but no \.json file is in this"):
        read_dataset(DataConfig(root=root, format="detfinetune"))

"""Opening a folder: with labels of other formats, without any, and where it cannot work."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest
from labels.hand_made import CLASSES, DOCUMENTS, FILES, SCENE, yolo
from PIL import Image

from detfinetune.annotate.start import open_store
from detfinetune.annotate.store import LabelStore
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError, OutputExistsError
from detfinetune.labels.formats.json.label_store import ImageDocument, Shape
from detfinetune.labels.read import read_dataset

PICTURE = Image.radial_gradient("L").resize((100, 80)).convert("RGB")
NO_NEGATIVES = {"openimages"}
"""Formats that cannot list an image without objects."""


def documents(store: LabelStore) -> dict[str, ImageDocument]:
    return {image.name: store.document(image) for image in store.images.values()}


def dataset(root: Path, images: list[str], texts: dict[str, str]) -> Path:
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PICTURE.save(root / name)
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def drawn(store: LabelStore) -> dict[str, list[tuple[Any, ...]]]:
    names = store.classes().classes
    return {
        name: [(names[s.class_id], s.box[0], s.box[1], s.box[2] - s.box[0], s.box[3] - s.box[1])
               for s in document.shapes]
        for name, document in documents(store).items()
    }  # fmt: skip


# --- labels that are there ------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_starting_from_one_file_for_many_images(tmp_path: Path, name: str) -> None:
    write, file, _ = DOCUMENTS[name]
    root = dataset(tmp_path / "d", [*SCENE, "new.jpg"], {file: write(SCENE)})
    before = {path: path.read_bytes() for path in root.iterdir()}
    store = open_store(DataConfig(root=root))
    assert drawn(store) == {**SCENE, "new.jpg": []}
    states = {image: document.state for image, document in documents(store).items()}
    listed = "todo" if name in NO_NEGATIVES else "done"
    assert states == {"a.jpg": "done", "b.jpg": "done", "c.jpg": listed, "new.jpg": "todo"}
    assert {path: path.read_bytes() for path in root.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("name", FILES)
def test_starting_from_a_file_for_each_image(tmp_path: Path, name: str) -> None:
    write, suffix, _, _ = FILES[name]
    texts = {f"labels/{image[0]}{suffix}": write(objects) for image, objects in SCENE.items()}
    images = [f"images/{image}" for image in (*SCENE, "new.jpg")]
    root = dataset(tmp_path / "d", images, {**texts, "classes.txt": "car\ndog\n"})
    store = open_store(DataConfig(root=root))
    assert drawn(store) == {f"images/{k}": v for k, v in {**SCENE, "new.jpg": []}.items()}
    assert store.classes().classes == CLASSES
    states = [document.state for document in documents(store).values()]
    assert states == ["done", "done", "done", "todo"]
    assert {shape.origin for d in documents(store).values() for shape in d.shapes} == {"human"}


def test_data_that_is_divided_keeps_its_splits(tmp_path: Path) -> None:
    texts = {f"{split}/labels/0.txt": yolo(SCENE["b.jpg"]) for split in ("train", "valid")}
    images = [f"{split}/images/0.jpg" for split in ("train", "valid")]
    root = dataset(tmp_path / "d", images, {**texts, "classes.txt": "car\ndog\n"})
    found = documents(open_store(DataConfig(root=root)))
    assert {name: document.split for name, document in found.items()} == {
        "train/images/0.jpg": "train", "valid/images/0.jpg": "val",
    }  # fmt: skip


def test_an_image_of_whose_labels_none_can_be_used_is_to_be_labelled(tmp_path: Path) -> None:
    texts = {f"{n}.txt": yolo(SCENE["a.jpg"]) for n in "abc"} | {"d.txt": "7 0.5 0.5 0.1 0.1\n"}
    root = dataset(
        tmp_path / "d", [f"{n}.jpg" for n in "abcd"], {**texts, "classes.txt": "car\ndog"}
    )
    found = documents(open_store(DataConfig(root=root)))
    assert [found[f"{n}.jpg"].state for n in "abcd"] == ["done", "done", "done", "todo"]


def test_labels_that_cannot_be_read_are_told_and_no_store_is_made(tmp_path: Path) -> None:
    texts = {"a.txt": "car 1 2\n", "classes.txt": "car\n"}
    root = dataset(tmp_path / "d", ["a.jpg"], texts)
    with pytest.raises(DataError, match=r"Labelling starts from the labels that are there\. Help"):
        open_store(DataConfig(root=root))
    assert not (root / ".detfinetune").exists()


def test_what_was_taken_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write, file, _ = DOCUMENTS["coco"]
    root = dataset(tmp_path / "d", list(SCENE), {file: write(SCENE)})
    open_store(DataConfig(root=root))
    assert capsys.readouterr().out == (
        "Started from 3 objects in 3 images (coco; classes: car, dog)\n"
    )


# --- no labels ------------------------------------------------------------------------------------


def set_aside(root: Path, **data: Any) -> set[str]:
    store = open_store(DataConfig(root=root, **data))
    assert {document.state for document in documents(store).values()} == {"todo"}
    return set_aside_names(store)


def set_aside_names(store: LabelStore) -> set[str]:
    return {name for name, document in documents(store).items() if document.split == "test"}


def test_test_images_of_a_new_folder_are_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{number}.jpg" for number in range(100)]
    first = set_aside(dataset(tmp_path / "a", names[:50], {}))
    assert len(first) == 8  # 15 %
    assert "8 of 50 images are set aside for test (data.test_fraction=0.15)" in (
        capsys.readouterr().out
    )
    assert set_aside(dataset(tmp_path / "b", names[:50], {})) == first
    # More images do not change places with those.
    more = set_aside(dataset(tmp_path / "c", names, {}))
    assert len(more) == 15
    old = {*names[:50]}
    assert more & old <= first
    # A store that is there stays as it is.
    assert set_aside(dataset(tmp_path / "a", names, {})) == first
    assert len(set_aside(dataset(tmp_path / "d", names, {}), test_fraction=0.9)) == 50


def test_frames_of_one_video_are_set_aside_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"video{video}_{frame:02}.jpg" for video in range(20) for frame in range(3)]
    pattern = r"^(.*[^0-9])[0-9]+[.][A-Za-z]+$"
    test = set_aside(dataset(tmp_path / "a", names, {}), split_groups=pattern)
    assert "by their names" not in capsys.readouterr().err
    videos = {name[:-6] for name in test}
    assert len(videos) == 3
    assert test == {name for name in names if name[:-6] in videos}
    set_aside(dataset(tmp_path / "b", names, {}))
    assert f"'data.split_groups=\"{pattern}\"'" in capsys.readouterr().err


def test_of_few_images_and_on_request_none_are_set_aside(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(40)]
    assert len(set_aside(dataset(tmp_path / "a", names, {}))) == 6
    assert not set_aside(dataset(tmp_path / "b", names[1:], {}))
    assert not set_aside(dataset(tmp_path / "c", names, {}), test_fraction=0)


def test_with_test_images_set_aside_val_comes_from_the_others(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(40)]
    root = dataset(tmp_path / "d", names, {})
    store = open_store(DataConfig(root=root, classes=["car"]))
    shape = Shape(id="s", class_id=0, box=(10, 10, 30, 30))
    for image in store.images.values():
        changes = {"state": "done", "shapes": (shape,)}
        store.save(image, store.document(image).model_copy(update=changes))
    tables = read_dataset(DataConfig(root=root)).tables
    test = set_aside_names(store)
    assert set(tables["test"].names) == test
    assert {split: table.num_images for split, table in tables.items()} == {
        "train": 29, "val": 5, "test": 6,
    }  # fmt: skip


def test_a_folder_without_labels_starts_empty(photos: Path) -> None:
    (photos / "notes.txt").write_text("Taken on Monday.")
    store = open_store(DataConfig(root=photos))
    assert store.classes().classes == ()
    assert {d.state for d in documents(store).values()} == {"todo"}
    assert (photos / ".detfinetune" / "store.json").is_file()


def test_a_class_list_beside_the_images_is_taken(photos: Path) -> None:
    (photos / "classes.txt").write_text("pawn\nking\n")
    assert open_store(DataConfig(root=photos)).classes().classes == ("pawn", "king")


def test_opening_again_changes_nothing(photos: Path) -> None:
    first = open_store(DataConfig(root=photos, classes=["a"]))
    image = next(iter(first.images.values()))
    first.save(image, ImageDocument(width=100, height=80, state="done"))
    again = open_store(DataConfig(root=photos, classes=["b"]))
    assert again.classes().classes == ("a",)
    assert documents(again) == documents(first)


def test_a_resized_image_is_told(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(DataConfig(root=photos))
    store.save(next(iter(store.images.values())), ImageDocument(width=100, height=80))
    PICTURE.resize((50, 40)).save(photos / "a.jpg")
    open_store(DataConfig(root=photos))
    assert "1 images have another size than when they were labelled, such as a.jpg" in (
        capsys.readouterr().err
    )


def test_names_in_any_writing(photos: Path) -> None:
    names = [
        "Fußgänger 1.jpg",
        "写真.jpg",
        "#?%&+.jpg",
        "a.jpg.json.jpg",
        "\udce4.jpg",
        "x" * 200 + ".jpg",
    ]
    for name in names:
        shutil.copy(photos / "a.jpg", photos / name)
    store = open_store(DataConfig(root=photos, classes=["car"]))
    for image in store.images.values():
        store.save(image, ImageDocument(width=100, height=80, state="done"))
    assert {d.revision for d in documents(open_store(DataConfig(root=photos))).values()} == {1}
    assert len({image.id for image in store.images.values()}) == len(names) + 3


def test_a_name_too_long_for_its_document_is_told(photos: Path) -> None:
    shutil.copy(photos / "a.jpg", photos / ("x" * 240 + ".jpg"))
    (image,) = [i for i in open_store(DataConfig(root=photos)).images.values() if i.error]
    assert image.error == "its name is longer than 230 bytes; rename it"


# --- folders that cannot be used ------------------------------------------------------------------


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder has no images \(\.bmp .*Give the folder that"):
        open_store(DataConfig(root=tmp_path))
    assert not (tmp_path / ".detfinetune").exists()


def test_a_folder_without_permission_to_write(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != photos and real(path, mode))
    reason = r"\.detfinetune: the labels cannot be written there \(no permission\)\. Keep them else"
    with pytest.raises(OutputExistsError, match=reason):
        open_store(DataConfig(root=photos))
    store = open_store(DataConfig(root=photos), tmp_path / "kept")
    store.save(next(iter(store.images.values())), ImageDocument(width=100, height=80))
    assert (tmp_path / "kept" / "labels" / "a.jpg.json").is_file()
    assert not (photos / ".detfinetune").exists()


def test_a_medium_that_cannot_be_written(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(OutputExistsError, match=r"\(Read-only file system\)\. Keep .*store=FOLDER"):
        open_store(DataConfig(root=photos))


def test_a_folder_with_other_files_is_not_taken_as_a_store(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(OutputExistsError, match=r"holds other files and no store\.json"):
        open_store(DataConfig(root=photos), tmp_path / "mine")

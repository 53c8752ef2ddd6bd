"""`detfinetune propose`, with models as a user has them."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from run_configs import run_config

from detfinetune.annotate.start import open_store
from detfinetune.cli import propose as propose_command
from detfinetune.config.schema import DataConfig, HardwareConfig
from detfinetune.errors import (
    DataError,
    DetFinetuneError,
    MissingExtraError,
    OutputExistsError,
)
from detfinetune.labels.read import read_dataset
from detfinetune.labels.splits.run_split import write_run_split
from detfinetune.models.checkpoint import Checkpoint, write_checkpoint
from detfinetune.models.rcnn.build import build_model
from detfinetune.propose import images as images_module
from detfinetune.propose import sources
from detfinetune.propose.prompts import Prompts, read_prompts

Folder = Callable[[str], Path]
CLASSES = ("disc", "square")


def propose(root: Path, *words: str, output: str = "out.json") -> dict[str, Any]:
    """Propose as on the command line, and return what was written beside the images."""
    path = root.parent / output
    propose_command([f"data.root={root}", f"output={path}", "hardware=cpu", *words])
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def refusal(root: Path, *words: str) -> str:
    with pytest.raises(DetFinetuneError) as caught:
        propose(root, *words)
    assert not (root.parent / "out.json").exists()
    return str(caught.value)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A plain folder of four pictures and a broken one."""
    folder = tmp_path / "photos"
    generator = np.random.default_rng(0)
    for number, name in enumerate(("a.png", "b.jpg", "sub/c.png", "sub/d.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = generator.integers(0, 255, (60 + number, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n")
    return folder


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.yaml"
    path.write_text("disc: [disc, ball]\nT-shirt:\n", encoding="utf-8")
    return path


@pytest.fixture
def owlv2(tiny: Folder) -> str:
    return f"model={tiny('owlv2')}"


def write_run(folder: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """Write a run whose random detector finds seven objects everywhere."""
    config = run_config(
        model={"name": "efficientnet_lite0_fpn", "weights": "random", "freeze_at": 0},
        augment={"image_size": 64, "max_size": 128},
        evaluation={"detections_per_image": 7},
        detectron2={"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0},
    )
    torch.manual_seed(0)
    state = build_model(config, classes, None).checkpoint_state()
    checkpoint = Checkpoint(state, classes, config, iteration=3, score_threshold=0.1)
    write_checkpoint(folder / "checkpoints" / "best.pth", checkpoint)
    (folder / "config.yaml").write_text("{}")
    return folder


def test_a_plain_folder(
    photos: Path, prompts: Path, owlv2: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = propose(photos, owlv2, f"prompts={prompts}")
    said = capsys.readouterr()
    assert [image["file_name"] for image in found["images"]] == [
        "a.png", "b.jpg", "sub/c.png", "sub/d.png",
    ]  # fmt: skip
    assert [category["name"] for category in found["categories"]] == ["disc", "T-shirt"]
    assert found["info"]["thresholds"] == {"disc": 0.2, "T-shirt": 0.2}
    assert found["annotations"]
    sizes = {image["id"]: (image["width"], image["height"]) for image in found["images"]}
    for annotation in found["annotations"]:
        x, y, width, height = annotation["bbox"]
        size = sizes[annotation["image_id"]]
        assert min(x, y) >= 0
        assert x + width <= size[0] + 0.01
        assert y + height <= size[1] + 0.01
        assert annotation["category_id"] in (1, 2)
        assert 0.2 <= annotation["score"] <= 1
    assert "Nothing is measured (" in said.out
    assert "label files (.txt)): all proposals from a score of 0.20 on." in said.out
    assert f"{len(found['annotations'])} proposals of" in said.out
    assert "for 4 images, 1 could not be read" in said.out
    assert said.err.count("torn.png: not an image") == 1
    assert "torn.png" in found["info"]["skipped"][0]
    assert not (photos.parent / "out.json.partial").exists()


def test_the_file_can_be_scored_and_imported(photos: Path, prompts: Path, owlv2: str) -> None:
    found = propose(photos, owlv2, f"prompts={prompts}", "score_threshold=0.05")
    (photos / "torn.png").unlink()
    file = photos.parent / "out.json"
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(file)
        scores = COCOeval(truth, truth.loadRes(found["annotations"]), "bbox")
        scores.evaluate()
        scores.accumulate()
        scores.summarize()
    assert scores.stats[0] == pytest.approx(1)
    dataset = read_dataset(DataConfig(root=photos, annotations=str(file), val_fraction=0,
                                      test_fraction=0))  # fmt: skip
    assert dataset.classes == ("disc", "T-shirt")
    assert dataset.tables["train"].num_objects == len(found["annotations"])


def test_deep_grey_images_get_a_window(tmp_path: Path, prompts: Path, owlv2: str) -> None:
    grey = np.random.default_rng(0).integers(900, 40000, (60, 90)).astype(np.uint16)
    (tmp_path / "in").mkdir()
    Image.fromarray(grey).save(tmp_path / "in" / "deep.png")
    assert len(propose(tmp_path / "in", owlv2, f"prompts={prompts}")["images"]) == 1


def test_an_interruption_goes_on(
    photos: Path, prompts: Path, owlv2: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = owlv2, f"prompts={prompts}"
    whole = propose(photos, *words, output="whole.json")
    read = images_module.read_rgb
    names: list[str] = []

    def note(path: Path, window: None) -> object:
        if len(names) == 2:
            raise KeyboardInterrupt
        names.append(path.name)
        return read(path, window)

    with monkeypatch.context() as patch:
        patch.setattr(images_module, "read_rgb", note)
        with pytest.raises(KeyboardInterrupt):
            propose(photos, *words)
    assert not (photos.parent / "out.json").exists()
    assert "2 of 5 images are done and kept in" in capsys.readouterr().out
    other = photos.parent / "other.yaml"
    other.write_text("disc: [box]\nT-shirt:\n", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="with other settings"):
        propose(photos, owlv2, f"prompts={other}")
    assert propose(photos, *words) == whole
    assert "2 of 5 images were done before." in capsys.readouterr().out
    with pytest.raises(OutputExistsError, match="overwrite=true"):
        propose(photos, *words)
    assert propose(photos, *words, "overwrite=true") == whole


def test_own_detector(photos: Path, tmp_path: Path) -> None:
    found = propose(photos, f"run={write_run(tmp_path / 'run')}")
    assert found["info"]["thresholds"] == {"disc": 0.1, "square": 0.1}
    assert {annotation["category_id"] for annotation in found["annotations"]} <= {1, 2}
    assert found["annotations"]


def test_a_class_that_was_renamed_since_the_training(photos: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "images.csv").write_text("file_name,split,content,labels\n")
    store = open_store(DataConfig(root=photos, classes=["disc", "square"]))
    os.utime(run / "images.csv", (0, 0))
    store.rename_class(1, "box", 0)
    propose_command([f"data.root={photos}", f"run={run}"])
    assert store.classes().classes == ("disc", "box")
    found = {kind for _, summary in store.summaries() for kind in summary.classes or ()}
    assert found == {1}


def test_only_classes_that_are_wanted(prompts: Path, tmp_path: Path) -> None:
    """The detector finds its second class only; the prompts have a disc, and no square."""
    picture = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    wanted = read_prompts(prompts)
    found = {}
    for classes in (("square", "disc"), ("disc", "square")):
        run = write_run(tmp_path / "_".join(classes), classes)
        detector = sources.OwnDetector(run, HardwareConfig(name="cpu", device="cpu"))
        (everything,) = detector.propose([picture], Prompts(classes))
        assert everything.class_ids.tolist() == [1] * 7
        (found[classes],) = detector.propose([picture], wanted)
    discs, squares = found.values()
    assert discs.boxes.tolist() == everything.boxes.tolist()
    assert (discs.class_names, discs.classes) == (["disc"] * 7, wanted.classes)
    assert len(squares) == 0


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Pictures, of which some have YOLO labels of two classes."""
    folder = tmp_path / "data"
    generator = np.random.default_rng(0)
    for number in range(6):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "labels").mkdir(exist_ok=True)
        noise = generator.integers(0, 255, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{number}.png")
    (folder / "classes.txt").write_text("disc\nsquare\n")
    return folder


def label_as_found(
    folder: Path, words: list[str], names: list[str], classes: tuple[int, ...]
) -> None:
    """Label images with all that is proposed of some classes."""
    found = propose(folder, *words, "score_threshold=0.05", output="first.json")
    ids = {image["id"]: image for image in found["images"]}
    for name in names:
        (folder / "labels" / f"{name}.txt").write_text("")
    for annotation in found["annotations"]:
        image = ids[annotation["image_id"]]
        name = Path(image["file_name"]).stem
        if name in names and annotation["category_id"] - 1 in classes:
            x, y, width, height = annotation["bbox"]
            values = [(x + width / 2) / 90, (y + height / 2) / 60, width / 90, height / 60]
            with (folder / "labels" / f"{name}.txt").open("a") as stream:
                kind = annotation["category_id"] - 1
                stream.write(f"{kind} {' '.join(f'{value:.6f}' for value in values)}\n")


def test_thresholds_are_chosen_on_labelled_images(
    labelled: Path, owlv2: str, capsys: pytest.CaptureFixture[str]
) -> None:
    label_as_found(labelled, [owlv2], ["0", "1"], (0,))
    first = json.loads((labelled.parent / "first.json").read_text())
    discs = [each["score"] for each in first["annotations"]
             if each["category_id"] == 1 and each["image_id"] in (1, 2)]  # fmt: skip
    squares = sum(each["category_id"] == 2 for each in first["annotations"])
    assert discs
    assert squares
    capsys.readouterr()
    found = propose(labelled, owlv2)
    said = capsys.readouterr().out
    # All that is proposed as a disc is one; no square is labelled yet, so that nothing is known.
    assert found["info"]["thresholds"] == {"disc": min(discs), "square": 0.2}
    assert "on 2 labelled images (drawing a box 3, adjusting one 2, deleting one 1)" in said
    assert f"{3 * len(discs)} by hand" in said
    assert {image["file_name"] for image in found["images"]} == {
        f"images/{number}.png" for number in range(6)
    }
    lowest = {1: min(discs), 2: 0.2}
    assert [each["score"] for each in found["annotations"]] == [
        each["score"]
        for each in first["annotations"]
        if each["score"] >= lowest[each["category_id"]]
    ]


def test_what_costs_more_than_it_saves_is_not_proposed(
    labelled: Path, owlv2: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0", "1"):
        # Of both classes, a speck in a corner.
        (labelled / "labels" / f"{name}.txt").write_text(
            "0 0.99 0.99 0.012 0.018\n1 0.01 0.99 0.012 0.018\n"
        )
    propose_command(
        [f"data.root={labelled}", f"output={labelled.parent / 'out.json'}", "hardware=cpu", owlv2]
    )
    said = capsys.readouterr().out
    assert said.count("  draw by hand") == 2
    assert "for 0 images; no class is worth it, draw by hand" in said
    assert not (labelled.parent / "out.json").exists()


def test_the_cheaper_of_model_and_run_proposes(
    labelled: Path, owlv2: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    own = [f"run={run}"]
    label_as_found(labelled, own, ["0", "1", "2"], (0, 1))
    dataset = read_dataset(DataConfig(root=labelled, val_fraction=0, test_fraction=0))
    table = dataset.tables["train"]
    write_run_split(run, dataset.classes, {"train": table.select([0]), "test": table.select([1])})
    capsys.readouterr()
    found = propose(labelled, owlv2, *own)
    said = capsys.readouterr().out
    # The run was trained on one labelled image and tested on another.
    assert "on 1 labelled images" in said
    assert found["info"]["source"] == str(run)

    write_run_split(run, dataset.classes, {"train": table})
    found = propose(labelled, owlv2, *own, output="again.json")
    assert "was trained or tested on all labelled images" in capsys.readouterr().out
    assert found["info"]["source"] == str(run)


def test_what_is_missing_is_said(photos: Path, owlv2: str, prompts: Path, tmp_path: Path) -> None:
    said = refusal(photos)
    assert "Say what proposes: model=grounding_dino_tiny" in said
    said = refusal(photos, owlv2)
    assert "prompts is missing: nothing in" in said
    assert "car: [car, vehicle]" in said
    assert "prompts are for model=" in refusal(photos, "run=x", f"prompts={prompts}")
    (tmp_path / "empty").mkdir()
    assert "the folder has no images" in refusal(tmp_path / "empty", owlv2)
    for name in ("a.png", "b.jpg", "sub/c.png", "sub/d.png"):
        (photos / name).write_bytes(b"torn")
    assert "none of 5 images can be read; the first:" in refusal(
        photos, owlv2, f"prompts={prompts}"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "photos", "prompts.yaml"]


def test_models_that_do_not_fit(
    photos: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"prompts={prompts}"
    assert "Did you mean 'owlv2_base'?" in refusal(photos, "model=owlv2_bas", words)
    (tmp_path / "other").mkdir()
    assert "config.json is missing" in refusal(photos, f"model={tmp_path / 'other'}", words)
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    assert "of the type 'bert'" in refusal(photos, f"model={tmp_path / 'other'}", words)
    run = write_run(tmp_path / "run")
    assert f"Give run={run}" in refusal(photos, f"model={run}", words)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, repository in sources.PUBLISHED.items():
        said = refusal(photos, f"model={name}", words)
        assert f"hf download {repository} --local-dir FOLDER" in said
        assert "give model=FOLDER" in said
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"detfinetune\[propose\]"):
        propose(photos, "model=owlv2_base", words)


def test_an_unreadable_class_list_is_an_error(photos: Path, owlv2: str) -> None:
    with pytest.raises(DataError, match=r"data\.classes: there is no file"):
        propose(photos, owlv2, "data.classes=missing.txt")

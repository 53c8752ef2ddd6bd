"""The Python interface, as docs/python.md shows it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import detfinetune
from detfinetune import Detector, check, convert, evaluate, predict, train
from detfinetune.config.load import build_config, load_train_config
from detfinetune.config.schema import TrainConfig
from detfinetune.errors import ConfigError, MissingExtraError
from detfinetune.labels.convert import ConversionResult
from detfinetune.prediction import Prediction

SMALL = {
    "hardware": "cpu",
    "augment": {"image_size": 96},
    "solver": {"images_per_batch": 4, "max_iter": 2, "warmup_iters": 0},
    "model": {
        "name": "timm/test_efficientnet", "weights": "random", "fpn_channels": 32,
        "box_head_dim": 32, "rois_per_image": 32,
    },
    "evaluation": {"pictures": 1},
    "detectron2": {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(toy_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps with masks."""
    folder = tmp_path_factory.mktemp("api") / "run"
    result = train(toy_dataset, task="segm", output_dir=folder, **SMALL)
    assert result.path == folder
    return folder


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_detector_predicts_and_evaluates(run: Path, toy_dataset: Path, tmp_path: Path) -> None:
    detector = Detector.load(run, device="cpu")
    assert detector.classes == ("disc", "square")
    path = toy_dataset / "images" / "test" / "test 000.png"
    with Image.open(path) as picture:
        array = np.asarray(picture.convert("RGB"))
        several = detector.predict([path, str(path), picture, array], score_threshold=0.0)
    assert all(np.array_equal(found.boxes, several[0].boxes) for found in several)
    found = several[0][:5]
    assert isinstance(found, Prediction)
    assert (found.boxes.shape, len(found.class_names)) == ((5, 4), 5)
    assert found.masks is not None
    assert found.masks.shape == (5, 96, 96)
    found.plot().save(tmp_path / "found.jpg")
    results = found.to_coco(image_id=7)
    assert {(entry["image_id"], set(entry) >= {"segmentation"}) for entry in results} == {(7, True)}
    on_test = detector.evaluate(split="test", output=tmp_path / "mine")
    assert on_test.num_images == 8
    other = detector.evaluate(toy_dataset, split="val", output=tmp_path / "other")
    assert other.num_images == 8


@pytest.fixture
def found(run: Path, toy_dataset: Path) -> Prediction:
    image = toy_dataset / "images" / "test" / "test 000.png"
    return Detector.load(run).predict(image, score_threshold=0.0)[:3]


def test_to_supervision(found: Prediction) -> None:
    pytest.importorskip("supervision", reason="needs the extra supervision")
    theirs = found.to_supervision()
    assert np.array_equal(theirs.xyxy, found.boxes)
    assert theirs.data["class_name"].tolist() == found.class_names
    assert theirs.mask is not None
    assert theirs.mask.shape == (3, 96, 96)


def test_without_supervision(found: Prediction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'detfinetune\[supervision\]'"):
        found.to_supervision()


def test_the_commands_are_functions(run: Path, toy_dataset: Path, tmp_path: Path) -> None:
    assert evaluate(run, split="val", hardware="cpu", output="ev").num_images == 8
    pictures = predict(
        run / "checkpoints" / "best.pth", toy_dataset / "images" / "test", output="found"
    )
    assert (pictures.num_images, pictures.output) == (8, Path("found"))
    assert convert(toy_dataset, output="coco").folder == Path("coco")
    assert convert(toy_dataset, output="voc", output_format="voc").folder == Path("voc")
    assert check(toy_dataset, quick=True, hardware="cpu", output="page").dataset.classes == (
        "disc", "square",
    )  # fmt: skip
    stored = yaml.safe_load((run / "config.yaml").read_text())
    again = stored | {"solver": stored["solver"] | {"max_iter": 1}, "output_dir": "again"}
    assert train(**again).iteration == 1
    assert build_config("train", TrainConfig, stored).model_dump(mode="json") == stored


def test_a_folder_and_keys_of_its_data(toy_dataset: Path, tmp_path: Path) -> None:
    done = convert(toy_dataset, data={"format": "yolo", "name": "toys"}, output=tmp_path / "coco")
    assert isinstance(done, ConversionResult)
    assert (done.dataset.name, done.dataset.format) == ("toys", "yolo")


def test_settings_are_those_of_the_command_line(toy_dataset: Path) -> None:
    values = {
        "experiment": "satellite", "augment": {"flip": "none"}, "seed": 3, "task": "segm",
        "data": {"root": toy_dataset, "splits": {"train": "a"}}, "hardware": "cpu",
    }  # fmt: skip
    words = [
        "+experiment=satellite", "augment.flip=none", "seed=3", "task=segm", "hardware=cpu",
        f"data.root={toy_dataset}", "data.splits={train: a}",
    ]  # fmt: skip
    assert build_config("train", TrainConfig, values) == load_train_config(words)


def test_mistakes_are_listed_together(toy_dataset: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        train(toy_dataset, solver={"max_itr": 3, "base_lr": "fast"}, hardware="gpus", sed=1)
    text = str(caught.value)
    assert "Did you mean 'max_iter'" in text or "'solver.max_iter'" in text
    for part in ("solver.base_lr='fast'", "hardware=gpus", "'sed' is not a key"):
        assert part in text
    with pytest.raises(ConfigError, match="cannot be combined with resume="):
        train(resume="runs/x", seed=3)


@pytest.mark.slow  # trains for real
def test_the_first_example_of_the_docs_runs(repo: Path, toy_dataset: Path, tmp_path: Path) -> None:
    text = (repo / "docs" / "python.md").read_text(encoding="utf-8")
    (example, *_) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shutil.copytree(toy_dataset, tmp_path / "DIR")
    shutil.copy(toy_dataset / "images" / "test" / "test 000.png", tmp_path / "photo.jpg")
    exec(compile(example.replace("300", "20"), "docs/python.md", "exec"), {})
    assert (tmp_path / "found.jpg").is_file()
    assert (tmp_path / "runs" / "custom" / "results.json").is_file()


def test_names_of_the_package() -> None:
    for name in detfinetune.__all__:
        assert name in dir(detfinetune)
        assert getattr(detfinetune, name)

"""What a user sees for each mistake around training: one clear message, exit code 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from detfinetune.config.load import load_train_config
from detfinetune.engine.train import train
from detfinetune.errors import DetFinetuneError

QUICK = ["hardware=cpu", "augment.image_size=96", "hardware.num_workers=0", "solver.max_iter=2",
         "evaluation.pictures=0", "solver.images_per_batch=2"]  # fmt: skip


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def message(*overrides: str) -> str:
    """The error's text for a training command."""
    quick = [] if any(word.startswith("resume=") for word in overrides) else QUICK
    with pytest.raises(DetFinetuneError) as caught:
        train(load_train_config([*quick, *overrides]))
    return str(caught.value)


def test_no_data_root() -> None:
    text = message("+experiment=bccd")
    assert "data.root" in text
    assert "https://github.com/Shenggan/BCCD_Dataset" in text


def test_data_root_that_is_not_there(toy_dataset: Path) -> None:
    text = message(f"data.root={toy_dataset}x")
    assert f"{toy_dataset}x" in text
    assert toy_dataset.name in text.replace(f"{toy_dataset}x", "")


def test_device_that_is_not_there(toy_dataset: Path) -> None:
    text = message(f"data.root={toy_dataset}", "hardware.device=cuda:7")
    assert "hardware.device=cuda:7: the device cannot be used" in text


def test_unknown_model(toy_dataset: Path) -> None:
    text = message(f"data.root={toy_dataset}", "model.name=COCO-Detection/faster_rcnn_R50_FPN_3x")
    assert "Did you mean 'COCO-Detection/faster_rcnn_R_50_FPN_3x'" in text


def test_unknown_raw_detectron2_key(toy_dataset: Path) -> None:
    text = message(f"data.root={toy_dataset}", "detectron2.MODEL.RPN.NMS_TRESH=0.5")
    assert "detectron2.MODEL.RPN.NMS_TRESH" in text
    assert "MODEL.RPN.NMS_THRESH" in text


def test_weights_file_that_is_not_there(toy_dataset: Path) -> None:
    text = message(f"data.root={toy_dataset}", "model.weights=nowhere.pth")
    assert "model.weights=nowhere.pth" in text
    assert "random" in text


def test_output_that_is_there_already(toy_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine", encoding="utf-8")
    text = message(f"data.root={toy_dataset}", "output_dir=out")
    assert "output_dir=out: already exists" in text
    assert (tmp_path / "out" / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_masks_without_polygons(toy_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "boxes"
    shutil.copytree(toy_dataset, folder)
    for file in (folder / "labels").rglob("*.txt"):
        file.write_text("0 0.5 0.5 0.2 0.2\n", encoding="utf-8")
    text = message(f"data.root={folder}", "task=segm")
    assert "task=segm needs masks" in text


def test_resume_of_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert "there is no such run folder" in message("resume=runs/none")
    (tmp_path / "empty").mkdir()
    assert "this is not a run folder (config.yaml is missing)" in message("resume=empty")


def test_resume_from_a_corrupt_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "last.pth").write_bytes(b"PK\x03\x04 torn")
    text = message("resume=run")
    assert "the file is broken or not a checkpoint" in text
    assert "best.pth" in text


def test_weights_that_blow_up_end_with_advice(toy_dataset: Path, tmp_path: Path) -> None:
    text = message(
        f"data.root={toy_dataset}", "solver.base_lr=1e30", "solver.clip_norm=0",
        "solver.max_iter=20", "solver.warmup_iters=0", "output_dir=out",
    )  # fmt: skip
    assert "not finite" in text
    assert "solver.base_lr=" in text
    assert "There is no usable checkpoint yet. Log: out/log.txt" in text
    assert not (tmp_path / "out" / "checkpoints" / "last.pth").exists()


def test_data_that_changed_since_the_run_began(toy_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(toy_dataset, folder)
    train(load_train_config([*QUICK, f"data.root={folder}", "output_dir=out"]))
    label = next((folder / "labels" / "train").glob("*.txt"))
    label.write_text("0 0.5 0.5 0.2 0.2\n", encoding="utf-8")
    text = message("resume=out", "solver.max_iter=4")
    assert "the data has changed since this run began" in text
    assert "model.weights=out/checkpoints/best.pth" in text

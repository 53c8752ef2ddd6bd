"""evaluate(): from a run folder or checkpoint and data on disk to tables, files and pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from run_configs import run_config

from detfinetune.config.schema import DataConfig, EvaluateConfig, EvaluationConfig, HardwareConfig
from detfinetune.errors import CheckpointError, ConfigError, DataError
from detfinetune.evaluation.evaluate import evaluate
from detfinetune.labels.convert import write_accounts
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.read import read_dataset
from detfinetune.labels.splits.run_split import write_run_split
from detfinetune.models.checkpoint import Checkpoint, write_checkpoint
from detfinetune.models.rcnn.build import build_model

SQUARE = "1 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6\n"
CPU = HardwareConfig(name="cpu", device="cpu", num_workers=0)


def _write_run(
    folder: Path, data: Path, classes: tuple[str, ...], score_threshold: float | None = None
) -> Path:
    """Write a run of a detector with random weights that predicts something everywhere."""
    config = run_config(
        task="segm",
        data={"name": "toy", "root": data},
        model={"name": "efficientnet_lite0_fpn", "weights": "random", "freeze_at": 0},
        augment={"image_size": 64, "max_size": 128},
        evaluation={"detections_per_image": 20},
        detectron2={"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0},
    )
    torch.manual_seed(0)
    state = build_model(config, classes, None).checkpoint_state()
    write_checkpoint(
        folder / "checkpoints" / "best.pth",
        Checkpoint(state, classes, config, iteration=3, score_threshold=score_threshold),
    )
    return folder


def test_a_run_is_evaluated_on_its_own_data(
    toy_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _write_run(tmp_path / "run", toy_dataset, ("disc", "square"))
    result = evaluate(
        EvaluateConfig(
            run=run,
            split="test",
            hardware=CPU,
            evaluation=EvaluationConfig(pictures=3, detections_per_image=5),
        )
    )
    assert result.num_images == 8
    # The limit that was asked for holds for the model as well: 5 on each of 8 images.
    assert len(result.detections) == 40
    folder = run / "evaluation" / "test"
    written = json.loads((folder / "metrics.json").read_text())
    assert written["bbox"]["AP"] == result.metrics["bbox"].ap
    assert written["segm"]["detections_per_image"] == 5
    assert set(written["segm"]["classes"]) == {"disc", "square"}
    assert written["provenance"]["iteration"] == 3
    assert written["provenance"]["checkpoint"] == str(run / "checkpoints" / "best.pth")
    assert len(written["provenance"]["data_fingerprint"]) >= 12
    assert len(json.loads((folder / "detections.json").read_text())) == 40
    with Image.open(folder / "worst_first.jpg") as sheet:
        assert sheet.width > 4 * 480
    shown = capsys.readouterr()
    assert "toy, test: 8 images" in shown.out
    assert "segm AP50" in shown.out
    assert "The model is probably undertrained" in shown.err


def test_only_val_chooses_its_own_threshold(toy_dataset: Path, tmp_path: Path) -> None:
    run = _write_run(tmp_path / "run", toy_dataset, ("disc", "square"), score_threshold=0.4321)
    chosen = {}
    for split in ("val", "test"):
        evaluate(EvaluateConfig(run=run, split=split, hardware=CPU))
        written = json.loads((run / "evaluation" / split / "metrics.json").read_text())
        chosen[split] = written["score_threshold"]
    assert chosen["val"] is None or chosen["val"]["score"] != 0.4321
    assert (chosen["test"]["score"], chosen["test"]["chosen_on"]) == (0.4321, "val")


def test_other_classes_show_both_lists(toy_dataset: Path, tmp_path: Path) -> None:
    run = _write_run(tmp_path / "run", toy_dataset, ("disc", "triangle"))
    with pytest.raises(CheckpointError) as caught:
        evaluate(EvaluateConfig(run=run, hardware=CPU))
    assert "model: disc, triangle" in str(caught.value)
    assert "data:  disc, square" in str(caught.value)


def test_losses_on_data_with_the_classes_in_another_order(
    toy_dataset: Path, tmp_path: Path
) -> None:
    run = _write_run(tmp_path / "run", toy_dataset, ("disc", "square"))
    other = tmp_path / "other"
    shutil.copytree(toy_dataset, other)
    (other / "classes.txt").write_text("square\ndisc\n")
    for path in other.glob("labels/*/*.txt"):
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{1 - int(line[0])}{line[1:]}\n" for line in lines))
    losses = []
    for root in (toy_dataset, other):
        torch.manual_seed(0)  # of the sampled regions
        result = evaluate(
            EvaluateConfig(
                run=run,
                data=DataConfig(name="toy", root=root),
                hardware=CPU,
                evaluation=EvaluationConfig(pictures=0, loss=True),
                output=tmp_path / root.name,
            )
        )
        losses.append(result.losses)
    assert losses[0]["loss_cls"] > 0
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_configurations_that_cannot_be_meant(toy_dataset: Path, tmp_path: Path) -> None:
    run = _write_run(tmp_path / "run", toy_dataset, ("disc", "square"))
    with pytest.raises(ConfigError, match="Give either run or checkpoint; neither is given"):
        evaluate(EvaluateConfig(hardware=CPU))
    with pytest.raises(ConfigError, match=r"data\.\* is given without data\.root"):
        evaluate(EvaluateConfig(run=run, data=DataConfig(first_class=1), hardware=CPU))
    (run / "checkpoints" / "best.pth").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"best\.pth: the file is broken"):
        evaluate(EvaluateConfig(run=run, hardware=CPU))


def test_a_split_that_is_not_there(toy_dataset: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for part in ("images", "labels"):
        for split in ("train", "val"):
            (data / part).mkdir(parents=True, exist_ok=True)
            (data / part / split).symlink_to(toy_dataset / part / split)
    (data / "classes.txt").write_text("disc\nsquare\n")
    run = _write_run(tmp_path / "run", data, ("disc", "square"))
    with pytest.raises(DataError, match="has no split 'test'"):
        evaluate(EvaluateConfig(run=run, split="test", hardware=CPU))


@pytest.fixture
def divided(toy_dataset: Path, tmp_path: Path) -> tuple[Path, Path, LabelledDataset]:
    """A data set without splits, a run on it, and how it was divided."""
    data = tmp_path / "data"
    shutil.copytree(toy_dataset / "images" / "train", data / "images")
    shutil.copytree(toy_dataset / "labels" / "train", data / "labels")
    shutil.copy(toy_dataset / "classes.txt", data)
    run = _write_run(tmp_path / "run", data, ("disc", "square"))
    trained_on = read_dataset(DataConfig(name="toy", root=data))
    write_accounts(trained_on, run, contact_sheet=0)
    write_run_split(run, trained_on.classes, trained_on.tables)
    return data, run, trained_on


@pytest.mark.parametrize("older", [False, True])
def test_a_run_keeps_its_split_when_the_data_changes(
    divided: tuple[Path, Path, LabelledDataset], older: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dividing the data again could put training images into the test split."""
    data, run, trained_on = divided
    if older:
        (run / "images.csv").unlink()
    held_out = trained_on.tables["test"].names
    # One label corrected, one training image removed, images added.
    (data / "labels" / f"{Path(held_out[0]).stem}.txt").write_text(SQUARE)
    removed = Path(trained_on.tables["train"].names[0]).stem
    (data / "images" / f"{removed}.png").unlink()
    (data / "labels" / f"{removed}.txt").unlink()
    for number in range(30):
        Image.new("RGB", (96, 96), (number, 0, 0)).save(data / "images" / f"new {number}.png")
        (data / "labels" / f"new {number}.txt").write_text(SQUARE)
    assert read_dataset(DataConfig(name="toy", root=data)).tables["test"].names != held_out
    result = evaluate(EvaluateConfig(run=run, split="test", hardware=CPU))
    names = {entry["image_id"] for entry in result.detections}
    assert result.num_images == len(held_out) == len(names)
    provenance = json.loads((run / "evaluation/test/metrics.json").read_text())["provenance"]
    before = trained_on.tables["test"]
    assert provenance["labels"]["kept"] == before.num_objects - (int(np.diff(before.starts)[0]) - 1)
    if not older:
        assert provenance["changes"] == {"other labels": [held_out[0]]}
        shown = capsys.readouterr()
        assert f"images that were relabelled since the run began, scored as they are now: 1 (" \
            f"{held_out[0]})" in shown.err  # fmt: skip
        assert "images that the run does not have in this split, left out: 30 (" in shown.out


def test_images_are_known_by_content(
    divided: tuple[Path, Path, LabelledDataset], capsys: pytest.CaptureFixture[str]
) -> None:
    """Names are exchanged between train and test, one test image is gone, one is another."""
    data, run, trained_on = divided
    train, test = trained_on.tables["train"].names, trained_on.tables["test"].names
    for folder, ending in (("images", "png"), ("labels", "txt")):
        one, other = (data / folder / f"{Path(n).stem}.{ending}" for n in (train[0], test[0]))
        one.rename(data / "aside")
        other.rename(one)
        (data / "aside").rename(other)
    (data / "images" / test[1]).unlink()
    Image.new("RGB", (96, 96)).save(data / "images" / test[2])
    result = evaluate(EvaluateConfig(run=run, split="test", hardware=CPU))
    assert result.num_images == len(test) - 1
    provenance = json.loads((run / "evaluation/test/metrics.json").read_text())["provenance"]
    assert provenance["changes"] == {"missing": [test[1]], "other content": [test[2]]}
    assert f"are missing or cannot be used any more, and are not scored: 1 ({test[1]})" in (
        capsys.readouterr().err
    )


def test_images_moved_between_split_folders_are_left_out(
    toy_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(toy_dataset, data)
    run = _write_run(tmp_path / "run", data, ("disc", "square"))
    trained_on = read_dataset(DataConfig(name="toy", root=data))
    write_run_split(run, trained_on.classes, trained_on.tables)
    for number in range(3):
        for folder, ending in (("images", "png"), ("labels", "txt")):
            name = f"train {number:03}.{ending}"
            shutil.move(data / folder / "train" / name, data / folder / "test" / name)
    result = evaluate(EvaluateConfig(run=run, split="test", hardware=CPU))
    assert result.num_images == 8
    assert (
        "images that the run does not have in this split, left out: 3 (" in capsys.readouterr().out
    )


def test_training_images_in_other_data_are_said(
    divided: tuple[Path, Path, LabelledDataset], capsys: pytest.CaptureFixture[str]
) -> None:
    data, run, trained_on = divided
    other = DataConfig(name="other", root=data, split_seed=5, test_fraction=0.4)
    evaluate(EvaluateConfig(run=run, split="test", data=other, hardware=CPU))
    trained = set(trained_on.tables["train"].names)
    scored = set(read_dataset(other).tables["test"].names)
    assert f"the figures are too high: {len(trained & scored)} of {len(scored)} (" in (
        capsys.readouterr().err
    )


def test_what_is_left_out_is_listed(
    toy_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(toy_dataset, data)
    (data / "labels" / "test" / "test 000.txt").write_text("9 0.4 0.4 0.6 0.4 0.6 0.6\n")
    (data / "labels" / "test" / "test 001.txt").write_bytes(bytes(40))
    run = _write_run(tmp_path / "run", data, ("disc", "square"))
    result = evaluate(EvaluateConfig(run=run, split="test", hardware=CPU))
    assert result.num_images == 6
    errors = capsys.readouterr().err
    assert "images left out: 2 (" in errors
    assert "test 000.png: none of its labels can be used" in errors


def test_data_without_splits_is_scored_whole(
    toy_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _write_run(tmp_path / "run", toy_dataset, ("disc", "square"))
    for folder in ("images", "labels"):
        shutil.copytree(toy_dataset / folder / "test", tmp_path / "new" / folder)
    shutil.copy(toy_dataset / "classes.txt", tmp_path / "new")
    whole = DataConfig(name="new", root=tmp_path / "new")
    for split in ("val", "test"):
        result = evaluate(EvaluateConfig(run=run, split=split, data=whole, hardware=CPU))
        assert result.num_images == 8
    assert "The data has no splits, so all of its 8 images are scored." in capsys.readouterr().out
    part = DataConfig(name="new", root=tmp_path / "new", test_fraction=0.25)
    result = evaluate(EvaluateConfig(run=run, split="test", data=part, hardware=CPU))
    assert 0 < result.num_images < 8

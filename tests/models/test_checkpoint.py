"""Checkpoints are whole or not there, run no code, and say what is wrong with them."""

from __future__ import annotations

import os
import pickle
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_configs import run_config

from detfinetune.config.schema import HardwareConfig
from detfinetune.errors import CheckpointError, ConfigError, TrainingError
from detfinetune.models.calibration import UNCALIBRATED, Calibration
from detfinetune.models.checkpoint import (
    BestResult,
    Checkpoint,
    check_device,
    find_checkpoint,
    load_detector,
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from detfinetune.models.detection_model import DetectionModel
from detfinetune.models.rcnn.build import build_detector, build_model
from detfinetune.models.rcnn.d2_cfg import build_cfg, model_settings

CPU = HardwareConfig(name="cpu", num_workers=0)
CONFIG = run_config(
    model={"name": "timm/test_efficientnet", "weights": "random", "freeze_at": 0,
           "anchor_sizes": [8, 16, 32, 64, 128], "fpn_channels": 32, "box_head_dim": 32},
    augment={"image_size": 96, "max_size": 160, "crop_size": 0},
    evaluation={"eval_period": 0, "detections_per_image": 100},
)  # fmt: skip
RETINANET = run_config(model={"name": "COCO-Detection/retinanet_R_50_FPN_1x", "weights": "random"})


def some_checkpoint(value: float = 1.0, size: int = 1000) -> Checkpoint:
    return Checkpoint(
        model={"weight": torch.full((size,), value)},
        classes=("disc", "Straße"),
        config=CONFIG,
        iteration=17,
        optimizer={"state": {0: {"step": torch.tensor(17.0)}}, "param_groups": [{"lr": 1e-3}]},
        grad_scaler={"scale": 65536.0},
        best=BestResult("bbox/AP", 41.5, 10),
        score_threshold=0.35,
        calibration=Calibration(1.25, -0.5),
        data_fingerprint="abc",
    )


def detector_checkpoint(classes: tuple[str, ...] = ("disc", "square")) -> Checkpoint:
    return Checkpoint(build_model(CONFIG, classes, None).checkpoint_state(), classes, CONFIG, 3)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a checkpoint file."""
    payload = torch.load(path, weights_only=True)
    change(payload)
    torch.save(payload, path)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.pth"
    stored = some_checkpoint()
    write_checkpoint(path, stored)
    read = read_checkpoint(path)
    assert torch.equal(read.model["weight"], stored.model["weight"])
    assert read.optimizer is not None
    assert read.optimizer["param_groups"] == [{"lr": 1e-3}]
    assert float(read.optimizer["state"][0]["step"]) == 17
    assert replace(read, model={}, optimizer=None) == replace(stored, model={}, optimizer=None)
    assert leftovers(path.parent) == ["last.pth"]


def test_no_code_is_needed_to_read_it(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, some_checkpoint())
    assert torch.load(path, weights_only=True)["classes"] == ["disc", "Straße"]


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was_run",)


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "model": _Evil()}, "last.pth")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(Path("last.pth"))
    assert str(caught.value).startswith(
        "last.pth: this file contains code (posix.mkdir) and was not loaded."
    )
    assert "weights_only" not in str(caught.value)
    assert "broken" not in str(caught.value)
    assert leftovers(tmp_path) == ["last.pth"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_torn_file(tmp_path: Path, share: float) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, some_checkpoint())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: the file is broken or not a checkpoint")
    assert "try the other one" in str(caught.value)


def test_flipped_bytes_in_weights(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, some_checkpoint())
    whole = bytearray(path.read_bytes())
    at = whole.find(torch.full((100,), 1.0).numpy().tobytes())
    whole[at + 2] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"last\.pth: the file is broken: the checksum of"):
        read_checkpoint(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    path = tmp_path / "best.pth"
    write_checkpoint(path, some_checkpoint(value))
    with pytest.raises(CheckpointError, match=r"broken: model\.weight has values that are NaN or"):
        read_checkpoint(path)


def test_files_that_are_none_of_ours(tmp_path: Path) -> None:
    foreign, plain, text = tmp_path / "model.pth", tmp_path / "list.pth", tmp_path / "notes.pth"
    torch.save({"model": {"weight": torch.zeros(2)}}, foreign)
    torch.save([1, 2], plain)
    text.write_bytes(pickle.dumps("notes"))
    for path in (foreign, plain):
        with pytest.raises(CheckpointError, match="this is not a detfinetune checkpoint") as caught:
            read_checkpoint(path)
        assert f"model.weights={path}" in str(caught.value)
    with pytest.raises(CheckpointError, match=r"notes\.pth"):
        read_checkpoint(text)


def test_a_file_that_lacks_a_part(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, some_checkpoint())
    edit(path, lambda payload: payload.pop("classes"))
    with pytest.raises(CheckpointError, match=r"last\.pth: a part .*: 'classes'"):
        read_checkpoint(path)


def test_a_configuration_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, some_checkpoint())
    edit(path, lambda payload: payload["config"]["solver"].update(momentun=0.9))
    with pytest.raises(CheckpointError, match="is not valid in this version") as caught:
        read_checkpoint(path)
    assert "momentun" in str(caught.value)
    write_checkpoint(path, some_checkpoint())
    edit(path, lambda payload: payload["config"]["solver"].update(max_iter=None))
    with pytest.raises(CheckpointError, match="is not valid in this version") as caught:
        read_checkpoint(path)
    assert "solver.max_iter" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        read_checkpoint(tmp_path / "best.pth")


def run_folder(parent: Path, name: str, *checkpoints: str) -> Path:
    run = parent / name
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("task: bbox\n", encoding="utf-8")
    for checkpoint in checkpoints:
        (run / "checkpoints" / checkpoint).write_bytes(b"")
    return run


def test_best_falls_back_to_last_and_last_never_to_best(tmp_path: Path) -> None:
    both = run_folder(tmp_path, "both", "best.pth", "last.pth")
    assert find_checkpoint(both).name == "best.pth"
    assert find_checkpoint(both, "last").name == "last.pth"
    assert find_checkpoint(run_folder(tmp_path, "early", "last.pth")).name == "last.pth"
    lost = run_folder(tmp_path, "lost", "best.pth")
    assert find_checkpoint(lost).name == "best.pth"
    with pytest.raises(CheckpointError, match=r"last\.pth is missing") as caught:
        find_checkpoint(lost, "last")
    assert f"model.weights={lost / 'checkpoints' / 'best.pth'}" in str(caught.value)


def test_runs_nearby_are_listed(tmp_path: Path) -> None:
    for name in ("cells", "cells-2"):
        run_folder(tmp_path, name, "last.pth")
    (tmp_path / "no_run").mkdir()
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(tmp_path / "cels")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'cels'}: there is no such run folder.")
    assert f"Runs in {tmp_path}: cells, cells-2." in text
    assert "no_run" not in text


def test_a_run_that_has_no_checkpoint_and_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="stopped before the first one"):
        find_checkpoint(run_folder(tmp_path, "short"))
    (tmp_path / "photos").mkdir()
    with pytest.raises(CheckpointError, match="this is not a run folder"):
        find_checkpoint(tmp_path / "photos")


def test_a_file_in_place_of_a_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path, "cells", "last.pth")
    with pytest.raises(CheckpointError, match="this is a file") as caught:
        find_checkpoint(run / "checkpoints" / "last.pth")
    assert f"The run is {run}" in str(caught.value)


def test_a_nearly_full_disk_keeps_the_old_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, some_checkpoint(1.0))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 30, 1 << 30, 5 << 20))
    with pytest.raises(TrainingError) as caught:
        write_checkpoint(path, some_checkpoint(2.0))
    text = str(caught.value)
    assert "the disk has 5 MiB free, a checkpoint needs 8 MiB" in text
    assert "The previous checkpoint is unchanged" in text
    assert float(read_checkpoint(path).model["weight"][0]) == 1.0
    assert leftovers(tmp_path) == ["last.pth"]


def test_a_write_that_fails_half_way_leaves_the_old_file(
    tmp_path: Path, file_size_limit: Callable[[int], None]
) -> None:
    file_size_limit(64 << 10)
    path = tmp_path / "last.pth"
    write_checkpoint(path, some_checkpoint(1.0))
    with pytest.raises(TrainingError) as caught:
        write_checkpoint(path, some_checkpoint(2.0, size=1 << 20))
    assert str(caught.value).startswith(f"{path}: the checkpoint cannot be written (")
    assert "The previous checkpoint is unchanged" in str(caught.value)
    assert float(read_checkpoint(path).model["weight"][0]) == 1.0
    assert leftovers(tmp_path) == ["last.pth"]


class _Dies(str):
    """A text that cannot be pickled, because a worker is found dead just then."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")


def test_a_worker_that_dies_during_a_write_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, some_checkpoint(1.0))
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        write_checkpoint(path, replace(some_checkpoint(2.0), data_fingerprint=_Dies("abc")))
    assert float(read_checkpoint(path).model["weight"][0]) == 1.0
    assert leftovers(tmp_path) == ["last.pth"]


def test_a_detector_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    calibration = Calibration(2.0, -1 / 3)
    stored = replace(detector_checkpoint(), score_threshold=0.4, calibration=calibration)
    write_checkpoint(path, stored)
    detector = load_detector(path, CPU)
    assert not detector.model.training
    assert (detector.classes, detector.score_threshold) == (("disc", "square"), 0.4)
    assert detector.calibration == calibration
    assert detector.family.name == "rcnn"
    own = detector.model.checkpoint_state()
    assert own.keys() == stored.model.keys()
    assert all(torch.equal(own[name], value) for name, value in stored.model.items())


def test_the_hardware_of_a_loaded_detector_is_that_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    elsewhere = CONFIG.hardware.model_copy(update={"device": "cuda:7", "precision": "bf16"})
    config = CONFIG.model_copy(update={"hardware": elsewhere})
    write_checkpoint(path, replace(detector_checkpoint(), config=config))
    detector = load_detector(path, CPU)
    assert detector.config.hardware.model_dump() == CPU.model_dump()
    assert detector.config == CONFIG.model_copy(update={"hardware": detector.config.hardware})
    assert {parameter.device.type for parameter in detector.model.parameters()} == {"cpu"}


def test_tensors_have_the_names_of_detectron2(tmp_path: Path) -> None:
    """So that Detectron2 itself, and this package as base weights, can read a checkpoint."""
    for config, more in ((CONFIG, set()), (RETINANET, {"loss_normalizer"})):
        bare = build_detector(build_cfg(model_settings(config, 2)))
        state = build_model(config, ("disc", "square"), None).checkpoint_state()
        assert state.keys() == bare.state_dict().keys() | more


def test_checkpoints_from_before_there_were_families(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    stored = detector_checkpoint()
    write_checkpoint(path, stored)
    assert torch.load(path, weights_only=True)["family"] == "rcnn"
    edit(path, lambda payload: payload.pop("family"))
    assert read_checkpoint(path).config == CONFIG
    own = load_detector(path, CPU).model.checkpoint_state()
    assert all(torch.equal(own[name], value) for name, value in stored.model.items())


def test_checkpoints_from_before_scores_were_calibrated(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    write_checkpoint(path, some_checkpoint())
    edit(path, lambda payload: payload.pop("calibration"))
    assert read_checkpoint(path).calibration == UNCALIBRATED
    assert read_checkpoint(path).score_threshold == 0.35


def test_a_family_that_is_not_installed(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    write_checkpoint(path, some_checkpoint())
    edit(path, lambda payload: payload.update(family="diffusion"))
    with pytest.raises(CheckpointError, match="the family 'diffusion', which is not installed"):
        read_checkpoint(path)


def state_of(model: DetectionModel) -> dict[str, Any]:
    """The weights, and RetinaNet's normalizer as a number."""
    return {**model.state_dict(), "normalizer": model.model.loss_normalizer}


def test_retinanets_normalizer_is_kept_and_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    model = build_model(RETINANET, ("disc", "square"), None)
    fresh = float(model.model.loss_normalizer)  # type: ignore[arg-type]
    model.model.loss_normalizer = 1 / 3  # not to be had in single precision
    write_checkpoint(
        path, Checkpoint(model.checkpoint_state(), ("disc", "square"), RETINANET, iteration=3)
    )
    loaded = state_of(load_detector(path, CPU).model)
    assert loaded["normalizer"] == 1 / 3
    edit(path, lambda payload: payload["model"].pop("loss_normalizer"))
    older = state_of(load_detector(path, CPU).model)
    assert older["normalizer"] == fresh == 100
    for name, value in model.state_dict().items():
        assert torch.equal(loaded[name], value)
        assert torch.equal(older[name], value)


def test_weights_that_do_not_fit_the_model(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    wider = CONFIG.model.model_copy(update={"fpn_channels": 64})
    write_checkpoint(
        path, replace(detector_checkpoint(), config=CONFIG.model_copy(update={"model": wider}))
    )
    with pytest.raises(CheckpointError, match=r"best\.pth: the weights do not fit") as caught:
        load_detector(path, CPU)
    assert "fpn" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 8


def test_classes_that_do_not_fit_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    write_checkpoint(path, replace(detector_checkpoint(), classes=("disc", "square", "ring")))
    with pytest.raises(CheckpointError, match="the weights do not fit") as caught:
        load_detector(path, CPU)
    assert "cls_score" in str(caught.value)


def test_missing_and_unknown_tensors_are_named() -> None:
    stored = detector_checkpoint()
    model = build_model(CONFIG, ("disc", "square"), None)
    weights = dict(stored.model)
    weights["stranger"] = weights.pop("roi_heads.box_predictor.cls_score.bias")
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, replace(stored, model=weights), Path("best.pth"))
    assert "cls_score.bias" in str(caught.value)
    assert "stranger" in str(caught.value)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"hardware\.device=cuda:99"):
        check_device("cuda:99")
    with pytest.raises(ConfigError, match=r"hardware\.device=gpu"):
        check_device("gpu")

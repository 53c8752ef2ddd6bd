"""What is in a run folder: names that are free, what is written at the start, metrics to forget."""

from __future__ import annotations

import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
import yaml
from run_configs import run_config

from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import DataConfig, TrainConfig
from detfinetune.engine.run_folder import (
    RunFolder,
    new_run_folder,
    read_run_config,
    truncate_metrics,
    write_metadata,
)
from detfinetune.errors import ConfigError, OutputExistsError, TrainingError
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.models.choices import Choice


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(**values: object) -> TrainConfig:
    return TrainConfig.model_validate({"data": {"name": "cells"}, **values})


def test_runs_are_numbered_and_none_is_taken_twice() -> None:
    paths = [new_run_folder(config()).path for _ in range(3)]
    assert paths == [Path("runs/cells"), Path("runs/cells-2"), Path("runs/cells-3")]
    shutil.rmtree("runs/cells-2")
    assert new_run_folder(config()).path == Path("runs/cells-2")


def test_a_named_folder_is_made_and_an_empty_one_taken(tmp_path: Path) -> None:
    assert new_run_folder(config(output_dir="a/b")).path == Path("a/b")
    assert new_run_folder(config(output_dir="a/b")).path == Path("a/b")
    (tmp_path / "a" / "b" / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(OutputExistsError, match=r"Give a new or empty folder$"):
        new_run_folder(config(output_dir="a/b"))
    (tmp_path / "a" / "b" / "config.yaml").write_text("", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="resume=a/b"):
        new_run_folder(config(output_dir="a/b"))


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="output_dir=out"):
        new_run_folder(config(output_dir="out"))


def test_a_nearly_full_disk_is_said_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 20 << 20))
    with pytest.raises(TrainingError, match=r"runs/cells: the disk has 20 MiB free.*200 MiB"):
        new_run_folder(config())


def test_the_start_says_config_machine_classes_and_data(toy_dataset: Path) -> None:
    dataset = prepare_dataset(DataConfig(root=toy_dataset, name="cells"))
    run = new_run_folder(config())
    given = run_config(seed=5, solver={"max_iter": 7}, data={"name": "cells"})
    write_metadata(run, given, dataset, [Choice("solver.max_iter", 7, "few images")])
    assert json.loads((run.path / "choices.json").read_text(encoding="utf-8")) == [
        {"key": "solver.max_iter", "value": 7, "reason": "few images"}
    ]
    stored = yaml.safe_load(run.config_file.read_text(encoding="utf-8"))
    assert RunConfig.model_validate(stored) == given
    assert read_run_config(run) == given
    machine = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    assert machine["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert machine["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert machine["command"][0] == Path(sys.argv[0]).name
    assert (run.path / "classes.txt").read_text(encoding="utf-8") == "disc\nsquare\n"
    data = json.loads((run.path / "data.json").read_text(encoding="utf-8"))
    assert data["fingerprint"] == dataset.fingerprint
    assert data["classes"] == ["disc", "square"]
    assert {name: split["images"] for name, split in data["splits"].items()} == {
        "train": 24, "val": 8, "test": 8,
    }  # fmt: skip
    assert data["splits"]["train"]["annotations"] == 60
    assert Path(data["splits"]["train"]["image_root"]) == toy_dataset / "images" / "train"
    written = {path.name for path in run.path.iterdir()}
    assert {"ledger.csv", "labels_train.jpg", "labels_val.jpg", "labels_test.jpg"} <= written


def test_a_kept_configuration_in_which_something_is_left_to_choose_is_refused() -> None:
    run = new_run_folder(config())
    values = run_config().model_dump(mode="json")
    values["solver"] |= {"max_iter": None, "momentun": 0.9}
    values["model"] |= {"fpn_chanels": 64}
    run.config_file.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_run_config(run)
    text = str(caught.value)
    assert text.startswith("runs/cells/config.yaml: cannot be used (3 problems")
    for line in (
        "solver.max_iter=None: should be a valid integer.", "'solver.momentun' is not a key.",
        "'model.fpn_chanels' is not a key. Did you mean 'model.fpn_channels'?",
    ):  # fmt: skip
        assert line in text


@pytest.mark.parametrize(
    "torn",
    ['{"iteration": 14, "total_lo', "\0\0\0\0", "14", '"iteration"', "", '{"total_loss": 1}'],
    ids=["cut", "zeros", "number", "text", "empty", "no step"],
)
def test_later_and_torn_lines_are_forgotten(torn: str) -> None:
    run = new_run_folder(config())
    whole = [json.dumps({"iteration": step, "total_loss": 1.5}) for step in (4, 9, 14)]
    run.metrics_file.write_text("\n".join([*whole, torn]), encoding="utf-8")
    truncate_metrics(run, 10)
    assert run.metrics_file.read_text(encoding="utf-8") == f"{whole[0]}\n{whole[1]}\n"


def test_bytes_that_are_no_text_are_forgotten() -> None:
    run = new_run_folder(config())
    run.metrics_file.write_bytes(b'{"iteration": 4}\n\xff\xfe\x80')
    truncate_metrics(run, 10)
    assert run.metrics_file.read_bytes() == b'{"iteration": 4}\n'


def test_a_run_without_metrics_has_nothing_to_forget(tmp_path: Path) -> None:
    truncate_metrics(RunFolder(tmp_path), 10)
    assert list(tmp_path.iterdir()) == []

"""Runs of several seeds: ordinary runs on the same images, and how far their figures spread."""

from __future__ import annotations

import json
import re
import shutil
import signal
import statistics
from pathlib import Path

import pytest
import torch
from test_distributed import Torchrun
from test_edges import stop_in_evaluation
from test_train import QUICK, TINY

from detfinetune import evaluate, train
from detfinetune.config.load import load_train_config
from detfinetune.engine.seeds import SeedsResult, Spread, train_config
from detfinetune.engine.train import TrainResult
from detfinetune.errors import CheckpointError, DataError, OutputExistsError

SHORT = [*QUICK, *TINY, "solver.max_iter=6", "evaluation.pictures=0",
         "detectron2.MODEL.ROI_HEADS.SCORE_THRESH_TEST=0.0"]  # fmt: skip


def run(*overrides: str) -> TrainResult:
    return train_config(load_train_config([*SHORT, *overrides]))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.pth", weights_only=True)["model"]


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def seeds(toy_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> SeedsResult:
    """Two seeds, from 3 on, of data whose val and test were taken from its images."""
    data = tmp_path_factory.mktemp("undivided") / "data"
    for kind in ("images", "labels"):
        shutil.copytree(toy_dataset / kind / "train", data / kind)
    shutil.copy(toy_dataset / "classes.txt", data)
    result = run(f"data.root={data}", "seed=3", "seeds=2", f"output_dir={data.parent / 'runs'}")
    assert isinstance(result, SeedsResult)
    return result


def test_each_seed_is_an_ordinary_run(seeds: SeedsResult) -> None:
    folder = seeds.folder
    assert [one.run for one in seeds.runs] == [folder / "seed_3", folder / "seed_4"]
    assert all(one.finished and one.iteration == 6 for one in seeds.runs)
    one, other = (weights(each.run) for each in seeds.runs)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert (folder / "seed_3" / "images.csv").read_bytes() == (
        folder / "seed_4" / "images.csv"
    ).read_bytes()
    assert evaluate(seeds.path, split="val", output="again").ap == pytest.approx(
        seeds.spread["val"]["AP"].most, abs=0.01
    )


def test_a_seed_is_what_it_is_alone(seeds: SeedsResult) -> None:
    root = seeds.folder.parent / "data"
    alone = run(f"data.root={root}", "seed=4", "output_dir=alone")
    assert not isinstance(alone, SeedsResult)
    one, other = weights(alone.run), weights(seeds.folder / "seed_4")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_spread_is_that_of_the_results(seeds: SeedsResult) -> None:
    values = [
        json.loads((one.run / "results.json").read_text(encoding="utf-8"))["test"]["bbox"]["AP50"]
        for one in seeds.runs
    ]
    expected = Spread(statistics.mean(values), statistics.stdev(values), min(values), max(values))
    assert seeds.spread["test"]["AP50"] == expected
    stored = json.loads((seeds.folder / "seeds.json").read_text(encoding="utf-8"))
    assert stored["seeds"] == [3, 4]
    assert stored["spread"]["test"]["AP50"]["std"] == pytest.approx(expected.std)
    lines = (seeds.folder / "seeds.txt").read_text(encoding="utf-8").splitlines()
    assert [stored["runs"][seed]["test"]["AP50"] for seed in ("3", "4")] == values
    heads = ["seed", "val AP", "val AP50", "test AP", "test AP50", "run"]
    assert re.split(r"\s{2,}", lines[0].rstrip()) == heads
    assert lines[2].endswith(str(seeds.folder / "seed_3"))
    assert [line.split()[0] for line in lines[2:]] == ["3", "4", "mean", "std", "least", "most"]
    assert seeds.best == max((one.best for one in seeds.runs if one.best), key=lambda b: b.value)


def test_mean_and_standard_deviation() -> None:
    assert Spread.of([1.0, 2.0, 6.0]) == Spread(3.0, pytest.approx(7**0.5), 1.0, 6.0)
    assert Spread.of([4.0]) == Spread(4.0, None, 4.0, 4.0)


def test_a_finished_folder_can_be_trained_further(
    seeds: SeedsResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(seeds.folder, tmp_path / "copy")
    again = train(resume=folder)
    assert isinstance(again, SeedsResult)
    assert (again.finished, again.spread) == (True, seeds.spread)
    assert [one.iteration for one in again.runs] == [6, 6]
    assert "resuming" not in capsys.readouterr().out
    further = train(resume=folder, solver={"max_iter": 8})
    assert isinstance(further, SeedsResult)
    assert [one.iteration for one in further.runs] == [8, 8]


def test_a_seed_that_is_missing_is_trained_as_the_first_was(
    seeds: SeedsResult, tmp_path: Path
) -> None:
    folder = shutil.copytree(seeds.folder, tmp_path / "copy")
    whole = weights(folder / "seed_4")
    shutil.rmtree(folder / "seed_4")
    (folder / "seed_4").mkdir()
    (folder / "seed_4" / "environment.json").write_text("{}")  # as if killed while it was made
    again = train(resume=folder)
    assert isinstance(again, SeedsResult)
    assert again.spread == seeds.spread
    now = weights(folder / "seed_4")
    assert all(torch.equal(whole[name], now[name]) for name in whole)


def test_other_images_are_refused(seeds: SeedsResult, tmp_path: Path) -> None:
    folder = shutil.copytree(seeds.folder, tmp_path / "copy")
    data = shutil.copytree(seeds.folder.parent / "data", tmp_path / "data")
    shutil.rmtree(folder / "seed_4")
    next(iter(sorted((data / "images").glob("*.png")))).unlink()
    with pytest.raises(DataError, match=r"seed_4: the data has changed since .*seed_3 began"):
        train(resume=folder, data={"root": data})


def test_the_folder_is_no_run(seeds: SeedsResult) -> None:
    with pytest.raises(CheckpointError, match=r"several seeds. Give one: .*seed_3"):
        evaluate(seeds.folder)
    with pytest.raises(OutputExistsError, match="resume that run with resume="):
        run("data.root=anywhere", "seeds=2", f"output_dir={seeds.folder}")


def test_a_stop_ends_all_and_a_resume_goes_on(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"data.root={toy_dataset}", "seeds=3", "evaluation.eval_period=3"]
    stop_in_evaluation(monkeypatch, 3)  # the first of the second seed
    stopped = run(*common, "output_dir=stopped")
    assert isinstance(stopped, SeedsResult)
    assert (stopped.finished, stopped.stopped_by) == (False, signal.SIGTERM)
    assert [one.iteration for one in stopped.runs] == [6, 3]
    assert stopped.spread["val"]["AP"].std is None
    assert not Path("stopped/seed_2").exists()
    assert "detfinetune train resume=stopped\n" in capsys.readouterr().out
    resumed = train(resume="stopped")
    assert isinstance(resumed, SeedsResult)
    assert resumed.finished
    assert [one.iteration for one in resumed.runs] == [6, 6, 6]
    output = capsys.readouterr().out
    assert "seed 1, 2 of 3" in output
    assert "resuming stopped/seed_1 after step 3 of 6" in output
    assert re.search(r"^least ", output, re.MULTILINE)


@pytest.mark.slow  # three processes that import torch
def test_two_processes(repo: Path, tmp_path: Path, toy_dataset: Path) -> None:
    output = Torchrun(repo, tmp_path)(
        *SHORT, f"data.root={toy_dataset}", "seeds=2", "output_dir=runs"
    )
    assert output.count("seed 1, 2 of 2") == 1
    assert len(re.findall(r"^least ", output, re.MULTILINE)) == 1
    for seed in (0, 1):
        assert (tmp_path / "runs" / f"seed_{seed}" / "results.json").is_file()

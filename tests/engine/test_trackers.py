"""One run, killed, resumed and trained further, as each tracker has it; and trackers that fail."""

from __future__ import annotations

import json
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import mlflow
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_train import QUICK, TINY, Tool, metric_lines
from wandb.proto.wandb_internal_pb2 import Record

from detfinetune.config.load import load_train_config
from detfinetune.config.schema import TrackerName, TrainConfig
from detfinetune.engine.plan import TrainingPlan
from detfinetune.engine.run_folder import RunFolder
from detfinetune.engine.trackers.json_log import JsonLog
from detfinetune.engine.trackers.registry import TRACKERS
from detfinetune.engine.trackers.run_trackers import tracked
from detfinetune.engine.trackers.tracker import Status, TrackedRun
from detfinetune.engine.train import train
from detfinetune.errors import ConfigError, MissingExtraError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset

STEPS = [5, 10, 15, 20, 25, 30, 35, 40]
VALIDATED = [20, 30, 40]
RESULTS = {
    "config.yaml", "results.json", "checkpoints/best.pth", "evaluation/val/metrics.json",
    "evaluation/test/metrics.json", "pictures/test_worst_first.jpg",
}  # fmt: skip


@dataclass(frozen=True)
class Followed:
    """A run that all trackers follow."""

    run: Path
    store: str
    """Of MLflow."""

    lines: list[dict[str, float]]
    killed: list[dict[str, float]]
    """What the killed process logged."""

    def curve(self, name: str) -> dict[int, float]:
        """Values by step; those of repeated steps are of the resumed process."""
        return {int(line["iteration"]): line[name] for line in self.lines if name in line}

    def first_curve(self, name: str) -> dict[int, float]:
        """The same with the first value of repeated steps, but for the step at which it died."""
        first = {int(line["iteration"]): line[name] for line in self.killed if name in line}
        return without_last(self, self.curve(name) | first)


def without_last(followed: Followed, points: dict[int, float]) -> dict[int, float]:
    """Leave out the step whose last writes the kill may have prevented."""
    died_at = followed.killed[-1]["iteration"]
    return {step: value for step, value in points.items() if step != died_at}


@pytest.fixture(scope="module")
def followed(
    repo: Path, toy_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Followed]:
    """Killed after step 25, resumed from the checkpoint of step 20 to 30, then trained to 40."""
    folder = tmp_path_factory.mktemp("followed")
    run, store = folder / "run", f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(folder / "wandb_home"))
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        # Else a killed process loses the last 15 seconds.
        patch.setenv("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", "0.02")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        process = Tool(repo, folder).start(
            "+experiment=custom", f"data.root={toy_dataset}", *QUICK, *TINY, "solver.max_iter=60",
            "evaluation.eval_period=20", "solver.checkpoint_period=20", "output_dir=run",
            "evaluation.pictures=2", "trackers=[tensorboard,mlflow,wandb]",
        )  # fmt: skip
        log = run / "train_metrics.jsonl"
        while not log.is_file() or metric_lines(run)[-1]["iteration"] < 25:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed = metric_lines(run)
        assert train(load_train_config([f"resume={run}", "solver.max_iter=30"])).finished
        # From elsewhere, where MLflow's default store would be another one.
        patch.chdir(run)
        assert train(load_train_config([f"resume={run}", "solver.max_iter=40"])).finished
        yield Followed(run, store, metric_lines(run), killed)


def test_the_runs_own_log_has_each_step_once(followed: Followed) -> None:
    assert 25 <= followed.killed[-1]["iteration"] < 40
    assert [line["iteration"] for line in followed.lines] == STEPS
    assert all({"total_loss", "loss_cls", "lr", "time"} < set(line) for line in followed.lines)
    assert [line["iteration"] for line in followed.lines if "val/bbox/AP" in line] == VALIDATED


@pytest.mark.parametrize("name", ["total_loss", "lr", "val/bbox/AP50"])
def test_tensorboard_has_the_same_curves(followed: Followed, name: str) -> None:
    events = EventAccumulator(str(followed.run / "tensorboard")).Reload()
    points = events.Scalars(name)
    wanted = followed.curve(name)
    assert [point.step for point in points] == list(wanted)
    assert [point.value for point in points] == pytest.approx(list(wanted.values()))


@pytest.mark.parametrize("name", ["total_loss", "lr", "val/bbox/AP50"])
def test_mlflow_has_the_same_curves(followed: Followed, name: str) -> None:
    client = mlflow.MlflowClient(followed.store)
    known = json.loads((followed.run / "mlflow.json").read_text(encoding="utf-8"))
    points = client.get_metric_history(known["run_id"], name)
    assert [point.step for point in points] == list(followed.curve(name))
    found = {point.step: point.value for point in points}
    assert without_last(followed, found) == pytest.approx(followed.first_curve(name))


def test_mlflow_has_one_run_with_parameters_and_results(
    followed: Followed, toy_dataset: Path
) -> None:
    client = mlflow.MlflowClient(followed.store)
    experiment = client.get_experiment_by_name("custom")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["solver.images_per_batch"] == "4"
    assert run.data.params["data.root"] == str(toy_dataset)
    assert run.data.params["model.name"] == "timm/test_efficientnet"
    stored = Path(client.download_artifacts(run.info.run_id, ""))
    names = {str(path.relative_to(stored)) for path in stored.rglob("*") if path.is_file()}
    assert names == RESULTS
    results = (followed.run / "results.json").read_bytes()
    assert (stored / "results.json").read_bytes() == results


def wandb_records(file: Path) -> Iterator[Record]:
    """Read W&B's datastore: LevelDB's log format, after a header of 7 bytes."""
    content, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


def test_wandb_has_the_same_curves_and_one_run(followed: Followed) -> None:
    files = sorted((followed.run / "wandb").glob("offline-run-*/*.wandb"))
    parts = [list(wandb_records(file)) for file in files]
    runs = [record.run for part in parts for record in part if record.HasField("run")]
    known = (followed.run / "wandb_id.txt").read_text(encoding="utf-8").strip()
    assert [run.run_id for run in runs] == [known] * 3
    assert {(run.project, run.display_name) for run in runs} == {("detfinetune", "run")}
    configs = [{item.key: item.value_json for item in run.config.update} for run in runs]
    assert [config["solver.max_iter"] for config in configs] == ["60", "30", "40"]
    rows = [
        {"/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for part in parts
        for record in part
        if record.HasField("history")
    ]
    found = {row["_step"]: row["total_loss"] for row in rows}
    assert len(found) == len(rows)
    assert without_last(followed, found) == pytest.approx(followed.first_curve("total_loss"))
    assert [row["_step"] for row in rows if "val/bbox/AP" in row] == VALIDATED
    artifacts = [
        record.artifact for part in parts for record in part if record.HasField("artifact")
    ]
    assert len(artifacts) == 2
    assert {file.path for file in artifacts[-1].manifest.contents} == RESULTS


class Recorder:
    """A tracker that remembers its calls, and raises in some."""

    def __init__(self, fails_in: str = "") -> None:
        self.calls: list[Any] = []
        self._fails_in = fails_in

    def _called(self, name: str, *what: Any) -> None:
        self.calls.append((name, *what))
        if name == self._fails_in:
            raise ConnectionError("the server is gone\nand more lines")

    def start(self, run: TrackedRun) -> None:
        self._called("start", run.project, run.parameters["solver.clip_norm"], run.start_step)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._called("log", step)

    def artifacts(self, files: Sequence[Path]) -> None:
        self._called("artifacts", *(file.name for file in files))

    def end(self, status: Status) -> None:
        self._called("end", status)


def test_a_tracker_that_fails_does_not_end_the_run(
    toy_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    failing, working = Recorder("log"), Recorder()
    monkeypatch.setitem(TRACKERS, "wandb", lambda: failing)
    monkeypatch.setitem(TRACKERS, "mlflow", lambda: working)
    overrides = [*QUICK, *TINY, f"data.root={toy_dataset}", f"output_dir={tmp_path / 'run'}",
                 "solver.max_iter=11", "evaluation.eval_period=0", "evaluation.pictures=0",
                 "trackers=[wandb,mlflow]"]  # fmt: skip
    assert train(load_train_config(overrides)).finished
    assert failing.calls == [("start", "custom", 5.0, 0), ("log", 5)]
    results = ("config.yaml", "best.pth", "results.json", "metrics.json", "metrics.json")
    assert working.calls == [
        ("start", "custom", 5.0, 0), ("log", 5), ("log", 10), ("log", 11),
        ("artifacts", *results), ("end", "finished"),
    ]  # fmt: skip
    assert [line["iteration"] for line in metric_lines(tmp_path / "run")] == [5, 10, 11]
    assert not (tmp_path / "run" / "tensorboard").exists()
    printed = capsys.readouterr()
    assert printed.err.count("warning: wandb") == 1
    assert "wandb failed, and the run goes on without it: the server is gone\n" in printed.err
    assert "tensorboard --logdir" not in printed.out


def plan_in(folder: Path) -> TrainingPlan:
    return TrainingPlan(TrainConfig(), cast(LabelledDataset, None), RunFolder(folder))


@pytest.mark.parametrize("call", ["start", "log", "artifacts", "end"])
def test_a_tracker_that_fails_is_not_called_again(
    call: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing, working = Recorder(call), Recorder()
    with tracked(plan_in(tmp_path), {"wandb": failing, "mlflow": working}) as trackers:
        trackers.log({"lr": 1.0}, 5)
        trackers.keep_results()
        trackers.status = "finished"
    assert [name for name, *_ in working.calls] == ["start", "log", "artifacts", "end"]
    assert failing.calls == working.calls[: len(failing.calls)]
    assert failing.calls[-1][0] == call
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "stopped"), (ValueError("a bug"), "failed")]
)
def test_trackers_are_told_how_a_run_ends(
    error: BaseException, status: str, tmp_path: Path
) -> None:
    tracker = Recorder()
    with pytest.raises(type(error)), tracked(plan_in(tmp_path), {"wandb": tracker}):
        raise error
    assert tracker.calls[-1] == ("end", status)


def test_the_runs_own_log_must_be_written(tmp_path: Path) -> None:
    with tracked(plan_in(tmp_path / "gone"), {}) as trackers, pytest.raises(FileNotFoundError):
        trackers.log({"lr": 1.0}, 5)


@pytest.mark.parametrize(
    ("tracker", "package"), [("wandb", "wandb"), ("mlflow", "mlflow"), ("mlflow", "sqlalchemy")]
)
def test_a_missing_package_is_said_before_anything_is_written(
    tracker: str, package: str, toy_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    overrides = [f"data.root={toy_dataset}", f"output_dir={tmp_path / 'run'}",
                 f"trackers=[tensorboard,{tracker}]"]  # fmt: skip
    message = rf"trackers=\[{tracker}\] needs .* pip install 'detfinetune\[{tracker}\]'"
    with pytest.raises(MissingExtraError, match=message):
        train(load_train_config([*QUICK, *TINY, *overrides]))
    assert not (tmp_path / "run").exists()


def test_the_names_are_those_of_the_schema() -> None:
    assert list(TRACKERS) == list(get_args(TrackerName))
    with pytest.raises(ConfigError, match=r"mlfow.*Did you mean 'mlflow'\?"):
        load_train_config(["trackers=[mlfow]"])


def test_what_a_full_disk_does_not_take_is_logged_later(
    tmp_path: Path, file_size_limit: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    log = JsonLog(tmp_path / "train_metrics.jsonl")
    log.log({"lr": 1.0}, 1)
    # Room for half of a line.
    file_size_limit((tmp_path / "train_metrics.jsonl").stat().st_size + 10)
    log.log({"lr": 2.0}, 2)
    log.log({"lr": 3.0}, 3)
    assert [line["iteration"] for line in metric_lines(tmp_path)] == [1]
    assert capsys.readouterr().err.count("train_metrics.jsonl: cannot be written") == 1
    file_size_limit(1 << 20)
    log.log({"lr": 4.0}, 4)
    assert [(line["iteration"], line["lr"]) for line in metric_lines(tmp_path)] == [
        (step, float(step)) for step in (1, 2, 3, 4)
    ]

"""Jobs of the labelling server: started, refused, stopped, failed, and found again."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from labelling import Connect
from PIL import Image

from detfinetune import files
from detfinetune.annotate.jobs import Jobs, NotPossible
from detfinetune.annotate.start import open_store
from detfinetune.annotate.store import LabelStore
from detfinetune.config.schema import DataConfig, ProposeConfig

# Stands for the commands: says its arguments, and writes what a training of 8 steps does. It ends
# once there is a file `go` in the working directory.
WORK = """
import json, sys, time
from pathlib import Path
print("called with", *sys.argv[1:])
words = dict(word.split("=", 1) for word in sys.argv[2:])
if "output_dir" in words:
    run = Path(words["output_dir"])
    run.mkdir(parents=True)
    (run / "config.part").write_text("task: bbox\\nsolver: {max_iter: 8}")
    (run / "config.part").rename(run / "config.yaml")
    lines = [{"iteration": 2, "total_loss": 1.5}, {"iteration": 4, "val/bbox/AP": 12.5}]
    (run / "train_metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
while not Path("go").exists():
    time.sleep(0.01)
if "output_dir" in words:
    results = {"val": {"bbox": {"AP": 40.0}}, "test": {"bbox": {"AP": 38.0}}}
    (run / "results.json").write_text(json.dumps(results))
"""
Start = Callable[..., Jobs]


@pytest.fixture
def start(store: LabelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that opens the jobs of the photos, with code in place of the commands."""
    monkeypatch.chdir(tmp_path)
    opened: list[Jobs] = []

    def open_jobs(code: str = WORK, store: LabelStore = store, **options: Any) -> Jobs:
        opened.append(Jobs(store, program=(sys.executable, "-c", code), **options))
        return opened[-1]

    yield open_jobs
    for jobs in opened:
        for child in jobs._children.values():
            child.kill()
            child.wait()


def wait_for(jobs: Jobs, state: str, number: int = 1) -> dict[str, Any]:
    """Return a job once it is in a state."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        jobs.refresh()
        if len(jobs.shown) >= number and jobs.shown[number - 1]["state"] == state:
            return jobs.shown[number - 1]
        time.sleep(0.02)
    raise AssertionError(jobs.shown)


def wait_for_steps(jobs: Jobs) -> dict[str, Any]:
    """Return the training once it has logged its steps."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        jobs.refresh()
        if jobs.shown[0]["ap"]:
            return jobs.shown[0]
        time.sleep(0.02)
    raise AssertionError(jobs.shown)


def record(store: LabelStore, name: str = "001_train") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((store.folder / "jobs" / f"{name}.json").read_text())
    return found


def test_a_training_is_followed_and_then_proposes(
    start: Start, store: LabelStore, tmp_path: Path
) -> None:
    jobs = start()
    jobs.train(images=30)
    run = tmp_path / "runs" / "photos_round_1"
    shown = wait_for_steps(jobs)
    assert (shown["id"], shown["kind"], shown["state"], shown["run"]) == (
        1, "train", "running", str(run),
    )  # fmt: skip
    progress = shown["progress"]
    assert (progress["step"], progress["steps"], progress["text"]) == (4, 8, "Step 4 of 8")
    assert progress["eta_seconds"] is not None
    assert (shown["ap"], shown["results"], shown["error"]) == ([[4, 12.5]], {}, None)
    assert psutil.Process(record(store)["pid"]).nice() == min(19, os.nice(0) + 5)

    (tmp_path / "go").touch()
    shown = wait_for(jobs, "finished")
    assert shown["results"] == {"val": 40.0, "test": 38.0}
    wait_for(jobs, "finished", number=2)
    number = " images=30" if "images" in ProposeConfig.model_fields else ""
    assert jobs.log(2, 0) == (
        f"called with propose data.root={store.root} run={run}{number}\n",
        len((store.folder / "jobs" / "002_propose.log").read_bytes()),
    )
    # Another training gets a folder of its own.
    jobs.train(minutes=2.5)
    assert wait_for(jobs, "finished", number=3)["run"] == f"{run}-2"
    assert jobs.log(3, 0)[0] == (  # type: ignore[index]
        f"called with train data.root={store.root} output_dir={run}-2 solver.minutes=2.5\n"
    )
    assert len(jobs.shown) == 3


def test_only_one_runs_at_a_time(start: Start, store: LabelStore, connect: Connect) -> None:
    jobs = start()
    jobs.train()
    for other in (jobs, start()):  # also of another server
        with pytest.raises(NotPossible, match=r"Another job runs: train\. Wait, or stop it\."):
            other.train()
    client = connect(store, jobs=jobs)
    refused = client.post("/api/jobs", json={"kind": "propose", "images": 5})
    assert refused.status_code == 409
    assert refused.json() == {"error": "No training has finished yet. Train first."}
    assert len(list((store.folder / "jobs").glob("*.json"))) == 1


def test_a_stopped_training_is_resumed(start: Start, store: LabelStore, tmp_path: Path) -> None:
    jobs = start()
    with pytest.raises(NotPossible, match="nothing to resume"):
        jobs.resume(1)
    jobs.train(images=9)
    wait_for_steps(jobs)
    jobs.stop()
    shown = wait_for(jobs, "stopped")
    assert (shown["resumable"], shown["error"]) == (True, None)
    assert len(jobs.shown) == 1  # nothing is proposed
    (tmp_path / "go").touch()
    jobs.resume(1)
    shown = wait_for(jobs, "finished", number=2)
    assert jobs.log(2, 0)[0] == f"called with train resume={shown['run']}\n"  # type: ignore[index]
    assert record(store, "002_train")["first_step"] == 4
    wait_for(jobs, "finished", number=3)  # proposes, as the first was asked to
    assert jobs.stop() is None


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (
            "import sys; print('reading'); sys.exit('error: data.root: too few.\\n  a.jpg')",
            "data.root: too few.\n  a.jpg",
        ),
        ("import os; print('hm', flush=True); os.abort()", "hm"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "It ended without a word."),
        ("import os; os.kill(os.getpid(), 9)",
         "It was killed (signal 9), most likely because memory ran out."),
    ],
)  # fmt: skip
def test_what_failed_says_why(start: Start, code: str, error: str) -> None:
    jobs = start(code)
    jobs.train(images=3)
    shown = wait_for(jobs, "failed")
    assert (shown["error"], shown["resumable"]) == (error, False)
    assert len(jobs.shown) == 1


def test_the_next_server_finds_what_runs(start: Start, store: LabelStore, tmp_path: Path) -> None:
    start().train()
    later = start()
    wait_for_steps(later)
    assert later.shown[0]["state"] == "running"
    assert later.close() is None  # it is not its own
    later.refresh()
    assert later.shown[0]["state"] == "running"
    (tmp_path / "go").touch()
    # Its exit code is the first server's to know; that it has results is enough.
    assert wait_for(later, "finished")["results"]["val"] == 40.0
    assert record(store)["exit_code"] == 0


def test_a_server_that_ends_stops_its_job(start: Start, store: LabelStore) -> None:
    jobs = start()
    jobs.train()
    wait_for_steps(jobs)
    stopped = jobs.close()
    assert stopped is not None
    assert stopped.kind == "train"
    assert wait_for(start(), "stopped")["resumable"]


def test_a_folder_whose_name_is_not_utf_8(start: Start, tmp_path: Path, connect: Connect) -> None:
    root = tmp_path / os.fsdecode(b"caf\xe9")
    root.mkdir()
    Image.new("RGB", (20, 10)).save(root / "a.png")
    store = open_store(DataConfig(root=root, classes=["car"]))
    jobs = start(store=store)
    shown = connect(store, jobs=jobs).post("/api/jobs", json={"kind": "train"}).json()["jobs"][0]
    assert (shown["state"], Path(shown["run"]).name) == ("running", "caf\\udce9_round_1")
    jobs.stop()
    assert wait_for(start(store=store), "stopped")


def test_what_cannot_be_written_down_does_not_run(
    start: Start, store: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    jobs = start()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_text", refuse)
        with pytest.raises(OSError, match="No space"):
            jobs.train()
    assert jobs._children[1].wait(60) == -signal.SIGKILL
    assert jobs.shown == []
    jobs.train()
    assert [job["state"] for job in jobs.shown] == ["running"]


def test_another_process_of_the_same_number(start: Start, store: LabelStore) -> None:
    jobs = start()
    jobs.train()
    wait_for_steps(jobs)
    known = record(store)
    os.kill(known["pid"], signal.SIGKILL)
    known["pid"] = os.getpid()
    (store.folder / "jobs" / "001_train.json").write_text(json.dumps(known))
    shown = wait_for(start(), "failed")
    assert shown["resumable"]


def test_settings_and_a_store_elsewhere(photos: Path, tmp_path: Path) -> None:
    store = open_store(DataConfig(root=photos), tmp_path / "labels")
    jobs = Jobs(store, tmp_path / "mine.yaml")
    assert jobs._arguments("train", "RUN", None, None, resume=False) == [
        "train", f"data.root={photos}", "output_dir=RUN", f"data.labels={tmp_path / 'labels'}",
        f"config={tmp_path / 'mine.yaml'}",
    ]  # fmt: skip
    assert jobs._arguments("propose", "RUN", 5, None, resume=False)[-1] == (
        f"store={tmp_path / 'labels'}"
    )


def test_the_api(start: Start, store: LabelStore, tmp_path: Path, connect: Connect) -> None:
    jobs = start()
    client = connect(store, jobs=jobs)
    assert client.get("/api/jobs").json() == {"jobs": []}
    assert client.delete("/api/jobs/current").status_code == 409
    assert client.get("/api/jobs/1/log").status_code == 404
    for body in ({"kind": "eat"}, {"kind": "propose"}, {"kind": "train", "minutes": 0}):
        assert client.post("/api/jobs", json=body).status_code == 422
    answer = client.post("/api/jobs", json={"kind": "train", "minutes": 5}).json()
    assert [job["state"] for job in answer["jobs"]] == ["running"]
    wait_for_steps(jobs)
    whole = client.get("/api/jobs/1/log").json()
    assert whole["text"].endswith("solver.minutes=5\n")
    rest = client.get("/api/jobs/1/log?from=7").json()
    assert rest == {"text": whole["text"][7:], "next": whole["next"]}
    assert client.delete("/api/jobs/current").json()["jobs"][0]["state"] in ("stopping", "stopped")
    wait_for(jobs, "stopped")
    body = {"kind": "train", "resume": 1}
    assert client.post("/api/jobs", json=body).json()["jobs"][1]["kind"] == "train"

"""Trainings and proposals that the labelling page starts: processes of their own, one at a time.

What is known of a job is in files, `jobs/003_train.json` and its log beside the labels, and those
that the command itself writes. So a job outlives the server, and any server shows it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import psutil
import yaml
from pydantic import BaseModel, ConfigDict

from detfinetune import files
from detfinetune.annotate.figures import round_figures
from detfinetune.annotate.journal import journal_size, read_events
from detfinetune.annotate.store import LabelStore
from detfinetune.console import escape_name, warn
from detfinetune.errors import OutputExistsError
from detfinetune.labels.formats.json.label_store import STORE_FOLDER

Kind = Literal["train", "propose"]
State = Literal["running", "stopping", "finished", "stopped", "failed"]

# A training takes all cores, and the page must answer meanwhile.
_NICER = 5
_WATCH_SECONDS = 1.0
_ERROR_BYTES = 8192
_STOPPED_CODES = (130, 143, -2, -15)


class NotPossible(Exception):
    """A job that cannot be started now; the text says why."""


class Job(BaseModel):
    """What is written down of a job."""

    model_config = ConfigDict(frozen=True)

    id: int
    kind: Kind
    arguments: tuple[str, ...]
    run: str
    """Run folder that is trained, or proposes."""

    images: int | None
    """How many images get proposals: by this job, or once this training has finished."""

    pid: int
    process_started: float
    """By the system, to know the process from a later one of the same number."""

    started: float
    """Seconds since 1970, as all times here."""

    first_step: int = 0
    """Steps that were done before; not 0 for a training that is resumed."""

    journal: int = 0
    """Bytes of the journal before."""

    stopping: bool = False
    ended: float | None = None
    exit_code: int | None = None
    """None as well if it ended, without a result, while no server was there."""

    @property
    def state(self) -> State:
        """How it goes, or ended."""
        if self.ended is None:
            return "stopping" if self.stopping else "running"
        if self.exit_code == 0:
            return "finished"
        return "stopped" if self.stopping or self.exit_code in _STOPPED_CODES else "failed"


class Jobs:
    """The jobs of a store."""

    def __init__(
        self,
        store: LabelStore,
        settings: Path | None = None,
        program: Sequence[str] = (sys.executable, "-m", "detfinetune"),
    ) -> None:
        """Find the jobs of a store.

        Args:
            store: the labels.
            settings: a file of settings for each training.
            program: what is run, before the command's name.
        """
        self._store = store
        self._folder = store.folder / "jobs"
        self._settings = settings
        self._program = tuple(program)
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._ended: dict[int, tuple[Job, dict[str, Any]]] = {}
        self._lock = threading.RLock()
        self.shown: list[dict[str, Any]] = []
        """All jobs in order, as the API gives them; replaced, never changed."""

    # --- starting and stopping --------------------------------------------------------------------

    def train(self, images: int | None = None, minutes: float | None = None) -> None:
        """Start a training, after which a number of images get proposals.

        Raises:
            NotPossible: a job runs.
            OSError: the process or its files cannot be made.
        """
        self._start("train", _new_run(self._store), images, minutes)

    def resume(self, number: int) -> None:
        """Go on with a training that was stopped or has failed.

        Raises:
            NotPossible: a job runs, or there is nothing to resume.
            OSError: the process or its files cannot be made.
        """
        job = next((job for job in self._read() if job.id == number), None)
        if job is None or not _resumable(job):
            raise NotPossible("There is nothing to resume. Start a new training.")
        self._start("train", job.run, job.images, resume=True)

    def propose(self, images: int) -> None:
        """Start proposals of the last training that has finished.

        Raises:
            NotPossible: a job runs, or no training has finished.
            OSError: the process or its files cannot be made.
        """
        runs = [job.run for job in self._read() if (job.kind, job.state) == ("train", "finished")]
        if not runs:
            raise NotPossible("No training has finished yet. Train first.")
        self._start("propose", runs[-1], images)

    def _start(
        self,
        kind: Kind,
        run: str,
        images: int | None,
        minutes: float | None = None,
        *,
        resume: bool = False,
    ) -> None:
        self.refresh()
        try:
            with self._lock, files.locked(self._folder):
                jobs = self._read()
                if jobs and jobs[-1].ended is None:
                    raise NotPossible(f"Another job runs: {jobs[-1].kind}. Wait, or stop it.")
                number = jobs[-1].id + 1 if jobs else 1
                arguments = self._arguments(kind, run, images, minutes, resume=resume)
                steps = _metrics(run) if resume else []
                journal, started = journal_size(self._store.journal), time.time()
                with _log(self._folder, number, kind).open("ab") as log:
                    process = subprocess.Popen(
                        [*self._program, *arguments],
                        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                        env={**os.environ, "PYTHONUNBUFFERED": "1"}, start_new_session=True,
                    )  # fmt: skip
                self._children[number] = process
                if os.name == "posix":
                    os.setpriority(os.PRIO_PROCESS, process.pid, os.nice(0) + _NICER)
                job = Job(
                    id=number, kind=kind, arguments=tuple(arguments), run=run, images=images,
                    pid=process.pid, process_started=psutil.Process(process.pid).create_time(),
                    started=started, journal=journal,
                    first_step=steps[-1]["iteration"] if steps else 0,
                )  # fmt: skip
                try:
                    self._write(job)
                except OSError:
                    process.kill()  # No server would know of it.
                    raise
        except OutputExistsError:
            raise NotPossible("Another window starts a job at this moment.") from None
        self.refresh()

    def _arguments(
        self, kind: Kind, run: str, images: int | None, minutes: float | None, *, resume: bool
    ) -> list[str]:
        if resume:
            return ["train", f"resume={run}"]
        store = self._store
        elsewhere = store.folder != store.root / STORE_FOLDER
        root = f"data.root={store.root.absolute()}"
        if kind == "propose":
            words = ["propose", root, f"run={run}", f"images={images}"]
            return [*words, f"store={store.folder.absolute()}"] if elsewhere else words
        words = ["train", root, f"output_dir={run}"]
        words += [f"data.labels={store.folder.absolute()}"] if elsewhere else []
        words += [f"config={self._settings.absolute()}"] if self._settings else []
        return [*words, f"solver.minutes={minutes:g}"] if minutes else words

    def stop(self) -> Job | None:
        """Ask the job that runs to stop, and return it; a training saves a checkpoint first."""
        with self._lock, files.locked(self._folder):
            job = next((job for job in self._read() if job.ended is None), None)
            if job is None:
                return None
            self._write(job.model_copy(update={"stopping": True}))
            if self._runs(job):
                with suppress(psutil.NoSuchProcess):
                    psutil.Process(job.pid).terminate()
            return job

    def close(self) -> Job | None:
        """Stop the job, unless another server has begun it; return it."""
        self.refresh()
        mine = any(child.poll() is None for child in self._children.values())
        return self.stop() if mine else None

    # --- what becomes of them ---------------------------------------------------------------------

    def watch(self) -> None:
        """Refresh from now on, in a thread of its own."""

        def run() -> None:
            while True:
                try:
                    self.refresh()
                except Exception as error:  # Whatever it is, what ends later must be seen.
                    warn(f"{self._folder}: {error}")
                time.sleep(_WATCH_SECONDS)

        threading.Thread(target=run, daemon=True).start()

    def refresh(self) -> None:
        """Take note of a job that has ended, start what is to follow, and renew `shown`.

        Raises:
            OSError: files cannot be written.
        """
        with self._lock:
            jobs = self._read()
            if jobs and jobs[-1].ended is None and not self._runs(jobs[-1]):
                self._end(jobs[-1].id)
                jobs = self._read()
            self.shown = [self._view(job) for job in jobs]

    def _end(self, number: int) -> None:
        try:
            with files.locked(self._folder):
                job = next(job for job in self._read() if job.id == number)
                if job.ended is not None:
                    return  # Another server was faster.
                log = _log(self._folder, number, job.kind)
                child = self._children.pop(number, None)
                code = child.returncode if child else 0 if _has_result(job, log) else None
                ended = time.time() if child else _changed(log)
                job = job.model_copy(update={"ended": ended, "exit_code": code})
                self._write(job)
        except OutputExistsError:
            return  # Another server does it.
        if job.kind == "train" and job.images and job.state == "finished" and not job.stopping:
            with suppress(NotPossible):
                self._start("propose", job.run, job.images)

    def _runs(self, job: Job) -> bool:
        child = self._children.get(job.id)
        if child is not None:
            return child.poll() is None
        try:
            process = psutil.Process(job.pid)
            is_another = abs(process.create_time() - job.process_started) > 1
            return not is_another and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def _read(self) -> list[Job]:
        found = []
        for path in sorted(self._folder.glob("*.json")):
            number = int(path.name.partition("_")[0])
            if number in self._ended:
                found.append(self._ended[number][0])
                continue
            with suppress(ValueError):  # Damaged: it has ended long ago.
                found.append(Job.model_validate(json.loads(path.read_bytes())))
        return found

    def _write(self, job: Job) -> None:
        path = _log(self._folder, job.id, job.kind).with_suffix(".json")
        # In ASCII, which has a form for names that are not UTF-8.
        files.write_text(path, json.dumps(job.model_dump(), indent=1) + "\n")

    # --- what is shown ----------------------------------------------------------------------------

    def log(self, number: int, start: int) -> tuple[str, int] | None:
        """Return what a job has said from a byte on, and the byte after that; None: no such job."""
        job = next((job for job in self._read() if job.id == number), None)
        if job is None:
            return None
        with _log(self._folder, number, job.kind).open("rb") as stream:
            stream.seek(start)
            data = stream.read()
        return data.decode("utf-8", "replace"), start + len(data)

    def _view(self, job: Job) -> dict[str, Any]:
        if job.id in self._ended:
            return self._ended[job.id][1]
        is_training = job.kind == "train"
        metrics = _metrics(job.run) if is_training else []
        ap = f"val/{_config(job.run)[1]}/AP"
        view = {
            **job.model_dump(include={"id", "kind", "images", "started", "ended"}),
            "run": escape_name(job.run),
            "state": job.state,
            "progress": self._training(job, metrics) if is_training else self._proposing(job),
            "ap": [[line["iteration"], line[ap]] for line in metrics if ap in line],
            "results": _results(job) if is_training else {},
            "resumable": _resumable(job),
            "error": self._error(job) if job.state == "failed" else None,
        }
        if job.ended is not None:
            self._ended[job.id] = job, view
        return view

    def _training(self, job: Job, metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
        steps, _ = _config(job.run)
        step = metrics[-1]["iteration"] if metrics else job.first_step
        file = Path(job.run, "train_metrics.jsonl")
        began = max(job.started, _changed(Path(job.run, "config.yaml")))
        if steps is None:
            text = "Reading the labels and choosing settings"
        elif step == job.first_step:
            text = "Loading the model"
        elif step < steps:
            text = f"Step {step} of {steps}"
        else:
            text = "Evaluating the best checkpoint"
        done, left = step - job.first_step, (steps or 0) - step
        return _progress(step, steps, _time_left(began, _changed(file), done, left), text)

    def _proposing(self, job: Job) -> dict[str, Any]:
        events, _ = read_events(self._store.journal, job.journal)
        own = [
            event["time"]
            for event in events
            if event["event"] == "save" and event["writer"] == job.run
        ]
        count, total = len(own), job.images
        text = f"{count} images have new proposals" if own else "Looking at the images"
        last = own[-1] if own else 0.0
        left = _time_left(job.started, last, count, total - count if total else 0)
        return _progress(count, total, left, text)

    def _error(self, job: Job) -> str:
        """Return why a job failed, as it said itself."""
        if job.exit_code == -9:
            return "It was killed (signal 9), most likely because memory ran out."
        path = _log(self._folder, job.id, job.kind)
        text, _ = self.log(job.id, max(0, path.stat().st_size - _ERROR_BYTES)) or ("", 0)
        message = f"\n{text}".rpartition("\nerror: ")[2].strip()
        if f"\nerror: {message}" in f"\n{text}":
            return message
        return text.strip().rpartition("\n")[2] or "It ended without a word."


def _log(folder: Path, number: int, kind: Kind) -> Path:
    return folder / f"{number:03}_{kind}.log"


def _new_run(store: LabelStore) -> str:
    """Return a folder that does not exist, for the run of this round."""
    number = round_figures(store.events())[-1].round + 1
    wanted = Path("runs", f"{store.root.resolve().name}_round_{number}").absolute()
    path, count = wanted, 1
    while path.exists():
        count += 1
        path = wanted.with_name(f"{wanted.name}-{count}")
    return str(path)


def _metrics(run: str) -> list[dict[str, Any]]:
    lines, _ = read_events(Path(run, "train_metrics.jsonl"))
    return [line for line in lines if "iteration" in line]


def _config(run: str) -> tuple[int | None, str]:
    """Return the number of steps and the task of a run; no number before it has begun."""
    path = Path(run, "config.yaml")
    return _read_config(path, _changed(path))


@lru_cache(maxsize=16)
def _read_config(path: Path, changed: float) -> tuple[int | None, str]:
    if not changed:
        return None, "bbox"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values["solver"]["max_iter"], values["task"]


def _results(job: Job) -> dict[str, float]:
    """Return the AP of the best checkpoint, 0-100, on val and test; empty before the end."""
    task = _config(job.run)[1]
    with suppress(OSError, ValueError):
        values = json.loads(Path(job.run, "results.json").read_bytes())
        found = {split: values.get(split, {}).get(task, {}).get("AP") for split in ("val", "test")}
        return {split: ap for split, ap in found.items() if ap is not None}
    return {}


def _resumable(job: Job) -> bool:
    has_ended = job.state in ("stopped", "failed")
    return job.kind == "train" and has_ended and Path(job.run, "config.yaml").is_file()


def _has_result(job: Job, log: Path) -> bool:
    """Whether a job whose exit code nobody saw has done its work."""
    if job.kind == "train":
        return Path(job.run, "results.json").is_file()
    text = log.read_text(encoding="utf-8", errors="replace")
    return not any(line.startswith(("error:", "Traceback")) for line in text.splitlines())


def _changed(path: Path) -> float:
    """Return when a file was changed; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _time_left(began: float, last: float, done: int, left: int) -> int | None:
    """Return the seconds that are left, at the pace from `began` to `last`."""
    if done <= 0 or left <= 0:
        return None
    return max(0, round((last - began) / done * left - (time.time() - last)))


def _progress(step: int, steps: int | None, seconds: int | None, text: str) -> dict[str, Any]:
    return {"step": step, "steps": steps, "eta_seconds": seconds, "text": text}

"""What can end a run becomes one message that says what is saved; anything else stays a bug."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from test_train import QUICK, TINY, Tool, break_pixels, wait_for_step

from detfinetune.config.load import load_train_config
from detfinetune.engine.failures import explain_failures
from detfinetune.engine.run_folder import RunFolder
from detfinetune.engine.train import train
from detfinetune.errors import DataError, TrainingError


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has saved something."""
    folder = RunFolder(tmp_path / "run")
    folder.last_checkpoint.parent.mkdir(parents=True)
    folder.last_checkpoint.write_bytes(b"")
    return folder


def message(error: Exception, run: RunFolder, *, after_training: bool = False) -> str:
    with (
        pytest.raises(TrainingError) as caught,
        explain_failures(run, after_training=after_training),
    ):
        raise error
    assert caught.value.__cause__ is error
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "The GPU ran out of memory",
        ),
        (MemoryError(), "The machine ran out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "The machine ran out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "The disk is full"),
        (
            RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "),
            "hardware.num_workers=0",
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly"),
            "hardware.num_workers=0",
        ),
    ],
)
def test_the_machines_failures(error: Exception, words: str, run: RunFolder) -> None:
    text = message(error, run)
    assert words in text
    assert text.endswith(f"The last checkpoint is saved. Resume with resume={run.path}")


def test_a_dead_worker_is_found_behind_the_error_that_it_caused(run: RunFolder) -> None:
    """torch raises it from a signal handler, inside whatever runs at that moment."""
    error = SystemError("<built-in> returned a result with an exception set")
    error.__cause__ = RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. ")
    with pytest.raises(TrainingError, match=r"hardware\.num_workers=0"), explain_failures(run):
        raise error


def test_memory_that_the_cpu_really_does_not_have(run: RunFolder) -> None:
    with (
        pytest.raises(TrainingError, match="The machine ran out of memory") as caught,
        explain_failures(run),
    ):
        torch.empty(1 << 50)
    assert "solver.images_per_batch" in str(caught.value)


def test_nothing_saved_and_after_training(tmp_path: Path, run: RunFolder) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "No checkpoint is saved yet" in message(full, RunFolder(tmp_path / "new"))
    assert message(full, run, after_training=True).endswith(
        f"Training is finished. Evaluate with: detfinetune evaluate run={run.path}"
    )


@pytest.mark.parametrize(
    "bug", [RuntimeError("mat1 and mat2 shapes"), OSError(errno.EPERM, "no"), KeyError("x")]
)
def test_bugs_keep_their_traceback(bug: Exception, run: RunFolder) -> None:
    with pytest.raises(type(bug)) as caught, explain_failures(run):
        raise bug
    assert caught.value is bug


@pytest.mark.parametrize(("split", "workers"), [("val", 0), ("test", 2)])
def test_an_image_whose_header_alone_is_sound(
    toy_dataset: Path, tmp_path: Path, workers: int, split: str
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(toy_dataset, folder)
    victim = folder / "images" / split / f"{split} 004.png"
    break_pixels(victim)
    out = tmp_path / "out"
    config = load_train_config(
        [*QUICK, *TINY, f"data.root={folder}", f"output_dir={out}", "solver.images_per_batch=2",
         "solver.max_iter=14", "evaluation.pictures=0", f"hardware.num_workers={workers}"]
    )  # fmt: skip
    with pytest.raises(DataError) as caught:
        train(config)
    text = str(caught.value)
    assert text.startswith(f"{victim}: the image cannot be read")
    assert "Traceback" not in text
    assert len(text.splitlines()) == 2
    wanted = {"val": "resume=", "test": "Training is finished. Evaluate with"}
    assert wanted[split] in text
    assert torch.load(out / "checkpoints/last.pth", weights_only=True)["iteration"] >= 1


def start_with_workers(repo: Path, toy_dataset: Path, folder: Path) -> subprocess.Popen[str]:
    tool = Tool(repo, folder)
    command = [
        *tool.command, f"data.root={toy_dataset}", *QUICK, *TINY, "solver.max_iter=5000",
        "output_dir=out", "hardware.num_workers=2", "solver.checkpoint_period=1",
        "evaluation.eval_period=0",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=folder, env=tool.environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    wait_for_step(folder / "out", process, 2)
    return process


def test_a_killed_worker(repo: Path, toy_dataset: Path, tmp_path: Path) -> None:
    process = start_with_workers(repo, toy_dataset, tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.is_file():
        process.kill()
        process.communicate()
        pytest.skip("this system does not tell a process's children")
    os.kill(int(children.read_text(encoding="utf-8").split()[0]), signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert "Traceback" not in output + errors
    assert "error: An image-loading worker process was killed" in errors
    assert "Resume with resume=out" in errors
    assert torch.load(tmp_path / "out/checkpoints/last.pth", weights_only=True)["iteration"] >= 2


def test_a_signal_to_all_processes_of_a_terminal(
    repo: Path, toy_dataset: Path, tmp_path: Path
) -> None:
    process = start_with_workers(repo, toy_dataset, tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert output.count("Stopping after this step") == 1
    assert "the checkpoint is saved. Resume with:" in output
    assert "Traceback" not in errors

"""The commands: their list, their mistakes, and how messages name them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from detfinetune import __version__
from detfinetune.config.load import load_evaluate_config

SCRIPTS = {
    "label": "label", "propose": "propose", "train": "train_net", "check": "check_dataset",
    "convert": "convert_labels", "evaluate": "evaluate", "predict": "predict", "ask": "ask",
    "merge": "merge",
}  # fmt: skip


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def detfinetune(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "detfinetune", *arguments)


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_lists_the_commands(arguments: tuple[str, ...]) -> None:
    done = detfinetune(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    listed = done.stdout.partition("commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == [*SCRIPTS, "doctor"]


def test_version() -> None:
    assert detfinetune("--version").stdout == f"detfinetune {__version__}\n"


def test_a_wrong_command_gets_the_nearest_one() -> None:
    done = detfinetune("trian", "data.root=x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: 'trian' is not a command. Did you mean 'train'? Choose from: label, propose, "
        "train, check, convert, evaluate, predict, ask, merge, doctor.\n"
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_names_the_command_as_the_user_called_it(repo: Path, name: str) -> None:
    script = f"tools/{SCRIPTS[name]}.py"
    command, tool = detfinetune(name, "--help").stdout, run(str(repo / script), "--help").stdout
    assert f"usage:\n  detfinetune {name} " in command
    assert tool == command.replace(f"  detfinetune {name} ", f"  python {script} ")


def test_a_library_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load_evaluate_config(["--help"])
    assert "usage:\n  detfinetune evaluate run=RUN" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("train", "--help"), ("train", "data.rot=x")])
def test_help_and_mistakes_do_not_wait_for_torch(arguments: tuple[str, ...]) -> None:
    done = run("-X", "importtime", "-m", "detfinetune", *arguments)
    imported = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert "detfinetune.config.load" in imported
    assert "torch" not in imported

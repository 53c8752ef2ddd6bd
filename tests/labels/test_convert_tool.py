"""The command itself: what a user types, sees and gets back as exit code."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path


def run(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repo / "tools/convert_labels.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=repo, check=False)


def test_convert_command(repo: Path, make_dataset) -> None:
    root = make_dataset(["a b.jpg"], {"a b.txt": "0 1 1 9 9\n0 9 9 9 9\n0 1 1 8 8\n"})
    out = root.parent / "out"
    arguments = (f"data.root={root}", f"output={out}", "data.val_fraction=0", "contact_sheet=1")
    first = run(repo, *arguments)
    assert (first.returncode, (out / "train.json").is_file()) == (0, True), first.stderr
    assert "lines read" in first.stdout
    again = run(repo, *arguments)
    assert again.returncode == 2
    assert again.stderr.strip() == (
        f"error: {out} exists already. Choose another output, or replace it with overwrite=true."
    )
    assert run(repo, *arguments, "overwrite=true").returncode == 0


def test_help_shows_the_options(repo: Path) -> None:
    shown = run(repo, "--help")
    assert shown.returncode == 0
    assert "data.columns" in shown.stdout
    assert "data.on_problem" in shown.stdout


def test_a_disk_without_room_is_one_line_and_leaves_nothing(repo: Path, make_dataset) -> None:
    lines = "".join(f"0 {n} 1 {n + 9} 9\n" for n in range(80))
    root = make_dataset(["a.jpg"], {"a.txt": lines, "classes.txt": "cat\n"})
    out = root.parent / "out"

    def no_file_above_four_kilobytes() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    command = [sys.executable, str(repo / "tools/convert_labels.py"), f"data.root={root}",
               f"output={out}", "data.val_fraction=0", "contact_sheet=0"]  # fmt: skip
    failed = subprocess.run(
        command, capture_output=True, text=True, cwd=repo, check=False,
        preexec_fn=no_file_above_four_kilobytes,
    )  # fmt: skip
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1].startswith("error: the output does not fit on the disk")
    assert "Traceback" not in failed.stderr
    assert sorted(path.name for path in root.parent.iterdir()) == ["data"]

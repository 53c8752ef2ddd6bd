"""What a person sees: messages instead of tracebacks, tables, exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from detfinetune import console
from detfinetune.console import busy, name_list, table


def run(body: str) -> subprocess.CompletedProcess[str]:
    program = "from detfinetune.console import *\nfrom detfinetune.errors import *\n"
    program += textwrap.dedent(body) + "\nrun_tool(main, [])"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_a_users_error_is_one_message_and_code_2() -> None:
    done = run(
        """
        def main(argv):
            raise DataError("x.txt:3: no class")
        """
    )
    assert (done.returncode, done.stderr) == (2, "error: x.txt:3: no class\n")


def test_a_bug_keeps_its_traceback() -> None:
    done = run("def main(argv): return 1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_ctrl_c_ends_with_130() -> None:
    done = run("def main(argv): raise KeyboardInterrupt")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_progress_in_a_log_is_whole_lines() -> None:
    done = run(
        """
        def main(argv):
            for _ in progress(range(3), description="work", unit="file"):
                say("between")
        """
    )
    assert done.stdout == "between\n" * 3
    lines = done.stderr.splitlines()
    assert lines[0].startswith("work:   0% 0/3")
    assert lines[-1].startswith("work: 100% 3/3")
    assert "\r" not in done.stderr


def test_what_takes_seconds_is_said_while_it_lasts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_SECONDS_OF_SILENCE", 0.1)
    with busy("sorting"):
        pass
    with busy("scoring"):
        limit = time.monotonic() + 60
        while not (said := capsys.readouterr().out) and time.monotonic() < limit:
            time.sleep(0.01)
    assert said == "scoring ...\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file that is always full")
def test_a_full_disk_does_not_end_what_only_reports() -> None:
    done = run(
        """
        def main(argv):
            sys.stdout = sys.stderr = open("/dev/full", "w")
            say("one")
            warn("two")
            for _ in progress(range(3), description="work"):
                pass
            os.write(2, b"alive")
            os._exit(0)
        """
    )
    assert (done.returncode, done.stderr) == (0, "alive")


def test_tables_show_missing_figures_as_a_dash() -> None:
    text = table([["a", 1.25, None], ["b", float("nan"), 3]], headers=("", "AP", "n"))
    assert text.splitlines()[2].split() == ["a", "1.2", "-"]
    assert text.splitlines()[3].split() == ["b", "-", "3"]


def test_control_characters_of_names_do_not_reach_the_terminal() -> None:
    done = run(
        """
        def main(argv):
            name = "a\\x1b[31m\\rb\\x9b\\udce4.png"
            say(f"{name}\\nour own line")
            warn(name)
            say(table([[name, "two\\nlines"]], ["file", name]))
            raise DataError(f"{name}:1: no class\\nour own line")
        """
    )
    shown = r"a\x1b[31m\rb\x9b\udce4.png"
    said = done.stdout.split("\n")
    assert said[:2] == [shown, "our own line"]
    assert said[2].split() == ["file", shown]
    assert said[4].split() == [shown, r"two\nlines"]
    warning, error, more = done.stderr.splitlines()
    assert (warning, more) == (f"warning: {shown}", "our own line")
    assert error == f"error: {shown}:1: no class"


def test_control_characters_of_the_file_of_an_os_error() -> None:
    done = run("def main(argv): open('no\\n\\x1bfile')")
    assert done.stderr == "error: no\\n\\x1bfile: No such file or directory\n"


def test_many_names_are_cut_with_a_count() -> None:
    assert name_list(["a", "b\n"]) == r"a, b\n"
    assert name_list([str(number) for number in range(1000)]).endswith(", 18, 19 and 980 more")


@pytest.mark.parametrize(
    "tool",
    [
        "ask",
        "check_dataset",
        "convert_labels",
        "doctor",
        "evaluate",
        "merge",
        "predict",
        "train_net",
    ],
)
def test_a_removed_working_directory_is_a_message(repo: Path, tmp_path: Path, tool: str) -> None:
    program = (
        "import os, runpy, sys; os.rmdir(os.getcwd()); del sys.argv[0]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    path = repo / "tools" / f"{tool}.py"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "The working directory has been removed. Change to a folder" in done.stdout + done.stderr


def spin_counts(repo: Path, tool: str, *arguments: str, **environment: str) -> set[str]:
    """How long a waiting thread spins, as OpenMP itself says when a tool loads it; 0 is passive."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, str(repo / "tools" / tool), *arguments], capture_output=True, text=True,
        env={**kept, "OMP_DISPLAY_ENV": "verbose", **environment}, check=False,
    )  # fmt: skip
    return set(re.findall(r"GOMP_SPINCOUNT\s*=\s*'(\w+)'", done.stderr))


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings GNU's OpenMP on Linux alone")
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("train_net.py", ["data.root=nowhere"]),
        ("check_dataset.py", ["data.root=nowhere"]),
    ],
)
def test_waiting_threads_leave_the_cores_to_others(
    repo: Path, tool: str, arguments: list[str]
) -> None:
    assert spin_counts(repo, tool, *arguments) == {"0"}


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings GNU's OpenMP on Linux alone")
def test_a_users_own_wait_policy_is_kept(repo: Path) -> None:
    (count,) = spin_counts(repo, "evaluate.py", "run=nowhere", OMP_WAIT_POLICY="active")
    assert int(count) > 1e9

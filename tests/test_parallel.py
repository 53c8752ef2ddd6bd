"""Worker processes of a killed command end too."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

POOL = """
import multiprocessing
from detfinetune.parallel import Workers

if __name__ == "__main__":
    workers = Workers(2)
    workers.start()
    list(workers.map(abs, range(100)))
"""

# The default start method of Python 3.14, under which workers are not children of the command.
LOADER = """
import multiprocessing
from torch.utils.data import DataLoader
from detfinetune.data.loaders import _init_worker

if __name__ == "__main__":
    loader = DataLoader(
        range(100), num_workers=2, multiprocessing_context="forkserver",
        worker_init_fn=_init_worker,
    )
    batches = iter(loader)
    next(batches)
"""

WAIT = """
    pids = [str(child.pid) for child in multiprocessing.active_children()]
    print(*pids, flush=True)
    input()
"""


@pytest.mark.parametrize("start", [POOL, LOADER], ids=["pool", "loader"])
def test_workers_of_a_killed_command_end(tmp_path: Path, start: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(start + WAIT, encoding="utf-8")
    command = [sys.executable, str(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pids = [int(pid) for pid in run.stdout.readline().split()]
        run.kill()
    assert len(pids) == 2
    limit = time.monotonic() + 20
    while any(map(is_running, pids)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed process that init has not collected yet.
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"

"""The benchmark of a fine-tuning step runs with a tiny model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_step_is_measured_with_and_without_checkpointing(repo: Path) -> None:
    command = [sys.executable, str(repo / "benchmarks" / "florence2_step.py")]
    environment = os.environ | {"PYTHONPATH": str(repo), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, "--sizes", "tiny", "--images", "1", "--repeats", "1"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [(row[0], row[1], row[3]) for row in rows] == [("tiny", "no", "-"), ("tiny", "yes", "-")]
    assert all(float(row[2]) > 0 for row in rows)
    refused = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "needs a CUDA device" in refused.stderr

"""The run's own log of metrics, which a resume needs: always written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


class JsonLog:
    """Appends to train_metrics.jsonl: one object a step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append a line, which survives a crash of the machine.

        Raises:
            OSError: the disk is full, or the like.
        """
        line = json.dumps({**metrics, "iteration": step}, sort_keys=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

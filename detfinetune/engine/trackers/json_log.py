"""The run's own log of metrics, which a resume needs: always written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from detfinetune.console import NO_ROOM, warn


class JsonLog:
    """Appends to train_metrics.jsonl: one object a step. Keeps what a full disk does not take."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[str] = []

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append a line, which survives a crash of the machine, and those that are waiting.

        Raises:
            OSError: the file cannot be written, and not because a disk is full.
        """
        self._waiting.append(json.dumps({**metrics, "iteration": step}, sort_keys=True))
        size = self._path.stat().st_size if self._path.exists() else 0
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in self._waiting))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            if len(self._waiting) == 1:
                warn(f"{self._path}: cannot be written ({error.strerror}). It is tried again.")
            if self._path.exists():
                os.truncate(self._path, size)
        else:
            self._waiting.clear()

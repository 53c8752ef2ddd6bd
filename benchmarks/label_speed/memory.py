"""Peak memory of a process and all below it, by watching them."""

from __future__ import annotations

import threading
from pathlib import Path

_SECONDS_BETWEEN = 0.2


class TreeMemory:
    """Watches a process and its descendants while the block runs; Linux only.

    What several of them share counts once: the kernel's proportional set size is summed.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._peak_kb = 0

    def __enter__(self) -> TreeMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float | None:
        """Megabytes; None where the system does not say."""
        return self._peak_kb / 1024 or None

    def _watch(self) -> None:
        while not self._over.wait(_SECONDS_BETWEEN):
            self._peak_kb = max(self._peak_kb, sum(map(_proportional_kb, _tree(self._pid))))


def _tree(pid: int) -> list[int]:
    """Return a process and all below it that are there now."""
    children: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        # The name, in brackets, may hold anything; after it come the state and the parent.
        if fields := _text(process / "stat").rpartition(")")[2].split():
            children.setdefault(int(fields[1]), []).append(int(process.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def _proportional_kb(pid: int) -> int:
    for line in _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # The process has ended since.

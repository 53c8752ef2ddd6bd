"""The journal of a store: a line of JSON for each edit, appended and never changed.

It is what other windows and processes learn of changes from, and what figures are computed from.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def append_event(path: Path, event: str, **values: Any) -> None:
    """Append an event with the time in seconds since 1970; the caller keeps other writers out.

    Raises:
        OSError: it cannot be written.
    """
    line = json.dumps({"event": event, "time": round(time.time(), 3), **values}) + "\n"
    with path.open("ab+", buffering=0) as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                line = "\n" + line  # A process was killed, or the disk full, within a line.
        stream.write(line.encode())


def read_events(path: Path, start: int = 0) -> tuple[list[Event], int]:
    """Return the events from a byte on, and the byte after them.

    A damaged line is left out; one that is not finished is left for the next time.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            data = stream.read()
    except FileNotFoundError:
        return [], start
    whole = data[: data.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events, start + len(whole)


def journal_size(path: Path) -> int:
    """Return its length in bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

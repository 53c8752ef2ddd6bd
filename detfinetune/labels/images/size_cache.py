"""What was read from images, kept from run to run, so that an unchanged image is not opened twice.

An image counts as unchanged when its absolute path, its size in bytes and its time of last change
(in nanoseconds) are. The store is one SQLite file below the cache folder (`files.cache_dir`).
It only saves time: whatever is wrong with it costs a warning, never the work.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from detfinetune import console, files
from detfinetune.errors import CacheError

Stamp = tuple[int, int]
"""A file's size in bytes and its time of last change in nanoseconds."""

MAX_BYTES = 512 << 20
"""What the store may take; above it the older half is forgotten."""

_FILE_NAME = "images-2.sqlite"
_SECONDS_TO_WAIT = 5.0
_INSTEAD = "Until then every run reads all images again."
# A file that is written twice within a tick of the clock keeps its stamp. FAT ticks are 2 s.
_TOO_FRESH_NS = 2_000_000_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    kind TEXT NOT NULL, path BLOB NOT NULL, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    value TEXT NOT NULL, PRIMARY KEY (kind, path));
"""


def file_stamps(paths: Sequence[Path]) -> dict[Path, Stamp]:
    """Return the stamp of each file that is there."""
    stamps: dict[Path, Stamp] = {}
    for path in paths:
        try:
            # os.stat, because Path.stat takes twice as long, and here that is most of the time.
            status = os.stat(path)  # noqa: PTH116
        except (OSError, ValueError):
            continue
        stamps[path] = (status.st_size, status.st_mtime_ns)
    return stamps


def read_cached(kind: str, stamps: Mapping[Path, Stamp]) -> dict[Path, str]:
    """Return what is known of those files that have not changed since.

    Args:
        kind: what was read from the images, with a version, such as `size-1`.
        stamps: as `file_stamps` returns them.
    """
    known: dict[Path, str] = {}
    query = "SELECT value FROM images WHERE kind = ? AND path = ? AND bytes = ? AND mtime_ns = ?"
    with _errors_as_warnings(), _open_store() as store:
        for path, stamp in stamps.items():
            row = store.execute(query, (kind, _key(path), *stamp)).fetchone()
            if row is not None:
                known[path] = row[0]
    return known


def write_cached(kind: str, stamps: Mapping[Path, Stamp], values: Mapping[Path, str]) -> None:
    """Keep `values`, read from files after their `stamps` were taken.

    Files without a stamp, and those changed within the last two seconds, are not kept.
    """
    newest = time.time_ns() - _TOO_FRESH_NS
    kept = [path for path in values if path in stamps and stamps[path][1] <= newest]
    if not kept:
        return
    with _errors_as_warnings(), _open_store() as store, store:
        store.executemany(
            "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)",
            ((kind, _key(path), *stamps[path], values[path]) for path in kept),
        )
        if _used_bytes(store) > MAX_BYTES:
            # Row ids grow, so the oldest rows have the lowest.
            store.execute(
                "DELETE FROM images WHERE rowid <= (SELECT rowid FROM images ORDER BY rowid "
                "LIMIT 1 OFFSET (SELECT count(*) / 2 FROM images))"
            )


def _key(path: Path) -> bytes:
    """Return the absolute path; as bytes, because not every file name is UTF-8."""
    return os.fsencode(path.absolute())


def _used_bytes(store: sqlite3.Connection) -> int:
    pages, free, page_bytes = (
        store.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_bytes)


@contextmanager
def _open_store() -> Iterator[sqlite3.Connection]:
    # The rollback journal is left as it is: the write-ahead log's shared memory does not work on
    # network drives, where home folders often lie.
    path = files.cache_dir() / _FILE_NAME
    with closing(sqlite3.connect(path, timeout=_SECONDS_TO_WAIT)) as store:
        store.executescript(_SCHEMA)
        yield store


_warn_once = cache(console.warn)


@contextmanager
def _errors_as_warnings() -> Iterator[None]:
    """Warn where the store cannot be used, and remove it where it is damaged."""
    try:
        yield
    except CacheError as error:
        _warn_once(f"{error} {_INSTEAD}")
    # A lock, a full disk or missing rights; its parent, DatabaseError, means a broken file.
    except (sqlite3.OperationalError, OSError) as error:
        _warn_once(
            f"{files.cache_dir() / _FILE_NAME}: the image cache cannot be used ({error}). Free "
            "some space or make it writable, or set DETFINETUNE_CACHE to another folder. "
            f"{_INSTEAD}"
        )
    except sqlite3.DatabaseError as error:
        path = files.cache_dir() / _FILE_NAME
        console.warn(f"{path}: this image cache is damaged ({error}); it is replaced by a new one.")
        for ending in ("", "-journal"):
            path.with_name(path.name + ending).unlink(missing_ok=True)

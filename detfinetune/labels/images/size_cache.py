"""What was read from images, kept from run to run, so that an unchanged image is not opened twice.

An image counts as unchanged when its absolute path, its size in bytes and its time of last change
(in nanoseconds) are. The store is one SQLite file below the cache folder (`files.cache_dir`).
It only saves time: whatever is wrong with it costs a warning, never the work. Rows are read and
written by the folder, in one transaction each; several processes wait for one another.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from detfinetune import console, files

Stamp = tuple[int, int]
"""A file's size in bytes and its time of last change in nanoseconds."""

MAX_BYTES = 512 << 20
"""What the store may take; above it the folders unused for longest are forgotten."""

_VERSION = 1
_FILE_NAME = f"images-{_VERSION}.sqlite"
_SECONDS_TO_WAIT = 5.0
# A file that is written twice within a tick of the clock keeps its stamp. FAT ticks are 2 s.
_TOO_FRESH_NS = 2_000_000_000
_KEPT_SHARE = 0.8
_SCHEMA = """
CREATE TABLE IF NOT EXISTS folders (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, path TEXT NOT NULL, used_on INTEGER NOT NULL,
    UNIQUE (kind, path));
CREATE TABLE IF NOT EXISTS images (
    folder INTEGER NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    value TEXT NOT NULL, PRIMARY KEY (folder, name)) WITHOUT ROWID;
"""

_Row = tuple[str, int, int, str]


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
    with _open_store() as store:
        if store is None:
            return known
        today, unmarked = _today(), []
        store.execute("BEGIN")
        for folder, paths in _by_folder(stamps).items():
            found = store.execute(
                "SELECT id, used_on FROM folders WHERE kind = ? AND path = ?", (kind, folder)
            ).fetchone()
            if found is None:
                continue
            for name, num_bytes, mtime_ns, value in _rows(store, found[0], paths):
                path = paths.get(name)
                if path is not None and stamps[path] == (num_bytes, mtime_ns):
                    known[path] = value
            if found[1] != today:
                unmarked.append((today, found[0]))
        store.execute("COMMIT")
        if unmarked:
            store.execute("BEGIN IMMEDIATE")
            store.executemany("UPDATE folders SET used_on = ? WHERE id = ?", unmarked)
            store.execute("COMMIT")
    return known


def write_cached(kind: str, stamps: Mapping[Path, Stamp], values: Mapping[Path, str]) -> None:
    """Keep `values`, read from files after their `stamps` were taken.

    Files without a stamp, and those changed within the last two seconds, are passed over.
    """
    newest = time.time_ns() - _TOO_FRESH_NS
    kept = {path: stamps[path] for path in values if path in stamps and stamps[path][1] <= newest}
    if not kept:
        return
    with _open_store() as store:
        if store is None:
            return
        store.execute("BEGIN IMMEDIATE")
        fresh = []
        for folder, paths in _by_folder(kept).items():
            store.execute(
                "INSERT INTO folders (kind, path, used_on) VALUES (?, ?, ?) "
                "ON CONFLICT (kind, path) DO UPDATE SET used_on = excluded.used_on",
                (kind, folder, _today()),
            )
            (number,) = store.execute(
                "SELECT id FROM folders WHERE kind = ? AND path = ?", (kind, folder)
            ).fetchone()
            fresh.append(number)
            store.executemany(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)",
                ((number, name, *kept[path], values[path]) for name, path in paths.items()),
            )
        _forget_oldest(store, fresh)
        store.execute("COMMIT")


def _by_folder(stamps: Mapping[Path, Stamp]) -> dict[str, dict[str, Path]]:
    """Return for each absolute folder its files by name; those without UTF-8 names are left out."""
    folders: dict[str, dict[str, Path]] = {}
    absolute: dict[str, str] = {}
    for path in stamps:
        text = os.fspath(path)
        try:
            text.encode()
        except UnicodeEncodeError:
            # A name that is not UTF-8; SQLite does not take it.
            continue
        # Path.parent and Path.absolute for every file would take longer than the reading.
        folder, separator, name = text.rpartition(os.sep)
        folder += separator
        if folder not in absolute:
            absolute[folder] = str(Path(folder).absolute())
        folders.setdefault(absolute[folder], {})[name] = path
    return folders


def _rows(store: sqlite3.Connection, folder: int, names: Mapping[str, Path]) -> Iterator[_Row]:
    """Yield rows of a folder: those of a few names, or all."""
    columns = "SELECT name, bytes, mtime_ns, value FROM images WHERE folder = ?"
    if len(names) > 100:
        yield from store.execute(columns, (folder,))
        return
    for name in names:
        yield from store.execute(f"{columns} AND name = ?", (folder, name))


def _forget_oldest(store: sqlite3.Connection, fresh: Sequence[int]) -> None:
    """Remove folders, those unused for longest first, until the store is well below its bound.

    What was just written goes last, and then only if it alone is more than the bound.
    """
    if _used_bytes(store) <= MAX_BYTES:
        return
    by_age = [row[0] for row in store.execute("SELECT id FROM folders ORDER BY used_on, id")]
    written = set(fresh)
    for folder in sorted(by_age, key=lambda number: number in written):
        limit = MAX_BYTES if folder in written else MAX_BYTES * _KEPT_SHARE
        if _used_bytes(store) <= limit:
            return
        store.execute("DELETE FROM images WHERE folder = ?", (folder,))
        store.execute("DELETE FROM folders WHERE id = ?", (folder,))


def _used_bytes(store: sqlite3.Connection) -> int:
    pages, free, page_bytes = (
        store.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_bytes)


def _today() -> int:
    return int(time.time() // 86_400)


@contextmanager
def _open_store() -> Iterator[sqlite3.Connection | None]:
    """Yield a connection, or None where there can be none; errors of SQLite end the block.

    The rollback journal is used, not the write-ahead log, whose shared memory does not work on
    network drives, where home folders often lie.
    """
    path: Path | None = None
    store: sqlite3.Connection | None = None
    try:
        path = files.cache_dir() / _FILE_NAME
        store = sqlite3.connect(path, timeout=_SECONDS_TO_WAIT, isolation_level=None)
        if store.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            # Rows of a table without row ids may take a quarter of a page; longer ones are spread.
            store.executescript(f"PRAGMA page_size = 16384; BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    except (sqlite3.Error, OSError) as error:
        _give_up(path, store, error)
        store = None
    try:
        yield store
    except sqlite3.Error as error:
        _give_up(path, store, error)
    finally:
        if store is not None:
            store.close()


def _give_up(path: Path | None, store: sqlite3.Connection | None, error: Exception) -> None:
    """Say that the store is of no use now; remove it where it is damaged."""
    if store is not None:
        store.close()
    # OperationalError is a lock, a full disk or missing rights; its parent means a broken file.
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )
    if not damaged or path is None:
        console.warn(
            f"the cache of image headers cannot be used now ({error}); reading the images."
        )
        return
    console.warn(f"{path}: this cache of image headers is damaged ({error}); it is made anew.")
    for ending in ("", "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)

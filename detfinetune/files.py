"""Atomic writing of files and folders, locks, output checks, and the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from detfinetune.errors import CacheError, OutputExistsError

_LOCK_NAME = "lock"
_MINUTE = 60
_DAY = 24 * 60 * _MINUTE


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it replaces `path` in one step.

    The temporary file is flushed to disk before the rename, so a crash leaves either the old file
    or the new one. If the block raises, `path` is unchanged and the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _set_permissions(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: Path, overwrite: bool = False) -> None:
    """Check that `path` can be written, before any long work.

    Raises:
        OutputExistsError: `path` exists, is not an empty folder, and `overwrite` is false; or it
            cannot be created.
    """
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise OutputExistsError(
            f"{path} cannot be created: {parent} is a file. Choose another output."
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputExistsError(
            f"{path} cannot be created: no permission to write to {parent}. Choose another output."
        )
    if not overwrite and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputExistsError(
            f"{path} exists already. Choose another output, or replace it with overwrite=true."
        )


def check_replaceable(output: Path, made_by: str, keep: Iterable[Path]) -> None:
    """Check that replacing `output` only removes an earlier output of the same tool.

    Args:
        output: folder to write; it may exist.
        made_by: a file that the tool writes into each of its outputs.
        keep: files and folders that must not be removed.

    Raises:
        OutputExistsError: `output` contains one of `keep`, or was not written by the tool.
    """
    for path in keep:
        if path.resolve().is_relative_to(output.resolve()):
            raise OutputExistsError(
                f"output={output}: this contains {path}, which would be removed. Choose another "
                "folder."
            )
    if not output.exists() or (output / made_by).is_file():
        return
    if not (output.is_dir() and not any(output.iterdir())):
        raise OutputExistsError(
            f"output={output}: this was not written by this tool (it has no {made_by}), so it is "
            "not replaced. Choose another folder, or remove it yourself."
        )


@contextmanager
def atomic_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder; on a clean exit it becomes `path`.

    Raises:
        OutputExistsError: `path` exists, is not an empty folder, and `overwrite` is false.
    """
    check_output(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    with locked(holder):
        try:
            temporary = holder / path.name
            temporary.mkdir()
            yield temporary
            # Another process may have written it meanwhile.
            check_output(path, overwrite)
            swap_in(temporary, path)
        finally:
            shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder` during the block; it is created.

    Raises:
        OutputExistsError: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK_NAME, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputExistsError(
            f"{folder}: another process is writing to this folder. Wait until it ends, or choose "
            "another output."
        ) from None
    except NotImplementedError:
        # A file system without locks; one process alone needs none.
        pass
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(path: Path) -> None:
    """Remove unfinished files and folders for `path` whose process was killed.

    This is safe for others that are at work on the same output: a living process holds the lock in
    its folder, which the system releases when it dies, and takes it within a minute. Files are not
    locked, but none is written for a day without a change.
    """
    start = f".{path.name}."
    # Path.glob takes ten times as long, which counts in a folder of thousands.
    names = [name for name in os.listdir(path.parent) if name.startswith(start)]  # noqa: PTH208
    for leftover in (path.parent / name for name in names if name.endswith(".part")):
        with suppress(OSError, OutputExistsError):
            age = time.time() - leftover.stat().st_mtime
            if leftover.is_dir() and age > _MINUTE:
                with locked(leftover):
                    shutil.rmtree(leftover)
            elif leftover.is_file() and age > _DAY:
                leftover.unlink()


def _set_permissions(temporary: Path) -> None:
    """Set the permissions of a new file; tempfile creates private ones."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)


def swap_in(temporary: Path, path: Path) -> None:
    """Rename a folder to `path`; an existing folder is kept until that has worked."""
    if not path.exists():
        temporary.rename(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    path.rename(aside / path.name)
    try:
        temporary.rename(path)
    except OSError:
        (aside / path.name).rename(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write `value` as JSON in UTF-8, atomically; NaN and infinity raise ValueError."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        # A file name that is not valid UTF-8.
        text = json.dumps(value, indent=indent, allow_nan=False)
    write_text(path, f"{text}\n")


def cache_dir(*parts: str) -> Path:
    """Return detfinetune's cache folder, or a folder in it; created if missing.

    `DETFINETUNE_CACHE`, or `XDG_CACHE_HOME/detfinetune`, or `~/.cache/detfinetune`.

    Raises:
        CacheError: it cannot be created.
    """
    if custom := os.environ.get("DETFINETUNE_CACHE"):
        base = Path(custom).expanduser()
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "detfinetune"
    folder = base.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError.from_os_error(folder, error) from error
    return folder


def sha256(*paths: Path) -> str:
    """Return the SHA-256 of files, one after the other, as hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()

"""Hashes of the content of image files, kept from run to run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from detfinetune import console
from detfinetune.labels.images.size_cache import file_stamps, read_cached, write_cached

_KIND = "content-1"
_THREADS = 4
_FEW = 500


def hash_images(paths: Sequence[Path]) -> list[str]:
    """Return BLAKE2b (128 bits, hex) of each file's bytes; empty where one cannot be read.

    Files that have not changed since they were last hashed are not opened.
    """
    stamps = file_stamps(paths)
    known = read_cached(_KIND, stamps)
    missing = [path for path in dict.fromkeys(paths) if path not in known]
    with ThreadPoolExecutor(_THREADS) as pool:
        results: Iterable[str] = pool.map(_hash, missing)
        if len(missing) > _FEW:
            results = console.progress(
                results, description="hash images", total=len(missing), unit="image"
            )
        fresh = {path: found for path, found in zip(missing, results, strict=True) if found}
    write_cached(_KIND, stamps, fresh)
    return [known.get(path) or fresh.get(path, "") for path in paths]


def _hash(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return ""

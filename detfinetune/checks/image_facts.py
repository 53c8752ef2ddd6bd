"""The facts of all images of a data set: read by every core, and kept for the next time."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple
from pathlib import Path

from PIL import __version__

from detfinetune import console
from detfinetune.checks.image_content import ImageFacts, scan_image
from detfinetune.labels.images.size_cache import Stamp, file_stamps, read_cached, write_cached

__all__ = ["ImageFacts", "scan_image", "scan_images"]

# The facts of another version of Pillow, or of `image_content`, are not taken from the cache.
_KIND = f"facts-2 Pillow {__version__}"
# Below both, starting processes (half a second each) takes longer than they save.
_FEW = 1000
_FEW_BYTES = 50_000_000
_IMAGES_A_TASK = 16
_KEPT_AT_ONCE = 2000

_Found = tuple[Path, ImageFacts]


def scan_images(paths: Sequence[Path], num_workers: int | None = None) -> dict[Path, ImageFacts]:
    """Return the facts of each image, with a progress bar; unchanged images come from the cache.

    Args:
        paths: image files.
        num_workers: processes; None takes one a core, 0 or 1 works in this process.
    """
    stamps = file_stamps(paths)
    facts = _parse_all(read_cached(_KIND, stamps)) if paths else {}
    unknown = [path for path in dict.fromkeys(paths) if path not in facts]
    if unknown:
        workers = (os.cpu_count() or 1) if num_workers is None else num_workers
        num_bytes = sum(stamps[path][0] for path in unknown if path in stamps)
        few = len(unknown) < _FEW and num_bytes < _FEW_BYTES
        alone = workers < 2 or few
        found = _scan_here(unknown) if alone else _scan_in_workers(unknown, workers)
        bar = console.progress(
            found, description="looking at images", total=len(unknown), unit="image"
        )
        facts.update(_keep(bar, stamps))
    return {path: facts[path] for path in paths}


def _keep(found: Iterable[_Found], stamps: Mapping[Path, Stamp]) -> dict[Path, ImageFacts]:
    """Collect facts; what was found until then is kept when the user stops the check."""
    facts: dict[Path, ImageFacts] = {}
    fresh: dict[Path, str] = {}
    try:
        for path, fact in found:
            facts[path] = fact
            if fact.sound:
                fresh[path] = _to_json(fact)
            if len(fresh) >= _KEPT_AT_ONCE:
                write_cached(_KIND, stamps, fresh)
                fresh = {}
    finally:
        if fresh:
            write_cached(_KIND, stamps, fresh)
    return facts


def _scan_here(paths: Sequence[Path]) -> Iterator[_Found]:
    return ((path, scan_image(path)) for path in paths)


def _new_pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, because forking a process that has threads (torch's, the caller's) can hang.
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_leave_interrupts_to_the_parent
    )


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _scan_in_workers(paths: Sequence[Path], workers: int) -> Iterator[_Found]:
    done = 0
    pool = _new_pool(workers)
    try:
        for facts in pool.map(scan_image, paths, chunksize=_IMAGES_A_TASK):
            done += 1
            yield paths[done - 1], facts
    except BrokenProcessPool:
        console.warn("a process that was looking at images has ended; going on one by one.")
        yield from _scan_one_by_one(paths[done:])
    finally:
        pool.shutdown(cancel_futures=True)


def _scan_one_by_one(paths: Sequence[Path]) -> Iterator[_Found]:
    """Look at images in a process of their own, so that one that ends it is told from the rest."""
    pool = _new_pool(1)
    try:
        try:
            pool.submit(int).result()
        except BrokenProcessPool:
            # Not an image's fault: no process can be started here.
            yield from _scan_here(paths)
            return
        for path in paths:
            try:
                facts = pool.submit(scan_image, path).result()
            except BrokenProcessPool:
                facts = ImageFacts(
                    problem_kind="image_corrupt",
                    problem="reading it ends the process: out of memory, or a crash in the decoder",
                )
                pool = _new_pool(1)
            yield path, facts
    finally:
        pool.shutdown(cancel_futures=True)


def _to_json(facts: ImageFacts) -> str:
    *values, thumbnail = astuple(facts)
    return json.dumps([*values, base64.b64encode(thumbnail).decode()], separators=(",", ":"))


def _parse_all(texts: Mapping[Path, str]) -> dict[Path, ImageFacts]:
    """Return the facts that were kept; what cannot be read counts as not kept."""
    facts = {}
    for path, text in texts.items():
        try:
            values = json.loads(text)
            values[-1] = base64.b64decode(values[-1])
            facts[path] = ImageFacts(*values)
        except (ValueError, TypeError, LookupError):
            continue
    return facts

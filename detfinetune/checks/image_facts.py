"""The facts of all images of a data set: read by every core, and kept for the next time."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from PIL import __version__
from tqdm import tqdm

from detfinetune import console
from detfinetune.checks.image_content import ImageFacts, scan_image
from detfinetune.labels.image_cache import file_stamps, read_cached, write_cached

__all__ = ["ImageFacts", "scan_image", "scan_images"]

# The facts of another version of Pillow, or of `image_content`, are not taken from the cache.
_KIND = f"facts-1 Pillow {__version__}"
_FEW = 200
_IMAGES_A_TASK = 16


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
        bar: tqdm[Path] = console.progress(
            description="looking at images", total=len(unknown), unit="image"
        )
        with bar:
            workers = (os.cpu_count() or 1) if num_workers is None else num_workers
            if workers < 2 or len(unknown) < _FEW:
                found = _scan_here(unknown, bar)
            else:
                found = _scan_in_workers(unknown, workers, bar)
        write_cached(_KIND, stamps, {p: _to_json(f) for p, f in found.items() if f.sound})
        facts.update(found)
    return {path: facts[path] for path in paths}


def _scan_here(paths: Iterable[Path], bar: tqdm[Path]) -> dict[Path, ImageFacts]:
    found = {}
    for path in paths:
        found[path] = scan_image(path)
        bar.update()
    return found


def _new_pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, because forking a process that has threads (torch's, the caller's) can hang.
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_leave_interrupts_to_the_parent
    )


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _scan_in_workers(
    paths: Sequence[Path], workers: int, bar: tqdm[Path]
) -> dict[Path, ImageFacts]:
    found: dict[Path, ImageFacts] = {}
    try:
        with _new_pool(workers) as pool:
            results = pool.map(scan_image, paths, chunksize=_IMAGES_A_TASK)
            for path, facts in zip(paths, results, strict=True):
                found[path] = facts
                bar.update()
    except BrokenProcessPool:
        console.warn("a process that was looking at images has ended; going on one by one.")
        found.update(_scan_one_by_one([path for path in paths if path not in found], bar))
    return found


def _scan_one_by_one(paths: Sequence[Path], bar: tqdm[Path]) -> dict[Path, ImageFacts]:
    """Look at images in a process of their own, so that one that ends it is told from the rest."""
    found: dict[Path, ImageFacts] = {}
    pool = _new_pool(1)
    try:
        try:
            pool.submit(int).result()
        except BrokenProcessPool:
            # Not an image's fault: no process can be started here.
            return _scan_here(paths, bar)
        for path in paths:
            try:
                found[path] = pool.submit(scan_image, path).result()
            except BrokenProcessPool:
                found[path] = ImageFacts(
                    problem_kind="image_corrupt",
                    problem="reading it ends the process: out of memory, or a crash in the decoder",
                )
                pool = _new_pool(1)
            bar.update()
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _to_json(facts: ImageFacts) -> str:
    values = asdict(facts)
    values["thumbnail"] = base64.b85encode(facts.thumbnail).decode()
    return json.dumps(values, separators=(",", ":"))


def _parse_all(texts: Mapping[Path, str]) -> dict[Path, ImageFacts]:
    """Return the facts that were kept; what cannot be read counts as not kept."""
    facts = {}
    for path, text in texts.items():
        try:
            values = json.loads(text)
            values["thumbnail"] = base64.b85decode(values["thumbnail"])
            facts[path] = ImageFacts(**values)
        except (ValueError, TypeError, KeyError):
            continue
    return facts

"""Scans all images of a data set with several processes, and caches the facts found."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from PIL import __version__

from detfinetune import console
from detfinetune.checks.images.image_content import ImageFacts, scan_image
from detfinetune.labels.images.size_cache import Stamp, file_stamps, read_cached, write_cached
from detfinetune.parallel import Workers

__all__ = ["ImageFacts", "scan_image", "scan_images"]

# Facts from another version of Pillow or of `image_content` are not taken from the cache.
_KIND = f"facts-4 Pillow {__version__}"
# Below both limits, starting processes (half a second each) takes longer than it saves.
_FEW = 1000
_FEW_BYTES = 50_000_000
_IMAGES_A_TASK = 16
_KEPT_AT_ONCE = 2000
_CRASHED = ImageFacts(
    problem_kind="image_corrupt",
    problem="reading it crashes the process: out of memory, or a bug in the decoder",
)


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
        num_bytes = sum(stamps[path][0] for path in unknown if path in stamps)
        few = len(unknown) < _FEW and num_bytes < _FEW_BYTES
        with Workers(0 if few else num_workers) as workers:
            scanned = workers.map(scan_image, unknown, _IMAGES_A_TASK, crashed=_CRASHED)
            bar = console.progress(
                zip(unknown, scanned, strict=True), description="checking images",
                total=len(unknown), unit="image",
            )  # fmt: skip
            facts.update(_keep(bar, stamps))
    return {path: facts[path] for path in paths}


def _keep(
    scanned: Iterable[tuple[Path, ImageFacts]], stamps: Mapping[Path, Stamp]
) -> dict[Path, ImageFacts]:
    """Collect facts and cache them, also when the user interrupts the check."""
    facts: dict[Path, ImageFacts] = {}
    fresh: dict[Path, str] = {}
    try:
        for path, fact in scanned:
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


def _to_json(facts: ImageFacts) -> str:
    *values, thumbnail = astuple(facts)
    return json.dumps([*values, base64.b64encode(thumbnail).decode()], separators=(",", ":"))


def _parse_all(texts: Mapping[Path, str]) -> dict[Path, ImageFacts]:
    """Return the cached facts; entries that cannot be read are ignored."""
    facts = {}
    for path, text in texts.items():
        try:
            values = json.loads(text)
            values[-1] = base64.b64decode(values[-1])
            facts[path] = ImageFacts(*values)
        except (ValueError, TypeError, LookupError):
            continue
    return facts

"""Finds near-duplicate images: pictures that differ only in how they were saved.

Perceptual hashes that differ in a few bits give candidates, without comparing all pairs. Then 32x32
grey copies decide: normalized in brightness and contrast, they must correlate and differ nowhere by
much. Without the second step, different circuit boards or chess positions count as duplicates; see
docs/decisions/0007-perceptual-hash.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.images.image_content import THUMBNAIL_SIDE, ImageFacts

MAX_DISTANCE = 6
"""Bits of 64 in which hashes of near duplicates may differ."""

MIN_CORRELATION = 0.97
"""Minimum correlation of the grey copies of near duplicates."""

MAX_LOCAL_DIFFERENCE = 0.3
"""Maximum difference of one of the 32x32 cells, as a share of the grey-level range."""

MIN_CONTRAST = 2.0
"""Images with a smaller standard deviation of grey levels are not compared."""

_HASH_BYTES = 8
_CELLS = THUMBNAIL_SIDE**2
# Within a bucket, each image is compared with this many that follow. More duplicates are found
# through other buckets, or through their neighbours.
_WINDOW = 64
_PAIRS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two different files that show the same picture."""

    first: Path
    second: Path
    distance: int
    """Bits in which their hashes differ, 0 to 64."""

    correlation: float
    """Of their grey levels at 32x32, -1 to 1."""


def near_pairs(facts: Mapping[Path, ImageFacts]) -> list[NearPair]:
    """Return pairs of different files that show the same picture, in the order of `facts`.

    Of identical files only the first is compared. Images without contrast are left out, because
    their hashes are meaningless. Rotated and mirrored copies, and crops of more than about 1 %,
    are not found.

    Args:
        facts: from `scan_images`; images that do not decode are left out.
    """
    firsts: dict[str, Path] = {}
    for path, fact in facts.items():
        if fact.sound:
            firsts.setdefault(fact.digest, path)
    paths = _with_contrast(list(firsts.values()), facts)
    hashes = np.array([facts[path].hash for path in paths], dtype=np.uint64)
    first, second = _close_hashes(hashes, MAX_DISTANCE)
    pairs = []
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        left = _standardised([facts[paths[i]].thumbnail for i in first[some]])
        right = _standardised([facts[paths[i]].thumbnail for i in second[some]])
        correlation, difference = _compare(left, right)
        for k in np.flatnonzero(
            (correlation >= MIN_CORRELATION) & (difference <= MAX_LOCAL_DIFFERENCE)
        ):
            i, j = first[start + k], second[start + k]
            distance = int(_count_bits(hashes[i : i + 1] ^ hashes[j : j + 1])[0])
            pairs.append(NearPair(paths[i], paths[j], distance, round(float(correlation[k]), 4)))
    return pairs


def _with_contrast(paths: Sequence[Path], facts: Mapping[Path, ImageFacts]) -> list[Path]:
    kept: list[Path] = []
    for start in range(0, len(paths), _PAIRS_AT_ONCE):
        some = paths[start : start + _PAIRS_AT_ONCE]
        contrast = _grey_levels([facts[path].thumbnail for path in some]).std(axis=1)
        kept += [path for path, std in zip(some, contrast, strict=True) if std >= MIN_CONTRAST]
    return kept


def _close_hashes(
    hashes: NDArray[np.uint64], max_distance: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index pairs i < j whose hashes differ in at most `max_distance` bits, sorted.

    At least 8 - `max_distance` of the eight bytes of two such hashes are equal (pigeonhole), so
    for each choice of that many bytes, only hashes that agree in them are compared.
    """
    by_value = np.argsort(hashes, kind="stable").astype(np.int64)
    ordered = hashes[by_value]
    is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    # Thousands of images may have the same hash: each is compared with those that follow, and only
    # the first with other hashes.
    found = [by_value[left] * len(hashes) + by_value[right] for left, right in _neighbours(ordered)]
    firsts, values = by_value[is_first], ordered[is_first]
    for chosen in combinations(range(_HASH_BYTES), _HASH_BYTES - max_distance):
        mask = np.uint64(sum(0xFF << (8 * byte) for byte in chosen))
        order = np.argsort(values & mask, kind="stable")
        for at, behind in _neighbours((values & mask)[order]):
            left, right = order[at], order[behind]
            near = _count_bits(values[left] ^ values[right]) <= max_distance
            i, j = firsts[left[near]], firsts[right[near]]
            found.append(np.minimum(i, j) * len(hashes) + np.maximum(i, j))
    pairs = np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)
    return pairs // max(1, len(hashes)), pairs % max(1, len(hashes))


def _neighbours(
    keys: NDArray[np.uint64],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield index pairs of equal keys, which are sorted, at distances of 1, 2, 3, ..."""
    at = np.arange(len(keys), dtype=np.int64)
    for step in range(1, _WINDOW + 1):
        at = at[at + step < len(keys)]
        at = at[keys[at] == keys[at + step]]
        if not len(at):
            return
        yield at, at + step


def _count_bits(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Count the bits that are set (`numpy.bitwise_count` needs numpy 2.0)."""
    bits = np.unpackbits(np.ascontiguousarray(values).view(np.uint8).reshape(-1, 8), axis=1)
    count: NDArray[np.int64] = bits.sum(axis=1, dtype=np.int64)
    return count


def _grey_levels(thumbnails: Sequence[bytes]) -> NDArray[np.float32]:
    """Return thumbnails as (images, cells)."""
    levels = np.frombuffer(b"".join(thumbnails), dtype=np.uint8).reshape(-1, _CELLS)
    return levels.astype(np.float32)


def _standardised(thumbnails: Sequence[bytes]) -> NDArray[np.float32]:
    """Return thumbnails with mean 0 and standard deviation 1; (images, cells)."""
    levels = _grey_levels(thumbnails)
    levels -= levels.mean(axis=1, keepdims=True)
    levels /= levels.std(axis=1, keepdims=True)
    return levels


def _compare(
    left: NDArray[np.float32], right: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each pair's correlation and largest difference as a share of the range."""
    spread = (np.ptp(left, axis=1) + np.ptp(right, axis=1)) / 2
    difference: NDArray[np.float32] = np.abs(left - right).max(axis=1) / spread
    correlation: NDArray[np.float32] = (left * right).mean(axis=1)
    return correlation, difference

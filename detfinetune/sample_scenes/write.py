"""Writes sample scenes: images, and labels in two formats."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detfinetune import console, files
from detfinetune.errors import CacheError, DataError, OutputExistsError
from detfinetune.parallel import Workers
from detfinetune.sample_scenes.render import render_scene
from detfinetune.sample_scenes.scene_labels import SceneLabel
from detfinetune.sample_scenes.settings import (
    CLASSES,
    DEFAULT_SETTINGS,
    VERSION,
    SceneSettings,
)

SPLIT_SHARES = (("train", 0.70), ("val", 0.15), ("test", 0.15))
RECORD_NAME = "scenes.json"


@dataclass(frozen=True)
class ScenePlan:
    """A scene to generate."""

    index: int
    """From 0; the file of scene 0 is scene_0001."""

    split: str
    empty: bool

    @property
    def name(self) -> str:
        """File name without suffix."""
        return f"scene_{self.index + 1:04d}"


def plan_scenes(num_scenes: int, seed: int, empty_share: float) -> list[ScenePlan]:
    """Divide scenes among splits, and choose the same share of empty ones in each."""
    val, test = (round(num_scenes * share) for _, share in SPLIT_SHARES[1:])
    splits = ["train"] * (num_scenes - val - test) + ["val"] * val + ["test"] * test
    rng = np.random.default_rng(np.random.SeedSequence([seed, num_scenes, 0xA11]))
    order = rng.permutation(num_scenes)
    plans = []
    for split, _ in SPLIT_SHARES:
        members = [int(order[i]) for i in range(num_scenes) if splits[i] == split]
        empties = set(members[: round(len(members) * empty_share)])
        plans += [ScenePlan(index, split, index in empties) for index in members]
    return sorted(plans, key=lambda plan: plan.index)


def write_sample_scenes(
    folder: Path, num_scenes: int = 200, seed: int = 0, num_workers: int | None = None
) -> Path:
    """Generate a data set of aerial scenes, unless it exists already.

    Writes `images/{split}/scene_0001.jpg`, `labels_txt/{split}/scene_0001.txt` (lines
    `class x1 y1 x2 y2` in pixels), `labels_yolo/{split}/scene_0001.txt` (YOLO polygons),
    `classes.txt` and `scenes.json`. Scenes without objects have empty label files. The files depend
    only on `num_scenes`, `seed` and the versions of numpy and OpenCV. The folder is written
    atomically.

    Args:
        folder: output; its parent is created if missing.
        num_scenes: at least 1; 70 % train, 15 % val, 15 % test.
        seed: not negative.
        num_workers: processes; None: one per core; 1: this process.

    Returns:
        `folder`.

    Raises:
        DataError: a number is out of range.
        OutputExistsError: the folder has other content.
        CacheError: the folder is in the cache, which cannot be written.
    """
    if num_scenes < 1 or seed < 0:
        raise DataError(
            f"Sample scenes need num_scenes >= 1 and seed >= 0, not num_scenes={num_scenes} and "
            f"seed={seed}."
        )
    record = {
        "version": VERSION,
        "seed": seed,
        "num_scenes": num_scenes,
        "settings": json.loads(json.dumps(asdict(DEFAULT_SETTINGS))),
    }
    if folder.is_dir() and any(folder.iterdir()):
        _check_same(folder, record)
        return folder
    try:
        with files.atomic_folder(folder) as unfinished:
            _write_all(unfinished, num_scenes, seed, num_workers)
            (unfinished / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
            files.write_json(unfinished / RECORD_NAME, record)
    except OSError as error:
        if folder.parent != files.cache_dir():
            raise
        raise CacheError.from_os_error(folder.parent, error) from error
    return folder


def sample_scenes_folder() -> Path:
    """Return the folder of sample scenes: `datasets/sample_scenes` of a checkout, or in the cache.

    It may not exist yet.
    """
    checkout = Path(__file__).resolve().parents[2]
    datasets = checkout / "datasets"
    # Only a checkout has this file.
    if (datasets / "README.md").is_file() and os.access(datasets, os.W_OK):
        return datasets / "sample_scenes"
    return files.cache_dir() / "sample_scenes"


def _check_same(folder: Path, wanted: dict[str, Any]) -> None:
    """Raise OutputExistsError unless the folder was generated with the same arguments."""
    path = folder / RECORD_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise OutputExistsError(
            f"{folder} does not contain sample scenes ({RECORD_NAME} is missing or cannot be "
            "read). Choose another folder, or remove this one."
        ) from None
    if found != wanted:
        differing = sorted(
            key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key]
        )
        raise OutputExistsError(
            f"{folder} contains other sample scenes ({', '.join(differing)} differ; see {path}). "
            "Choose another folder, or remove this one to generate it again."
        )


def _write_all(folder: Path, num_scenes: int, seed: int, num_workers: int | None) -> None:
    plans = plan_scenes(num_scenes, seed, DEFAULT_SETTINGS.empty_share)
    for split, _ in SPLIT_SHARES:
        for kind in ("images", "labels_txt", "labels_yolo"):
            (folder / kind / split).mkdir(parents=True)

    make = partial(write_scene, folder, seed, DEFAULT_SETTINGS)
    with Workers(num_workers, _start_worker) as workers:
        scenes = workers.map(make, plans)
        for _ in console.progress(
            scenes, description="Sample scenes", total=num_scenes, unit="scene"
        ):
            pass


def _start_worker() -> None:
    """Use one thread per worker, because workers use all cores."""
    cv2.setNumThreads(1)


def write_scene(folder: Path, seed: int, settings: SceneSettings, plan: ScenePlan) -> None:
    """Render a scene, and write its image and both label files."""
    picture, width, height, labels = render_scene(settings, seed, plan.index, plan.empty)
    (folder / "images" / plan.split / f"{plan.name}.jpg").write_bytes(picture)
    for kind, lines in (
        ("labels_txt", [txt_line(label) for label in labels]),
        ("labels_yolo", [yolo_line(label, width, height) for label in labels]),
    ):
        text = "".join(f"{line}\n" for line in lines)
        path = folder / kind / plan.split / f"{plan.name}.txt"
        path.write_text(text, encoding="utf-8", newline="\n")


def txt_line(label: SceneLabel) -> str:
    """Return `class x1 y1 x2 y2` in pixels."""
    return " ".join([str(label.category), *(f"{value:g}" for value in label.box)])


def yolo_line(label: SceneLabel, width: int, height: int) -> str:
    """Return `class x y x y ...` in normalized coordinates."""
    numbers = (f"{x / width:.6f} {y / height:.6f}" for x, y in label.polygon)
    return " ".join([str(label.category), *numbers])

"""Sample scenes on disk: pictures, and labels in two formats for the converters to read."""

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
from detfinetune.errors import DataError, OutputExistsError
from detfinetune.parallel import Workers
from detfinetune.sample_scenes.outline import SceneLabel
from detfinetune.sample_scenes.render import render_scene
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
    """One scene that is to be made."""

    index: int
    """From 0; the file is called scene_0001 for 0."""

    split: str
    empty: bool

    @property
    def name(self) -> str:
        """File name without its ending."""
        return f"scene_{self.index + 1:04d}"


def plan_scenes(num_scenes: int, seed: int, empty_share: float) -> list[ScenePlan]:
    """Divide scenes among splits and choose the empty ones, the same share in each split."""
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
    """Make a data set of aerial scenes, or find it made already.

    Writes `images/{split}/scene_0001.jpg`, `labels_txt/{split}/scene_0001.txt` (lines
    `class x1 y1 x2 y2` in pixels), `labels_yolo/{split}/scene_0001.txt` (lines of class and
    outline as shares of width and height), `classes.txt` and `scenes.json`. A scene without
    objects has empty label files. The files depend on nothing but `num_scenes`, `seed` and the
    versions of numpy and OpenCV. The folder appears whole or not at all.

    Args:
        folder: where to; its parent is made when missing.
        num_scenes: at least 1; 70 % go to train, 15 % each to val and test.
        seed: not negative.
        num_workers: processes; None takes one a core. 1 stays in this process.

    Returns:
        `folder`.

    Raises:
        DataError: a number is out of range.
        OutputExistsError: the folder holds something else.
    """
    if num_scenes < 1 or seed < 0:
        raise DataError(
            f"Sample scenes need num_scenes of 1 or more and a seed of 0 or more, "
            f"not num_scenes={num_scenes} and seed={seed}."
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
    with files.atomic_folder(folder) as unfinished:
        _write_all(unfinished, num_scenes, seed, num_workers)
        (unfinished / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
        files.write_json(unfinished / RECORD_NAME, record)
    return folder


def sample_scenes_folder() -> Path:
    """Where sample scenes are kept: `datasets/sample_scenes` of a checkout, else the cache.

    The folder need not exist yet.
    """
    checkout = Path(__file__).resolve().parents[2]
    datasets = checkout / "datasets"
    # The file that every checkout has there; an installed package has none.
    if (datasets / "README.md").is_file() and os.access(datasets, os.W_OK):
        return datasets / "sample_scenes"
    return files.cache_dir() / "sample_scenes"


def _check_same(folder: Path, wanted: dict[str, Any]) -> None:
    """Raise OutputExistsError unless the folder was made with the same arguments."""
    path = folder / RECORD_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise OutputExistsError(
            f"{folder} holds something that is no set of sample scenes ({RECORD_NAME} is missing "
            "or cannot be read). Choose another folder, or remove this one."
        ) from None
    if found != wanted:
        differing = sorted(
            key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key]
        )
        raise OutputExistsError(
            f"{folder} holds sample scenes made otherwise ({', '.join(differing)} differ; see "
            f"{path}). Choose another folder, or remove this one to have it made anew."
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
    """One thread a worker: the workers themselves fill the cores."""
    cv2.setNumThreads(1)


def write_scene(folder: Path, seed: int, settings: SceneSettings, plan: ScenePlan) -> None:
    """Render one scene and write its picture and both label files."""
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
    """`class x1 y1 x2 y2` in pixels."""
    return " ".join([str(label.category), *(f"{value:g}" for value in label.box)])


def yolo_line(label: SceneLabel, width: int, height: int) -> str:
    """`class x y x y ...` as shares of the image's width and height."""
    numbers = (f"{x / width:.6f} {y / height:.6f}" for x, y in label.outline)
    return " ".join([str(label.category), *numbers])

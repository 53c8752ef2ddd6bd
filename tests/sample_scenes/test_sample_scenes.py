"""Sample scenes: the same bytes from the same arguments, and labels that fit what is seen."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from detfinetune.errors import CacheError, DataError, OutputExistsError
from detfinetune.files import cache_dir
from detfinetune.sample_scenes import CLASSES, sample_scenes_folder, write_sample_scenes
from detfinetune.sample_scenes.canvas import Canvas, Sun
from detfinetune.sample_scenes.layout import compose_scene
from detfinetune.sample_scenes.render import render_scene, shadows
from detfinetune.sample_scenes.scene_labels import SceneLabel, visible_labels
from detfinetune.sample_scenes.settings import DEFAULT_SETTINGS
from detfinetune.sample_scenes.write import plan_scenes, txt_line, yolo_line

SPLITS = ("train", "val", "test")
NUM_SCENES = 14


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_scenes(
        tmp_path_factory.mktemp("scenes") / "set", NUM_SCENES, seed=3, num_workers=1
    )


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def label_rows(path: Path) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in path.read_text().splitlines()]


def test_every_scene_has_a_picture_and_both_labels(scenes: Path) -> None:
    names = {}
    for kind, suffix in (("images", ".jpg"), ("labels_txt", ".txt"), ("labels_yolo", ".txt")):
        paths = [path for path in (scenes / kind).rglob("*") if path.is_file()]
        assert {path.suffix for path in paths} == {suffix}
        names[kind] = sorted(path.parent.name + "/" + path.stem for path in paths)
    assert names["images"] == names["labels_txt"] == names["labels_yolo"]
    counts = {split: len(list((scenes / "images" / split).iterdir())) for split in SPLITS}
    assert counts == {"train": 10, "val": 2, "test": 2}
    stems = sorted(name.split("/")[1] for name in names["images"])
    assert stems == [f"scene_{number:04d}" for number in range(1, NUM_SCENES + 1)]
    assert (scenes / "classes.txt").read_text().split() == list(CLASSES)


def test_labels_lie_in_the_image_and_agree_between_formats(scenes: Path) -> None:
    low, high = DEFAULT_SETTINGS.side_limits
    boxes = 0
    for image_path in (scenes / "images").rglob("*.jpg"):
        image = cv2.imread(str(image_path))
        height, width = image.shape[:2]
        assert 416 <= width <= 512
        assert 416 <= height <= 512
        place = f"{image_path.parent.name}/{image_path.stem}.txt"
        txt = label_rows(scenes / "labels_txt" / place)
        yolo = label_rows(scenes / "labels_yolo" / place)
        assert len(txt) == len(yolo)
        for (category, x1, y1, x2, y2), row in zip(txt, yolo, strict=True):
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert low <= min(x2 - x1, y2 - y1)
            assert max(x2 - x1, y2 - y1) <= high
            assert category == row[0]
            polygon = np.array(row[1:]).reshape(-1, 2) * (width, height)
            assert len(polygon) >= 3
            bounds = [*polygon.min(axis=0), *polygon.max(axis=0)]
            assert bounds == pytest.approx([x1, y1, x2, y2], abs=0.01)
            boxes += 1
    assert boxes > 4 * NUM_SCENES


@pytest.mark.parametrize("index", [1, 2])
def test_boxes_and_polygons_are_tight(index: int) -> None:
    rng = np.random.default_rng(index)
    canvas = Canvas(832, 896, 2 / 0.3, Sun(0.4, 0.8), rng)
    compose_scene(canvas, DEFAULT_SETTINGS, empty=False)
    labels = visible_labels(canvas, DEFAULT_SETTINGS)
    assert len(labels) >= 3
    for label in labels:
        filled = np.zeros((896, 832), np.uint8)
        points = np.round(np.array(label.polygon) * 2 - 0.5).astype(np.int32)
        cv2.fillPoly(filled, [points], 1)
        owners = canvas.owner[filled.astype(bool)]
        number = np.bincount(owners[owners > 0]).argmax()
        assert canvas.instances[number - 1].category == label.category
        seen = (canvas.owner == number).astype(np.uint8)
        parts = cv2.connectedComponentsWithStats(seen, connectivity=8)[2][1:]
        left, top, width, height = parts[parts[:, cv2.CC_STAT_AREA].argmax(), :4]
        expected = (left / 2, top / 2, (left + width) / 2, (top + height) / 2)
        assert label.box == expected
        # Holes (a tree amid weeds) are filled in the polygon, so only pixels outside of it count.
        missed = np.count_nonzero(seen & ~filled)
        assert missed < 0.06 * seen.sum()
        spilled = np.count_nonzero(filled & ~cv2.dilate(seen, np.ones((25, 25), np.uint8)))
        assert spilled < 0.25 * seen.sum()


def test_hidden_objects_are_not_labelled() -> None:
    canvas = Canvas(200, 200, 4.0, Sun(0.0, 0.8), np.random.default_rng(0))
    whole = np.zeros((200, 200), bool)
    whole[50:150, 40:140] = True
    number = canvas.add_instance(1, whole)
    canvas.owner[whole] = number
    canvas.owner[50:114] = 0
    (label,) = visible_labels(canvas, DEFAULT_SETTINGS)
    assert label.box == (20.0, 57.0, 70.0, 75.0)
    canvas.owner[50:116] = 0
    assert visible_labels(canvas, DEFAULT_SETTINGS) == []


def test_a_post_throws_its_shadow_away_from_the_sun() -> None:
    altitude = np.zeros((40, 60), np.float32)
    altitude[20, 30] = 5.0
    # Light from the left at 45 degrees, one metre a pixel: five metres of shadow to the right,
    # the last of which is lower than what counts.
    shade = shadows(altitude, Sun(math.pi, math.radians(45)), 1.0)
    assert np.argwhere(shade).tolist() == [[20, 31], [20, 32], [20, 33], [20, 34]]


def test_level_ground_gets_full_light_and_slopes_less_or_more() -> None:
    sun = Sun(0.0, math.radians(45))
    slopes = np.array([0.0, -1.0, 1.0], np.float32)
    assert sun.on_slope(slopes, np.zeros(3, np.float32)) == pytest.approx(
        [1.0, math.sqrt(2), 0.0], abs=1e-6
    )


def test_bytes_depend_on_neither_run_nor_workers(scenes: Path, tmp_path: Path) -> None:
    again = write_sample_scenes(tmp_path / "again", NUM_SCENES, seed=3, num_workers=2)
    assert digests(again) == digests(scenes)


def test_another_seed_gives_other_scenes() -> None:
    first = render_scene(DEFAULT_SETTINGS, 0, 0, empty=True)[0]
    second = render_scene(DEFAULT_SETTINGS, 1, 0, empty=True)[0]
    assert first != second


def test_empty_scenes_hold_decoys_but_no_labels() -> None:
    assert render_scene(DEFAULT_SETTINGS, 0, 5, empty=True)[3] == []


def test_each_split_has_negatives_and_every_class(scenes: Path) -> None:
    plans = plan_scenes(200, 0, DEFAULT_SETTINGS.empty_share)
    empties = {split: sum(p.empty for p in plans if p.split == split) for split in SPLITS}
    assert empties == {"train": 11, "val": 2, "test": 2}
    assert [plan.index for plan in plans] == list(range(200))
    counts = {split: sum(plan.split == split for plan in plans) for split in SPLITS}
    assert counts == {"train": 140, "val": 30, "test": 30}
    for split in SPLITS:
        files = (scenes / "labels_txt" / split).iterdir()
        rows = itertools.chain.from_iterable(label_rows(path) for path in files)
        assert {row[0] for row in rows} == {0, 1, 2}, split
    train = (scenes / "labels_txt" / "train").iterdir()
    assert sum(path.stat().st_size == 0 for path in train) >= 1


def test_a_set_made_before_is_reused(scenes: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in scenes.rglob("*")}
    assert write_sample_scenes(scenes, NUM_SCENES, seed=3) == scenes
    assert {path: path.stat().st_mtime_ns for path in scenes.rglob("*")} == before


def test_a_set_made_otherwise_is_left_alone(scenes: Path) -> None:
    with pytest.raises(OutputExistsError, match=r"other sample scenes \(seed differ"):
        write_sample_scenes(scenes, NUM_SCENES, seed=4)
    assert json.loads((scenes / "scenes.json").read_text())["seed"] == 3


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="does not contain sample scenes"):
        write_sample_scenes(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("num_scenes", "seed"), [(0, 0), (-1, 0), (1, -1)])
def test_numbers_out_of_range(tmp_path: Path, num_scenes: int, seed: int) -> None:
    with pytest.raises(DataError, match=f"num_scenes={num_scenes} and seed={seed}"):
        write_sample_scenes(tmp_path / "set", num_scenes, seed)


def test_nothing_is_left_behind_when_a_scene_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(label: SceneLabel) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("detfinetune.sample_scenes.write.txt_line", fail)
    with pytest.raises(OSError, match="disk full"):
        write_sample_scenes(tmp_path / "set", 2, seed=0, num_workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_full_cache_is_named(file_size_limit: Callable[[int], None]) -> None:
    file_size_limit(1024)
    with pytest.raises(CacheError) as caught:
        write_sample_scenes(cache_dir() / "sample_scenes", 1, num_workers=1)
    assert str(caught.value).startswith(f"{cache_dir()}: the cache cannot be written (File too la")
    assert "DETFINETUNE_CACHE" in str(caught.value)
    assert list(cache_dir().iterdir()) == []


def test_label_lines() -> None:
    label = SceneLabel(2, (10.0, 20.5, 50.0, 40.0), ((10.0, 20.5), (50.0, 20.5), (30.0, 40.0)))
    assert txt_line(label) == "2 10 20.5 50 40"
    assert yolo_line(label, 100, 50) == ("2 0.100000 0.410000 0.500000 0.410000 0.300000 0.800000")


def test_folder_is_the_checkouts_or_the_caches(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sample_scenes_folder() == repo / "datasets" / "sample_scenes"
    monkeypatch.setenv("DETFINETUNE_CACHE", str(tmp_path / "cache"))
    installed = tmp_path / "site-packages" / "detfinetune" / "sample_scenes" / "write.py"
    monkeypatch.setattr("detfinetune.sample_scenes.write.__file__", str(installed))
    assert sample_scenes_folder() == tmp_path / "cache" / "sample_scenes"

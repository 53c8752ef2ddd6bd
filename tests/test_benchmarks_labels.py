"""The label benchmark runs, and its check of what was written sees what is missing or wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[1]
IMAGES = 50
# By the counts of one round of twenty images: two rounds of 200, and the first ten once more.
BOXES = 2 * 200 + 100


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's own module of data, which is no part of the package."""
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    from label_speed import data

    return data


def test_benchmark_of_labels_runs_small(tmp_path: Path) -> None:
    output = tmp_path / "labels.jsonl"
    command = [
        sys.executable, str(REPO / "benchmarks" / "labels.py"), "--images", str(IMAGES),
        "--repeats", "1", "--only", "floor", "detfinetune", "--folder", str(tmp_path / "work"),
        "--output", str(output),
    ]  # fmt: skip
    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert lines[0]["machine"]["cores"] == os.cpu_count()
    own = ("detfinetune", "detfinetune again", "detfinetune + checks")
    assert [(line["layout"], line["contestant"]) for line in lines[1:]] == [
        (layout, name) for layout in ("yolo", "voc") for name in ("floor", *own)
    ]
    for line in lines[1:]:
        assert 0 < line["seconds"] < 60
        assert 5 < line["peak_rss_mb"] < 2000
        if line["contestant"] != "floor":
            outcome = line["outcome"]
            assert outcome.pop("largest_shift") < 0.01
            assert outcome == {
                "images": IMAGES, "boxes": BOXES, "wrong_sizes": 0, "wrong_classes": 0,
            }  # fmt: skip
    assert run.stdout.count("all images and boxes") == 6
    assert run.stdout.count("times the floor: detfinetune ") == 2
    assert list((tmp_path / "work").iterdir()) == []


def test_data_are_the_same_each_time_and_not_linked(tmp_path: Path, data: Any) -> None:
    made = [data.make_data(tmp_path / name, 21) for name in ("a", "b")]
    files = [sorted(path.relative_to(root) for path in root.rglob("*")) for root in made]
    assert files[0] == files[1]
    for path in files[0]:
        one, other = (root / path for root in made)
        if one.is_file():
            assert one.read_bytes() == other.read_bytes()
            assert one.stat().st_nlink == 1
    assert (made[0] / "yolo/labels/000005.txt").read_text(encoding="utf-8") == ""
    lines = (made[0] / "yolo/labels/000006.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(data.boxes_of(6)) == 20


def test_data_of_another_size_or_of_others_are_left_alone(tmp_path: Path, data: Any) -> None:
    folder = data.make_data(tmp_path / "made", 3)
    assert data.make_data(folder, 3) == folder
    with pytest.raises(FileExistsError, match="holds other data of this benchmark"):
        data.make_data(folder, 4)
    (tmp_path / "other" / "yolo").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="not from this benchmark"):
        data.make_data(tmp_path / "other", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "other"]


def test_what_a_contestant_lost_or_changed_is_seen(tmp_path: Path, data: Any) -> None:
    def write(content: dict[str, Any]) -> list[str]:
        path = tmp_path / "coco.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        remarks: list[str] = data.check_outcome([path]).remarks(20)
        return remarks

    images, annotations = [], []
    for index in range(20):
        width, height = data.image_size(index)
        name = f"{data.image_name(index)}.jpg"
        images.append({"id": index, "file_name": name, "width": width, "height": height})
        annotations += [
            {"image_id": index, "category_id": label, "bbox": box}
            for label, *box in data.boxes_of(index)
        ]
    categories = [{"id": i, "name": name} for i, name in enumerate(data.CLASSES)]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    assert write(whole) == []
    assert write(whole | {"images": images[:-1]}) == ["19 of 20 images"]
    assert write(whole | {"annotations": annotations[1:]}) == ["199 of 200 boxes"]
    numbered = [{"id": i, "name": str(i)} for i in range(5)]
    assert write(whole | {"categories": numbered}) == []
    moved = [annotations[0] | {"bbox": [v + 1.5 for v in annotations[0]["bbox"][:2]] + [8, 8]}]
    assert "edges moved by up to" in write(whole | {"annotations": moved + annotations[1:]})[0]
    other = (annotations[0]["category_id"] + 1) % 5
    relabelled = [annotations[0] | {"category_id": other}, *annotations[1:]]
    assert write(whole | {"annotations": relabelled}) == ["1 classes wrong"]
    resized = [images[0] | {"width": 1}, *images[1:]]
    assert write(whole | {"images": resized}) == ["1 image sizes wrong"]


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="needs Linux's /proc")
def test_memory_of_children_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    from label_speed.memory import TreeMemory

    hold = "import time; held = bytes(range(256)) * 4 * 60 * 1024; time.sleep(1.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        with TreeMemory(process.pid) as memory:
            started = time.monotonic()
            assert process.wait() == 0
        assert time.monotonic() - started > 1
    assert memory.peak_mb is not None
    assert 60 < memory.peak_mb < 150

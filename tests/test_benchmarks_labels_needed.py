"""The benchmark of labelled images: nested subsets without leakage, resuming, table and picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detfinetune.config.schema import DataConfig
from detfinetune.labels.convert import convert_dataset
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.read import read_dataset

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, which is no part of the package."""
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    import labels_needed

    return labels_needed


def train_names(dataset: LabelledDataset) -> set[str]:
    return set(dataset.tables["train"].names)


def test_subsets_are_nested_and_leave_val_and_test_alone(
    benchmark: Any, toy_dataset: Path, tmp_path: Path
) -> None:
    full = tmp_path / "all"
    convert_dataset(DataConfig(root=toy_dataset, test_fraction=0.2), full, contact_sheet=0)
    whole = read_dataset(DataConfig(root=full))
    count = whole.tables["train"].num_images
    assert count > 4
    parts = {}
    for seed in (0, 1):
        for images in (2, 4, count):
            folder = benchmark.write_subset(full, tmp_path / f"{images}-{seed}", images, seed)
            part = parts[images, seed] = read_dataset(DataConfig(root=folder))
            assert list(part.tables) == list(whole.tables)
            assert (part.classes, part.ledger.entries) == (whole.classes, [])
            assert part.tables["train"].num_images == images
            for split in set(whole.tables) - {"train"}:
                was, now = whole.tables[split], part.tables[split]
                assert now.names == was.names
                assert now.boxes.tolist() == was.boxes.tolist()
                assert not train_names(part) & set(now.names)
    for seed in (0, 1):
        small, middle, large = (train_names(parts[images, seed]) for images in (2, 4, count))
        assert small < middle < large == train_names(whole)
    assert train_names(parts[4, 0]) != train_names(parts[4, 1])
    # Each image that is kept has all its objects.
    table, part_table = whole.tables["train"], parts[4, 0].tables["train"]
    objects = {record.file_name: record.annotations for record in map(table.record, range(count))}
    for record in map(part_table.record, range(4)):
        boxes = [annotation.bbox for annotation in record.annotations]
        assert boxes == [annotation.bbox for annotation in objects[record.file_name]]


def test_finished_runs_are_kept_and_interrupted_ones_resumed(
    benchmark: Any, toy_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, data = tmp_path / "out", tmp_path / "out" / "data"
    said: list[tuple[str, ...]] = []

    def command(*words: str) -> None:
        said.append(words)
        if words[0] == "convert":
            convert_dataset(DataConfig(root=toy_dataset), data / "all", contact_sheet=0)
            return
        option = next(word for word in words if word.startswith(("resume=", "output_dir=")))
        metrics = Path(option.partition("=")[2]) / "evaluation" / "test" / "metrics.json"
        metrics.parent.mkdir(parents=True)
        metrics.write_text(json.dumps({"bbox": {"AP": 40.0 + len(said), "AP50": 80.25}}))

    def main(*models: str) -> list[str]:
        words = ["custom", "--data-root", "DIR", "--sizes", "2", "all", "--seeds", "3"]
        words += ["--output", str(output), "--overrides", "solver.max_iter=9"]
        monkeypatch.setattr("sys.argv", ["x", *words, "--models", *models])
        benchmark.main()
        return (output / "labels_needed.csv").read_text(encoding="utf-8").splitlines()[1:]

    monkeypatch.setattr(benchmark, "command", command)
    (output / "runs" / "auto-2-3").mkdir(parents=True)
    rows = main("auto")
    whole = json.loads((data / "all" / "dataset.json").read_text())
    count = whole["splits"]["train"]["num_images"]
    assert rows == ["auto,2,3,42.0,80.25", f"auto,{count},3,43.0,80.25"]
    assert said == [
        ("convert", "data=custom", "data.root=DIR", f"output={data / 'all'}"),
        ("train", f"resume={output / 'runs' / 'auto-2-3'}"),
        ("train", "+experiment=custom", "model=auto", "data=custom", "data.name=custom",
         f"data.root={data / f'{count}-3'}", "seed=3",
         f"output_dir={output / 'runs' / f'auto-{count}-3'}", "solver.max_iter=9"),
    ]  # fmt: skip
    assert main("auto") == rows
    assert len(said) == 3
    assert main("auto", "grid")[::2] == rows
    assert len(said) == 5


def test_an_output_folder_keeps_its_settings(benchmark: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.json"
    assert benchmark.same_settings(path, ["bccd", "DIR", []])
    assert benchmark.same_settings(path, ["bccd", "DIR", []])
    assert not benchmark.same_settings(path, ["bccd", "DIR", ["solver.max_iter=9"]])


def test_table_and_picture(benchmark: Any, tmp_path: Path) -> None:
    figures = {"auto": (20.0, 40.0, 58.0), "florence2": (35.0, 45.0, 57.5), "grid": (5.0, 6.0, 7.0)}
    results = [
        benchmark.Result(model, images, seed, ap + seed, 90.0)
        for model, values in figures.items()
        for images, ap in zip((16, 48, 205), values, strict=True)
        for seed in (0, 1, 3)
    ]
    benchmark.write_results(results, tmp_path, "cells")
    with (tmp_path / "labels_needed.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {"model": "auto", "images": "16", "seed": "0", "AP": "20.0", "AP50": "90.0"}
    assert len(rows) == 27
    table = (tmp_path / "labels_needed.md").read_text(encoding="utf-8").splitlines()
    assert table[2] == "| auto | 16 | 21.0 | 20.0 to 23.0 | 3 |"
    with Image.open(tmp_path / "labels_needed.png") as image:
        assert image.size[0] > 1000
    svg = (tmp_path / "labels_needed.svg").read_text(encoding="utf-8")
    for text in ("auto  59.0", "florence2  58.5", "grid  8.0", ">205<", "3 seeds"):
        assert text in svg
    benchmark.write_results(results, tmp_path, "cells")
    assert (tmp_path / "labels_needed.svg").read_text(encoding="utf-8") == svg
    axes = benchmark.draw(results, "cells").axes[0]
    places = {text.get_text(): text.xy[1] for text in axes.texts if hasattr(text, "xy")}
    assert places["auto  59.0"] == 59.0
    gap = benchmark.LABEL_ROOM * axes.get_ylim()[1]
    assert places["florence2  58.5"] == pytest.approx(59.0 - gap)
    assert axes.get_xscale() == "log"
    assert axes.get_ylim() == (0, 70)
    points = sum(len(collection.get_offsets()) for collection in axes.collections[1::2])
    assert points == 27


def test_one_run_is_said_to_have_no_spread(benchmark: Any) -> None:
    assert "| auto | 16 | 20.0 | one seed | 1 |" in benchmark.markdown(
        [benchmark.Result("auto", 16, 0, 20.0, 50.0)]
    )

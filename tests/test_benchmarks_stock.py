"""The benchmark beside stock Detectron2 and torchvision: the same task for all, table, picture."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.structures import Boxes, Instances

from detfinetune.config.schema import DataConfig
from detfinetune.data.pipeline import build_test_pipeline
from detfinetune.families import family_of
from detfinetune.labels.convert import convert_dataset

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts can be imported, which are no part of the package."""
    monkeypatch.syspath_prepend(REPO / "benchmarks")


@pytest.fixture
def data(benchmarks: None, toy_dataset: Path, tmp_path: Path) -> Iterator[Any]:
    """The toy data, whose images need no resizing: resampling differs between the systems."""
    from systems.timed import load_data

    convert_dataset(DataConfig(root=toy_dataset), tmp_path / "data", contact_sheet=0)
    loaded = load_data(tmp_path / "data")
    augment = loaded.config.augment.model_copy(update={"image_size": 96, "max_size": 160})
    yield replace(loaded, config=loaded.config.model_copy(update={"augment": augment}))
    for split in ("train", "val"):
        if f"stock_{split}" in DatasetCatalog:
            DatasetCatalog.remove(f"stock_{split}")
            MetadataCatalog.remove(f"stock_{split}")


def test_one_image_gives_the_same_features_in_all_systems(data: Any) -> None:
    from systems.stock_detectron2 import stock_system
    from systems.torchvision_reference import _dataset, torchvision_system

    config, classes = data.config, tuple(data.classes)
    family = family_of(config.model.name)
    ours: Any = family.build(config, classes, family.base_weights(config))
    same = stock_system(data, 0, same=True, tutorial=False).model
    own = stock_system(data, 0, same=False, tutorial=True).model
    theirs: Any = torchvision_system(data, 0).model
    record = DatasetCatalog.get("stock_val")[0]
    pipeline = build_test_pipeline(config, classes)
    packed = pipeline.pack([pipeline.sample(record)])[0]
    image, target = _dataset(data, "val", train=False)[0]
    assert target["image_id"] == record["image_id"]
    with torch.no_grad():
        wanted = features(ours.model, packed)
        scaled = theirs.transform([image])[0].tensors
        for found in (
            features(same, mapped(data, record)), features(own, mapped(data, record)),
            theirs.backbone.body(scaled),
        ):  # fmt: skip
            assert list(found) == list(wanted)
            for name, values in wanted.items():
                # Our norms are inside the convolutions, which rounds differently.
                largest = float(values.abs().max())
                assert torch.allclose(values, found[name], atol=1e-5 * largest), name


def features(model: Any, image: dict[str, Any]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = model.backbone.bottom_up(
        model.preprocess_image([image]).tensor
    )
    return found


def mapped(data: Any, record: dict[str, Any]) -> dict[str, Any]:
    from systems.stock_detectron2 import stock_cfg

    cfg = stock_cfg(data, same=True, tutorial=False)
    found: dict[str, Any] = DatasetMapper(cfg, is_train=False)(record)
    return found


def test_the_same_parts_are_trained_and_the_same_boxes_are_learnt(data: Any) -> None:
    from systems.stock_detectron2 import stock_system
    from systems.torchvision_reference import _dataset, torchvision_system

    stock = stock_system(data, 0, same=True, tutorial=False).model
    theirs: Any = torchvision_system(data, 0).model
    frozen = [
        [part.requires_grad for part in body.parameters()]
        for body in (stock.backbone.bottom_up.body, theirs.backbone.body.body)  # type: ignore[union-attr]
    ]
    assert frozen[0] == frozen[1]
    assert 0 < sum(frozen[0]) < len(frozen[0])
    records = [record for record in DatasetCatalog.get("stock_train") if record["annotations"]]
    dataset = _dataset(data, "train", train=True)
    assert len(records) == len(dataset) == 20
    for record, (_, target) in zip(records, dataset, strict=True):
        assert record["image_id"] == target["image_id"]
        labels = [item["category_id"] + 1 for item in record["annotations"]]
        assert labels == target["labels"].tolist()
        xywh = np.array([item["bbox"] for item in record["annotations"]])
        size = (target["boxes"][:, 2:] - target["boxes"][:, :2]).numpy()
        assert size == pytest.approx(xywh[:, 2:], abs=1e-3)  # x may be mirrored


def test_the_rates_of_the_recipes(data: Any) -> None:
    from systems.stock_detectron2 import stock_system
    from systems.torchvision_reference import torchvision_system

    tutorial = stock_system(data, 0, same=True, tutorial=True).rate
    assert tutorial(0, 0.0) == pytest.approx(2.5e-7)
    assert tutorial(1000, 0.2) == tutorial(5000, 0.99) == 0.00025
    zoo = stock_system(data, 0, same=True, tutorial=False).rate
    assert zoo(0, 0.0) == pytest.approx(5e-6)
    assert [zoo(50, share) for share in (0.1, 0.6, 0.7, 0.9)] == pytest.approx(
        [0.005, 0.005, 0.0005, 0.00005]
    )
    theirs = torchvision_system(data, 0).rate
    assert theirs(0, 0.0) == pytest.approx(5e-6)
    # 20 images with objects are an epoch of 5 steps, of which all but one warm up.
    assert [theirs(4, share) for share in (0.1, 0.6, 0.7, 0.9)] == pytest.approx(
        [0.005, 0.005, 0.0005, 0.00005]
    )


def test_detections_are_scored_in_the_ids_of_the_data(data: Any) -> None:
    """The boxes of the ground truth, as each model returns them, score AP 100."""
    from systems import stock_detectron2, torchvision_reference
    from systems.timed import val_figures

    stock_detectron2.stock_cfg(data, same=True, tutorial=False)
    found, theirs = [], []
    for record in DatasetCatalog.get("stock_val"):
        items = record["annotations"]
        boxes = torch.tensor([item["bbox"] for item in items]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        classes = torch.tensor([item["category_id"] for item in items], dtype=torch.int64)
        scores = torch.ones(len(items))
        instances = Instances(
            (96, 96), pred_boxes=Boxes(boxes), pred_classes=classes, scores=scores
        )
        found += stock_detectron2._results([record], [{"instances": instances}])
        output = {"boxes": boxes, "labels": classes + 1, "scores": scores}
        theirs += torchvision_reference._results(record["image_id"], output)
    for detections in (found, theirs):
        assert val_figures(data, detections) == pytest.approx((100, 100))


def test_a_training_that_diverges_scores_0(data: Any) -> None:
    from systems import Point
    from systems.stock_detectron2 import stock_system
    from systems.timed import train_on_budget

    def diverge() -> None:
        raise FloatingPointError("nan")

    system = replace(stock_system(data, 0, same=True, tutorial=False), step=diverge)
    assert train_on_budget(system, data, 10.0, 2)[1] == Point(10.0, 2, 0.0, 0.0)


def test_the_table_and_the_picture(benchmarks: None, tmp_path: Path) -> None:
    import stock
    from systems import Point

    for seed, shift in ((0, 0.0), (1, 2.0)):
        curve = [Point(60.0 * n, 10 * n, 10.0 * n + shift, 20.0 * n) for n in (1, 2, 3, 4)]
        stock.append(tmp_path / "stock.csv", "ours", seed, curve)
    stock.append(tmp_path / "stock.csv", "torchvision", 0, [Point(240.0, 80, 26.0, 50.0)])
    curves = stock.read_curves(tmp_path)
    assert {system: list(seeds) for system, seeds in curves.items()} == {
        "ours": [0, 1], "torchvision": [0],
    }  # fmt: skip
    stock.write_results(curves, tmp_path, "toys", 4.0)
    rows = (tmp_path / "stock.md").read_text(encoding="utf-8").splitlines()
    # Means of the seeds are 11, 21, 31, 41: 26 is reached half way from the second to the third.
    assert rows[0].endswith("| minutes to AP 26.0 |")
    assert rows[2] == (
        "| ours | 11.0 | 21.0 | 31.0 | 41.0 | 40.0 to 42.0 | 80.0 | 2 | 6.00 | 2.5 |"
    )
    assert rows[3].endswith("| 26.0 to 26.0 | 50.0 | 1 | 3.00 | 4.0 |")
    assert (tmp_path / "stock.png").stat().st_size > 10_000
    assert stock.minutes_to([(1.0, 5.0)], 6.0) is None


@pytest.mark.slow  # processes that import torch and train
def test_finished_runs_are_kept(toy_dataset: Path, tmp_path: Path) -> None:
    systems = ["ours", "torchvision"]
    command = [
        sys.executable, str(REPO / "benchmarks" / "stock.py"), "toy", "--data-root",
        str(toy_dataset), "--minutes", "1", "--evaluations", "1", "--seeds", "0",
        "--output", str(tmp_path), "--threads", "1", "--systems", *systems,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    subprocess.run(command, check=True, env=environment)
    rows = (tmp_path / "stock.csv").read_text(encoding="utf-8").splitlines()
    assert list(dict.fromkeys(row.split(",")[0] for row in rows[1:])) == systems
    again = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert "seed 0" not in again.stdout
    assert (tmp_path / "stock.csv").read_text(encoding="utf-8").splitlines() == rows


@pytest.mark.slow  # ten detectors with ResNet-50
def test_gpu_runs_on_a_cpu(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPO / "benchmarks" / "gpu.py"), "--tiny"], check=True,
        env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True, text=True,
    )  # fmt: skip
    assert "Mask R-CNN R50-FPN    bf16         ours" in done.stdout
    assert "aten::convolution_backward" in done.stdout

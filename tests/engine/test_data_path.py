"""COCO JSON through a whole run: each file is read once, and results fit the user's own file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from test_distributed import Torchrun
from test_train import QUICK, TINY, Tool

from detfinetune.config.schema import DataConfig
from detfinetune.labels.convert import convert_dataset

# Python runs it at the start of each process: files of labels that are opened, one a line.
_LOG_OPENS = """
import os, sys
def log(event, arguments):
    if event == "open" and str(arguments[0]).startswith(os.environ["WATCHED"]):
        with_name = os.open(os.environ["OPENED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(with_name, (os.path.basename(str(arguments[0])) + "\\n").encode())
        os.close(with_name)
sys.addaudithook(log)
"""


@pytest.fixture
def odd_coco(toy_dataset: Path, tmp_path: Path) -> Path:
    """The toy data as COCO JSON with ids neither contiguous nor from 1, one file a split."""
    folder = tmp_path / "coco"
    convert_dataset(DataConfig(root=toy_dataset), folder, contact_sheet=0)
    data = tmp_path / "odd"
    data.mkdir()
    (data / "images").symlink_to(toy_dataset / "images")
    for split in ("train", "val", "test"):
        content = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))
        for image in content["images"]:
            image["id"] = 5000 - 3 * image["id"]
        for category in content["categories"]:
            category["id"] = 90 - 7 * category["id"]
        for annotation in content["annotations"]:
            annotation["id"] *= 11
            annotation["image_id"] = 5000 - 3 * annotation["image_id"]
            annotation["category_id"] = 90 - 7 * annotation["category_id"]
        (data / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return data


def run_and_check(tool: Tool, data: Path) -> None:
    hooks = tool.folder / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(_LOG_OPENS, encoding="utf-8")
    opened = tool.folder / "opened.txt"
    tool.environment |= {
        "PYTHONPATH": f"{hooks}:{tool.environment['PYTHONPATH']}",
        "WATCHED": str(data),
        "OPENED": str(opened),
    }
    tool(
        "+experiment=custom", f"data.root={data}", *QUICK, *TINY, "solver.max_iter=32",
        "evaluation.eval_period=16", "evaluation.pictures=2", "output_dir=run",
    )  # fmt: skip
    names = opened.read_text(encoding="utf-8").split("\n")
    for split in ("train", "val", "test"):
        # Its head, to detect the format; then the whole file.
        assert names.count(f"{split}.json") <= 2
        check_figures(data / f"{split}.json", tool.folder / "run" / "evaluation" / split)


def check_figures(own: Path, evaluation: Path) -> None:
    """Bare pycocotools gives the printed figures for the user's own file."""
    if own.stem == "train":
        return
    metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))["bbox"]
    truth = COCO(str(own))
    scored = COCOeval(truth, truth.loadRes(str(evaluation / "detections.json")), "bbox")
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    assert [-1 if metrics[name] is None else metrics[name] / 100 for name in names] == (
        pytest.approx(scored.stats[:6].tolist(), abs=1e-9)
    )
    assert 0 < scored.stats[0] < 1


def test_each_label_file_is_read_once(repo: Path, tmp_path: Path, odd_coco: Path) -> None:
    run_and_check(Tool(repo, tmp_path), odd_coco)


@pytest.mark.slow  # three processes that import torch
def test_each_label_file_is_read_once_by_two_processes(
    repo: Path, tmp_path: Path, odd_coco: Path
) -> None:
    run_and_check(Torchrun(repo, tmp_path), odd_coco)

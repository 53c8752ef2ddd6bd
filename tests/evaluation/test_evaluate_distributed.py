"""Two processes share a split: the main one scores everything, the other gets an empty result."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.distributed as dist
from coco_cases import make_truth
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm
from torch import nn

from detfinetune.evaluation.ground_truth import GroundTruth
from detfinetune.evaluation.score_split import evaluate_split


class OneBox(nn.Module):
    """Predicts the one object of every image."""

    def forward(self, inputs: list[dict[str, int]]) -> list[dict[str, Instances]]:
        found = Instances((200, 200))
        found.pred_boxes = Boxes(torch.tensor([[10.0, 10.0, 50.0, 50.0]]))
        found.scores = torch.tensor([0.9])
        found.pred_classes = torch.tensor([0])
        return [{"instances": found} for _ in inputs]


def _evaluate_share(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", world_size=2, rank=rank)
    comm.create_local_process_group(2)
    content = json.loads(Path(folder, "truth.json").read_text())
    truth = GroundTruth("shared", content, Path(folder))
    part = [[{"image_id": image, "height": 200, "width": 200}] for image in (1, 2, 3)[rank::2]]
    result = evaluate_split(OneBox(), truth, part, task="bbox", classes=["a"])
    summary = {
        "ap": result.ap,
        "images": [entry["image_id"] for entry in result.detections],
        "metrics": list(result.metrics),
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(summary))
    dist.destroy_process_group()


def test_detections_of_both_processes_are_scored_together(tmp_path: Path) -> None:
    truth = make_truth([(image, 1, [10, 10, 40, 40]) for image in (1, 2, 3)], num_images=3)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    # Forked, since fresh processes would import torch and Detectron2 again.
    torch.multiprocessing.start_processes(
        _evaluate_share, args=(str(tmp_path),), nprocs=2, start_method="fork"
    )
    main, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert abs(main["ap"] - 100) < 1e-6
    assert main["images"] == [1, 2, 3]
    assert other == {"ap": None, "images": [], "metrics": []}

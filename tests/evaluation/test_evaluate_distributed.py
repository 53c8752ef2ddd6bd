"""Two processes share a split: the main one scores everything, the other gets an empty result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from coco_cases import make_truth
from detectron2.utils import comm

from detfinetune.evaluation.ground_truth import GroundTruth
from detfinetune.evaluation.score_split import evaluate_split
from detfinetune.models.detection_model import DetectionModel, PredictOptions
from detfinetune.prediction import Prediction


class OneBox(DetectionModel):
    """Predicts the one object of every image; batches are image ids, and so is the loss."""

    def forward(self, batch: list[int]) -> dict[str, torch.Tensor]:
        return {"loss": torch.tensor(batch, dtype=torch.float32).mean()}

    def predict(self, batch: list[int], options: PredictOptions) -> list[Prediction]:
        box = np.array([[10.0, 10.0, 50.0, 50.0]], dtype=np.float32)
        one = Prediction(box, np.array([0.9], np.float32), np.array([0]), ("a",), 200, 200)
        return [one for _ in batch]


def _evaluate_share(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", world_size=2, rank=rank)
    comm.create_local_process_group(2)
    content = json.loads(Path(folder, "truth.json").read_text())
    truth = GroundTruth("shared", content, Path(folder))
    part = [([image], [image]) for image in (1, 2, 3)[rank::2]]
    result = evaluate_split(OneBox(), truth, part, task="bbox", classes=["a"], losses=True)
    summary = {
        "ap": result.ap,
        "images": [entry["image_id"] for entry in result.detections],
        "metrics": list(result.metrics),
        "losses": result.losses,
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
    assert main["losses"] == {"loss": 2.0}
    assert other == {"ap": None, "images": [], "metrics": [], "losses": {}}

"""Training on four pictures through the public command, with tiny random transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_transformers import TIMM_NAME, command

SETTINGS = [
    "+experiment=custom", "hardware=cpu", "hardware.num_workers=0", "augment=none",
    "augment.image_size=128", "solver.images_per_batch=4", "solver.clip_norm=1",
    "evaluation.eval_period=0",
]  # fmt: skip
DIFFUSION = ["model.name=dit_diffusion", "model.timestep=20", "solver.base_lr=0.002"]
LONG = pytest.mark.slow  # a quarter of a minute to a minute each on an idle core
SHORT = [*SETTINGS, "augment.image_size=64", "solver.base_lr=0.001", "solver.decay=constant",
         "solver.warmup_iters=0", "solver.images_per_batch=2"]  # fmt: skip


def weights_of(name: str, dit_folder: Path, beit_folder: Path) -> str:
    folders = {"dit_diffusion": dit_folder, "dit_document": beit_folder}
    return f"model.weights={folders.get(name, 'random')}"


def average_precision(run: Path, task: str = "bbox") -> float:
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return float(results["val"][task]["AP"])


@pytest.mark.parametrize(
    ("words", "steps", "least"),
    [
        pytest.param(["model.name=dit_document", "solver.base_lr=0.001"], 100, 60, marks=LONG),
        pytest.param([*DIFFUSION, "model.loss=focal"], 150, 60, marks=LONG),
        pytest.param(
            [*DIFFUSION, "model.loss=cross_entropy", "model.box_loss=giou"], 150, 60, marks=LONG
        ),
        pytest.param([*DIFFUSION, "model.head=faster_rcnn"], 150, 50, marks=LONG),
        pytest.param([*DIFFUSION, "task=segm"], 150, 50, marks=LONG),
        pytest.param(
            [f"model.name={TIMM_NAME}", "model.freeze_blocks=2", "solver.base_lr=0.001",
             "solver.layer_decay=0.9"], 120, 60, marks=LONG,
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)  # fmt: skip
def test_it_learns_four_pictures(
    words: list[str], steps: int, least: float, four_pictures: Path, dit_folder: Path,
    beit_folder: Path, tmp_path: Path,
) -> None:  # fmt: skip
    name = words[0].partition("=")[2]
    said = command(
        "train", *SETTINGS, *words, weights_of(name, dit_folder, beit_folder),
        f"data.root={four_pictures}", f"solver.max_iter={steps}", "output_dir=run", folder=tmp_path,
    )  # fmt: skip
    assert "M parameters" in said
    task = "segm" if "task=segm" in words else "bbox"
    assert average_precision(tmp_path / "run", task) >= least


@pytest.fixture(scope="module")
def short_run(
    four_pictures: Path, dit_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Six steps of a diffusion transformer with noise in its features, of which one is frozen."""
    folder = tmp_path_factory.mktemp("short")
    command(
        "train", *SHORT, "model.name=dit_diffusion", f"model.weights={dit_folder}",
        "model.tap_block=3", "model.freeze_blocks=1", "solver.ema_decay=0.9",
        "evaluation.loss=true", f"data.root={four_pictures}", "solver.max_iter=6",
        "output_dir=whole", folder=folder,
    )  # fmt: skip
    return folder


def stored(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    content = torch.load(run / "checkpoints" / "last.pth", weights_only=True)
    assert content["family"] == "vit"
    return {part: content[part] for part in ("model", "ema")}


def test_a_resumed_run_is_the_uninterrupted_one(
    short_run: Path, four_pictures: Path, dit_folder: Path
) -> None:
    command(
        "train", *SHORT, "model.name=dit_diffusion", f"model.weights={dit_folder}",
        "model.tap_block=3", "model.freeze_blocks=1", "solver.ema_decay=0.9",
        "evaluation.loss=true", f"data.root={four_pictures}", "solver.max_iter=3",
        "output_dir=part", folder=short_run,
    )  # fmt: skip
    command("train", "resume=part", "solver.max_iter=6", folder=short_run)
    whole, part = stored(short_run / "whole"), stored(short_run / "part")
    for kind in whole:
        assert whole[kind].keys() == part[kind].keys()
        assert all(torch.equal(value, part[kind][name]) for name, value in whole[kind].items())


def test_frozen_weights_are_bit_equal_after_training(short_run: Path, dit_folder: Path) -> None:
    from safetensors.torch import load_file

    before = load_file(dit_folder / "transformer" / "diffusion_pytorch_model.safetensors")
    prefix = "backbone.net.transformer."
    after = {
        name.removeprefix(prefix): value
        for name, value in stored(short_run / "whole")["model"].items()
        if name.startswith(prefix) and not name.endswith("norm1.emb.value")
    }
    kept = {name for name, value in after.items() if torch.equal(value, before[name])}
    frozen = {name for name in after if name.startswith(("pos_embed.", "transformer_blocks.0."))}
    assert frozen
    assert kept == frozen
    assert not any(name.startswith("transformer_blocks.3.") for name in after)


def test_losses_on_val_do_not_change_what_follows(short_run: Path) -> None:
    lines = (short_run / "whole" / "train_metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert any("val/loss_cls" in json.loads(line) for line in lines)


@LONG
def test_odd_pictures_are_evaluated_and_predicted(
    short_run: Path, four_pictures: Path, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    for width, height in ((37, 101), (130, 61), (16, 16)):
        pixels = torch.randint(0, 255, (height, width, 3), generator=generator, dtype=torch.uint8)
        (tmp_path / "odd").mkdir(exist_ok=True)
        Image.fromarray(pixels.numpy()).save(tmp_path / "odd" / f"{width}.png")
    command("predict", f"run={short_run / 'whole'}", f"input={tmp_path / 'odd'}", "output=found",
            "score_threshold=0", folder=tmp_path)  # fmt: skip
    found = json.loads((tmp_path / "found" / "predictions.json").read_text(encoding="utf-8"))
    assert len(found["images"]) == 3
    sizes = {image["id"]: (image["width"], image["height"]) for image in found["images"]}
    for box in found["annotations"]:
        x, y, w, h = box["bbox"]
        width, height = sizes[box["image_id"]]
        assert x >= 0
        assert y >= 0
        assert x + w <= width + 0.01
        assert y + h <= height + 0.01
    command("evaluate", f"run={short_run / 'whole'}", "output=scored", folder=tmp_path)
    scored = json.loads((tmp_path / "scored" / "metrics.json").read_text(encoding="utf-8"))
    assert scored["bbox"]["AP"] == pytest.approx(average_precision(short_run / "whole"))


@LONG
def test_training_goes_on_from_a_checkpoint_with_other_classes(
    short_run: Path, four_pictures: Path, tmp_path: Path
) -> None:
    said = command(
        "train", *SHORT, "model.name=dit_diffusion", "model.tap_block=3",
        f"model.weights={short_run / 'whole' / 'checkpoints' / 'last.pth'}",
        "data.classes=[circle,box]", f"data.root={four_pictures}", "solver.max_iter=1",
        "output_dir=next", folder=tmp_path,
    )  # fmt: skip
    assert "class layers are random" in said
    assert "that of the checkpoint" in said

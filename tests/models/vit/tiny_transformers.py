"""Tiny random transformers, saved to a folder as a user's are, and four pictures to learn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from label_tables import statistics_of
from toy import write_toy_dataset

from detfinetune.config.load import load_train_config
from detfinetune.config.resolved import RunConfig
from detfinetune.engine.recipe import resolve_recipe

REPO = Path(__file__).resolve().parents[3]
TIMM_NAME = "vit/test_vit"


def save_tiny_dit(folder: Path, seed: int = 0) -> Path:
    """Save a diffusion transformer of four blocks with VAE and scheduler, as diffusers does."""
    from diffusers import AutoencoderKL, DDPMScheduler, DiTTransformer2DModel

    torch.manual_seed(seed)
    DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=24, in_channels=4, out_channels=8, num_layers=4,
        sample_size=16,
    ).save_pretrained(folder / "transformer")  # fmt: skip
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 16, 32, 32), layers_per_block=1, norm_num_groups=8, sample_size=64,
        scaling_factor=4.0,  # latents of about unit variance, as those of a trained VAE have
    ).save_pretrained(folder / "vae")  # fmt: skip
    DDPMScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02).save_pretrained(
        folder / "scheduler"
    )
    return folder


def save_tiny_beit(folder: Path) -> Path:
    """Save a document transformer of three blocks, as transformers does."""
    from transformers import BeitConfig, BeitModel

    torch.manual_seed(0)
    config = BeitConfig(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128,
        image_size=64, use_absolute_position_embeddings=True, use_mask_token=True,
        layer_scale_init_value=0.1,
    )  # fmt: skip
    BeitModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def write_four_pictures(folder: Path) -> Path:
    """Write four pictures that are both what is trained on and what is validated on."""
    write_toy_dataset(folder, {"train": 4})
    for kind in ("images", "labels"):
        shutil.copytree(folder / kind / "train", folder / kind / "val")
    return folder


STATISTICS = statistics_of(4 * [[(0, 19, 19), (0, 24, 24), (0, 29, 29)]], (96, 96))


def resolved(*words: str) -> RunConfig:
    """Return the resolved configuration of a run on a CPU."""
    return resolve_recipe(load_train_config(["hardware=cpu", *words]), STATISTICS)[0]


def built(config: RunConfig, *, weights: bool = True) -> Any:
    """Return the model of a configuration with two classes, as a run builds it."""
    from detfinetune.families import family_of

    torch.manual_seed(1)
    family = family_of(config.model.name)
    family.check(config, 2)
    base = family.base_weights(config) if weights else None
    return family.build(config, ("disc", "square"), base)


def command(*words: str, folder: Path, code: int = 0) -> str:
    """Run `detfinetune` in a folder, and return what it prints."""
    process = subprocess.run(
        [sys.executable, "-m", "detfinetune", *words], cwd=folder, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=580,
    )  # fmt: skip
    assert process.returncode == code, process.stdout
    return process.stdout

"""Tiny random transformers, saved to a folder as a user's are, and four pictures to learn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from toy import write_toy_dataset

REPO = Path(__file__).resolve().parents[3]
TIMM_NAME = "vit/test_vit"


def save_tiny_dit(folder: Path, layers: int = 4) -> Path:
    """Save a diffusion transformer with its VAE and scheduler, as diffusers does."""
    from diffusers import AutoencoderKL, DDPMScheduler, DiTTransformer2DModel

    torch.manual_seed(0)
    DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=24, in_channels=4, out_channels=8,
        num_layers=layers, sample_size=16,
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
    """Save a document transformer, as transformers does."""
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


def command(*words: str, folder: Path, code: int = 0) -> str:
    """Run `detfinetune` in a folder, and return what it prints."""
    process = subprocess.run(
        [sys.executable, "-m", "detfinetune", *words], cwd=folder, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=580,
    )  # fmt: skip
    assert process.returncode == code, process.stdout
    return process.stdout

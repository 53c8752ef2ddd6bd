"""A diffusion transformer as a backbone (DiT, Peebles and Xie 2023, arXiv:2212.09748).

The image is encoded by a VAE, gets the noise of one timestep, and goes through the first blocks of
the transformer, with the class embedding that means "no class".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, DiTTransformer2DModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn

from detfinetune.errors import ModelError, WeightsError, first_line
from detfinetune.files import sha256
from detfinetune.models.vit.backbones.transformer import STRIDE, TransformerBackbone
from detfinetune.models.vit.settings import VitSettings
from detfinetune.models.vit.sources import read_json, weight_file

_NAME = "dit_diffusion"


class FixedEmbedding(nn.Module):
    """The output of a block's embedder for one timestep and class, in place of the embedder.

    In DiT-XL/2 the embedders of all blocks are 78 of 750 M parameters.
    """

    def __init__(self, embedder: nn.Module, timestep: int, label: int) -> None:
        super().__init__()
        with torch.no_grad():
            value = embedder.eval()(
                torch.tensor([timestep]), torch.tensor([label]), hidden_dtype=torch.float32
            )
        self.register_buffer("value", value)

    def forward(self, *_: Any, **__: Any) -> Tensor:
        """Return the embedding, [1, C]."""
        value: Tensor = self.value  # type: ignore[assignment]
        return value


class DiffusionBackbone(TransformerBackbone):
    """The first blocks of a DiT on the latent of a frozen VAE.

    The VAE is no part of the module, so that it is neither trained nor in checkpoints.

    Attributes:
        vae_sha256: of the VAE's file; empty before `load_vae`.
    """

    def __init__(
        self, transformer: DiTTransformer2DModel, vae: AutoencoderKL, kept_alpha: float
    ) -> None:
        """Initialize the backbone.

        Args:
            transformer: from `_trimmed`.
            vae: any; only its encoder is kept.
            kept_alpha: share of the signal's variance that the timestep leaves, 0-1.
        """
        super().__init__(transformer.inner_dim)
        self.transformer = transformer
        self._vae = (_encoder_only(vae),)
        self._signal, self._noise = kept_alpha**0.5, (1 - kept_alpha) ** 0.5
        self.vae_sha256 = ""

    @property
    def body(self) -> nn.Module:
        """The transformer."""
        return self.transformer  # type: ignore[no-any-return]

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Its blocks up to the tap."""
        return self.transformer.transformer_blocks  # type: ignore[no-any-return]

    @property
    def vae(self) -> AutoencoderKL:
        """The encoder of the VAE, frozen."""
        return self._vae[0]

    def load_vae(self, folder: Path) -> None:
        """Load the VAE of a folder of diffusers.

        Raises:
            WeightsError: it cannot be read, or is another than the configuration says.
        """
        vae, report = _from_folder(AutoencoderKL, folder, "vae")
        _check_complete(report, folder / "vae")
        self.vae.load_state_dict(_encoder_only(vae).state_dict())
        self.vae_sha256 = sha256(weight_file(folder / "vae"))

    def load_transformer(self, folder: Path, timestep: int) -> None:
        """Load the transformer of a folder of diffusers.

        Raises:
            WeightsError: it cannot be read, or is another than the configuration says.
        """
        whole, report = _from_folder(DiTTransformer2DModel, folder, "transformer")
        _check_complete(report, folder / "transformer")
        try:
            self.transformer.load_state_dict(
                _trimmed(whole, len(self.blocks), timestep).state_dict()
            )
        except RuntimeError as error:
            raise WeightsError(
                f"{folder / 'transformer'} is not the transformer that model.architecture "
                f"describes. Check model.pretrained and model.weights. ({error})"
            ) from error

    def tokens(self, images: Tensor) -> Tensor:
        """Return the output of the tapped block for each patch of the latent."""
        with torch.no_grad():
            vae = self.vae.to(images.device)
            latent = vae.encode(images).latent_dist.mode() * vae.config.scaling_factor
            noise = torch.randn_like(latent) if self.training else _noise_of(images, latent)
            latent = self._signal * latent + self._noise * noise
        hidden: Tensor = self.transformer.pos_embed(latent)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


def _noise_of(images: Tensor, latent: Tensor) -> Tensor:
    """Return noise that depends only on the image it is for, not on the others or the device."""
    generator = torch.Generator()
    rows = [
        torch.randn(
            latent.shape[1:], generator=generator.manual_seed(zlib.crc32(image.cpu().numpy()))
        )
        for image in images.contiguous()
    ]
    return torch.stack(rows).to(latent)


def build(settings: VitSettings) -> DiffusionBackbone:
    """Build the backbone with random weights, the VAE's too.

    Raises:
        ModelError: its feature map would not have stride 16.
        WeightsError: the configurations of VAE or scheduler cannot be found.
    """
    if settings.pretrained is None or settings.tap_block is None or settings.timestep is None:
        raise ValueError("the configuration is not one that the recipe of this family resolved")
    vae_config = read_json(_NAME, settings.pretrained, "vae/config.json")
    scheduler = read_json(_NAME, settings.pretrained, "scheduler/scheduler_config.json")
    with _quiet():
        transformer = DiTTransformer2DModel.from_config(
            {**settings.architecture, "num_layers": settings.tap_block}
        )
        vae = AutoencoderKL.from_config(vae_config)
        alphas = DDPMScheduler.from_config(scheduler).alphas_cumprod
    stride = 2 ** (len(vae.config.block_out_channels) - 1) * transformer.config.patch_size
    if stride != STRIDE:
        raise ModelError(
            f"model.name={_NAME}: VAE and transformer of {settings.pretrained} have a patch for "
            f"each {stride} pixels, but {STRIDE} are needed."
        )
    trimmed = _trimmed(transformer, settings.tap_block, settings.timestep)
    # On torch's meta device, where sizes are computed, there are no numbers.
    kept = 0.5 if alphas.is_meta else float(alphas[settings.timestep])
    return DiffusionBackbone(trimmed, vae, kept)


def _trimmed(
    transformer: DiTTransformer2DModel, blocks: int, timestep: int
) -> DiTTransformer2DModel:
    """Return `transformer` with its first blocks only and fixed embeddings, in place."""
    del transformer.transformer_blocks[blocks:]
    # The last embedding is the one that training used for "no class".
    label = transformer.config.num_embeds_ada_norm
    for block in transformer.transformer_blocks:
        block.norm1.emb = FixedEmbedding(block.norm1.emb, timestep, label)
    for name in ("norm_out", "proj_out_1", "proj_out_2"):
        setattr(transformer, name, nn.Identity())
    return transformer


def _encoder_only(vae: AutoencoderKL) -> AutoencoderKL:
    """Return a frozen `vae` without its decoder, in place."""
    vae.decoder, vae.post_quant_conv = nn.Identity(), nn.Identity()
    return vae.eval().requires_grad_(False)


def _from_folder(kind: Any, folder: Path, part: str) -> tuple[Any, dict[str, Any]]:
    try:
        with _quiet():
            loaded: tuple[Any, dict[str, Any]] = kind.from_pretrained(
                str(folder), subfolder=part, output_loading_info=True, local_files_only=True,
                low_cpu_mem_usage=False,
            )  # fmt: skip
    except Exception as error:  # diffusers raises many kinds, from OSError to RuntimeError
        reason = first_line(error)
        raise WeightsError(
            f"{folder / part} cannot be loaded by diffusers: {reason}. Download it again, or give "
            "another folder with model.weights=FOLDER."
        ) from error
    return loaded


def _check_complete(report: dict[str, Any], folder: Path) -> None:
    if missing := report["missing_keys"]:
        raise WeightsError(
            f"{folder}: the file of weights lacks {len(missing)} tensors, such as {missing[0]}: it "
            "belongs to another config.json, or is damaged."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep diffusers from warning about old keys in configurations."""
    level = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(level)

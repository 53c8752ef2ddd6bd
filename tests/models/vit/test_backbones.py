"""Features of transformers: which blocks, of which images, with which gradients."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from tiny_transformers import TIMM_NAME, built, resolved

from detfinetune.data.sample import Sample
from detfinetune.models.detection_model import PredictOptions
from detfinetune.models.rcnn.pack import pack

KINDS = ["dit_diffusion", "dit_document", TIMM_NAME]


@pytest.fixture
def words(request: pytest.FixtureRequest, dit_folder: Path, beit_folder: Path) -> list[str]:
    """The words that choose a model."""
    weights = {"dit_diffusion": dit_folder, "dit_document": beit_folder}.get(request.param)
    return [f"model.name={request.param}", f"model.weights={weights or 'random'}"]


each_kind = pytest.mark.parametrize("words", KINDS, indirect=True)


def sample(height: int, width: int, seed: int = 0) -> Sample:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    boxes = np.array([[8.0, 8.0, 30.0, 40.0], [40.0, 10.0, 60.0, 30.0]])
    return Sample(pixels, boxes, np.array([0, 1]), None, height, width)


@each_kind
@pytest.mark.parametrize("head", ["retinanet", "faster_rcnn"])
def test_every_trained_parameter_gets_a_gradient_and_no_other(words: list[str], head: str) -> None:
    model = built(resolved(*words, f"model.head={head}", "model.freeze_blocks=1"))
    model.train()
    torch.manual_seed(0)
    with EventStorage():
        sum(model(pack([sample(96, 128), sample(75, 101)])).values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@each_kind
@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_first_blocks_are_frozen_and_stay_in_eval_mode(words: list[str], count: int) -> None:
    model = built(resolved(*words, f"model.freeze_blocks={count}", "model.tap_block=3"))
    backbone = model.backbone
    model.train()
    assert len(backbone.blocks) == 3
    for index, block in enumerate(backbone.blocks):
        assert all(p.requires_grad == (index >= count) for p in block.parameters())
        assert all(part.training == (index >= count) for part in block.modules())
    first = {id(p) for block in backbone.blocks for p in block.parameters()}
    embeddings = [
        parameter
        for name, parameter in backbone.body.named_parameters()
        if id(parameter) not in first and "mask_token" not in name
    ]
    assert embeddings
    assert all(parameter.requires_grad == (count == 0) for parameter in embeddings)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    assert f"trains {trained:.1f} of" in model.notes[-1]
    assert f"{count} of 3 blocks are frozen" in model.notes[-1]


@each_kind
def test_frozen_blocks_keep_nothing_for_the_backward_pass(words: list[str]) -> None:
    backbone = built(resolved(*words, "model.freeze_blocks=2", "model.tap_block=3")).backbone
    backbone.train()
    outputs = []
    for block in backbone.blocks:
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
    backbone(torch.randn(1, 3, 64, 96))
    assert [output.requires_grad for output in outputs] == [False, False, True]


@each_kind
def test_predictions_depend_neither_on_the_batch_nor_on_the_run(words: list[str]) -> None:
    model = built(resolved(*words)).eval()
    options = PredictOptions(20)
    samples = [sample(96, 128), sample(61, 45, seed=1), sample(200, 33, seed=2)]
    with torch.no_grad():
        together = model.predict(pack(samples), options)
        torch.randn(7)
        alone = [model.predict(pack([one]), options)[0] for one in reversed(samples)][::-1]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.scores, other.scores)


@each_kind
@pytest.mark.parametrize("size", [(31, 47), (96, 96), (160, 64)])
def test_images_of_any_size(words: list[str], size: tuple[int, int]) -> None:
    model = built(resolved(*words))
    images = model.model.preprocess_image(pack([sample(*size)])).tensor
    height, width = (-(-side // 32) * 2 for side in size)
    assert images.shape[2:] == (16 * height, 16 * width)
    features = model.model.backbone(images)
    assert features["p4"].shape[2:] == (height, width)
    assert features["p3"].shape[2:] == (2 * height, 2 * width)


@each_kind
def test_depths_count_the_blocks_to_the_head(words: list[str]) -> None:
    model = built(resolved(*words, "model.freeze_blocks=0", "model.tap_block=3"))
    depths = model.depths()
    names = [name for name, _ in model.named_parameters()]
    assert depths.keys() < set(names)
    assert {
        depths.get(name, 0) for name in names if "blocks.2." in name or "layers.2." in name
    } == {1}
    assert {
        depths.get(name, 0) for name in names if "blocks.0." in name or "layers.0." in name
    } == {3}
    assert {depths[name] for name in names if "embed" in name and ".net." in name} == {4}
    assert all(name not in depths for name in names if "simfp" in name or ".net.norm" in name)
    groups = {group.lr_factor for group in model.param_groups(0.5)}
    assert groups == {1.0, 0.5, 0.25, 0.125, 0.0625}


def _seed(images: torch.Tensor) -> int:
    return zlib.crc32(images[0].numpy())


def hidden_after(model: Any, block: Any, run: Any) -> torch.Tensor:
    """Return the output of a block of a whole model."""
    caught = []
    hook = block.register_forward_hook(lambda _, __, output: caught.append(output))
    with torch.no_grad():
        model.eval()
        run(model)
    hook.remove()
    return caught[0] if isinstance(caught[0], torch.Tensor) else caught[0][0]


def test_diffusion_features_are_those_of_the_whole_transformer(dit_folder: Path) -> None:
    from diffusers import AutoencoderKL, DDPMScheduler, DiTTransformer2DModel

    config = resolved(
        "model.name=dit_diffusion", f"model.weights={dit_folder}", "model.tap_block=2",
        "model.timestep=70",
    )  # fmt: skip
    backbone = built(config).backbone.eval()
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        found = backbone.tokens(images)

    whole = DiTTransformer2DModel.from_pretrained(dit_folder, subfolder="transformer")
    vae = AutoencoderKL.from_pretrained(dit_folder, subfolder="vae").eval()
    scheduler = DDPMScheduler.from_pretrained(dit_folder, subfolder="scheduler")
    with torch.no_grad():
        latent = vae.encode(images).latent_dist.mode() * 4.0
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(_seed(images)))
    noisy = scheduler.add_noise(latent, noise, torch.tensor([70]))
    wanted = hidden_after(
        whole, whole.transformer_blocks[1],
        lambda model: model(noisy, torch.tensor([70]), torch.tensor([1000])),
    )  # fmt: skip
    assert torch.allclose(found, wanted, atol=1e-4)


def test_document_features_are_those_of_the_whole_transformer(beit_folder: Path) -> None:
    from transformers import BeitModel

    config = resolved(
        "model.name=dit_document", f"model.weights={beit_folder}", "model.tap_block=2"
    )
    backbone = built(config).backbone.eval()
    images = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        found = backbone.tokens(images)
    whole = BeitModel.from_pretrained(beit_folder, add_pooling_layer=False)
    wanted = hidden_after(whole, whole.layers[1], lambda model: model(images))
    assert torch.allclose(found, wanted[:, 1:], atol=1e-5)


def test_noise_belongs_to_the_image(dit_folder: Path) -> None:
    config = resolved("model.name=dit_diffusion", f"model.weights={dit_folder}")
    backbone = built(config).backbone.eval()
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        one, two = backbone.tokens(images), backbone.tokens(images.flip(0)).flip(0)
        assert torch.allclose(one, two, atol=1e-5)
        backbone.train()
        assert not torch.allclose(backbone.tokens(images), one, atol=1e-2)


def test_patches_of_14_pixels_give_a_map_of_stride_16() -> None:
    model = built(
        resolved(
            "model.name=vit/vit_small_patch14_dinov2", "model.weights=random", "model.tap_block=1"
        )
    )
    maps = model.backbone(torch.randn(1, 3, 96, 160))
    assert maps["last_feat"].shape == (1, 384, 6, 10)


def test_masks(beit_folder: Path) -> None:
    config = resolved("model.name=dit_document", f"model.weights={beit_folder}", "task=segm")
    assert config.model.head == "faster_rcnn"  # type: ignore[attr-defined]
    model = built(config)
    assert model.model.roi_heads.mask_on


@each_kind
def test_half_precision_gives_losses(words: list[str]) -> None:
    model = built(resolved(*words))
    model.train()
    with EventStorage(), torch.autocast("cpu", torch.bfloat16):
        losses = model(pack([sample(96, 128)]))
    assert all(bool(loss.isfinite()) for loss in losses.values())


@pytest.mark.slow  # 4 GB and half a minute
def test_dit_xl_2_builds_and_runs() -> None:
    from diffusers import AutoencoderKL, DiTTransformer2DModel

    from detfinetune.models.vit.backbones.dit_diffusion import DiffusionBackbone, _trimmed

    whole = DiTTransformer2DModel(out_channels=8)
    assert sum(p.numel() for p in whole.parameters()) / 1e6 == pytest.approx(749.8, abs=0.1)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2,
    )  # fmt: skip
    backbone = DiffusionBackbone(_trimmed(whole, 12, 100), vae, 0.9).eval()
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(286.9, abs=0.1)
    assert sum(p.numel() for p in backbone.vae.parameters()) / 1e6 == pytest.approx(34.2, abs=0.1)
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 256, 256))
    assert maps["last_feat"].shape == (1, 1152, 16, 16)

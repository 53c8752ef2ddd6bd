"""Frozen BatchNorm inside convolutions: same numbers, same gradients, same names."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops.misc import FrozenBatchNorm2d

from detfinetune.models.rcnn.backbones.fold_norm import ScaledConv2d, fold_frozen_norms


def with_random_norms(body: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(7)
    for name, buffer in body.named_buffers():
        if name.endswith(("weight", "bias", "mean", "var")):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return body.eval()


def frozen_backbone(name: str) -> nn.Module:
    torch.manual_seed(0)
    return freeze_batch_norm_2d(timm.create_model(name, features_only=True))


@pytest.mark.parametrize(
    ("name", "norms"),
    [("efficientnet_lite0", 48), ("resnet18", 20), ("test_byobnet", 14), ("test_convnext", 0)],
)
def test_outputs_and_gradients_stay_the_same(name: str, norms: int) -> None:
    plain = with_random_norms(frozen_backbone(name))
    folded = frozen_backbone(name)
    folded_count = fold_frozen_norms(folded)
    assert sum(isinstance(module, ScaledConv2d) for module in folded.modules()) == folded_count
    assert folded_count == norms
    assert list(folded.state_dict()) == list(plain.state_dict())
    folded.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    gradients = []
    for body in (plain, folded.eval()):
        loss = sum(value.square().mean() for value in body(images))
        gradients.append(torch.autograd.grad(loss, list(body.parameters())))
    for one, other in zip(plain(images), folded(images), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * one.abs().max().item())
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * one.abs().max().item())


class ReadsTwice(nn.Module):
    """Uses the convolution's output before and after the norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = FrozenBatchNorm2d(4)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.conv(images)
        return [self.norm(features) + F.relu(features)]


def test_a_network_that_reads_the_convolution_elsewhere_is_left_alone() -> None:
    body = ReadsTwice()
    assert fold_frozen_norms(body) == 0
    assert type(body.conv) is nn.Conv2d
    assert isinstance(body.norm, FrozenBatchNorm2d)


def test_folding_draws_no_random_numbers() -> None:
    body = frozen_backbone("test_resnet")
    before = torch.get_rng_state()
    assert fold_frozen_norms(body) > 0
    assert torch.equal(torch.get_rng_state(), before)

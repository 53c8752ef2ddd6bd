"""Frozen BatchNorm computed inside the convolution before it.

A BatchNorm whose statistics and scales are fixed multiplies each channel by a constant and adds
another. Scaling the convolution's small weight instead of its large output gives the same values
and gradients, and saves two passes over the feature map forward and one backward. The weight is
scaled in each forward pass and not replaced: optimizer, weight decay and checkpoints see the same
parameters under the same names.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from timm.layers import FrozenBatchNormAct2d
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

_FROZEN = (FrozenBatchNorm2d, FrozenBatchNormAct2d)
_TRIAL_SIZE = 64
# Two ways to compute the same numbers in fp32 differ by rounding, a wrong fold by far more.
_TOLERANCE = 1e-3


def fold_frozen_norms(body: nn.Module) -> int:
    """Make each convolution that feeds a frozen BatchNorm apply it, in place.

    A forward pass shows which convolution feeds which norm. A network that also uses a
    convolution's output elsewhere would change; this is tested on a copy with random norms, and
    such a network is left unchanged.

    Args:
        body: a timm feature extractor on the CPU whose BatchNorm is frozen.

    Returns:
        Number of folded norms; 0 if the network does not allow it.
    """
    trial = copy.deepcopy(body).eval()
    images = torch.rand(1, 3, _TRIAL_SIZE, _TRIAL_SIZE, generator=torch.Generator().manual_seed(0))
    _randomise_norms(trial)
    with torch.no_grad():
        pairs, wanted = _convolution_before_norm(trial, images)
        _fold(trial, pairs)
        found = trial(images)
    for one, other in zip(wanted, found, strict=True):
        if not torch.allclose(
            one, other, rtol=_TOLERANCE, atol=_TOLERANCE * float(one.abs().max())
        ):
            return 0
    _fold(body, pairs)
    return len(pairs)


class ScaledConv2d(nn.Conv2d):
    """A convolution with the parameters of `conv` that also applies the frozen BatchNorm `norm`."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,
            device="meta",  # no memory and no random numbers: the parameters come next
        )
        self.weight, self.bias = conv.weight, conv.bias
        # In a tuple, so that torch does not take the norm for a part of the convolution.
        self._norm: tuple[Any] = (norm,)

    def forward(self, input: Tensor) -> Tensor:
        norm = self._norm[0]
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        if self.bias is not None:
            shift = shift + self.bias * scale
        output: Tensor = self._conv_forward(input, self.weight * scale[:, None, None, None], shift)
        return output


class AbsorbedNorm(nn.Module):
    """A folded BatchNorm: its buffers under their names, and its activation."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        for name, value in norm.named_buffers(recurse=False):
            self.register_buffer(name, value)
        self.eps = norm.eps
        self.act = norm.act if isinstance(norm, FrozenBatchNormAct2d) else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        activated: Tensor = self.act(input)
        return activated


def _convolution_before_norm(
    body: nn.Module, images: Tensor
) -> tuple[list[tuple[str, str]], list[Tensor]]:
    """Return the names of (convolution, norm) pairs that follow each other, and body's output."""
    made_by: dict[int, str] = {}
    kept_alive: list[Tensor] = []  # so that no two tensors share an id
    calls: dict[str, int] = {}
    pairs: dict[str, str] = {}
    hooks = []
    for name, module in body.named_modules():
        if type(module) is nn.Conv2d:

            def note_output(_: nn.Module, __: Any, output: Tensor, name: str = name) -> None:
                calls[name] = calls.get(name, 0) + 1
                made_by[id(output)] = name
                kept_alive.append(output)

            hooks.append(module.register_forward_hook(note_output))
        elif isinstance(module, _FROZEN) and isinstance(
            getattr(module, "drop", nn.Identity()), nn.Identity
        ):

            def note_input(_: nn.Module, inputs: tuple[Tensor], name: str = name) -> None:
                calls[name] = calls.get(name, 0) + 1
                if id(inputs[0]) in made_by:
                    pairs[made_by[id(inputs[0])]] = name

            hooks.append(module.register_forward_pre_hook(note_input))
    output = [value.clone() for value in body(images)]
    for hook in hooks:
        hook.remove()
    once = [(conv, norm) for conv, norm in pairs.items() if calls[conv] == calls[norm] == 1]
    return once, output


def _fold(body: nn.Module, pairs: list[tuple[str, str]]) -> None:
    for conv_name, norm_name in pairs:
        norm = AbsorbedNorm(body.get_submodule(norm_name))
        conv: Any = body.get_submodule(conv_name)
        _put(body, norm_name, norm)
        _put(body, conv_name, ScaledConv2d(conv, norm))


def _put(body: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(body.get_submodule(parent), child, module)


def _randomise_norms(body: nn.Module) -> None:
    """Give frozen norms factors and summands far from the 1 and 0 that they are made with."""
    generator = torch.Generator().manual_seed(0)
    for module in body.modules():
        if isinstance(module, _FROZEN):
            for buffer in module.buffers(recurse=False):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))

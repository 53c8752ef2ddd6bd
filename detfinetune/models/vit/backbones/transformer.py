"""What the transformer backbones have in common: one feature map, and frozen blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from detectron2.modeling import Backbone
from torch import Tensor, nn

FEATURE = "last_feat"
STRIDE = 16
"""Pixels of the image for each feature pixel. Detectron2's pyramid needs powers of two."""


class TransformerBackbone(Backbone):  # type: ignore[misc]  # Detectron2 has no type hints
    """A transformer that gives one feature map of stride 16.

    The forward pass takes normalized images [N, 3, H, W], both sides multiples of 32, and returns
    `last_feat` [N, C, H/16, W/16]: the output of its last block after a LayerNorm, because that of
    inner blocks has any scale.

    Attributes:
        pixel_mean: of R, G, B (0-255), subtracted from images.
        pixel_std: of R, G, B (0-255), by which they are divided.
    """

    pixel_mean: tuple[float, ...] = (127.5,) * 3
    pixel_std: tuple[float, ...] = (127.5,) * 3

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.frozen_blocks = 0
        self._out_features = [FEATURE]
        self._out_feature_channels = {FEATURE: channels}
        self._out_feature_strides = {FEATURE: STRIDE}

    @property
    @abstractmethod
    def body(self) -> nn.Module:
        """The pretrained transformer, without the blocks after the tap."""

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """Its blocks, the first one first."""

    @abstractmethod
    def tokens(self, images: Tensor) -> Tensor:
        """Return the output of the last block for each patch, [N, H/16 * W/16, C], by rows."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the feature map."""
        height, width = (side // STRIDE for side in images.shape[-2:])
        tokens = self.norm(self.tokens(images))
        return {FEATURE: tokens.transpose(1, 2).unflatten(2, (height, width))}

    def freeze(self, count: int) -> None:
        """Freeze the first `count` blocks and, unless it is 0, the embeddings before them.

        Nothing before the first trained block then needs a gradient, so none is computed.
        """
        self.frozen_blocks = count
        if count:
            trained = {id(p) for block in self.blocks[count:] for p in block.parameters()}
            for parameter in self.body.parameters():
                if id(parameter) not in trained:
                    parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> TransformerBackbone:
        """Set training mode; frozen blocks stay in eval mode, without dropout."""
        super().train(mode)
        for block in self.blocks[: self.frozen_blocks]:
            block.eval()
        return self

    def depths(self) -> dict[str, int]:
        """Return the number of blocks from each parameter to the head, by name.

        1 is the last block. The embeddings count as one before the first; the LayerNorm is new and
        not among them.
        """
        count = len(self.blocks)
        depth = {
            id(parameter): count - index
            for index, block in enumerate(self.blocks)
            for parameter in block.parameters()
        }
        inside = {id(parameter) for parameter in self.body.parameters()}
        return {
            name: depth.get(id(parameter), count + 1)
            for name, parameter in self.named_parameters()
            if id(parameter) in inside
        }

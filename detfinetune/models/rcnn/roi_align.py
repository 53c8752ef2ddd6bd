"""ROIAlign on a CPU as a sparse matrix product.

With a fixed number of samples in each bin, ROIAlign (He et al. 2017, arXiv:1703.06870) is linear in
the feature map: every bin is a weighted sum of a few pixels. The weights form a sparse matrix with
a row for each bin and a column for each pixel; the result is that matrix times the feature map as
[pixels, channels], and the gradient is the transposed matrix times the result's gradient.
torchvision's kernel processes one channel after the other, and its backward pass has one thread.
This one reads all channels of a pixel at once, which `channels_last` stores side by side.
`benchmarks/roi_align.py` measures both; docs/decisions/0003-sparse-roi-align.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import scipy.sparse
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import ROIPooler
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def use_sparse_roi_align(model: nn.Module) -> int:
    """Replace every ROIAlign of the model's poolers with its sparse form, in place.

    Returns:
        The number replaced: one for each level of each pooler with a fixed number of samples.
    """
    swapped = 0
    for pooler in model.modules():
        if not isinstance(pooler, ROIPooler):
            continue
        for level, layer in enumerate(pooler.level_poolers):
            if type(layer) is ROIAlign and layer.sampling_ratio > 0:
                pooler.level_poolers[level] = SparseROIAlign(
                    layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
                )
                swapped += 1
    return swapped


class SparseROIAlign(ROIAlign):  # type: ignore[misc]  # Detectron2 has no type hints
    """Replacement for Detectron2's ROIAlign with the same result up to rounding.

    Uses torchvision's if the sparse form does not apply: not on a CPU, `sampling_ratio` 0, no RoIs.
    """

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool RoIs from a feature map.

        Args:
            input: [N, C, H, W]; bf16 and fp16 are summed in fp32.
            rois: [K, 5], image index and x0, y0, x1, y1 in pixels of the image.

        Returns:
            [K, C, output height, output width] in `input`'s dtype.
        """
        if input.device.type != "cpu" or self.sampling_ratio <= 0 or len(rois) == 0:
            pooled: Tensor = super().forward(input, rois)
            return pooled
        size = self.output_size
        height, width = (size, size) if isinstance(size, int) else size
        matrix = roi_align_matrix(
            rois,
            input.shape,
            (height, width),
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
            dtype=torch.float64 if input.dtype == torch.float64 else torch.float32,
        )
        pixels = input.permute(0, 2, 3, 1).flatten(0, 2)
        bins: Tensor = _SparseProduct.apply(pixels.to(matrix.weights.dtype), matrix)
        pooled = bins.view(len(rois), height, width, input.shape[1]).permute(0, 3, 1, 2)
        return pooled.to(input.dtype)


@dataclass(frozen=True)
class SparseMatrix:
    """A sparse matrix by rows (CSR)."""

    row_starts: Tensor
    """int32 [rows + 1]: where in `columns` each row begins; the last is the number of entries."""

    columns: Tensor
    """int32 [entries]."""

    weights: Tensor
    """float [entries]."""

    num_columns: int

    def transposed(self) -> SparseMatrix:
        """Return the transposed matrix, by rows as well."""
        shape = (len(self.row_starts) - 1, self.num_columns)
        parts = (self.weights.numpy(), self.columns.numpy(), self.row_starts.numpy())
        # scipy sorts entries by column with a counting sort, five times as fast as torch.
        by_column = scipy.sparse.csr_array(parts, shape=shape).tocsc()
        return SparseMatrix(
            torch.from_numpy(by_column.indptr),
            torch.from_numpy(by_column.indices),
            torch.from_numpy(by_column.data),
            shape[0],
        )

    def times(self, dense: Tensor) -> Tensor:
        """Return this matrix times `dense` [num_columns, C], as [rows, C].

        `embedding_bag` computes weighted sums of rows, several times as fast as torch's sparse
        product. One thread sums each row in the order of its entries, so the result does not depend
        on the number of threads.
        """
        return F.embedding_bag(
            self.columns,
            dense,
            self.row_starts,
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
        )


class _SparseProduct(torch.autograd.Function):
    """A fixed sparse matrix times a dense one; only the dense one has a gradient."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        return matrix.times(dense.contiguous())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix.transposed().times(gradient.contiguous()), None


def roi_align_matrix(
    rois: Tensor,
    input_shape: torch.Size,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    dtype: torch.dtype = torch.float32,
) -> SparseMatrix:
    """Return the matrix that maps a feature map's pixels to the bins of RoIs.

    Args:
        rois: [K, 5], image index and x0, y0, x1, y1 in pixels of the image.
        input_shape: [N, C, H, W] of the feature map.
        output_size: bins of a RoI, down and across.
        spatial_scale: feature pixels for each image pixel.
        sampling_ratio: samples of a bin, down as well as across; above 0.
        aligned: pixel centres are at half coordinates, as in Detectron2's ROIAlignV2.

    Returns:
        K * bins rows (RoI, then down, then across) and N * H * W columns.
    """
    images, _, height, width = input_shape
    corners = rois[:, 1:].to(dtype) * spatial_scale - (0.5 if aligned else 0.0)
    x0, y0, x1, y1 = corners.unbind(1)
    roi_widths, roi_heights = x1 - x0, y1 - y0
    if not aligned:  # the older form gave every RoI at least one feature pixel
        roi_widths, roi_heights = roi_widths.clamp(min=1), roi_heights.clamp(min=1)
    rows, row_weights = _axis_samples(y0, roi_heights, output_size[0], sampling_ratio, height)
    cols, col_weights = _axis_samples(x0, roi_widths, output_size[1], sampling_ratio, width)
    # [K, bins down, bins across, samples down, samples across]: a bin's weights are the products of
    # those of its rows and columns, because RoIs are axis-aligned.
    first_row = (rois[:, 0].to(torch.int32) * height)[:, None, None]
    columns = ((first_row + rows) * width)[:, :, None, :, None] + cols[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * col_weights[:, None, :, None, :]
    entries = (2 * sampling_ratio) ** 2
    row_starts = torch.arange(0, weights.numel() + 1, entries, dtype=torch.int32)
    return SparseMatrix(row_starts, columns.flatten(), weights.flatten(), images * height * width)


def _axis_samples(
    start: Tensor, length: Tensor, bins: int, samples: int, size: int
) -> tuple[Tensor, Tensor]:
    """Return the pixels of one axis that the bins of each RoI read, and their weights.

    Each sample interpolates linearly between two pixels; one more than a pixel outside the map
    reads nothing.

    Args:
        start, length: [K], feature pixels.
        bins, samples: of a RoI, and of a bin.
        size: pixels of the map along this axis.

    Returns:
        int32 pixels and float weights, both [K, bins, 2 * samples].
    """
    steps = torch.arange(bins * samples, dtype=start.dtype) + 0.5
    position = start[:, None] + steps * (length / (bins * samples))[:, None]
    inside = (position >= -1) & (position <= size)
    position = position.clamp(0, size - 1)
    low = position.to(torch.int32).clamp(0, size - 1)
    high = (low + 1).clamp(max=size - 1)
    fraction = position - low
    weights = torch.stack([1 - fraction, fraction], dim=-1) * (inside[..., None] / samples)
    pixels = torch.stack([low, high], dim=-1)
    shape = (len(start), bins, 2 * samples)
    return pixels.view(shape), weights.view(shape)

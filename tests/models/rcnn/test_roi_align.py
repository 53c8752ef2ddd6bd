"""The sparse ROIAlign against torchvision's, on RoIs of every kind."""

from __future__ import annotations

import pytest
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import Tensor, nn

from detfinetune.models.rcnn.roi_align import SparseROIAlign, use_sparse_roi_align

HEIGHT, WIDTH, CHANNELS = 12, 20, 8


def random_rois(count: int, seed: int = 0) -> Tensor:
    """RoIs on two images of 48x80 pixels: inside, partly and wholly outside, tiny and huge."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 140 - 40
    size = torch.rand(count, 2, generator=generator) ** 3 * 90
    image = torch.arange(count)[:, None] % 2
    return torch.cat([image, corner, corner + size], dim=1)


def features(dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, CHANNELS, HEIGHT, WIDTH, generator=generator).to(dtype)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [1, 2, 3])
@pytest.mark.parametrize("output_size", [(7, 7), (14, 14), (3, 5)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_forward_and_backward_are_torchvisions(
    aligned: bool,
    sampling_ratio: int,
    output_size: tuple[int, int],
    memory_format: torch.memory_format,
) -> None:
    rois = random_rois(60)
    results = []
    for kind in (ROIAlign, SparseROIAlign):
        maps = features().to(memory_format=memory_format).requires_grad_()
        pooled = kind(output_size, 0.25, sampling_ratio, aligned)(maps, rois)
        weight = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(2))
        (pooled * weight).sum().backward()
        results.append((pooled.detach(), maps.grad))
    (expected, expected_grad), (pooled, grad) = results
    assert pooled.shape == (60, CHANNELS, *output_size)
    assert expected.abs().max() > 1  # the RoIs do read something
    assert (pooled - expected).abs().max() < 1e-4
    assert (grad - expected_grad).abs().max() < 1e-4


def test_a_constant_map_pools_to_its_constant() -> None:
    rois = torch.tensor([[0.0, 8.0, 8.0, 40.0, 36.0]])
    pooled = SparseROIAlign((7, 7), 0.25, 2)(torch.full((1, 3, 12, 20), 2.5), rois)
    assert torch.allclose(pooled, torch.full((1, 3, 7, 7), 2.5), atol=1e-6)


def test_a_ramp_pools_to_the_bins_centres() -> None:
    # Along x the map holds 0, 1, 2, ...; at scale 1, a RoI from 2 to 10 has bins of width 2 whose
    # centres are 3, 5, 7, 9, and pixel n has its centre at n + 0.5.
    ramp = torch.arange(20.0).expand(1, 1, 12, 20)
    pooled = SparseROIAlign((1, 4), 1.0, 2)(ramp, torch.tensor([[0.0, 2.0, 2.0, 10.0, 10.0]]))
    assert torch.allclose(pooled.flatten(), torch.tensor([2.5, 4.5, 6.5, 8.5]), atol=1e-5)


def test_gradient_agrees_with_finite_differences() -> None:
    maps = features(torch.float64)[:, :2, :6, :6].requires_grad_()
    rois = random_rois(6).double()
    layer = SparseROIAlign((2, 2), 0.25, 2)
    assert torch.autograd.gradcheck(lambda value: layer(value, rois), (maps,))


def test_bf16_is_summed_in_fp32() -> None:
    rois = random_rois(40)
    maps = features(torch.bfloat16)
    pooled = SparseROIAlign((7, 7), 0.25, 2)(maps, rois)
    exact = ROIAlign((7, 7), 0.25, 2)(maps.float(), rois)
    assert pooled.dtype == torch.bfloat16
    assert torch.equal(pooled, exact.to(torch.bfloat16)) or (
        (pooled.float() - exact).abs().max() <= exact.abs().max() / 256
    )


def test_no_rois_give_an_empty_result_that_can_be_differentiated() -> None:
    maps = features().requires_grad_()
    pooled = SparseROIAlign((7, 7), 0.25, 2)(maps, torch.zeros(0, 5))
    assert pooled.shape == (0, CHANNELS, 7, 7)
    pooled.sum().backward()
    assert torch.equal(maps.grad, torch.zeros_like(maps))


def test_adaptive_sampling_is_torchvisions() -> None:
    rois = random_rois(10)
    expected = ROIAlign((7, 7), 0.25, 0)(features(), rois)
    assert torch.equal(SparseROIAlign((7, 7), 0.25, 0)(features(), rois), expected)


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    rois = random_rois(200)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            maps = features().requires_grad_()
            pooled = SparseROIAlign((7, 7), 0.25, 2)(maps, rois)
            pooled.square().sum().backward()
            results.append((pooled.detach(), maps.grad))
    finally:
        torch.set_num_threads(threads)
    for pooled, grad in results[1:]:
        assert torch.equal(pooled, results[0][0])
        assert torch.equal(grad, results[0][1])


def test_swap_replaces_the_layers_of_fixed_poolers_only() -> None:
    scales = (0.25, 0.125)
    fixed = ROIPooler(7, scales, sampling_ratio=2, pooler_type="ROIAlignV2")
    adaptive = ROIPooler(7, scales, sampling_ratio=0, pooler_type="ROIAlignV2")
    boxes = [Boxes(random_rois(30)[:, 1:].clamp(min=0)) for _ in range(2)]
    maps = [features(), features()[:, :, ::2, ::2]]
    expected = fixed(maps, boxes)
    assert use_sparse_roi_align(nn.ModuleList([fixed, adaptive])) == 2
    assert all(isinstance(layer, SparseROIAlign) for layer in fixed.level_poolers)
    assert not any(isinstance(layer, SparseROIAlign) for layer in adaptive.level_poolers)
    assert (fixed(maps, boxes) - expected).abs().max() < 1e-4


@pytest.mark.gpu
def test_cuda_uses_torchvisions() -> None:
    rois, maps = random_rois(20).cuda(), features().cuda()
    expected = ROIAlign((7, 7), 0.25, 2)(maps, rois)
    assert torch.equal(SparseROIAlign((7, 7), 0.25, 2)(maps, rois), expected)

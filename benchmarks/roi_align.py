"""ROIAlign on the CPU: torchvision's kernel beside the sparse product, forward and backward.

    python benchmarks/roi_align.py [--threads 2] [--repeats 9]

Prints the median time of each on the same RoIs, and the largest difference of their results.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from detfinetune.console import table
from detfinetune.models.rcnn.roi_align import ROIAlign, SparseROIAlign

# Images, RoIs, channels, height and width of the feature map, bins on a side.
CASES = {
    "box head, training": (4, 512, 128, 80, 80, 7),
    "mask head, training": (4, 128, 128, 80, 80, 14),
    "box head, one test image": (1, 300, 128, 80, 80, 7),
}


def random_rois(images: int, count: int, side: int) -> Tensor:
    """RoIs of 8 to 108 pixels on images of 4 * `side` pixels."""
    corner = torch.rand(count, 2) * (4 * side - 60)
    size = torch.rand(count, 2) * 100 + 8
    return torch.cat([torch.arange(count)[:, None] % images, corner, corner + size], dim=1)


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Median wall time of `call` in milliseconds, after one call that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def compare(case: tuple[int, int, int, int, int, int], repeats: int) -> list[object]:
    """Return times in ms (forward, forward and backward, for each) and the largest differences."""
    images, count, channels, height, width, bins = case
    rois = random_rois(images, count, width)
    maps = torch.randn(images, channels, height, width)
    maps = maps.to(memory_format=torch.channels_last).requires_grad_()
    upstream = torch.randn(count, channels, bins, bins)
    times: list[object] = []
    results = []
    for kind in (ROIAlign, SparseROIAlign):
        layer = kind((bins, bins), 0.25, 2, True)

        def forward(layer: ROIAlign = layer) -> Tensor:
            with torch.no_grad():
                pooled: Tensor = layer(maps, rois)
            return pooled

        def both(layer: ROIAlign = layer) -> None:
            maps.grad = None
            layer(maps, rois).backward(upstream)

        times += [median_ms(forward, repeats), median_ms(both, repeats)]
        assert maps.grad is not None
        results.append((forward(), maps.grad.clone()))
    differences = [
        1e6 * (one - other).abs().max().item() for one, other in zip(*results, strict=True)
    ]
    return [*times, *differences]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = [[name, *compare(case, arguments.repeats)] for name, case in CASES.items()]
    print(f"torch {torch.__version__}, {arguments.threads} threads; medians in ms")
    headers = [
        "case", "torchvision fwd", "fwd+bwd", "sparse fwd", "fwd+bwd", "diff fwd 1e-6", "grad 1e-6",
    ]  # fmt: skip
    print(table(rows, headers))


if __name__ == "__main__":
    main()

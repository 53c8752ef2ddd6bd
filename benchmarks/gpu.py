"""R50-FPN on a GPU: images a second, peak memory and where the time goes, beside stock Detectron2.

    python benchmarks/gpu.py                  # less than ten minutes
    python benchmarks/gpu.py --tiny           # does it run at all? also without a GPU

Faster and Mask R-CNN with random weights on generated images of 800 px, 16 at a time, in fp32, fp16
and bf16. The sides take turns; a step ends when the GPU has finished it.
"""

from __future__ import annotations

import argparse

import torch
from systems.steps import HEADERS, Case, take_turns, timed_step, trainer_of
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from detfinetune._detectron2 import ignore_known_warnings
from detfinetune.console import table

MODELS = {
    "Faster R-CNN R50-FPN": ("COCO-Detection/faster_rcnn_R_50_FPN_3x", "bbox"),
    "Mask R-CNN R50-FPN": ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", "segm"),
}


def main() -> None:
    """Print a table of all cases, then what our fastest steps consist of."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10, help="in each of two rounds")
    parser.add_argument("--tiny", action="store_true", help="one small image, one step")
    arguments = parser.parse_args()
    ignore_known_warnings()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch, size, steps, rounds, warm_up = arguments.batch, (800, 1088), arguments.steps, 2, 3
    if arguments.tiny:
        batch, size, steps, rounds, warm_up = 1, (64, 96), 1, 1, 0
    precisions = ["fp32", "bf16"] if device == "cpu" else ["fp32", "fp16", "bf16"]
    cases = [
        Case(name, model, precision, batch, size, task)
        for name, (model, task) in MODELS.items()
        for precision in precisions
    ]
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}; {batch} images of {size[1]}x{size[0]} px")
    rows = []
    for row in take_turns(cases, device, steps, rounds, warm_up):
        print(f"  {row[0]}, {row[1]}, {row[2]}: {row[3]:.3f} s", flush=True)
        rows.append(row)
    print(f"\n{table(rows, HEADERS, digits=3)}")
    for case in cases:
        if case.precision == "bf16":
            print(f"\nours, {case.name}, bf16: the ten operations that take longest")
            print(table(longest(case, device, steps, warm_up), ("operation", "ms/step", "%")))


def longest(
    case: Case, device: str, steps: int, warm_up: int, count: int = 10
) -> list[list[object]]:
    """Return the operations that take longest by themselves: name, ms a step, share of all."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with trainer_of("ours", case, device) as trainer:
        for _ in range(warm_up):
            timed_step(trainer, device)
        with profile(activities=activities) as profiler:
            for _ in range(steps):
                timed_step(trainer, device)
    time = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    # Kernels are listed beside the operations that started them.
    operations = [event for event in profiler.key_averages() if event.device_type == DeviceType.CPU]
    events = sorted(operations, key=lambda event: -getattr(event, time))
    total = sum(getattr(event, time) for event in events)
    return [
        [event.key[:60], getattr(event, time) / 1000 / steps, 100 * getattr(event, time) / total]
        for event in events[:10]
    ]


if __name__ == "__main__":
    main()

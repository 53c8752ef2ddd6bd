"""Several processes under `torchrun`, with the same command as for one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from detectron2.utils import comm
from torch import distributed

T = TypeVar("T")


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join torchrun's processes, when started by it; yield this process's device."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or distributed.is_initialized():
        yield device
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    cuda = device.startswith("cuda")
    if cuda:
        device = f"cuda:{local_rank}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    comm.create_local_process_group(int(os.environ.get("LOCAL_WORLD_SIZE", str(world))))
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def from_main(work: Callable[[], T]) -> T:
    """Run `work` in the main process and give every process its result."""
    if comm.get_world_size() == 1:
        return work()
    box: list[T | None] = [work() if comm.is_main_process() else None]
    distributed.broadcast_object_list(box, src=0)
    result: T = box[0]  # type: ignore[assignment]
    return result

"""Several processes under `torchrun`, with the same command as for one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from detectron2.utils import comm
from torch import distributed, nn

from detfinetune.models.checkpoint import check_device

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
        check_device(device)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    comm.create_local_process_group(int(os.environ.get("LOCAL_WORLD_SIZE", str(world))))
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def from_main(work: Callable[[], T]) -> T:
    """Run `work` in the main process and give every process its result, or its error."""
    if comm.get_world_size() == 1:
        return work()
    box: list[Any] = [None, None]
    if comm.is_main_process():
        try:
            box[0] = work()
        except Exception as error:  # the others would wait for ever
            box[1] = error
    distributed.broadcast_object_list(box, src=0)
    if box[1] is not None:
        raise box[1]
    result: T = box[0]
    return result


def in_any_process(flag: bool) -> bool:
    """Say whether `flag` is true in at least one process; all must ask."""
    if comm.get_world_size() == 1:
        return flag
    shared = torch.tensor([float(flag)])
    if distributed.get_backend() == "nccl":
        shared = shared.to("cuda")
    distributed.all_reduce(shared)
    return bool(shared.item())


def parallel_model(model: nn.Module) -> nn.Module:
    """Return the model with gradients that are averaged over all processes."""
    if comm.get_world_size() == 1:
        return model
    device = next(model.parameters()).device
    # Detectron2's own wrapper names a GPU even where there is none.
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def share_buffers(model: nn.Module) -> None:
    """Give every process the main one's buffers, such as BatchNorm's running statistics.

    Each process measures its own on its part of the data; those of the main one are saved.
    """
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)

"""Distributed training with `torchrun`, with the same command as for one process."""

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
    """Join the process group if started by torchrun; yield this process's device."""
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


def run_on_main(work: Callable[[], T]) -> T:
    """Run `work` in the main process; return its result, or raise its error, in every process."""
    if comm.get_world_size() == 1:
        return work()
    outcome: list[Any] = [None, None]
    if comm.is_main_process():
        try:
            outcome[0] = work()
        except Exception as error:  # broadcast it, or the others would wait forever
            outcome[1] = error
    distributed.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    result: T = outcome[0]
    return result


def any_rank(flag: bool) -> bool:
    """Return whether `flag` is true in at least one process; all processes must call this."""
    if comm.get_world_size() == 1:
        return flag
    shared = torch.tensor([float(flag)])
    if distributed.get_backend() == "nccl":
        shared = shared.to("cuda")
    distributed.all_reduce(shared)
    return bool(shared.item())


def parallel_model(model: nn.Module) -> nn.Module:
    """Wrap the model so that gradients are averaged over all processes."""
    if comm.get_world_size() == 1:
        return model
    device = next(model.parameters()).device
    # Detectron2's own wrapper requires a GPU.
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def broadcast_buffers(model: nn.Module) -> None:
    """Broadcast the main process's buffers, such as BatchNorm's running statistics.

    Each process computes its own on its part of the data; the checkpoint has the main one's.
    """
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)

"""User messages for failures that end a training run."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from detectron2.utils import comm

from detfinetune.console import NO_ROOM, command_line
from detfinetune.engine.run_folder import RunFolder
from detfinetune.errors import DataError, DetFinetuneError, DivergedError, TrainingError
from detfinetune.models.checkpoint import read_checkpoint


@contextmanager
def explain_failures(run: RunFolder, *, after_training: bool = False) -> Iterator[None]:
    """Turn known failures into one message that says what is saved and what to do.

    Args:
        run: the run that the message refers to.
        after_training: whether training is finished and the block only evaluates.
    """
    try:
        yield
    except Exception as error:
        next_step = _how_to_evaluate(run) if after_training else _how_to_resume(run)
        plain = _extend_own(error, run, next_step) or _explain_machine(error, next_step)
        if plain is None:
            raise
        # A broken image or full memory may affect a single process, which must then report it.
        plain.one_process_only = not isinstance(error, TrainingError)
        raise plain from error


def _extend_own(error: Exception, run: RunFolder, next_step: str) -> DetFinetuneError | None:
    """Add to one of our own errors what is saved and what to do."""
    if isinstance(error, DivergedError):
        return DivergedError(f"{error}\n{_what_is_left(run)}")
    if isinstance(error, TrainingError):
        return TrainingError(f"{error}\n{next_step}")
    if isinstance(error, DataError):
        return type(error)(f"{error}\n{next_step}")
    return None


def _explain_machine(error: Exception, next_step: str) -> TrainingError | None:
    """Explain a full memory or disk or a killed process; None for anything else, a bug."""
    if full := memory_error(error):
        gpu = isinstance(full, torch.OutOfMemoryError)
        return TrainingError(
            f"The {'GPU' if gpu else 'machine'} ran out of memory. Rerun with solver.accumulate=2 "
            "or half of solver.images_per_batch, or a smaller augment.image_size or crop_size.\n"
            f"{next_step}"
        )
    if _worker_died(error):
        return TrainingError(
            "An image-loading worker process was killed, probably because memory (or /dev/shm) "
            f"ran out. Rerun with hardware.num_workers=0.\n{next_step}"
        )
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return TrainingError(f"The disk is full. Free some space.\n{next_step}")
    if comm.get_world_size() > 1 and "by peer" in str(error):
        return TrainingError(f"Another process failed; see its error message.\n{next_step}")
    return None


def memory_error(error: Exception) -> torch.OutOfMemoryError | MemoryError | None:
    """Return a plain error for one that says that memory is full, of the GPU or of the machine."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "CUDA error: out of memory" in text:
        return torch.OutOfMemoryError(text)
    full = "can't allocate memory" in text or "out of memory" in text
    if full or isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return MemoryError(text)
    return None


def _worker_died(error: BaseException | None) -> bool:
    """Whether torch reported a dead worker, which it may do inside any call, even a failing one."""
    while error is not None:
        text = str(error)
        if "DataLoader worker" in text and ("killed" in text or "exited" in text):
            return True
        error = error.__cause__ or error.__context__
    return False


def _how_to_resume(run: RunFolder) -> str:
    if run.last_checkpoint.is_file():
        return f"The last checkpoint is saved. Resume with resume={run.path}"
    return f"No checkpoint is saved yet. Log: {run.log_file}"


def _how_to_evaluate(run: RunFolder) -> str:
    return f"Training is finished. Evaluate with: {command_line('evaluate')} run={run.path}"


def _what_is_left(run: RunFolder) -> str:
    """Advice after training has diverged; resuming would diverge again."""
    best = read_checkpoint(run.best_checkpoint).best if run.best_checkpoint.is_file() else None
    if best is not None and best.value > 0:
        return f"To start from the best weights so far, use model.weights={run.best_checkpoint}"
    return f"There is no usable checkpoint yet. Log: {run.log_file}"

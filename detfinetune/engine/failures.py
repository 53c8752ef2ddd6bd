"""What can end a training run, in plain words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from detectron2.utils import comm

from detfinetune.engine.run_folder import RunFolder
from detfinetune.errors import DataError, DetFinetuneError, DivergedError, TrainingError
from detfinetune.models.checkpoint import read_checkpoint


@contextmanager
def plain_failures(run: RunFolder, *, after_training: bool = False) -> Iterator[None]:
    """Turn failures of the machine into one message that says what is saved and what to do.

    Args:
        run: where what was trained is saved.
        after_training: the block only evaluates what has been trained.
    """
    try:
        yield
    except Exception as error:
        next_step = _evaluate_it(run) if after_training else _go_on(run)
        plain = _our_own(error, run, next_step) or _the_machines(error, next_step)
        if plain is None:
            raise
        # A process may be alone with its broken image or full memory, and then only it can say so.
        plain.one_process_only = not isinstance(error, TrainingError)
        raise plain from error


def _our_own(error: Exception, run: RunFolder, next_step: str) -> DetFinetuneError | None:
    """Add to an error of ours what is saved."""
    if isinstance(error, DivergedError):
        return DivergedError(f"{error} {_kept(run)}")
    if isinstance(error, TrainingError):
        return TrainingError(f"{error}\n{next_step}")
    if isinstance(error, DataError):
        return type(error)(f"{error}\n{next_step}")
    return None


def _the_machines(error: Exception, next_step: str) -> TrainingError | None:
    """Recognise memory and disk that ran out; None for anything else, which is a bug."""
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, torch.OutOfMemoryError) or "CUDA error: out of memory" in text:
        return TrainingError(_out_of_memory("The GPU's memory ran out.", next_step))
    memory = "can't allocate memory" in text or "out of memory" in text
    if isinstance(error, MemoryError) or memory or number == errno.ENOMEM:
        return TrainingError(_out_of_memory("The machine's memory ran out.", next_step))
    if "DataLoader worker" in text and ("killed" in text or "exited" in text):
        return TrainingError(
            "A process that loads images was killed, most likely because memory (or /dev/shm) "
            f"ran out; try hardware.num_workers=0.\n{next_step}"
        )
    if number in (errno.ENOSPC, errno.EDQUOT):
        return TrainingError(f"The disk is full. Free some room.\n{next_step}")
    if comm.get_world_size() > 1 and "by peer" in text:
        return TrainingError(f"Another process has failed, and says why.\n{next_step}")
    return None


def _out_of_memory(what: str, next_step: str) -> str:
    return (
        f"{what} Train again with half of solver.images_per_batch, or a smaller "
        f"augment.image_size or augment.crop_size.\n{next_step}"
    )


def _go_on(run: RunFolder) -> str:
    if run.last_checkpoint.is_file():
        return f"What was trained is in {run.path}; go on with resume={run.path}"
    return f"Nothing was trained yet; the log is {run.log_file}."


def _evaluate_it(run: RunFolder) -> str:
    return f"Training is finished; evaluate with: python tools/evaluate.py run={run.path}"


def _kept(run: RunFolder) -> str:
    """What is left after training has diverged; a resume would diverge again."""
    best = read_checkpoint(run.best_checkpoint).best if run.best_checkpoint.is_file() else None
    if best is not None and best.value > 0:
        return f"The best weights so far can be the start: model.weights={run.best_checkpoint}"
    return f"No checkpoint was worth keeping yet; the log is {run.log_file}."

"""What can end a training run, in plain words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from detfinetune.engine.run_folder import RunFolder
from detfinetune.errors import DataError, DetFinetuneError, DivergedError, TrainingError


@contextmanager
def plain_failures(run: RunFolder) -> Iterator[None]:
    """Turn failures of the machine into one message that says what is saved and what to do."""
    try:
        yield
    except Exception as error:
        plain = _our_own(error, run) or _the_machines(error, run)
        if plain is None:
            raise
        raise plain from error


def _our_own(error: Exception, run: RunFolder) -> DetFinetuneError | None:
    """Add to an error of ours what is saved."""
    if isinstance(error, DivergedError):
        return DivergedError(f"{error} {_kept(run)}")
    if isinstance(error, TrainingError):
        return TrainingError(f"{error}\n{_go_on(run)}")
    if isinstance(error, DataError):
        # A loader's worker sends the error with its traceback; the last line is the message.
        return DataError(_message_of(error))
    return None


def _the_machines(error: Exception, run: RunFolder) -> TrainingError | None:
    """Recognise memory and disk that ran out; None for anything else, which is a bug."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return TrainingError(_out_of_memory("The GPU's memory ran out.", run))
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text:
        return TrainingError(_out_of_memory("The machine's memory ran out.", run))
    if "DataLoader worker" in text and ("killed" in text or "exited" in text):
        return TrainingError(
            "A process that loads images was killed, most likely because memory (or /dev/shm) "
            f"ran out; try hardware.num_workers=0.\n{_go_on(run)}"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TrainingError(f"The disk is full. Free some room.\n{_go_on(run)}")
    return None


def _out_of_memory(what: str, run: RunFolder) -> str:
    return (
        f"{what} Train again with half of solver.images_per_batch, or a smaller "
        f"augment.image_size or augment.crop_size.\n{_go_on(run)}"
    )


def _go_on(run: RunFolder) -> str:
    if run.last_checkpoint.is_file():
        return f"What was trained is in {run.path}; go on with resume={run.path}"
    return f"Nothing was trained yet; the log is {run.log_file}."


def _kept(run: RunFolder) -> str:
    """What is left after training has diverged; a resume would diverge again."""
    if run.best_checkpoint.is_file():
        return f"The best weights so far can be the start: model.weights={run.best_checkpoint}"
    return f"No checkpoint was worth keeping yet; the log is {run.log_file}."


def _message_of(error: Exception) -> str:
    text = str(error)
    marker = f"{type(error).__name__}: "
    return text.rsplit(marker, 1)[-1].strip() if "Original Traceback" in text else text

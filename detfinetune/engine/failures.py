"""What can end a training run, in plain words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from detfinetune.engine.run_folder import RunFolder
from detfinetune.errors import DataError, TrainingError


@contextmanager
def plain_failures(run: RunFolder) -> Iterator[None]:
    """Turn failures of the machine into one message that says what is saved and what to do."""
    try:
        yield
    except TrainingError as error:
        raise TrainingError(f"{error}\n{_go_on(run)}") from error
    except DataError as error:
        # A loader's worker sends the error with its traceback; the last line is the message.
        raise DataError(_message_of(error)) from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(_out_of_memory("The GPU's memory ran out.", run)) from error
    except MemoryError as error:
        raise TrainingError(_out_of_memory("The machine's memory ran out.", run)) from error
    except RuntimeError as error:
        text = str(error)
        if "can't allocate memory" in text or "out of memory" in text:
            raise TrainingError(_out_of_memory("The machine's memory ran out.", run)) from error
        if "DataLoader worker" in text and ("killed" in text or "exited" in text):
            raise TrainingError(
                "A process that loads images was killed, most likely because memory (or /dev/shm) "
                f"ran out; try hardware.num_workers=0.\n{_go_on(run)}"
            ) from error
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TrainingError(f"The disk is full. Free some room.\n{_go_on(run)}") from error


def _out_of_memory(what: str, run: RunFolder) -> str:
    return (
        f"{what} Train again with half of solver.images_per_batch, or a smaller "
        f"augment.image_size or augment.crop_size.\n{_go_on(run)}"
    )


def _go_on(run: RunFolder) -> str:
    if run.last_checkpoint.is_file():
        return f"What was trained is in {run.path}; go on with resume={run.path}"
    return f"Nothing was trained yet; the log is {run.log_file}."


def _message_of(error: Exception) -> str:
    text = str(error)
    marker = f"{type(error).__name__}: "
    return text.rsplit(marker, 1)[-1].strip() if "Original Traceback" in text else text

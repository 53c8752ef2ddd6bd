"""Stop a run early: on Ctrl-C or SIGTERM, or when AP has stopped rising."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from detectron2.engine import HookBase

from detfinetune.console import say
from detfinetune.engine.distributed import any_rank


class StopTraining(BaseException):
    """Ends the loop between two steps; not an error, so not an `Exception`."""


class EndTraining(StopTraining):
    """Ends the loop of a run that has nothing left to do."""


class StopRequest:
    """Whether a signal has requested the run to stop."""

    def __init__(self) -> None:
        self.requested = False
        self.number = int(signal.SIGTERM)
        """Of the first signal; another process may have got it."""
        self._owner = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: the first requests a stop, a second Ctrl-C stops immediately."""
        if os.getpid() != self._owner:
            return  # a data loader's worker; it ends with its parent
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested, self.number = True, number
        say("Stopping after this step and saving. Press Ctrl-C again to stop immediately.")


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a stop request inside the block."""
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, action in before.items():
            signal.signal(number, action)


class StopOnRequest(HookBase):  # type: ignore[misc]
    """Raise `StopTraining` in all processes after the step in which any was asked to stop."""

    def __init__(self, request: StopRequest) -> None:
        self._request = request

    def after_step(self) -> None:
        """Stop in all processes if any has a request, or the others would wait forever."""
        if any_rank(self._request.requested):
            raise StopTraining


class StopWithoutProgress(HookBase):  # type: ignore[misc]
    """Raise `EndTraining` in all processes when no progress is expected any more.

    Args:
        eval_period: steps between evaluations.
        hopeless: asked after each evaluation, whose checkpoint is saved; True in the main process
            is enough.
    """

    def __init__(self, eval_period: int, hopeless: Callable[[], bool]) -> None:
        self._eval_period = eval_period
        self._hopeless = hopeless

    def after_step(self) -> None:
        """End training."""
        done = self.trainer.finished_steps
        evaluated = done % self._eval_period == 0 and done < self.trainer.max_iter
        if evaluated and any_rank(self._hopeless()):
            raise EndTraining

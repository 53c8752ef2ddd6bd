"""Ending a run early on Ctrl-C or SIGTERM, with everything saved."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from detectron2.engine import HookBase

from detfinetune.console import say
from detfinetune.engine.distributed import in_any_process


class StopTraining(BaseException):
    """Ends the loop between two steps; no error, so it is none of `Exception`'s."""


class StopRequest:
    """Whether the user, or the system, has asked the run to stop."""

    def __init__(self) -> None:
        self.requested = False
        self._owner = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: the first asks, a second Ctrl-C stops at once."""
        if os.getpid() != self._owner:
            return  # a loader's process, which Ctrl-C reaches too; it ends with its owner
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        say("Stopping after this step, and saving. (Ctrl-C again stops at once.)")


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the block runs."""
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, action in before.items():
            signal.signal(number, action)


class StopWhenAsked(HookBase):  # type: ignore[misc]
    """Raise `StopTraining` after the step in which a stop was requested, in all processes."""

    def __init__(self, request: StopRequest) -> None:
        self._request = request

    def after_step(self) -> None:
        """Look at the request; several processes must agree, or one would wait for ever."""
        if in_any_process(self._request.requested):
            raise StopTraining

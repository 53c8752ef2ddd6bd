"""Work for all cores: items mapped in worker processes, in order, or here where none can start."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import TypeVar

from detfinetune import console

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """Processes that several rounds of work share, started with the first; a context manager."""

    def __init__(
        self, num_workers: int | None = None, initializer: Callable[[], None] | None = None
    ) -> None:
        """Take the number of processes and what each does first.

        Args:
            num_workers: None takes one a core; 0 and 1 stay in this process.
            initializer: called once in each worker.
        """
        self.count = (os.cpu_count() or 1) if num_workers is None else num_workers
        self._initializer = initializer
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self) -> None:
        """Start the processes now, so that they are ready when there is work."""
        if self.count > 1:
            pool = self._started()
            for _ in range(self.count):
                pool.submit(_nothing)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Forking is not safe once torch or OpenCV have started threads.
            self._pool = ProcessPoolExecutor(
                self.count, mp_context=get_context("spawn"), initializer=self._initializer
            )
        return self._pool

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield `function(item)` for each item in order.

        Args:
            function: of a module's top level (or a `partial` of one), so that it can be sent.
            items: what to work on; each should take far longer than it takes to be sent.
        """
        done = 0
        if self.count > 1 and len(items) > 1:
            try:
                for result in self._started().map(function, items):
                    yield result
                    done += 1
            except BrokenProcessPool:
                self.count, self._pool = 1, None
                console.warn(
                    "worker processes could not be used (a script that is not guarded by "
                    "`if __name__ == '__main__':` cannot start any); going on in one process."
                )
        for item in items[done:]:
            yield function(item)


def _nothing() -> None:
    """Be done at once."""

"""Maps functions over items in worker processes, in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from types import TracebackType
from typing import TypeVar

from detfinetune import console

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """A pool of processes that starts with the first call of `map`; a context manager."""

    def __init__(
        self, num_workers: int | None = None, initializer: Callable[[], None] | None = None
    ) -> None:
        """Set the number of processes and what each does first.

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
                pool.submit(int)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned: forking is not safe once torch or OpenCV have started threads.
            self._pool = ProcessPoolExecutor(
                self.count, get_context("spawn"), _start_worker, (self._initializer,)
            )
        return self._pool

    def map(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        chunksize: int = 1,
        crashed: R | None = None,
    ) -> Iterator[R]:
        """Yield `function(item)` for each item in order.

        Args:
            function: of a module's top level (or a `partial` of one), so that it can be pickled.
            items: should take far longer to work on than to send.
            chunksize: items sent at once.
            crashed: result for an item that ends its process, such as an image that crashes the
                decoder. None: no item is expected to, so work goes on in this process.
        """
        done = 0
        if self.count > 1 and len(items) > 1:
            try:
                for result in self._started().map(function, items, chunksize=chunksize):
                    yield result
                    done += 1
            except BrokenProcessPool:
                self.count, self._pool = 1, None
                if crashed is not None:
                    console.warn("a worker process crashed; going on with one item at a time.")
                    yield from self._map_isolated(function, items[done:], crashed)
                    return
                console.warn(
                    "worker processes could not be used (a script that is not guarded by "
                    "`if __name__ == '__main__':` cannot start any); going on in one process."
                )
        for item in items[done:]:
            yield function(item)

    def _map_isolated(
        self, function: Callable[[T], R], items: Sequence[T], crashed: R
    ) -> Iterator[R]:
        """Work in a single process that is replaced after each item that ends it."""
        try:
            self._started().submit(int).result()
        except BrokenProcessPool:
            # No process can be started here, so no item is to blame.
            yield from map(function, items)
            return
        for item in items:
            try:
                yield self._started().submit(function, item).result()
            except BrokenProcessPool:
                self._pool = None
                yield crashed


def end_with_parent() -> None:
    """End this worker process when the one that started it is killed.

    Otherwise it waits for work forever: it holds both ends of the queue itself, and under the
    start method `forkserver` its system parent is another process, which lives on.
    """

    def wait() -> None:
        parent = parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _start_worker(initializer: Callable[[], None] | None) -> None:
    end_with_parent()
    # Ctrl-C goes to all processes; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if initializer is not None:
        initializer()

"""Work for all cores: items mapped in worker processes, in order, or here where none can start."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from detfinetune import console

T = TypeVar("T")
R = TypeVar("R")


def map_in_processes(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    num_workers: int | None = None,
    initializer: Callable[[], None] | None = None,
) -> Iterator[R]:
    """Yield `function(item)` for each item in order, worked out on several cores.

    Args:
        function: of a module's top level (or a `partial` of one), so that it can be sent.
        items: what to work on; each should take far longer than it takes to be sent.
        num_workers: processes; None takes one a core, 0 and 1 stay in this one.
        initializer: called once in each worker.
    """
    workers = min(os.cpu_count() or 1 if num_workers is None else num_workers, len(items))
    done = 0
    if workers > 1:
        # Forking is not safe once torch or OpenCV have started threads, so workers are spawned.
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=initializer
        )
        try:
            with pool:
                try:
                    for result in pool.map(function, items):
                        yield result
                        done += 1
                except GeneratorExit:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
        except BrokenProcessPool:
            console.warn(
                "worker processes could not be used (a script that is not guarded by "
                "`if __name__ == '__main__':` cannot start any); going on in one process."
            )
    for item in items[done:]:
        yield function(item)

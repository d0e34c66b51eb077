"""Work that is done ahead by threads, and handed out in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Result = TypeVar("Result")

THREADS = "minicnn-loader"  # what the names of the threads begin with


def by_threads(
    function: Callable[..., Result], jobs: Iterable[tuple[Any, ...]], workers: int, ahead: int
) -> Iterator[Result]:
    """`function(*job)` for each job, in their order, computed by `workers` threads.

    ahead: how many results, made or in the making, wait at most while the caller is busy with one.

    What `with` blocks have set for the caller (`kernels.use`) holds in the threads too. An exception of a job is
    raised where its result would have come. The threads are gone when the iterator is exhausted, closed, collected as
    garbage or left by an exception, Ctrl-C among them; jobs that have begun are waited for.
    """
    from concurrent.futures import ThreadPoolExecutor  # takes a while to import

    pool = ThreadPoolExecutor(workers, THREADS)
    return in_order(pool, ((copy_context().run, function, *job) for job in jobs), ahead)


def in_order(pool: Executor, calls: Iterable[tuple[Any, ...]], ahead: int) -> Iterator[Any]:
    """The results of calls (function, *arguments) of which `ahead` are under way in a pool, which is shut down after
    them."""
    pending: deque[Future[Any]] = deque()
    try:
        for call in calls:
            pending.append(pool.submit(*call))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # Garbage may be collected by any thread, also by one of these, which cannot wait for its own end.
        own = threading.current_thread().name.startswith(THREADS)
        pool.shutdown(wait=not own, cancel_futures=True)

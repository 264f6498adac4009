"""Compiled kernels that release the interpreter lock, and row bands of them over threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numba

MOST_THREADS = 16

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with numba on first call, kept on disk; division by zero gives inf as in numpy."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def threads() -> int:
    """How many threads the kernels use: the processors this process may run on, at most 16.

    No more than numba may use (NUMBA_NUM_THREADS): whoever runs many processes sets it to 1.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(count or 1, int(numba.config.NUMBA_NUM_THREADS), MOST_THREADS))


def in_bands(kernel: Callable[[int, int], None], rows: int, least_rows: int = 16) -> None:
    """Call ``kernel(first_row, end_row)`` over all rows, several bands at once.

    Threads of our own instead of numba's parallel loops: they compile in a fifth of the time, and numba's
    thread layers neither survive a fork nor nest. Bands are small so that threads share an uneven frame;
    each row is written by exactly one call, so the result does not depend on how many threads there are.
    """
    workers = threads()
    band = max(least_rows, -(-rows // (8 * workers)))
    starts = range(0, rows, band)
    if workers == 1 or len(starts) <= 1:
        kernel(0, rows)
        return
    waiting = iter(starts)  # shared: the interpreter lock makes each step one thread's

    def work() -> None:
        for start in waiting:
            kernel(start, min(start + band, rows))

    helpers = min(workers, len(starts)) - 1
    with ThreadPoolExecutor(helpers) as pool:
        helping = [pool.submit(work) for _ in range(helpers)]
        work()
        for helper in helping:
            helper.result()

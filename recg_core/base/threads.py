"""Work on the cores that this process may use."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_threads(work: Callable[[Item], Result], items: Iterable[Item], most: int) -> list[Result]:
    """The results of all items, in their order: for work that leaves Python's lock to others.

    Args:
        most: threads at once, where there are as many cores.
    """
    with ThreadPoolExecutor(min(most, num_cores())) as pool:
        return list(pool.map(work, items))

"""The k-core of a set of interactions."""

from collections.abc import Callable, Iterable

import numpy as np


def core_items(
    parts: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]], num_items: int, k: int
) -> np.ndarray:
    """The items of the k-core: the largest subset in which all users and items have `k` or more.

    Users and items with fewer are removed again and again until none is left to remove; the fixed
    point is unique, whatever the order of removal.

    Args:
        parts: gives the interactions anew at each call, part by part, as `in_core` takes them; all
            of a user's are in the same part.
        num_items: items are numbers below it.

    Returns:
        bool [num_items].
    """
    kept = np.ones(num_items, dtype=bool)
    while True:
        counts = np.zeros(num_items, dtype=np.int64)
        for users, items in parts():
            np.add.at(counts, items[in_core(users, items, kept, k)], 1)
        enough = counts >= k
        if (enough == kept).all():
            return kept
        kept = enough


def in_core(users: np.ndarray, items: np.ndarray, kept: np.ndarray, k: int) -> np.ndarray:
    """Which interactions are with items that are kept, by users who have `k` or more such.

    Args:
        users: int [n], 0 or more, all interactions of each.
        items: int [n].
        kept: bool [num_items].

    Returns:
        bool [n].
    """
    mask = kept[items]
    counts = np.bincount(users[mask], minlength=int(users.max(initial=-1)) + 1)
    return mask & (counts >= k)[users]

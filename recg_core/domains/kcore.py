"""The k-core of a set of interactions."""

import numpy as np


def k_core(users: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """The largest subset of interactions in which every user and every item has `k` or more.

    Users and items with fewer are removed together, again and again until none is left to remove;
    the fixed point is unique, whatever the order of removal.

    Args:
        users: int [n], the user of each interaction, 0 or more.
        items: int [n], its item, 0 or more.

    Returns:
        int64 [kept], the positions of the kept interactions, ascending.
    """
    kept = np.arange(len(users))
    while len(kept):
        users_kept, items_kept = users[kept], items[kept]
        enough = np.bincount(users_kept)[users_kept] >= k
        enough &= np.bincount(items_kept)[items_kept] >= k
        if enough.all():
            break
        kept = kept[enough]
    return kept

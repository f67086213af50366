"""Who met which item soon after which, as sparse tables [N, N] over the items of a domain.

Row and column i stand for item_idx i + 1.
"""

import numpy as np
import scipy.sparse as sp

from recg_core.domains.sequences import Ragged


def lagged_pairs(histories: Ragged, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions in `histories.values` of items and of those `lag` steps later in the same row."""
    row = np.repeat(np.arange(len(histories)), histories.lengths)
    earlier = np.flatnonzero(row[lag:] == row[: max(len(row) - lag, 0)])
    return earlier, earlier + lag


def co_visits(
    histories: Ragged, num_items: int, *, window: int, decay: float, backward: float
) -> sp.csr_matrix:
    """How often j came soon after i: a visit d steps later counts decay^(d - 1).

    Args:
        window: the largest d.
        backward: what a visit of j *before* i counts, relative to one after it.
    """
    total = sp.csr_matrix((num_items, num_items))
    for lag in range(1, window + 1):
        earlier, later = lagged_pairs(histories, lag)
        weights = np.full(len(earlier), decay ** (lag - 1))
        ends = histories.values[earlier] - 1, histories.values[later] - 1
        total = total + sp.csr_matrix((weights, ends), shape=total.shape)
    return (total + backward * total.T).tocsr() if backward else total


def before_each(histories: Ragged, num_items: int, *, window: int, decay: float) -> sp.csr_matrix:
    """What preceded each event, [events, N]: the item d steps before counts decay^(d - 1)."""
    shape = (len(histories.values), num_items)
    total = sp.csr_matrix(shape)
    for lag in range(1, window + 1):
        earlier, later = lagged_pairs(histories, lag)
        weights = np.full(len(earlier), decay ** (lag - 1))
        places = later, histories.values[earlier] - 1
        total = total + sp.csr_matrix((weights, places), shape=shape)
    return total


def strongest(table: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The table with the `k` largest entries of each row alone."""
    kept, lengths = np.ones(table.nnz, dtype=bool), np.diff(table.indptr)
    for row in np.flatnonzero(lengths > k):
        start, end = table.indptr[row : row + 2]
        kept[start:end] = False
        kept[start + np.argpartition(-table.data[start:end], k - 1)[:k]] = True
    indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, k))])
    return sp.csr_matrix((table.data[kept], table.indices[kept], indptr), shape=table.shape)

"""Who met which item soon after which, as sparse tables [N, N] over the items of a domain.

Row and column i stand for item_idx i + 1.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from recg_core.domains.sequences import Ragged


def co_visits(
    histories: Ragged, num_items: int, *, window: int, decay: float, backward: float
) -> sp.csr_matrix:
    """How often j came soon after i: a visit d steps later counts decay^(d - 1).

    Args:
        window: the largest d.
        backward: what a visit of j *before* i counts, relative to one after it.
    """
    item, total = histories.values - 1, sp.csr_matrix((num_items, num_items))
    for earlier, later, weights in _decayed_pairs(histories, window, decay):
        ends = item[earlier], item[later]
        total = total + sp.csr_matrix((weights, ends), shape=total.shape)
    return (total + backward * total.T).tocsr() if backward else total


def before_each(histories: Ragged, num_items: int, *, window: int, decay: float) -> sp.csr_matrix:
    """What preceded each event, [events, N]: the item d steps before counts decay^(d - 1)."""
    item, total = histories.values - 1, sp.csr_matrix((len(histories.values), num_items))
    for earlier, later, weights in _decayed_pairs(histories, window, decay):
        total = total + sp.csr_matrix((weights, (later, item[earlier])), shape=total.shape)
    return total


def _decayed_pairs(
    histories: Ragged, window: int, decay: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions of values and of those d = 1..window steps later in their row; decay^(d - 1)."""
    row = histories.rows
    for lag in range(1, window + 1):
        earlier = np.flatnonzero(row[lag:] == row[: max(len(row) - lag, 0)])
        yield earlier, earlier + lag, np.full(len(earlier), decay ** (lag - 1))


def strongest(table: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The table with the `k` largest entries of each row alone."""
    kept, lengths = np.ones(table.nnz, dtype=bool), np.diff(table.indptr)
    for row in np.flatnonzero(lengths > k):
        start, end = table.indptr[row : row + 2]
        kept[start:end] = False
        kept[start + np.argpartition(-table.data[start:end], k - 1)[:k]] = True
    indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, k))])
    return sp.csr_matrix((table.data[kept], table.indices[kept], indptr), shape=table.shape)

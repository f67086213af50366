"""Training-free rows that read who met what in the target: item-item tables of its histories.

Shapes: B rows of a batch, N items.
"""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recg_core.domains.sequences import Ragged
from recg_core.models.in_context.context import BACKWARD, VISIT_DECAY, WINDOW, item_sets
from recg_core.models.in_context.ridge import ease
from recg_core.models.in_context.visits import co_visits
from recg_core.models.neighbors import ages
from recg_core.models.rows import Items, Scorer

log = logging.getLogger(__name__)

MAX_EASE_ITEMS = 30_000  # whose inverse takes 3.6 GB and, on two cores, a quarter of an hour


def history_scorers(
    history: Ragged, observed: Ragged, num_items: int, *, decay: float, strength: float
) -> Iterator[tuple[str, Scorer]]:
    """Name and scorer of the rows one after the other; see `write_training_free`.

    Args:
        history: of the users that are ranked for.
        observed: histories of all users.
        decay: weight of a history item relative to the next younger one.
        strength: of the ridge of EASE.
    """
    visits = co_visits(observed, num_items, window=WINDOW, decay=VISIT_DECAY, backward=BACKWARD)
    yield "visits_last", _table_scorer(history, visits, 0.0)
    counts = np.bincount(observed.values, minlength=num_items + 1)[1:]
    root = sp.diags(np.maximum(counts, 1.0) ** -0.5)
    yield "visits_knn", _table_scorer(history, (root @ visits @ root).tocsr(), decay)
    if num_items > MAX_EASE_ITEMS:
        log.warning("ease is left out: %d items are more than %d", num_items, MAX_EASE_ITEMS)
        return
    met = item_sets(observed, num_items)
    yield "ease", _table_scorer(history, ease((met.T @ met).tocsr(), strength), decay)


def _table_scorer(history: Ragged, table: sp.csr_matrix | np.ndarray, decay: float) -> Scorer:
    """Scores sum_i decay^a(i) table[i, j]; decay 0 is the last item alone."""
    table = table.astype(np.float32, copy=False)

    def of(rows: np.ndarray) -> Callable[[Items], Tensor]:
        chosen = history.take(rows)
        weights = (decay ** ages(chosen)).astype(np.float32)
        shape = len(rows), table.shape[0]
        users = sp.csr_matrix((weights, chosen.values - 1, chosen.offsets), shape=shape)
        if not sp.issparse(table):
            return lambda items: torch.from_numpy(users @ table[:, items])
        found = (users @ table).tocsc()
        return lambda items: torch.from_numpy(found[:, items].toarray(order="C"))

    return Scorer(of)

"""Scores of all items for a batch of histories, and how they are put together.

Legend: B rows of a batch, N items of a catalogue, D model dim.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

# Takes B row numbers and returns their scores [B, N], column j for item_idx j + 1.
ScoreBatch = Callable[[np.ndarray], Tensor]


def dot_scorer(users: Tensor, table: Tensor) -> ScoreBatch:
    """Eq. 5: the products of `users` [rows, D] with all items of `table` [N + 1, D]."""
    items_DN = table[1:].T
    return lambda rows: users[torch.from_numpy(rows).to(users.device)] @ items_DN


def sum_scorer(scorers: Sequence[ScoreBatch]) -> ScoreBatch:
    """The sum of one or more scorers of the same rows and items."""
    first, *others = scorers
    if not others:
        return first

    def score(rows: np.ndarray) -> Tensor:
        total = first(rows)
        for scorer in others:
            total = total + scorer(rows)
        return total

    return score

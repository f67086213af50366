"""What a row recommends to a few test users, for people to look at beside its numbers."""

import numpy as np
import torch

from recg_core.domains.sequences import Holdout
from recg_core.evaluation.certificate import Example
from recg_core.models.rows import Scorer

NUM_EXAMPLES = 3
NUM_ITEMS = 5
_SEED = 0


@torch.no_grad()
def example_recommendations(scorer: Scorer, holdout: Holdout) -> tuple[Example, ...]:
    """The first items for a few users of a holdout, the same users whatever ranks them.

    The users are drawn by chance, so that nobody chooses them by how well they come out.
    Candidates are those of the ranks: the test item and all items outside the history.

    Args:
        scorer: as `rank_holdout` takes it.
    """
    drawn = np.random.default_rng(_SEED).permutation(len(holdout.users))[:NUM_EXAMPLES]
    rows = np.sort(drawn)
    scores_RN = scorer(rows).float().cpu().numpy()
    return tuple(
        Example(int(holdout.users[row]), _first(scores, holdout, row))
        for row, scores in zip(rows, scores_RN, strict=True)
    )


def _first(scores_N: np.ndarray, holdout: Holdout, row: int) -> tuple[int, ...]:
    seen = holdout.history.take(np.array([row])).values
    excluded = seen[seen != holdout.target[row]]
    candidates = np.setdiff1d(np.arange(1, len(scores_N) + 1), excluded)
    scores = scores_N[candidates - 1]
    if scores.min() == scores.max():
        return ()
    order = np.argsort(-scores, kind="stable")[:NUM_ITEMS]
    return tuple(candidates[order].tolist())

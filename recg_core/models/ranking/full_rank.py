"""Exact ranks of held-out items in the full catalogue.

Legend: M holdout rows, B rows of a batch, N items of the catalogue.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recg_core.base.errors import UserError
from recg_core.domains.sequences import Holdout, Ragged
from recg_core.models.ranking.metrics import KS, mean_metrics, ranking_metrics
from recg_core.models.ranking.ranks import SeedRanks

# Takes B row numbers and returns their scores [B, N], column j for item_idx j + 1.
ScoreBatch = Callable[[np.ndarray], Tensor]

BATCH_SIZE = 512
_MASK_ROWS = 32
_QUIET_SECONDS = 2.0  # a shorter ranking shows no progress bar


@dataclass(frozen=True)
class Ranks:
    """Where the test item of each of M holdout rows stands in the full catalogue, int32 [M]."""

    num_candidates: np.ndarray  # the test item and all items outside the user's history
    num_higher: np.ndarray  # candidates that score above the test item
    num_ties: np.ndarray  # other candidates that score the same

    def metrics(
        self, ks: Sequence[int] = KS, num_negatives: int | None = None
    ) -> dict[str, np.ndarray]:
        """Per-user metrics; see `recg_core.models.ranking.metrics.ranking_metrics`."""
        return ranking_metrics(
            self.num_higher, self.num_ties, self.num_candidates, ks, num_negatives
        )


@torch.no_grad()
def rank_holdout(
    score_batch: ScoreBatch,
    holdout: Holdout,
    num_items: int,
    batch_size: int = BATCH_SIZE,
    *,
    label: str = "the model",
) -> Ranks:
    """Rank the test item of every holdout row among all items outside the user's history.

    Args:
        score_batch: takes B row numbers of `holdout` and returns their scores [B, N] on any
            device, column j for item_idx j + 1. It is never written to, so it may be a view.
        holdout: M histories and test items.
        num_items: N.
        batch_size: rows scored at a time.
        label: what is being ranked, named in errors and on the progress bar.

    Raises:
        UserError: when a score is NaN or infinite, or there is nothing to rank.
        ValueError: when the scores are not of shape [B, N].
    """
    num_rows, target = len(holdout.users), holdout.target
    if num_rows == 0:
        raise UserError(f"{label}: no user has a held-out item to rank; check the split")
    excluded = _excluded(holdout.history, target, num_items)
    num_higher, num_ties = np.empty((2, num_rows), dtype=np.int32)
    with tqdm(
        total=num_rows, desc=label, unit="user", delay=_QUIET_SECONDS, disable=None, leave=False
    ) as progress:
        for start in range(0, num_rows, batch_size):
            rows = np.arange(start, min(start + batch_size, num_rows))
            scores_BN = score_batch(rows)
            _check_scores(scores_BN, (len(rows), num_items), label)
            num_higher[rows], num_ties[rows] = _count(scores_BN, target[rows], excluded.take(rows))
            progress.update(len(rows))
    num_candidates = (num_items - excluded.lengths).astype(np.int32)
    return Ranks(num_candidates, num_higher, num_ties)


def validation_ndcg(
    score_batch: ScoreBatch,
    holdout: Holdout,
    num_items: int,
    *,
    k: int = 10,
    label: str = "the model",
) -> float:
    """Mean NDCG@k under full ranking, by `rank_holdout`."""
    ranks = rank_holdout(score_batch, holdout, num_items, label=label)
    return mean_metrics(ranks.metrics((k,)))[f"ndcg@{k}"]


def stack_seeds(ranks_by_seed: Mapping[int, Ranks], users: np.ndarray) -> SeedRanks:
    """The ranks of several seeds over the same users (`holdout.users`)."""
    ranks = list(ranks_by_seed.values())
    return SeedRanks(
        users,
        np.array(list(ranks_by_seed), dtype=np.int32),
        ranks[0].num_candidates,
        np.stack([seed.num_higher for seed in ranks], axis=1),
        np.stack([seed.num_ties for seed in ranks], axis=1),
    )


def _excluded(history: Ragged, target: np.ndarray, num_items: int) -> Ragged:
    """The distinct history items of every row other than its test item."""
    row = np.repeat(np.arange(len(history)), history.lengths)
    row, item = np.divmod(np.unique(row * (num_items + 1) + history.values), num_items + 1)
    other = item != target[row]
    lengths = np.bincount(row[other], minlength=len(history))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Ragged(item[other].astype(np.int32), offsets)


def _check_scores(scores_BN: Tensor, shape: tuple[int, int], label: str) -> None:
    if scores_BN.shape != shape:
        raise ValueError(f"{label}: expected scores of shape {shape}, got {tuple(scores_BN.shape)}")
    # The sum of finite scores is finite but for absurd magnitudes; isfinite is 50 times slower.
    if not torch.isfinite(scores_BN.sum()) and not torch.isfinite(scores_BN).all():
        raise UserError(
            f"{label}: gives scores that are NaN or infinite; its training has diverged or its "
            "item embeddings are damaged, so retrain it or encode again"
        )


def _count(
    scores_BN: Tensor, target: np.ndarray, excluded: Ragged
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of every row that score above its test item, and others that tie with it.

    Counts the whole catalogue and takes the excluded items off again: nothing is written into
    the scores and nothing loops over users.
    """
    device, num_rows = scores_BN.device, len(target)
    target_B1 = scores_BN.gather(
        1, torch.from_numpy(target.astype(np.int64) - 1).to(device)[:, None]
    )
    rows_E = torch.from_numpy(np.repeat(np.arange(num_rows), excluded.lengths)).to(device)
    columns_E = torch.from_numpy(excluded.values.astype(np.int64) - 1).to(device)
    excluded_E = scores_BN[rows_E, columns_E]
    targets_E = target_B1[rows_E, 0]

    higher_B = _row_sums(torch.gt, scores_BN, target_B1)
    equal_B = _row_sums(torch.eq, scores_BN, target_B1)
    higher_B -= torch.bincount(rows_E[excluded_E > targets_E], minlength=num_rows)
    equal_B -= torch.bincount(rows_E[excluded_E == targets_E], minlength=num_rows)
    return higher_B.cpu().numpy(), equal_B.cpu().numpy() - 1  # the test item equals itself


def _row_sums(compare: Callable[..., Tensor], scores_BN: Tensor, target_B1: Tensor) -> Tensor:
    """How many scores of each row satisfy `compare` with the target's, int64 [B].

    A product of 0/1 floats with ones counts about ten times as fast as a sum of booleans on CPU;
    it is exact up to 2^24 items. Few rows at a time keep the mask in cache.
    """
    num_rows, num_items = scores_BN.shape
    ones_N = torch.ones(num_items, device=scores_BN.device)
    mask = torch.empty(min(_MASK_ROWS, num_rows), num_items, device=scores_BN.device)
    counts_B = torch.empty(num_rows, device=scores_BN.device)
    for start in range(0, num_rows, _MASK_ROWS):
        part = slice(start, min(start + _MASK_ROWS, num_rows))
        held = mask[: part.stop - start]
        compare(scores_BN[part], target_B1[part], out=held)
        torch.mv(held, ones_N, out=counts_B[part])
    return counts_B.long()

"""The exact top of a catalogue, in bounded memory."""

import numpy as np
import torch

from recg_core.domains.sequences import Ragged
from recg_core.models.ranking.full_rank import ScoreBatch

BATCH_BYTES = 1 << 28  # of scores at a time


def top_items(
    scorer: ScoreBatch,
    num_items: int,
    excluded: Ragged,
    k: int,
    allowed_N: np.ndarray | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The `k` best items of every user, fewer where fewer are allowed.

    Args:
        scorer: takes row numbers and returns scores [B, N], column j for item_idx j + 1.
        num_items: N.
        excluded: item_idx that a user does not get, one row a user.
        allowed_N: bool; None allows all.

    Returns:
        For each user item_idx, best first, equal scores in their order, and the scores.
    """
    num_users = len(excluded)
    batch = max(1, BATCH_BYTES // (8 * num_items))
    items: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for start in range(0, num_users, batch):
        rows = np.arange(start, min(start + batch, num_users))
        scores_BN = scorer(rows).clone()
        out = excluded.take(rows)
        row_of = np.repeat(np.arange(len(rows)), out.lengths)
        scores_BN[torch.from_numpy(row_of), torch.from_numpy(out.values).long() - 1] = -torch.inf
        if allowed_N is not None:
            scores_BN[:, torch.from_numpy(~allowed_N)] = -torch.inf
        least_B = scores_BN.topk(min(k, num_items), dim=1).values[:, -1:]
        candidates_BN = ((scores_BN >= least_B) & (scores_BN > -torch.inf)).cpu().numpy()
        for row_N, candidate_N in zip(scores_BN.cpu().numpy(), candidates_BN, strict=True):
            found = np.flatnonzero(candidate_N)
            best = found[np.argsort(-row_N[found], kind="stable")[:k]]
            items.append((best + 1).astype(np.int32))
            scores.append(row_N[best])
    return items, scores


def nearness_to_centres(text_NH: np.ndarray, k: int, allowed_N: np.ndarray) -> np.ndarray:
    """Scores [N] by which the item nearest to each of `k` centres of the allowed texts comes first.

    The centres are those of k-means; larger clusters score higher, all other items 0.
    """
    # Imported here: few catalogues have users without any history.
    from sklearn.cluster import MiniBatchKMeans

    rows = np.flatnonzero(allowed_N)
    scores_N = np.zeros(len(text_NH), dtype=np.float32)
    if not len(rows):
        return scores_N
    kmeans = MiniBatchKMeans(min(k, len(rows)), n_init=1, random_state=0).fit(text_NH[rows])
    distance = kmeans.transform(text_NH[rows])
    sizes = np.bincount(kmeans.labels_, minlength=distance.shape[1])
    for cluster in np.argsort(sizes, kind="stable"):
        scores_N[rows[distance[:, cluster].argmin()]] = sizes[cluster]
    return scores_N

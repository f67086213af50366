"""The exact top of a catalogue, in bounded memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from recg_core.domains.sequences import Ragged
from recg_core.models.neighbors import MAX_KERNEL_ITEMS
from recg_core.models.ranking.best import Best, highest
from recg_core.models.rows import EVERY, Items, Rows, Scorer, places_of

WHOLE_ITEMS = MAX_KERNEL_ITEMS  # up to here all items are scored together
BATCH_BYTES = 1 << 28  # of the scores of a small catalogue at a time
USERS_AT_ONCE = 4096  # in a large one: the more, the more of their history items are the same;
SCORES_AT_ONCE = 1 << 23  # of so many users and as many items as that leaves, or
TILE_ITEMS = 1 << 16  # so many, if that is less
FEW = 8  # a selection of less than one item in so many is scored alone
CENTRE_ITEMS = 20_000  # that the centres of a large catalogue are found from


def top_items(
    scorer: Scorer,
    num_items: int,
    excluded: Ragged,
    k: int,
    allowed_N: np.ndarray | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The `k` best items of every user, fewer where fewer are allowed.

    A large catalogue is scored in tiles of items, and of each user the best so far are kept: no
    more scores than a few million exist at a time, whatever the number of items and users.

    Args:
        scorer: takes row numbers and items.
        num_items: N.
        excluded: item_idx that a user does not get, one row a user.
        allowed_N: bool; None allows all.

    Returns:
        For each user item_idx, best first, equal scores in their order, and the scores.
    """
    items: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    whole = num_items <= WHOLE_ITEMS
    users = max(1, BATCH_BYTES // (8 * num_items)) if whole else USERS_AT_ONCE
    for start in range(0, len(excluded), users):
        rows = np.arange(start, min(start + users, len(excluded)))
        best, every = Best(len(rows), k), np.arange(len(rows))
        for tile, places in _tiles(num_items, len(rows), allowed_N):
            scores_Bn = scorer(rows, tile)
            masked_Bn = _masked(scores_Bn, places, excluded.take(rows), allowed_N)
            best.add(every, places + 1, masked_Bn)
        for item_K, score_K in zip(best.items_MK, best.scores_MK, strict=True):
            items.append(item_K[item_K > 0])
            scores.append(score_K[item_K > 0])
    return items, scores


def candidates(
    scorer: Scorer, num_items: int, excluded: Ragged, size: int, allowed_N: np.ndarray
) -> list[np.ndarray]:
    """The item_idx of the `size` best items of every user, in no order; see `top_items`.

    A user's scores of all items are kept together, since the best are many.
    """
    found: list[np.ndarray] = []
    users = max(1, BATCH_BYTES // (8 * num_items))
    for start in range(0, len(excluded), users):
        rows = np.arange(start, min(start + users, len(excluded)))
        scores, rows_of_items = [torch.empty(len(rows), 0)], [np.empty(0, dtype=np.int64)]
        for tile, places in _tiles(num_items, len(rows), allowed_N):
            scores.append(_masked(scorer(rows, tile), places, excluded.take(rows), allowed_N).cpu())
            rows_of_items.append(places)
        scores_Bn, item_n = torch.cat(scores, dim=1), np.concatenate(rows_of_items) + 1
        best_BC = highest(scores_Bn, size)
        here_BC = scores_Bn.gather(1, best_BC) > -torch.inf
        for column_C, here_C in zip(best_BC.numpy(), here_BC.numpy(), strict=True):
            found.append(item_n[column_C[here_C]].astype(np.int32))
    return found


def top_of_chosen(
    scorer: Scorer, chosen: Sequence[np.ndarray], k: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The `k` best of the item_idx that were chosen for each user, as `top_items` returns them."""
    items, scores = [], []
    for row, item_C in enumerate(chosen):
        score_C = scorer(np.array([row]), item_C.astype(np.int64) - 1)[0].cpu().numpy()
        best = np.lexsort((item_C, -score_C))[:k]
        items.append(item_C[best])
        scores.append(score_C[best])
    return items, scores


def _tiles(
    num_items: int, num_users: int, allowed_N: np.ndarray | None
) -> Iterator[tuple[Items, np.ndarray]]:
    """What is scored at a time, as a scorer takes it and as ascending rows of items."""
    if num_items <= WHOLE_ITEMS:
        yield EVERY, np.arange(num_items)
        return
    size = min(TILE_ITEMS, SCORES_AT_ONCE // num_users)
    if allowed_N is not None and FEW * np.count_nonzero(allowed_N) < num_items:
        chosen = np.flatnonzero(allowed_N)
        for start in range(0, len(chosen), size):
            yield chosen[start : start + size], chosen[start : start + size]
        return
    for start in range(0, num_items, size):
        stop = min(start + size, num_items)
        if allowed_N is None or allowed_N[start:stop].any():
            yield slice(start, stop), np.arange(start, stop)


def _masked(
    scores_Bn: torch.Tensor, places: np.ndarray, out: Ragged, allowed_N: np.ndarray | None
) -> torch.Tensor:
    """Scores with -inf for what a user does not get."""
    masked = scores_Bn.clone()
    masked[places_of(out, places, masked.device)] = -torch.inf
    if allowed_N is not None and not allowed_N[places].all():
        masked[:, torch.from_numpy(~allowed_N[places])] = -torch.inf
    return masked


def nearness_to_centres(text: Rows, k: int, allowed_N: np.ndarray) -> np.ndarray:
    """Scores [N] by which the item nearest to each of `k` centres of the allowed texts comes first.

    The centres are those of k-means; larger clusters score higher, all other items 0. Of many items
    it looks at every second, third, ...

    Args:
        text: embeddings [N, H].
    """
    # Imported here: few catalogues have users without any history.
    from sklearn.cluster import MiniBatchKMeans

    allowed = np.flatnonzero(allowed_N)
    rows = allowed[:: 1 + len(allowed) // CENTRE_ITEMS]
    scores_N = np.zeros(len(text), dtype=np.float32)
    if not len(rows):
        return scores_N
    chosen_RH = text[rows].cpu().numpy()
    kmeans = MiniBatchKMeans(min(k, len(rows)), n_init=1, random_state=0).fit(chosen_RH)
    distance = kmeans.transform(chosen_RH)
    sizes = np.bincount(kmeans.labels_, minlength=distance.shape[1])
    for cluster in np.argsort(sizes, kind="stable"):
        scores_N[rows[distance[:, cluster].argmin()]] = sizes[cluster]
    return scores_N

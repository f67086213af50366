"""The best items of many users, kept while a catalogue is scored a tile at a time.

The higher score is better, and of equal ones the item of lower item_idx, whatever the tiles and
their order.

Legend: M users, B users of a tile, n items of a tile, K items of a list.
"""

import numpy as np
import torch
from torch import Tensor


class Best:
    """The K best items of each of M users among those that have been seen so far.

    Attributes:
        items_MK: item_idx, best first; 0 where fewer have been seen.
        scores_MK: -inf there.
    """

    def __init__(self, num_users: int, size: int) -> None:
        self.items_MK = np.zeros((num_users, size), dtype=np.int32)
        self.scores_MK = np.full((num_users, size), -np.inf, dtype=np.float32)

    def add(self, users: np.ndarray, items: np.ndarray, scores_Bn: Tensor) -> None:
        """Take a tile; items of score -inf are left out.

        Args:
            users: B of the M, each once.
            items: n item_idx, ascending; at least one.
        """
        most_B = scores_Bn.amax(dim=1).cpu().numpy()
        least_B, last_B = self.scores_MK[users, -1], self.items_MK[users, -1]
        better = np.flatnonzero((most_B > least_B) | ((most_B == least_B) & (items[0] < last_B)))
        if not len(better):
            return
        users, better_n = users[better], scores_Bn[torch.from_numpy(better).to(scores_Bn.device)]
        column = highest(better_n, self.items_MK.shape[1])
        found = items[column.cpu().numpy()].astype(np.int32)
        items_Bm = np.concatenate([self.items_MK[users], found], axis=1)
        found_scores = better_n.gather(1, column).cpu().numpy()
        scores_Bm = np.concatenate([self.scores_MK[users], found_scores], axis=1)
        order = np.lexsort((items_Bm, -scores_Bm), axis=1)[:, : self.items_MK.shape[1]]
        scores_BK = np.take_along_axis(scores_Bm, order, axis=1)
        self.scores_MK[users] = scores_BK
        items_BK = np.take_along_axis(items_Bm, order, axis=1)
        self.items_MK[users] = np.where(np.isneginf(scores_BK), 0, items_BK)


def highest(scores_Bn: Tensor, k: int) -> Tensor:
    """The columns of the k highest scores of every row, all where there are fewer, in no order.

    Of scores that equal the last of them the first columns are taken, but for -inf.
    """
    num_items = scores_Bn.shape[1]
    if num_items <= k:
        return torch.arange(num_items, device=scores_Bn.device).expand(len(scores_Bn), -1)
    top = scores_Bn.topk(k + 1, dim=1)
    columns_Bk, last_B = top.indices[:, :k], top.values[:, k - 1]
    tied = torch.nonzero((top.values[:, k] == last_B) & (last_B > -torch.inf))[:, 0]
    if len(tied):  # what topk takes of equal ones is left to chance
        scores_Tn, last_T1 = scores_Bn[tied], last_B[tied, None]
        column_n = torch.arange(num_items, device=scores_Bn.device)
        # Those above the last come before those that equal it, and all others after them.
        turn_Tn = column_n + num_items * (scores_Tn <= last_T1) + num_items * (scores_Tn < last_T1)
        columns_Bk[tied] = turn_Tn.topk(k, dim=1, largest=False).indices
    return columns_Bk

"""The in-context scorer: evidence, weighted as a source has taught.

It has some fifty parameters and sees no item, only evidence about it, so that it means the same
in every domain. Shapes: B users, M candidates, N items, E kinds of evidence, G properties.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from operator import add

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from recg_core.domains.sequences import Ragged
from recg_core.models.in_context.context import (
    DENSE,
    EVIDENCE,
    PROPERTIES,
    SPARSE,
    Context,
    Reader,
)
from recg_core.models.rows import EVERY, Items, Scorer

START = {"text": 0.7, "count": 0.35, "recent_count": 0.35}
START_OF_OTHERS = 0.05
ROWS_OF_THREAD = 32  # fewer are not worth a thread of their own


class InContext(nn.Module):
    """Scores sum_e w_e exp(<g_e, properties of the user>) evidence_e of the candidate.

    The gate g says for which users, and in which domains, a kind of evidence counts for more. In
    the source, whose products a backbone knows, the score of that is added times `state_weight`.
    """

    least: Tensor
    most: Tensor

    def __init__(self) -> None:
        super().__init__()
        start = [START.get(name, START_OF_OTHERS) for name in EVIDENCE]
        self.weight = nn.Parameter(torch.tensor(start))
        self.gate = nn.Parameter(torch.zeros(len(EVIDENCE), len(PROPERTIES)))
        self.register_buffer("least", torch.full((len(PROPERTIES),), -torch.inf))
        self.register_buffer("most", torch.full((len(PROPERTIES),), torch.inf))
        self.state_weight = nn.Parameter(torch.zeros(()))

    def weights(self, properties_BG: Tensor) -> Tensor:
        """The weight of every kind of evidence for users, [B, E].

        Users and domains beyond those of the source are taken for its outermost ones.
        """
        within_BG = properties_BG.clamp(self.least, self.most)
        return self.weight * (within_BG @ self.gate.T).exp()

    def forward(self, evidence_BME: Tensor, properties_BG: Tensor) -> Tensor:
        """Scores of candidates, [B, M]."""
        return torch.einsum("bme,be->bm", evidence_BME, self.weights(properties_BG))

    def scorer(self, context: Context, history: Ragged) -> Scorer:
        """The scores of a domain's items for rows of `history`."""
        return Scorer(partial(self._of, Reader(context, history)))

    def scores(self, reader: Reader, rows: np.ndarray) -> Tensor:
        """Scores of all items for users, [B, N]."""
        return self._of(reader, rows)(EVERY)

    @torch.no_grad()
    def _of(self, reader: Reader, rows: np.ndarray) -> Callable[[Items], Tensor]:
        weights_BE = self.weights(reader.properties(rows))
        sparse_BN = _weighted_sum(reader, rows, weights_BE[:, len(DENSE) :].cpu().numpy())
        dense = reader.dense(rows)

        @torch.no_grad()
        def score(items: Items) -> Tensor:
            scores_Bn = torch.from_numpy(sparse_BN[:, items].toarray(order="C"))
            scores_Bn = scores_Bn.to(weights_BE.device)
            for weight_B, evidence_Bn in zip(weights_BE.T, dense(items), strict=False):
                scores_Bn.addcmul_(weight_B[:, None], evidence_Bn)
            return scores_Bn

        return score


def _weighted_sum(reader: Reader, rows: np.ndarray, weights_BS: np.ndarray) -> sp.csc_matrix:
    """The part of sparse evidence, of which a user has some for few items, float32 [B, N]."""

    def weighed(kind: str) -> sp.csc_matrix:
        found = reader.sparse(rows, kind)
        found.data *= np.repeat(weights_BS[:, SPARSE.index(kind)], np.diff(found.indptr))
        return found.tocsc()

    threads = max(1, min(torch.get_num_threads(), len(rows) // ROWS_OF_THREAD))
    if threads == 1:
        return reduce(add, map(weighed, SPARSE))
    with ThreadPoolExecutor(threads) as pool:  # products of sparse tables leave others run
        return reduce(add, pool.map(weighed, SPARSE))


def evidence_of(reader: Reader, rows: np.ndarray, candidates_BM: Tensor) -> Tensor:
    """The evidence about some candidates (0-based items) of users, [B, M, E]."""
    size = len(rows), -1
    dense = [found.expand(size).gather(1, candidates_BM) for found in reader.dense(rows)(EVERY)]
    sparse = [
        torch.from_numpy(reader.sparse(rows, kind).toarray())
        .to(candidates_BM.device)
        .gather(1, candidates_BM)
        for kind in SPARSE
    ]
    return torch.stack(dense + sparse, dim=2)

"""The in-context scorer: evidence, weighted as a source has taught.

It has some fifty parameters and sees no item, only evidence about it, so that it means the same
in every domain. Shapes: B users, M candidates, N items, E kinds of evidence, G properties.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from recg_core.domains.sequences import Ragged
from recg_core.models.in_context.context import (
    DENSE,
    EVIDENCE,
    PROPERTIES,
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
        """A function from rows of `history` to the scores [B, N] of all items of a domain."""
        return partial(self.scores, Reader(context, history))

    @torch.no_grad()
    def scores(self, reader: Reader, rows: np.ndarray, items: Items = EVERY) -> Tensor:
        """Scores of all items for users, [B, N], or of some."""
        weights_BE = self.weights(reader.properties(rows))
        scores_BN = self._sparse_scores(reader, rows, items, weights_BE[:, len(DENSE) :])
        for weight_B, evidence_BN in zip(weights_BE.T, reader.dense(rows, items), strict=False):
            scores_BN.addcmul_(weight_B[:, None], evidence_BN)
        return scores_BN

    def _sparse_scores(
        self, reader: Reader, rows: np.ndarray, items: Items, weights_BS: Tensor
    ) -> Tensor:
        """The part of sparse evidence, of which a user has some for few items, [B, N]."""
        weights = weights_BS.cpu().numpy()
        scores = np.zeros((len(rows), reader.num_items(items)), dtype=np.float32)

        def add(part: np.ndarray) -> None:
            flat = scores[part[0] : part[-1] + 1].reshape(-1)
            for column, found in enumerate(reader.sparse(rows[part], items)):
                lengths = np.diff(found.indptr)
                place = np.repeat(np.arange(len(part)) * scores.shape[1], lengths)
                found.data *= np.repeat(weights[part, column], lengths)
                flat[place + found.indices] += found.data

        threads = max(1, min(torch.get_num_threads(), len(rows) // ROWS_OF_THREAD))
        parts = np.array_split(np.arange(len(rows)), threads)
        if threads == 1:
            add(parts[0])
        else:
            with ThreadPoolExecutor(threads) as pool:  # products of sparse tables leave others run
                list(pool.map(add, parts))
        return torch.from_numpy(scores).to(weights_BS.device)


def evidence_of(reader: Reader, rows: np.ndarray, candidates_BM: Tensor) -> Tensor:
    """The evidence about some candidates (0-based items) of users, [B, M, E]."""
    size = len(rows), -1
    dense = [found.expand(size).gather(1, candidates_BM) for found in reader.dense(rows)]
    sparse = [
        torch.from_numpy(found.toarray()).to(candidates_BM.device).gather(1, candidates_BM)
        for found in reader.sparse(rows)
    ]
    return torch.stack(dense + sparse, dim=2)

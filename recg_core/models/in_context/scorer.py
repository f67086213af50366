"""The in-context scorer: evidence, weighted as a source has taught.

It has some seventy parameters and sees no item, only evidence about it, so that it means the same
in every domain. Shapes: B users, M candidates, N items, E kinds of evidence, G properties.
"""

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


class InContext(nn.Module):
    """Scores sum_e w_e exp(<g_e, properties of the user>) evidence_e of the candidate.

    The gate g says for which users, and in which domains, a kind of evidence counts for more. In
    the source, whose products a backbone knows, the score of that is added times `state_weight`.
    """

    def __init__(self) -> None:
        super().__init__()
        start = [START.get(name, START_OF_OTHERS) for name in EVIDENCE]
        self.weight = nn.Parameter(torch.tensor(start))
        self.gate = nn.Parameter(torch.zeros(len(EVIDENCE), len(PROPERTIES)))
        self.state_weight = nn.Parameter(torch.zeros(()))

    def weights(self, properties_BG: Tensor) -> Tensor:
        """The weight of every kind of evidence for users, [B, E]."""
        return self.weight * (properties_BG @ self.gate.T).exp()

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
        flat, num_items = np.empty(0, dtype=np.float32), 0
        for column, found in enumerate(reader.sparse(rows, items)):
            if not num_items:
                num_items = found.shape[1]
                flat = np.zeros(len(rows) * num_items, dtype=np.float32)
            user = np.repeat(np.arange(len(rows)), np.diff(found.indptr))
            flat[user * num_items + found.indices] += weights[user, column] * found.data
        scores = torch.from_numpy(flat.reshape(len(rows), num_items))
        return scores.to(weights_BS.device)


def evidence_of(reader: Reader, rows: np.ndarray, candidates_BM: Tensor) -> Tensor:
    """The evidence about some candidates (0-based items) of users, [B, M, E]."""
    size = len(rows), -1
    dense = [found.expand(size).gather(1, candidates_BM) for found in reader.dense(rows)]
    sparse = [
        torch.from_numpy(found.toarray()).to(candidates_BM.device).gather(1, candidates_BM)
        for found in reader.sparse(rows)
    ]
    return torch.stack(dense + sparse, dim=2)

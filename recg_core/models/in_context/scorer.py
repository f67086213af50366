"""The in-context scorer: evidence, weighted as a source has taught.

It has some fifty parameters and sees no item, only evidence about it, so that it means the same
in every domain. What a domain's own histories say about the worth of evidence there counts as
well. Shapes: B users, M candidates, N items, E kinds of evidence, G properties.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
    sparse_evidence,
)
from recg_core.models.rows import EVERY, Items, Scorer

START = {"text": 0.7, "count": 0.35, "recent_count": 0.35}
START_OF_OTHERS = 0.05
ROWS_OF_THREAD = 32  # fewer are not worth a thread of their own
WORTH_STD = 1.0  # how far from 1 the worth of evidence may well be in another domain
REACH = 0.3
_NEWTON_STEPS = 12
_LONGEST_STEP = 1.0


class InContext(nn.Module):
    """Scores sum_e v_e w_e exp(<g_e, properties of the user>) evidence_e of the candidate.

    The gate g says for which users, and in which domains, a kind of evidence counts for more; v is
    its worth in the domain, 1 where nothing is known of it; see `fitted`. In the source, whose
    products a backbone knows, the score of that is added times `state_weight`.
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

    @torch.no_grad()
    def fitted(self, context: Context) -> Context:
        """The context with the worth of evidence to this model, by the trial on its histories.

        It is the most probable one where v ~ N(1, WORTH_STD^2) beforehand: near 1 with few
        histories. See `most_probable_worth`.
        """
        trial = context.trial
        if trial is None:
            return context
        weighed_BME = trial.evidence_BME * self.weights(trial.properties_BG)[:, None, :]
        worth = most_probable_worth(weighed_BME, trial.log_weight_BM)
        return replace(context, trial=None, worth=worth)

    def scorer(self, context: Context, history: Ragged) -> Scorer:
        """The scores of a domain's items for rows of `history`."""
        reader = Reader(self.fitted(context), history)

        def together(rows: np.ndarray) -> Scorer:
            shared = reader.together(rows)
            return Scorer(partial(self._of, shared), span=shared.span)

        alone = partial(self._of, reader)
        return Scorer(alone, together) if reader.has_work_in_common else Scorer(alone)

    def scores(self, reader: Reader, rows: np.ndarray) -> Tensor:
        """Scores of all items for users, [B, N]."""
        return self._of(reader, rows)(EVERY)

    @torch.no_grad()
    def _of(self, reader: Reader, rows: np.ndarray) -> Callable[[Items], Tensor]:
        weights_BE = self.weights(reader.properties(rows)) * reader.worth
        sparse = _SparseScores(reader, rows, weights_BE[:, len(DENSE) :].cpu().numpy())
        dense = reader.dense(rows)

        @torch.no_grad()
        def score(items: Items) -> Tensor:
            scores_Bn = torch.from_numpy(sparse(items)).to(weights_BE.device)
            for weight_B, evidence_Bn in zip(weights_BE.T, dense(items), strict=False):
                scores_Bn.addcmul_(weight_B[:, None], evidence_Bn)
            return scores_Bn

        return score


def most_probable_worth(weighed_BME: Tensor, log_weight_BM: Tensor) -> Tensor:
    """The v [E] that minimises -sum_B c log softmax_M(sum_E v weighed + log_weight)[0]
    + |v - 1|^2 / (2 WORTH_STD^2), a convex function, by Newton's method.

    c, 1 in the mean, grows with the probability of the user's next item where v = 1, as
    probability^REACH: those whose next item is far from every list say little about its head.
    """
    weighed_BME, log_weight_BM = weighed_BME.double(), log_weight_BM.double()
    log_share_BM = (weighed_BME.sum(dim=2) + log_weight_BM).log_softmax(dim=1)
    count_B1 = (REACH * log_share_BM[:, :1]).softmax(dim=0) * len(log_share_BM)
    worth_E = torch.ones_like(weighed_BME[0, 0])
    prior_EE = torch.eye(len(worth_E)).to(weighed_BME) / WORTH_STD**2
    for _ in range(_NEWTON_STEPS):
        share_BM1 = (weighed_BME @ worth_E + log_weight_BM).softmax(dim=1)[:, :, None]
        mean_BE = (share_BM1 * weighed_BME).sum(dim=1)
        slope_E = (count_B1 * (mean_BE - weighed_BME[:, 0])).sum(dim=0) + prior_EE @ (worth_E - 1)
        apart_BME = weighed_BME - mean_BE[:, None, :]
        apart_BME *= (count_B1[:, :, None] * share_BM1).sqrt_()
        apart = apart_BME.flatten(0, 1)
        step_E = torch.linalg.solve(apart.T @ apart + prior_EE, slope_E)
        worth_E -= step_E.clamp(-_LONGEST_STEP, _LONGEST_STEP)
    return worth_E.float()


class _SparseScores:
    """The part of the scores of B users that sparse evidence makes, of which they have some for few
    items. What has been read of a part of the items is kept until another is asked for."""

    def __init__(self, reader: Reader, rows: np.ndarray, weights_BS: np.ndarray) -> None:
        self._reader = reader
        self._events = {kind: reader.events(rows, kind) for kind in SPARSE}
        self._weights_BS = weights_BS
        self._kept: tuple[int, sp.csc_matrix] | None = None

    def __call__(self, items: Items) -> np.ndarray:
        """Float32 [B, n]; where a part is less than all, of a slice within one."""
        number, span = 0, self._reader.span
        if isinstance(items, slice) and items.start is not None:
            number = items.start // span
            items = slice(items.start - number * span, items.stop - number * span)
        if self._kept is None or self._kept[0] != number:
            self._kept = number, self._sum(number)
        return self._kept[1][:, items].toarray(order="C")

    def _sum(self, number: int) -> sp.csc_matrix:
        """Of a part of the items, [B, span]."""
        tables = self._reader.tables(number)

        def weighed(kind: str) -> sp.csc_matrix:
            found = sparse_evidence(self._events[kind], tables[kind])
            weight_B = self._weights_BS[:, SPARSE.index(kind)]
            found.data *= np.repeat(weight_B, np.diff(found.indptr))
            return found.tocsc()

        threads = max(1, min(torch.get_num_threads(), len(self._weights_BS) // ROWS_OF_THREAD))
        if threads == 1:
            return reduce(add, map(weighed, SPARSE))
        with ThreadPoolExecutor(threads) as pool:  # products of sparse tables leave others run
            return reduce(add, pool.map(weighed, SPARSE))


def evidence_of(reader: Reader, rows: np.ndarray, candidates_BM: Tensor) -> Tensor:
    """The evidence about some candidates (0-based items) of users, [B, M, E]."""
    size = len(rows), -1
    dense = [found.expand(size).gather(1, candidates_BM) for found in reader.dense(rows)(EVERY)]
    tables = reader.tables()
    sparse = [
        torch.from_numpy(sparse_evidence(reader.events(rows, kind), tables[kind]).toarray())
        .to(candidates_BM.device)
        .gather(1, candidates_BM)
        for kind in SPARSE
    ]
    return torch.stack(dense + sparse, dim=2)

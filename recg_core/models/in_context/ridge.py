"""Item-item weights by ridge regression, each item on its strongest predictors alone.

EASE (Steck, 2019) regresses every item on all others, which inverts an [N, N] matrix; SLIM with a
neighbourhood (Ning & Karypis, 2011) lets each item have few predictors. Outcomes may be the same
sets of items (as in both), or events after the items that came before them (as in SLIST, Choi et
al., 2021).
"""

import numpy as np
import scipy.sparse as sp
import torch

from recg_core.models.in_context.visits import strongest

# Of the regressions that are solved together: the products of 16 with 200 fit into a cache.
_PREDICTORS_AT_ONCE = 3200


def local_ridge(
    gram: sp.csr_matrix, cross: sp.csr_matrix, *, strength: float, predictors: int
) -> sp.csr_matrix:
    """The table W [N, N] whose column j minimises |Y_j - Z w|^2 + strength |w|^2.

    w may be non-zero at the `predictors` largest entries of column j of `cross` alone, which are
    above 0 and not j itself.

    Args:
        gram: Z^T Z.
        cross: Z^T Y.
    """
    cross = (cross - sp.diags(cross.diagonal())).tocsr()
    by_outcome = strongest(cross.T.tocsr(), predictors)
    by_outcome.eliminate_zeros()
    gram = gram.astype(np.float32, copy=False)
    solved = by_outcome.copy()
    # Those of like numbers of predictors together, since they are filled up to the most of them.
    sizes = np.diff(by_outcome.indptr)
    outcomes = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    start = 0
    while start < len(outcomes):
        end = start + max(1, _PREDICTORS_AT_ONCE // int(sizes[outcomes[start]]))
        _solve(gram, by_outcome, solved, outcomes[start:end], strength)
        start = end
    return solved.T.tocsr()


def _solve(
    gram: sp.csr_matrix,
    by_outcome: sp.csr_matrix,
    solved: sp.csr_matrix,
    outcomes: np.ndarray,
    strength: float,
) -> None:
    """Write the weights of some outcomes into `solved`, which is laid out as `by_outcome`."""
    starts, ends = by_outcome.indptr[outcomes], by_outcome.indptr[outcomes + 1]
    size = int((ends - starts).max())
    # Systems that are smaller are filled up with rows of the unit matrix and zeros.
    places = starts[:, None] + np.arange(size)
    inside = places < ends[:, None]
    places = np.minimum(places, ends[:, None] - 1)
    items, position = np.unique(by_outcome.indices[places], return_inverse=True)
    position = position.reshape(places.shape)
    among = torch.from_numpy(gram[items][:, items].toarray())
    rows = torch.from_numpy(position)
    mask = torch.from_numpy(inside)
    matrix = among[rows[:, :, None], rows[:, None, :]] * (mask[:, :, None] & mask[:, None, :])
    matrix.diagonal(dim1=1, dim2=2).add_(strength)
    right = torch.from_numpy(np.where(inside, by_outcome.data[places], 0.0).astype(np.float32))
    weights = torch.cholesky_solve(right[:, :, None], torch.linalg.cholesky(matrix))[:, :, 0]
    solved.data[places[inside]] = weights.numpy()[inside]


def ease(gram: sp.csr_matrix, strength: float) -> np.ndarray:
    """EASE in closed form, float32 [N, N]: B = -P / diag(P), its diagonal 0, where
    P = (gram + strength I)^-1; an item that is in no row of the gram has no weights."""
    met = np.flatnonzero(gram.diagonal())
    matrix = torch.from_numpy(gram[met][:, met].astype(np.float32).toarray())
    matrix.diagonal().add_(strength)
    # In place, since a large catalogue has no room for a second matrix.
    torch.linalg.cholesky(matrix, out=matrix)
    inverse = torch.cholesky_inverse(matrix, out=matrix)
    inverse /= -inverse.diagonal().clone()
    inverse.fill_diagonal_(0.0)
    if len(met) == gram.shape[0]:
        return inverse.numpy()
    weights = np.zeros(gram.shape, dtype=np.float32)
    weights[np.ix_(met, met)] = inverse.numpy()
    return weights

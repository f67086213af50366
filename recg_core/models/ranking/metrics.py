"""Recall and NDCG of a single held-out item, as exact expectations from its rank.

Nothing is drawn: ties are broken uniformly at random in expectation, and the protocol of the paper
(the test item against 100 sampled negatives) is the expectation over all samples.

Legend: U users; C candidates of a user, the test item among them; n sampled negatives.
"""

from collections.abc import Sequence

import numpy as np

KS = (5, 10, 20)
NUM_NEGATIVES = 100
_CHUNK = 8192  # users at a time, so that the temporary arrays stay in cache


def metric_names(ks: Sequence[int] = KS) -> list[str]:
    """The keys of `ranking_metrics` in the order of the paper's tables."""
    return [f"{metric}@{k}" for k in ks for metric in ("recall", "ndcg")]


def ranking_metrics(
    num_higher: np.ndarray,
    num_ties: np.ndarray,
    num_candidates: np.ndarray,
    ks: Sequence[int] = KS,
    num_negatives: int | None = None,
) -> dict[str, np.ndarray]:
    """Recall@k and NDCG@k of every user: the gain of position p (from 0) is 1 or 1 / log2(p + 2).

    Let r = `num_higher`, t = `num_ties`. Under full ranking the position is uniform on r..r+t.

    Under sampling, n = `num_negatives` of the C - 1 others are drawn uniformly without
    replacement and the test item is ranked among n + 1. In the random order of all C candidates
    the test item is equally likely at each position of the block r..r+t, and given a position
    the n + 1 ranked items are a uniform sample of the C that contains it. So the expected
    gain is the gain that the block's members collect in a uniform sample S of n + 1 out of C,
    shared among them and divided by the chance (n + 1) / C of being in S:

        E[gain] = C / ((n + 1) (t + 1)) * sum_{x < k} g(x) (P(Y_{r+t+1} > x) - P(Y_r > x)),

    where Y_R, the number of S within the first R positions, is hypergeometric.

    Args:
        num_higher: [U] candidates that score above the test item.
        num_ties: [U] other candidates that score the same.
        num_candidates: [U] candidates, the test item included.
        ks: cut-offs.
        num_negatives: None for full ranking; a user with fewer other candidates is ranked
            against all of them.

    Returns:
        float64 [U] by metric name, `recall@5`, `ndcg@5` and so on.

    Raises:
        ValueError: when the arrays differ in length, a count is negative, the higher and tied
            candidates are not fewer than the candidates, or a cut-off is below 1.
    """
    higher, ties, candidates = (
        np.asarray(values, dtype=np.int64) for values in (num_higher, num_ties, num_candidates)
    )
    _check(higher, ties, candidates, ks, num_negatives)
    weights_PM = _position_gains(ks)
    gains_UM = np.empty((len(higher), weights_PM.shape[1]))
    for start in range(0, len(higher), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(higher)))
        gains_UM[rows] = _full_gains(higher[rows], ties[rows], weights_PM)
        if num_negatives is not None:
            rows = rows[candidates[rows] - 1 > num_negatives]  # enough to sample from
            gains_UM[rows] = _sampled_gains(
                higher[rows], ties[rows], candidates[rows], weights_PM, num_negatives
            )
    return dict(zip(metric_names(ks), gains_UM.T, strict=True))


def reciprocal_ranks(num_higher: np.ndarray, num_ties: np.ndarray) -> np.ndarray:
    """1 / rank under full ranking, in expectation over ties; its mean over users is the MRR.

    Args:
        num_higher: candidates that score above the test item, of any shape.
        num_ties: other candidates that score the same.
    """
    positions = np.arange(1, int((num_higher + num_ties).max()) + 2)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / positions)])
    return (harmonic[num_higher + num_ties + 1] - harmonic[num_higher]) / (num_ties + 1)


def mean_metrics(per_user: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean over users of every metric."""
    return {name: float(values.mean()) for name, values in per_user.items()}


def _check(
    higher: np.ndarray,
    ties: np.ndarray,
    candidates: np.ndarray,
    ks: Sequence[int],
    num_negatives: int | None,
) -> None:
    if not higher.shape == ties.shape == candidates.shape or higher.ndim != 1:
        raise ValueError("num_higher, num_ties and num_candidates must be vectors of one length")
    if (higher < 0).any() or (ties < 0).any() or (higher + ties >= candidates).any():
        raise ValueError("0 <= num_higher, 0 <= num_ties, their sum < num_candidates must hold")
    if not ks or min(ks) < 1:
        raise ValueError(f"cut-offs must be 1 or more, got {list(ks)}")
    if num_negatives is not None and num_negatives < 1:
        raise ValueError(f"num_negatives must be 1 or more, got {num_negatives}")


def _position_gains(ks: Sequence[int]) -> np.ndarray:
    """What position p contributes to each metric, [largest k, metrics]; 0 from p = k on."""
    positions = np.arange(max(ks))
    gain = {"recall": np.ones(len(positions)), "ndcg": 1 / np.log2(positions + 2)}
    columns = [gain[metric] * (positions < k) for k in ks for metric in ("recall", "ndcg")]
    return np.stack(columns, axis=1)


def _full_gains(higher: np.ndarray, ties: np.ndarray, weights_PM: np.ndarray) -> np.ndarray:
    """Mean gain over the positions higher..higher+ties, from prefix sums."""
    largest = len(weights_PM)
    prefix_RM = np.vstack([np.zeros(weights_PM.shape[1]), np.cumsum(weights_PM, axis=0)])
    start, end = np.minimum(higher, largest), np.minimum(higher + ties + 1, largest)
    return (prefix_RM[end] - prefix_RM[start]) / (ties + 1)[:, None]


def _sampled_gains(
    higher: np.ndarray,
    ties: np.ndarray,
    candidates: np.ndarray,
    weights_PM: np.ndarray,
    num_negatives: int,
) -> np.ndarray:
    """The equation of `ranking_metrics`; P(Y > x) differences are negated cdf differences."""
    draws = num_negatives + 1
    # A cut-off beyond the n + 1 ranked items adds nothing: nobody stands there.
    largest = min(len(weights_PM), draws)
    before = _hypergeometric_cdf(higher, candidates, draws, largest)
    through = _hypergeometric_cdf(higher + ties + 1, candidates, draws, largest)
    share = candidates / (draws * (ties + 1))
    return share[:, None] * ((before - through) @ weights_PM[:largest])


def _hypergeometric_cdf(
    successes: np.ndarray, population: np.ndarray, draws: int, size: int
) -> np.ndarray:
    """P(Y <= x) for x = 0..size-1, [U, size]; Y = successes among `draws` of `population`.

    With falling factorials [a]_i = a (a - 1) ... (a - i + 1),

        P(Y = x) = C(draws, x) [successes]_x [population - successes]_{draws-x} / [population]_draws

    is a product of non-negative factors, so that it keeps full relative precision and becomes
    exactly 0 outside the support. Log factorials would lose digits to cancellation.
    """
    failures_left = (population - successes).astype(np.float64)
    population_left = population.astype(np.float64)
    # Row x: [failures]_{draws-x} / [population]_{draws-x}.
    missed = np.ones((size, len(population)))
    chance = np.ones(len(population))
    for drawn in range(1, draws + 1):
        chance *= failures_left
        chance /= population_left
        failures_left -= 1
        population_left -= 1
        if draws - drawn < size:
            missed[draws - drawn] = chance
    successes_left = successes.astype(np.float64)
    hit = np.ones(len(population))
    for x in range(1, size):
        population_left += 1  # population - draws + x: what row x of `missed` left undivided
        hit *= (draws - x + 1) / x * successes_left / population_left
        successes_left -= 1
        missed[x] *= hit
    # Past an exact 0 the factors turn negative, and 0 * negative is -0: harmless in the sum.
    return np.cumsum(missed, axis=0).T

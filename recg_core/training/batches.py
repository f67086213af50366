"""Batches of users of similar length, in an order drawn from a seed."""

from collections.abc import Iterator

import numpy as np

BATCHES_SORTED_TOGETHER = 50  # enough to waste little padding, few enough to keep batches mixed


def length_bucketed_batches(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield every row number once, in batches whose rows have similar lengths.

    Rows are shuffled, sorted by length within groups of `BATCHES_SORTED_TOGETHER` batches and cut;
    the batches of a group come in random order. All batches but one a group are full.
    """
    order = rng.permutation(len(lengths))
    group_size = batch_size * BATCHES_SORTED_TOGETHER
    for start in range(0, len(order), group_size):
        group = order[start : start + group_size]
        group = group[np.argsort(lengths[group], kind="stable")]
        cuts = np.arange(0, len(group), batch_size)
        for cut in rng.permutation(cuts):
            yield group[cut : cut + batch_size]

"""Users ranked per second over the full catalogue, at the paper's sizes.

    python -m benchmarks.ranking

Times `rank_holdout` with the scoring product included, beside the usual per-user loop that masks
the history and sorts the whole row, on the same scores; checks that both give the same ranks.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from recg_core.domains.sequences import Holdout, Ragged
from recg_core.models.ranking.full_rank import BATCH_SIZE, ScoreBatch, rank_holdout
from recg_core.models.ranking.metrics import ranking_metrics


def make_holdout(num_users: int, num_items: int, seed: int) -> Holdout:
    """Users with about eight history items each, drawn uniformly."""
    rng = np.random.default_rng(seed)
    lengths = 4 + rng.poisson(4, num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.integers(1, num_items + 1, offsets[-1]).astype(np.int32)
    target = rng.integers(1, num_items + 1, num_users).astype(np.int32)
    return Holdout(np.arange(num_users, dtype=np.int32), Ragged(values, offsets), target)


def rank_by_sorting(score_batch: ScoreBatch, holdout: Holdout) -> np.ndarray:
    """The place of each test item, by one masked sort of the row a user."""
    places = []
    for row in range(len(holdout.users)):
        rows = np.array([row])
        scores = score_batch(rows)[0].clone()
        target = int(holdout.target[row]) - 1
        own = scores[target].clone()
        scores[torch.from_numpy(holdout.history.take(rows).values).long() - 1] = -torch.inf
        scores[target] = own
        order = torch.argsort(scores, descending=True)
        places.append(int((order == target).nonzero()))
    return np.array(places)


def users_per_second(work: Callable[[], object], num_users: int, repeats: int) -> float:
    """The best of several runs."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return num_users / min(seconds)


def main() -> None:
    """Print one line a method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=8192)
    parser.add_argument("--items", type=int, default=24_315)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    generator = torch.Generator().manual_seed(0)
    users = torch.randn(options.users, options.dim, generator=generator)
    items = torch.randn(options.items, options.dim, generator=generator)
    holdout = make_holdout(options.users, options.items, seed=0)
    few = make_holdout(256, options.items, seed=0)

    def score_batch(rows: np.ndarray) -> torch.Tensor:
        return users[torch.from_numpy(rows)] @ items.T

    def rank(holdout: Holdout) -> np.ndarray:
        return rank_holdout(score_batch, holdout, options.items, options.batch_size).num_higher

    def score_all() -> None:
        for start in range(0, options.users, options.batch_size):
            score_batch(np.arange(start, min(start + options.batch_size, options.users)))

    # A product of one row may round differently from one of many: ranks can differ by neighbours.
    difference = np.abs(rank(few) - rank_by_sorting(score_batch, few)).max()
    assert difference <= 2, f"ranks differ by {difference}"

    print(f"{options.items} items, d {options.dim}, {torch.get_num_threads()} threads")
    ours = users_per_second(lambda: rank(holdout), options.users, options.repeats)
    print(f"rank_holdout, product included   {ours:9,.0f} users/s")
    alone = users_per_second(score_all, options.users, options.repeats)
    print(f"the product alone                {alone:9,.0f} users/s")
    loop = users_per_second(lambda: rank_by_sorting(score_batch, few), 256, options.repeats)
    print(f"loop over users, full sort       {loop:9,.0f} users/s")

    counts = np.random.default_rng(0).integers(0, options.items - 60, 90_000)
    candidates = np.full(90_000, options.items - 50)
    seconds = 1 / users_per_second(
        lambda: ranking_metrics(counts, counts * 0, candidates, num_negatives=100), 1, 3
    )
    print(f"sampled metrics of 90,000 users  {seconds:9.3f} s")


if __name__ == "__main__":
    main()

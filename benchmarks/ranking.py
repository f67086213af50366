"""Users ranked per second over the full catalogue, at the paper's sizes.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.ranking

`rank_holdout`, scoring included, of a model's products, of the similarity row `knn_lse` and of
`in_context`, in turns with the product of users and items in two forms: 512 users and all items at
once, as ranking without tiles needs it, and in tiles that a cache holds. Beside them the usual loop
over users, which masks the history and sorts the whole row; both must give the same ranks.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from recg_core.domains.sequences import Holdout, Ragged
from recg_core.models.in_context.context import text_likeness
from recg_core.models.in_context.scorer import InContext
from recg_core.models.in_context.trial import read_domain
from recg_core.models.near import near_items
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.ranking.metrics import ranking_metrics
from recg_core.models.rows import Scorer
from recg_core.models.trained import product_scorer


def make_holdout(num_users: int, num_items: int, seed: int) -> Holdout:
    """Users with about eight history items each, of which some are in many histories."""
    rng = np.random.default_rng(seed)
    lengths = 4 + rng.poisson(4, num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    share_N = np.arange(1, num_items + 1) ** -0.7
    share_N /= share_N.sum()
    values = 1 + rng.choice(num_items, offsets[-1] + num_users, p=share_N).astype(np.int32)
    history, target = values[:-num_users], values[-num_users:]
    return Holdout(np.arange(num_users, dtype=np.int32), Ragged(history, offsets), target)


def rank_by_sorting(scorer: Scorer, holdout: Holdout) -> np.ndarray:
    """The place of each test item, by one masked sort of the row a user."""
    places = []
    for row in range(len(holdout.users)):
        rows = np.array([row])
        scores = scorer(rows)[0].clone()
        target = int(holdout.target[row]) - 1
        own = scores[target].clone()
        scores[torch.from_numpy(holdout.history.take(rows).values).long() - 1] = -torch.inf
        scores[target] = own
        order = torch.argsort(scores, descending=True)
        places.append(int((order == target).nonzero()))
    return np.array(places)


def in_turns(contenders: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """The least wall and CPU seconds of each, all taking turns; a first turn does not count."""
    least = {name: [np.inf, np.inf] for name in contenders}
    for turn in range(repeats + 1):
        for name, work in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            if turn:
                least[name] = [min(pair) for pair in zip(least[name], spent, strict=True)]
    return least


def main() -> None:
    """Print a line a method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=16_384)
    parser.add_argument("--items", type=int, default=24_315)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--text-dim", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    num_users, num_items = options.users, options.items
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(num_users, options.dim, generator=generator)
    table = torch.randn(num_items + 1, options.dim, generator=generator)
    text = torch.randn(num_items, options.text_dim, generator=generator).numpy()
    holdout, few = make_holdout(num_users, num_items, 0), make_holdout(256, num_items, 1)
    near = near_items(text, None, torch.device("cpu"))
    started = time.perf_counter()
    context = read_domain(near, holdout.history)
    print(f"read_domain: {time.perf_counter() - started:.1f} s")
    scorers = {
        "products": product_scorer(users, table, None),
        "knn_lse": text_likeness(near, holdout.history),
        "in_context": InContext().scorer(context, holdout.history),
    }

    def product(rows: int, columns: int) -> None:
        for start in range(0, num_users, rows):
            for column in range(1, num_items + 1, columns):
                users[start : start + rows] @ table[column : column + columns].T

    # A product of one row may round differently from one of many: ranks can differ by neighbours.
    ranks = rank_holdout(scorers["products"], few, num_items).num_higher
    difference = np.abs(ranks - rank_by_sorting(scorers["products"], few)).max()
    assert difference <= 2, f"ranks differ by {difference}"

    print(
        f"{num_items:,} items, d {options.dim}, texts {options.text_dim}, {num_users:,} users, "
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; users per second"
    )
    contenders: dict[str, Callable[[], object]] = {
        "the product, 512 x all": lambda: product(512, num_items),
        "the product in tiles": lambda: product(1024, 1024),
    }
    for name, scorer in scorers.items():
        contenders[f"rank_holdout, {name}"] = partial(rank_holdout, scorer, holdout, num_items)
    for name, (wall, cpu) in in_turns(contenders, options.repeats).items():
        print(f"{name:28} {num_users / wall:9,.0f} wall {num_users / cpu:9,.0f} of one core")
    loop = in_turns({"": lambda: rank_by_sorting(scorers["products"], few)}, 1)[""]
    print(f"{'loop over users, full sort':28} {256 / loop[0]:9,.0f} wall {256 / loop[1]:9,.0f}")

    counts = np.random.default_rng(0).integers(0, num_items - 60, 90_000)
    candidates = np.full(90_000, num_items - 50)
    sampled = in_turns(
        {"": lambda: ranking_metrics(counts, counts * 0, candidates, num_negatives=100)}, 3
    )[""]
    print(f"sampled metrics of 90,000 users: {sampled[0]:.3f} s, {sampled[1]:.3f} of a core")


if __name__ == "__main__":
    main()

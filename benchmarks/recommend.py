"""Latency and throughput of recommendations: `python -m benchmarks.recommend [--items 10000 ...]`.

The package's own bundle over random unit vectors of 384 dimensions; histories of ten items. One
user's `recommend` is timed beside the product of ten vectors with all items and a top ten of it,
which any exact ranking has to do at least; the batch is 1,000 users.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from recg_core import Recommender
from recg_core.serving.catalogue import Catalogue

DIM, HISTORY, USERS, REPEATS = 384, 10, 1000, 15


def catalogue(num_items: int, cache: Path) -> Catalogue:
    """Items with random vectors in the place of encoded texts, and events of `USERS` users."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((num_items, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"i{n}" for n in range(num_items)]
    items = {"item_id": ids, "title": ids}
    events = {
        "user_id": np.repeat([f"u{n}" for n in range(USERS)], HISTORY).tolist(),
        "item_id": [ids[n] for n in rng.integers(0, num_items, USERS * HISTORY)],
    }
    with patch("recg_core.serving.catalogue.encode_texts", lambda *_, **__: vectors):
        return Recommender.load(device="cpu").fit_catalogue(items, events, cache=cache)


def median_of(repeats: int, run: Callable[[], object]) -> float:
    """The median time of several calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def row_of(num_items: int) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        shop = catalogue(num_items, Path(folder))
    history, users = [f"i{n}" for n in range(HISTORY)], shop.users
    text = torch.randn(num_items, DIM)
    one = median_of(REPEATS, lambda: shop.recommend(history))
    why = median_of(REPEATS, lambda: shop.recommend(history, because=True))
    bare = median_of(REPEATS, lambda: (text[:HISTORY] @ text.T).sum(0).topk(10))
    batch = median_of(1, lambda: shop.recommend_batch(users))
    times = " | ".join(f"{1e3 * seconds:.1f}" for seconds in (one, why, bare))
    return f"| {num_items:,} | {times} | {len(users) / batch:,.0f} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    print("| items | one user, ms | with reasons, ms | the product alone, ms | users/s |")
    print("|---:|---:|---:|---:|---:|")
    for num_items in parser.parse_args().items:
        print(row_of(num_items), flush=True)


if __name__ == "__main__":
    main()

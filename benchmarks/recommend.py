"""Latency, throughput and memory: `python -m benchmarks.recommend [--items N ...] [--users U]`.

The package's own bundle over random unit vectors of 384 dimensions that stand in clusters of 50, in
float16 mapped from a file as those of real catalogues are. A user's ten items come from three
clusters; which ones follows a Zipf law. One user's list is timed beside the product of ten vectors
with all items and a top ten of it, which any exact ranking has to do at least; the lists of all
users beside that product for 64 of them together. Times are those of the processors, so that other
programs count little; run it with `OMP_WAIT_POLICY=PASSIVE`, or threads that wait count too.

`--data FOLDER` measures instead how much of exact lists approximate ones hold on real histories:
FOLDER has review lines (`X.jsonl.gz`) and vectors (`minilm/X.parquet`: item_id, embedding).
"""

import argparse
import gzip
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch

from recg_core import Recommender
from recg_core.base.mapped import map_rows, write_rows
from recg_core.serving.catalogue import Catalogue

DIM, HISTORY, REPEATS = 384, 10, 15
CLUSTER, CLUSTERS_OF_USER = 50, 3
SPREAD, DECAY = 0.8, 0.5  # of items about their centre; of the centres along directions
COMPARED = 200  # users whose approximate lists are compared with exact ones
BLOCK = 512  # items made float32 together in the bare product


def vectors(num_items: int) -> Iterator[np.ndarray]:
    """Blocks of unit vectors in clusters, whose centres vary along some directions most."""
    rng = np.random.default_rng(0)
    scale_H = np.arange(1, DIM + 1, dtype=np.float32) ** -DECAY
    scale_H /= np.linalg.norm(scale_H)
    turn_HH = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)
    for start in range(0, num_items, 80 * CLUSTER):
        size = min(80 * CLUSTER, num_items - start)
        centres = rng.standard_normal((80, DIM), dtype=np.float32) * scale_H
        noise = rng.standard_normal((size, DIM), dtype=np.float32) * scale_H * SPREAD
        block = (centres.repeat(CLUSTER, axis=0)[:size] + noise) @ turn_HH
        yield block / np.linalg.norm(block, axis=1, keepdims=True)


def events(num_items: int, num_users: int) -> np.ndarray:
    """Items [U, HISTORY] of users."""
    rng = np.random.default_rng(1)
    num_clusters = num_items // CLUSTER
    rank = num_clusters ** rng.random((num_users, CLUSTERS_OF_USER)) - 1  # P(rank) ~ 1 / rank
    clusters = rng.permutation(num_clusters)[rank.astype(np.int64)]
    chosen = np.take_along_axis(
        clusters, rng.integers(0, CLUSTERS_OF_USER, (num_users, HISTORY)), axis=1
    )
    return chosen * CLUSTER + rng.integers(0, CLUSTER, (num_users, HISTORY))


def catalogue(
    text: np.ndarray, ids: list[str], histories: dict[str, Any] | pl.DataFrame
) -> Catalogue:
    """Items with given vectors in the place of encoded texts."""
    with patch("recg_core.serving.catalogue.encode_texts", lambda *_, **__: text):
        items = {"item_id": ids, "title": ids}
        return Recommender.load(device="cpu").fit_catalogue(items, histories)


def synthetic(num_items: int, num_users: int, folder: Path) -> Catalogue:
    """A catalogue of `vectors` and `events`."""
    path = folder / f"{num_items}.safetensors"
    write_rows(path, (num_items, DIM), vectors(num_items))
    ids = [f"i{n}" for n in range(num_items)]
    users = np.repeat([f"u{n}" for n in range(num_users)], HISTORY).tolist()
    visits = {"user_id": users, "item_id": [ids[n] for n in events(num_items, num_users).flat]}
    return catalogue(map_rows(path, ""), ids, visits)


def product(units_DH: torch.Tensor, text_NH: torch.Tensor) -> torch.Tensor:
    """Products [D, N] summed over D, of which a block is made at a time."""
    parts = [units_DH @ block.float().T for block in text_NH.split(max(BLOCK, 16 * len(units_DH)))]
    return torch.cat([part.sum(dim=0) for part in parts])


def median_of(repeats: int, run: Callable[[], object]) -> float:
    """The median CPU time of several calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return float(np.median(times))


class PeakMemory:
    """The highest RssAnon of this process in a `with` block: what no file can give back. Linux."""

    def __enter__(self) -> "PeakMemory":
        self.mb, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
            self.mb = max(self.mb, int(found.group(1)) / 1024 if found else 0.0)


def latencies(shop: Catalogue) -> str:
    """A row of the first table."""
    history, text_NH = shop.history(shop.users[0]), shop._text.parts[0]
    units_DH = text_NH[:HISTORY].float()
    shop.recommend(history, approximate=True)  # which makes the shorter vectors
    calls: list[Callable[[], object]] = [
        lambda: product(units_DH, text_NH).topk(10),
        lambda: shop.recommend(history),
        lambda: shop.recommend(history, because=True),
        lambda: shop.recommend(history, approximate=True),
    ]
    times = [median_of(REPEATS, call) for call in calls]
    return f"| {len(shop.items):,} | " + " | ".join(f"{1e3 * each:.0f}" for each in times) + " |"


def share_found(shop: Catalogue, users: list[str]) -> float:
    """The share of the exact lists that the approximate ones have."""
    exact, found = (
        shop.recommend_batch(users, approximate=approximate).select("user_id", "item_id")
        for approximate in (False, True)
    )
    return len(exact.join(found, on=["user_id", "item_id"])) / len(exact)


def throughput(shop: Catalogue) -> str:
    """A row of the second table."""
    text_NH = shop._text.parts[0]
    together = text_NH[: 64 * HISTORY].float()
    bare = 64 / median_of(1, lambda: product(together, text_NH))
    with PeakMemory() as idle:
        time.sleep(0.1)
    with PeakMemory() as peak:
        start = time.perf_counter()
        seconds = median_of(1, lambda: shop.recommend_batch(shop.users))
        wall = time.perf_counter() - start
    users = len(shop.users)
    distinct = len(np.unique(shop._histories.items.values))
    figures = (
        f"{seconds:.0f} | {wall:.0f} | {users / seconds:.1f} | {bare:.1f} | {idle.mb:.0f} | "
        f"{peak.mb:.0f}"
    )
    return f"| {len(shop.items):,} | {users:,} | {distinct:,} | {figures} |"


def real_shares(data: Path) -> None:
    """Print a table over the domains of a folder."""
    print(
        "| domain | items | users compared | share of exact top ten found |\n|---|---:|---:|---:|"
    )
    for path in sorted((data / "minilm").glob("*.parquet")):
        frame = pl.read_parquet(path)
        with gzip.open(data / f"{path.stem}.jsonl.gz") as lines:
            rows = [json.loads(line) for line in lines]
        names = {"user_id": "user_id", "item_id": "parent_asin", "timestamp": "timestamp"}
        visits = pl.DataFrame({role: [row[name] for row in rows] for role, name in names.items()})
        text = frame["embedding"].to_numpy().astype(np.float16)
        # As if the catalogue were a large one, of which one item in a hundred is looked at.
        with patch("recg_core.models.near.WHOLE_BYTES", 0):
            shop = catalogue(text, frame["item_id"].to_list(), visits)
        order = np.random.default_rng(0).permutation(len(shop.users))[: 5 * COMPARED]
        with patch("recg_core.serving.catalogue.CANDIDATES_OF_K", 1):
            share = share_found(shop, [shop.users[row] for row in order])
        print(f"| {path.stem} | {len(frame):,} | {len(order):,} | {share:.4f} |", flush=True)


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    if arguments.data:
        real_shares(arguments.data)
        return
    print("| items | the product alone | one user | with reasons | approximate |")
    print("|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for num_items in arguments.items:
            shop = synthetic(num_items, arguments.users, Path(folder))
            print(latencies(shop), flush=True)
        print(f"\nshare of exact top ten found: {share_found(shop, shop.users[:COMPARED]):.4f}\n")
        print(
            "| items | users | items met | CPU s | wall s | users/CPU s | the product alone | MB | "
            "peak MB |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
        )
        print(throughput(shop), flush=True)


if __name__ == "__main__":
    main()

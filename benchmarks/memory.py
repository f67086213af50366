"""Peak memory by the number of items and users: `python -m benchmarks.memory --items 10000 100000`.

A domain has ten events a user; its histories follow a Zipf law and its texts have 384 dimensions,
both as in `benchmarks.recommend`. Each stage runs in a process of its own; what counts is its
highest resident memory, pages of mapped files included, less what it had after its imports. All
users are there, but of the groups that are ranked one after the other only the first `--groups`
are: the next ones take the same memory again. Linux.
"""

import argparse
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch

from benchmarks.recommend import DIM, HISTORY, events, vectors
from recg_core.base.files import sha256_file
from recg_core.base.schema import ITEMS, SEQUENCES
from recg_core.domains.domain import Domain, load_domains
from recg_core.domains.shards import (
    Manifest,
    Shard,
    ShardEntry,
    fingerprint_of,
    write_manifest,
    write_shard,
)
from recg_core.domains.source_domains import SourceDomains
from recg_core.evaluation.lists import Listing
from recg_core.evaluation.slices import slice_attributes
from recg_core.evaluation.training_free import BaselinesConfig, training_free_scorers
from recg_core.models.card import Origin, spec_of
from recg_core.models.ranking import tiles
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.recommender import create_model
from recg_core.models.trained import TrainedModel
from recg_core.models.variant import (
    AnchorConfig,
    InContextConfig,
    TextItemsConfig,
    VariantConfig,
)

BACKBONE = {"dim": 64, "num_layers": 2, "num_heads": 2, "dropout": 0.2, "max_length": 50}
BASELINES = BaselinesConfig(decay=0.85, sharpness=8.0, popularity=0.1, ease=50.0)
BPR = {"kind": "bpr"}
VARIANTS = {
    "sem": VariantConfig(TextItemsConfig("text"), BPR),
    "anchored": VariantConfig(
        TextItemsConfig("text"), BPR, score="cosine", anchor=AnchorConfig(counts=True)
    ),
    "in_context": VariantConfig(
        TextItemsConfig("text"), BPR, score="cosine", in_context=InContextConfig(1)
    ),
}


def write_domain(root: Path, name: str, num_items: int, num_users: int) -> None:
    """A domain's tables and embeddings below `root`, as the stages write them."""
    item_ids = [f"i{n}" for n in range(num_items)]
    texts = pl.Series(item_ids, dtype=pl.String)
    columns = {"item_idx": pl.int_range(1, num_items + 1, dtype=pl.Int32, eager=True)}
    strings = {c: texts for c, kind in ITEMS.columns.items() if kind == pl.String}
    ITEMS.write(
        pl.DataFrame(columns | strings, schema=ITEMS.columns), root / name / "items.parquet"
    )
    visits = pl.Series((1 + events(num_items, num_users)).astype(np.int32))
    frame = pl.DataFrame(
        {
            "user_idx": np.arange(num_users, dtype=np.int32),
            "user_id": [f"u{n}" for n in range(num_users)],
            "item_idx": visits.arr.to_list(),
            "timestamp": pl.Series([list(range(HISTORY))], dtype=pl.List(pl.Int64)).new_from_index(
                0, num_users
            ),
            "train_length": np.full(num_users, HISTORY - 2, dtype=np.int32),
            "valid_position": np.full(num_users, HISTORY - 2, dtype=np.int32),
            "test_position": np.full(num_users, HISTORY - 1, dtype=np.int32),
        },
        schema=SEQUENCES.columns,
    )
    SEQUENCES.write(frame, root / name / "sequences.parquet")
    folder, identity, entries, start = root / "embeddings" / name, {"kind": "made up"}, [], 0
    for number, block in enumerate(vectors(num_items)):
        ids = item_ids[start : start + len(block)]
        path = folder / f"{number:05d}.parquet"
        shard = Shard(ids, ids, block.astype(np.float16))
        write_shard(path, shard, fingerprint_of(identity))
        entries.append(ShardEntry(path.name, len(ids), sha256_file(path)))
        start += len(ids)
    manifest = Manifest(identity, fingerprint_of(identity), DIM, num_items, tuple(entries), {})
    write_manifest(folder, manifest)


def load(root: Path, name: str) -> Domain:
    """The domain as the stages that rank load it."""
    return load_domains([name], root, root / "embeddings", root / "mapped")[name]


def rank_row(root: Path, name: str, row: str) -> None:
    """A training-free row."""
    target = load(root, name)
    holdout, observed = target.sequences.holdout("test"), target.sequences.observed("test")
    scorers = training_free_scorers(target, holdout.history, observed, BASELINES)
    scorer = next(scorer for found, scorer in scorers if found == row)
    lists = Listing(holdout)
    rank_holdout(scorer, holdout, target.num_items, watch=lists.watch)


def rank_model(root: Path, name: str, variant: str) -> None:
    """A model that has learned nothing yet, on a domain that it was not trained on."""
    target = load(root, name)
    source = SourceDomains((target,))
    spec = spec_of("sasrec", BACKBONE, VARIANTS[variant], source)
    origin = Origin(spec, "elsewhere", target.encoder_fingerprint)
    model = TrainedModel(create_model(spec).eval(), origin, variant)
    holdout, observed = target.sequences.holdout("test"), target.sequences.observed("test")
    scorer = model.scorer(target, holdout.history, observed)
    rank_holdout(scorer, holdout, target.num_items, label=variant)


def cut(root: Path, name: str) -> None:
    """The slices of a source and a target, which are the same here."""
    target = load(root, name)
    slice_attributes(SourceDomains((target,)), target)


STAGES: dict[str, Callable[[Path, str], Any]] = {
    "load": load,
    "knn_mean": lambda root, name: rank_row(root, name, "knn_mean_centered"),
    "knn_lse": lambda root, name: rank_row(root, name, "knn_lse_centered"),
    "visits_knn": lambda root, name: rank_row(root, name, "visits_knn"),
    **{variant: partial(rank_model, variant=variant) for variant in VARIANTS},
    "slices": cut,
}


def peak_mb() -> float:
    """The highest resident memory of this process so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(stage: str, root: Path, name: str, groups: int, queue: Any) -> None:
    """What a child process does: its peak in MB and its seconds go into the queue."""
    torch.ones(64, 64) @ torch.ones(64, 64)
    before, started = peak_mb(), time.perf_counter()
    every = tiles.in_tiles

    def first(*args: Any) -> Iterator[Any]:
        return islice(every(*args), groups)

    with patch("recg_core.models.ranking.full_rank.in_tiles", first):
        STAGES[stage](root, name)
    queue.put((peak_mb() - before, time.perf_counter() - started))


def peak(stage: str, root: Path, name: str, groups: int) -> tuple[float, float]:
    """Peak MB and seconds of a stage in a fresh process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=measure, args=(stage, root, name, groups, queue))
    child.start()
    child.join()
    if child.exitcode:
        return float("nan"), float("nan")
    return queue.get()


def main() -> None:
    """Print a table, a row a stage, and the exponent of the last step of items."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--stages", nargs="+", default=list(STAGES))
    parser.add_argument("--groups", type=int, default=1)
    options = parser.parse_args()
    sizes = list(zip(options.items, options.users, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for items, users in sizes:
            write_domain(root, f"d{items}-{users}", items, users)
            load(root, f"d{items}-{users}")  # makes the file that is mapped
        heads = [f"{items:,} x {users:,}" for items, users in sizes]
        print(f"| peak MB, items x users | {' | '.join(heads)} | exponent |")
        print(f"|---|{'---:|' * (len(sizes) + 1)}")
        for stage in options.stages:
            found = [peak(stage, root, f"d{i}-{u}", options.groups) for i, u in sizes]
            cells = [f"{mb:,.0f} ({seconds:.0f} s)" for mb, seconds in found]
            exponent = ""
            if len(sizes) > 1:
                growth = np.log(found[-1][0] / found[-2][0])
                exponent = f"{growth / np.log(sizes[-1][0] / sizes[-2][0]):.2f}"
            print(f"| `{stage}` | {' | '.join(cells)} | {exponent} |", flush=True)


if __name__ == "__main__":
    main()

"""Time and memory of every stage by the size of the catalogue, and how they grow.

    python -m benchmarks.pipeline --items 10000 100000

Makes raw files of a large domain, whose items all occur, and of a small one, and runs the stages of
`dvc.yaml` on both as `dvc repro` does, one after the other: models are trained on each for one
epoch and ranked on both. For ten items there are three users with ten events each, unless `--users`
says otherwise; the split is by time, so that `TESTED` of them are tested, whatever the size.
Seconds and CPU seconds are the sums of a stage's runs, anonymous memory (in brackets with pages of
mapped files) that of its processes together at its highest. The exponents are those of CPU seconds
and anonymous memory over the last two sizes. Linux.
"""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ruamel.yaml import YAML

from benchmarks.preprocess import REPOSITORY, Used, measure
from benchmarks.recommend import CLUSTER, HISTORY, events

SMALL = 2_000  # items and users of the other domain
TESTED = 1_000  # users of each domain with a test item, and as many others with a validation item
DAY_MS = 86_400_000
TRAIN_END, TEST_START = "2020-01-01", "2020-07-01"
FIRST_MS, TRAIN_END_MS, TEST_START_MS = (
    int(np.datetime64(day, "ms").astype(np.int64)) for day in ("2019-01-01", TRAIN_END, TEST_START)
)
WORDS = 20_000
WORDS_OF_CLUSTER, WORDS_OF_ITEM = 4, 4
TITLE = 3  # words
VARIANTS = ("sem", "recg", "anchored", "in_context")


def write_raw(folder: Path, name: str, num_items: int, num_users: int) -> None:
    """Parquet files of items in clusters of like texts, and of users' events in time."""
    rng = np.random.default_rng(2)
    words = pl.Series([f"{name}{n:05d}" if n % 2 else f"word{n:05d}" for n in range(WORDS)])
    clusters = rng.integers(0, WORDS, (num_items // CLUSTER + 1, WORDS_OF_CLUSTER))
    common = clusters[np.arange(num_items) // CLUSTER]
    own = (WORDS ** rng.random((num_items, WORDS_OF_ITEM))).astype(np.int64) - 1  # Zipf's law
    columns = [words.gather(column) for column in np.concatenate([common, own], axis=1).T]
    texts = pl.DataFrame({f"w{n}": column for n, column in enumerate(columns)})
    items = texts.select(
        item_id=pl.format("i{}", pl.int_range(num_items)),
        title=pl.concat_str(texts.columns[:TITLE], separator=" "),
        description=pl.concat_str(texts.columns[TITLE:], separator=" "),
    )
    items.write_parquet(folder / f"{name}-items.parquet")
    chosen = events(num_items, num_users).ravel()
    # Every item has an event, so that none is dropped.
    places = rng.permutation(len(chosen))[:num_items]
    chosen[places] = np.arange(num_items)
    # Half an event a day. Most histories lie before the validation period; some go on into it, and
    # some begin in it and go on into the test period.
    starts = rng.integers(FIRST_MS, TRAIN_END_MS - HISTORY * DAY_MS, num_users)
    starts[:TESTED] = TEST_START_MS - (HISTORY - 1) * DAY_MS
    starts[TESTED : 2 * TESTED] = TRAIN_END_MS - (HISTORY - 1) * DAY_MS
    interactions = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(num_users), HISTORY),
            "item_id": chosen,
            "timestamp": (starts[:, None] + np.arange(HISTORY) * DAY_MS).ravel(),
        }
    ).with_columns(pl.format("u{}", "user_id"), pl.format("i{}", "item_id"))
    interactions.write_parquet(folder / f"{name}-interactions.parquet")


def write_project(
    folder: Path, num_items: int, num_users: int, variants: Sequence[str]
) -> dict[str, Any]:
    """Raw files and `params.yaml` of a project; returns what that says."""
    sizes = {"large": (num_items, num_users), "small": (SMALL, SMALL)}
    params = YAML(typ="safe").load(REPOSITORY / "params.yaml")
    names = list(sizes)
    for name, size in sizes.items():
        write_raw(folder, name, *size)
        params["domains"][name] = {
            "reader": "table",
            "interactions": str(folder / f"{name}-interactions.parquet"),
            "items": str(folder / f"{name}-items.parquet"),
            "columns": {
                **{column: column for column in ("user_id", "item_id", "timestamp")},
                **{column: column for column in ("title", "description")},
            },
            "timestamp_unit": "ms",
        }
    params["grid"] = {
        "domains": names,
        "sources": names,
        "backbones": ["sasrec"],
        "variants": list(variants),
    }
    params["preprocess"] |= {
        "k_core": 1,
        "split": {"train_end": TRAIN_END, "test_start": TEST_START},
    }
    params["encoders"]["lsa"]["fit_domains"] = names
    params["pool"]["domains"] = names
    params["train"] |= {"max_epochs": 1, "batch_size": 256}
    params["patterns"]["max_epochs"] = 1
    YAML(typ="safe").dump(params, folder / "params.yaml")
    return params


def commands(params: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Stage, what of it and the command of each stage of `dvc.yaml`, in an order that works."""
    stages = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
    last = ("figures", "report")
    for name in [*(n for n in stages if n not in last), *last]:
        lists = {
            key: params["grid"][values.removeprefix("${grid.").removesuffix("}")]
            for key, values in stages[name].get("matrix", {}).items()
        }
        for chosen in product(*lists.values()):
            command = stages[name]["cmd"].replace("${encoder}", params["encoder"])
            for key, value in zip(lists, chosen, strict=True):
                command = command.replace(f"${{item.{key}}}", value)
            yield name, " ".join(chosen), [sys.executable, *command.split()[1:]]


def run(num_items: int, num_users: int, variants: Sequence[str], root: Path) -> dict[str, Used]:
    """What each stage used with so many items and users; prints what each of its runs did."""
    folder = root / f"{num_items}-{num_users}"
    folder.mkdir(parents=True)
    totals: dict[str, Used] = {}
    for stage, part, command in commands(write_project(folder, num_items, num_users, variants)):
        found = measure(command, folder)
        print(f"{num_items:,} {stage} {part}: {_cell(found)}", file=sys.stderr, flush=True)
        name = f"{stage} {part.split()[-1]}" if stage in ("train", "evaluate") else stage
        so_far = totals.get(name, Used(0, 0, 0, 0))
        totals[name] = Used(
            so_far.seconds + found.seconds,
            so_far.cpu_seconds + found.cpu_seconds,
            max(so_far.anonymous_mb, found.anonymous_mb),
            max(so_far.resident_mb, found.resident_mb),
        )
    return totals


def _cell(used: Used) -> str:
    return (
        f"{used.seconds:.0f} s, {used.cpu_seconds:.0f} CPU s, {used.anonymous_mb:,.0f} MB "
        f"({used.resident_mb:,.0f})"
    )


def main() -> None:
    """Print a table, a row a stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--users", type=int, nargs="+", help="as many numbers as for --items")
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--folder", type=Path, help="to work in and keep; else a temporary one")
    options = parser.parse_args()
    users = options.users or [max(size * 3 // 10, 3 * TESTED) for size in options.items]
    sizes = list(zip(options.items, users, strict=True))
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        found = [run(*size, options.variants, root) for size in sizes]
    print(f"load {os.getloadavg()[0]:.1f} at the end\n")
    heads = [f"{items:,} x {users:,}" for items, users in sizes]
    print(f"| items x users | {' | '.join(heads)} | time^ | memory^ |")
    print(f"|---|{'---:|' * (len(sizes) + 2)}")
    for stage in found[0]:
        of_stage = [of_size[stage] for of_size in found]
        growth = ["", ""]
        if len(sizes) > 1:
            step = math.log(sizes[-1][0] / sizes[-2][0])
            growth = [
                f"{math.log(of_stage[-1][column] / of_stage[-2][column]) / step:.2f}"
                for column in (1, 2)
            ]
        print(f"| `{stage}` | {' | '.join([*map(_cell, of_stage), *growth])} |")


if __name__ == "__main__":
    main()

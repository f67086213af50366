"""Quality of the backbones on the ids of one domain, beside RecTools' in the same run.

    python -m benchmarks.in_domain --domain FOLDER --embeddings FOLDER --rectools-python PYTHON

The folders are those that the preprocess and the encode stage wrote of a domain; PYTHON is of an
environment with RecTools. Both train on all but the last two items of a user until NDCG@10 on the
last but one has not improved for some epochs, and rank the last in the full catalogue, history left
out, the last but one being part of it. Sizes, rate and batch are the same for both. Seconds are
those of the CPU in training with its validation, of all users after every epoch, so that other
programs on the machine hardly count.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; see recg_core/cli/running.py

import numpy as np
import torch

from recg_core.domains.domain import Domain, load_domain
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.card import spec_of
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.ranking.metrics import mean_metrics
from recg_core.models.variant import IdItemsConfig, VariantConfig
from recg_core.training.config import TrainConfig
from recg_core.training.trainer import Trainer

K = 10
DIM, DROPOUT, BATCH_SIZE, LEARNING_RATE = 64, 0.2, 128, 1e-3
TRANSFORMER = {"num_layers": 2, "num_heads": 2}
OURS: dict[str, dict[str, Any]] = {
    "sasrec": TRANSFORMER,
    "bert4rec": {**TRANSFORMER, "mask_probability": 0.5},
    "gru4rec": {"num_layers": 1},
}
THEIRS: dict[str, dict[str, Any]] = {"sasrec": {}, "bert4rec": {"mask_prob": 0.5}}
LOSSES: dict[str, dict[str, Any]] = {
    "softmax": {"kind": "softmax"},
    "gbce": {"kind": "gbce", "t": 0.75},
    "bpr": {"kind": "bpr"},
}


class Result(NamedTuple):
    """What a model reached on test items, and what it took."""

    recall: float
    ndcg: float
    best_epoch: int
    epochs: int
    seconds: float


def ours(name: str, loss: str, domain: Domain, options: argparse.Namespace) -> Result:
    """Train a backbone of the registry on ids and rank the test items."""
    source = SourceDomains((domain,))
    row = {"dim": DIM, "dropout": DROPOUT, "max_length": options.length, **OURS[name]}
    config = TrainConfig(
        batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE, max_epochs=options.epochs,
        patience=options.patience, negatives=options.negatives, domain_sample=1,
        valid_users=len(domain.sequences.items), threads=options.threads,
    )  # fmt: skip
    spec = spec_of(name, row, VariantConfig(IdItemsConfig("id"), LOSSES[loss]), source)
    trainer = Trainer(source, {}, spec, config, options.seed, torch.device("cpu"))
    started = time.process_time()
    trained = trainer.fit()
    seconds = time.process_time() - started
    test = domain.sequences.holdout("test")
    with torch.inference_mode():
        scorer = trainer.trained.scorer(domain, test.history, test.history)
        ranks = rank_holdout(scorer, test, domain.num_items)
    found = mean_metrics(ranks.metrics((K,)))
    recall, ndcg = found[f"recall@{K}"], found[f"ndcg@{K}"]
    return Result(recall, ndcg, trained.best_epoch, len(trained.curve), seconds)


def theirs(
    name: str, interactions: Path, options: argparse.Namespace
) -> tuple[Result, dict[str, str]]:
    """The same of RecTools with the softmax over all items, and its versions."""
    settings = {
        "model": name, "seed": options.seed, "threads": options.threads,
        "max_epochs": options.epochs, "patience": options.patience,
        "arguments": {
            "n_factors": DIM, "n_blocks": TRANSFORMER["num_layers"],
            "n_heads": TRANSFORMER["num_heads"], "dropout_rate": DROPOUT,
            "session_max_len": options.length, "batch_size": BATCH_SIZE, "lr": LEARNING_RATE,
            "loss": "softmax", **THEIRS[name],
        },
    }  # fmt: skip
    path = interactions.with_name("settings.json")
    path.write_text(json.dumps(settings), encoding="utf-8")
    driver = Path(__file__).with_name("rectools_in_domain.py")
    command = [str(options.rectools_python), str(driver), str(interactions), str(path)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(printed.splitlines()[-1])
    return Result(*(found[field] for field in Result._fields)), found["versions"]


def write_interactions(domain: Domain, path: Path) -> None:
    """All sequences as RecTools reads them; a position is a second."""
    sequences, parts = domain.sequences, np.array(["train", "valid", "test"])
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "weight", "datetime", "part"])
        for user, start in enumerate(sequences.items.offsets[:-1]):
            values = sequences.items.values[start : sequences.items.offsets[user + 1]]
            when = np.arange(len(values))
            part = (when >= sequences.train_length[user]).astype(int)
            part += when == sequences.test_position[user]
            writer.writerows(
                (user, item, 1, moment, kind)
                for item, moment, kind in zip(values, when, parts[part], strict=True)
            )


def main() -> None:
    """Print the table of a domain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domain", type=Path, required=True, help="tables of the domain")
    parser.add_argument("--embeddings", type=Path, required=True, help="its embeddings")
    parser.add_argument("--rectools-python", type=Path, help="a Python that has RecTools")
    parser.add_argument("--backbones", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=["softmax"])
    parser.add_argument("--negatives", type=int, default=256)
    parser.add_argument("--length", type=int, default=20, help="items that a model reads")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--patience", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    domain = load_domain(options.domain, options.embeddings)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    print(f"`python -m benchmarks.in_domain {' '.join(sys.argv[1:])}`\n")
    print(
        f"{domain.name}: {len(domain.sequences.items):,} users, {domain.num_items:,} items; "
        f"{os.cpu_count()} cores {platform.machine()}, {options.threads} threads\n"
    )
    print("| model | Recall@10 | NDCG@10 | best epoch | epochs | CPU s |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        interactions = Path(folder) / "interactions.csv"
        write_interactions(domain, interactions)
        for name in options.backbones:
            if options.rectools_python and name in THEIRS:
                result, found = theirs(name, interactions, options)
                versions |= found
                print_row(f"RecTools {name}, softmax", result)
            for loss in options.losses:
                print_row(f"{name}, {loss}", ours(name, loss, domain, options))
    print("\n" + ", ".join(f"{name} {number}" for name, number in versions.items()))


def print_row(name: str, result: Result) -> None:
    """A row of the Markdown table, in percent."""
    print(
        f"| {name} | {100 * result.recall:.2f} | {100 * result.ndcg:.2f} | {result.best_epoch} | "
        f"{result.epochs} | {result.seconds:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()

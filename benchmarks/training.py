"""Users per second in training and ranking, beside other implementations in the same run.

    python -m benchmarks.training --peer LLM-RecG
    python -m benchmarks.training --data DATA --rectools-python VENV/bin/python

`--peer` is a checkout of the authors' code: both train SASRec at the paper's sizes, on random
embeddings and sequences. `--data` is a folder with Industrial_and_Scientific.jsonl.gz (Amazon
Reviews) and minilm/Industrial_and_Scientific.parquet (item_id, embedding): SASRec at the sizes
that RecTools' examples use. Contenders take turns and the best turn of each counts, so that a
machine shared with other programs slows all alike. No time includes reading data.
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
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; see recg_core/cli/running.py

import numpy as np
import polars as pl
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.llm_recg import AUXILIARY_ITEMS, NUM_AUXILIARY, LlmRecg, left_padded_batches
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Holdout, Ragged, Sequences
from recg_core.domains.source_domains import SourceDomains
from recg_core.models.card import spec_of
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.variant import (
    GeneralizationConfig,
    IdItemsConfig,
    TextItemsConfig,
    VariantConfig,
)
from recg_core.training.config import TrainConfig
from recg_core.training.trainer import Trainer

NUM_ITEMS, TEXT_DIM, DIM, BATCH_SIZE = 24_315, 4096, 256, 128  # the paper's
MIN_LENGTH, MEAN_LENGTH = 5, 8  # of whole sequences; the last two items are held out
PEER_STEPS = 3
PEER_RANKED = 4  # users
DOMAIN = "Industrial_and_Scientific"
BPR = {"kind": "bpr"}
VARIANTS = {
    "id": VariantConfig(IdItemsConfig("id"), BPR),
    "sem": VariantConfig(TextItemsConfig("text"), BPR),
    "recg": VariantConfig(
        TextItemsConfig("text", projections=2),
        BPR,
        generalization=GeneralizationConfig(
            intra={"kind": "uniformity"}, inter={"kind": "centers"}, alpha=0.1
        ),
    ),
}
Turn = Callable[[], float]  # does its work once and returns users per second


def best_of_turns(contenders: dict[str, Turn], repeats: int) -> dict[str, float]:
    """The best users per second of each, all taking turns; a first turn each does not count."""
    for turn in contenders.values():
        turn()
    best = dict.fromkeys(contenders, 0.0)
    for _ in range(repeats):
        for name, turn in contenders.items():
            best[name] = max(best[name], turn())
    return best


def make_trainer(
    name: str, domain: Domain, pool: dict[str, np.ndarray], config: TrainConfig,
    args: dict[str, float], *, backbone: str = "sasrec", device: str = "cpu",
) -> Trainer:  # fmt: skip
    """The product's training loop of a backbone in the variant `name`."""
    spec = spec_of(backbone, args, VARIANTS[name], SourceDomains((domain,)))
    return Trainer(SourceDomains((domain,)), pool, spec, config, 0, torch.device(device))


def epoch_turn(trainer: Trainer) -> Turn:
    """Training for one epoch."""
    epochs = iter(range(1, 1_000_000))

    def turn() -> float:
        started = time.perf_counter()
        trainer._epoch(next(epochs), tqdm(disable=True))
        return trainer.num_users / (time.perf_counter() - started)

    return turn


def ranking_turn(trainer: Trainer, holdout: Holdout) -> Turn:
    """Everything from item features to exact ranks in the full catalogue, history left out."""

    def turn() -> float:
        trainer.model.eval()
        source = trainer.parts[0].domain
        started = time.perf_counter()
        with torch.inference_mode():
            scorer = trainer.trained.scorer(source, holdout.history, holdout.history)
            rank_holdout(scorer, holdout, source.num_items)
        return len(holdout.users) / (time.perf_counter() - started)

    return turn


def random_domain(num_users: int, rng: np.random.Generator) -> tuple[Domain, torch.Tensor]:
    """Users and items of the paper's sizes, and the embeddings with a padding row in front."""
    embeddings = torch.from_numpy(rng.standard_normal((NUM_ITEMS + 1, TEXT_DIM), np.float32))
    lengths = MIN_LENGTH - 1 + rng.geometric(1 / (MEAN_LENGTH - MIN_LENGTH + 1), num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.integers(1, NUM_ITEMS + 1, offsets[-1]).astype(np.int32)
    domain = Domain(
        name="source",
        sequences=leave_two_out(Ragged(values, offsets)),
        item_ids=[str(item) for item in range(NUM_ITEMS)],
        text=embeddings[1:].numpy(),
        encoder_fingerprint="",
    )
    return domain, embeddings


def leave_two_out(items: Ragged) -> Sequences:
    """Sequences of which the last two items are those of validation and test."""
    train_length = (items.lengths - 2).astype(np.int32)
    users = [str(user) for user in range(len(items))]
    return Sequences(items, users, train_length, train_length, train_length + 1)


def paper_sizes(peer: Path, num_users: int, repeats: int) -> None:
    """Print the table of training and ranking beside the authors' code."""
    rng = np.random.default_rng(0)
    domain, embeddings = random_domain(num_users, rng)
    pool = {
        f"auxiliary {i}": rng.standard_normal((AUXILIARY_ITEMS, TEXT_DIM), np.float32)
        for i in range(NUM_AUXILIARY)
    }
    backbone = {"dim": DIM, "num_layers": 2, "num_heads": 2, "dropout": 0.5, "max_length": 50}

    def trainer(name: str, domain_sample: int) -> Trainer:
        config = TrainConfig(
            batch_size=BATCH_SIZE, learning_rate=1e-4, max_epochs=1, patience=1, negatives=128,
            domain_sample=domain_sample, valid_users=1, threads=2,
        )  # fmt: skip
        return make_trainer(name, domain, pool, config, backbone)

    theirs = LlmRecg(peer, embeddings, DIM)
    test = domain.sequences.holdout("test")
    chosen = np.arange(PEER_STEPS * BATCH_SIZE)
    histories = [domain.sequences.training().take(chosen[i : i + 1]).values for i in chosen]
    valid = domain.sequences.holdout("valid").target[chosen]
    batches = left_padded_batches(histories, valid, test.target[chosen], BATCH_SIZE)
    histories_BL, valid_B, test_B = batches[0]
    few = [(histories_BL[:PEER_RANKED], valid_B[:PEER_RANKED], test_B[:PEER_RANKED])]
    recg = trainer("recg", BATCH_SIZE)
    ours = {
        f"recg, {BATCH_SIZE} items a domain in Eq. 13, as theirs": recg,
        "recg, 32 items a domain": trainer("recg", 32),
        "sem": trainer("sem", 32),
    }
    lengths = domain.sequences.items.lengths
    print(
        f"\n{NUM_ITEMS:,} items x {TEXT_DIM:,}, SASRec d {DIM}, 2 blocks, 2 heads, batch 128, "
        f"{num_users:,} users, sequences of mean length {lengths.mean():.2f}\n"
    )
    turns: dict[str, Turn] = {
        "LLM-RecG as released, SASRec-RecG": lambda: len(chosen) / theirs.train_seconds(batches)
    }
    turns |= {name: epoch_turn(of_variant) for name, of_variant in ours.items()}
    print_table("training", best_of_turns(turns, repeats))
    print_arithmetic(ours)
    ranking = best_of_turns(
        {
            "LLM-RecG as released, 101 candidates": lambda: (
                PEER_RANKED / theirs.evaluate_seconds(few)
            ),
            f"full catalogue, exact, {len(test.users):,} users": ranking_turn(recg, test),
        },
        repeats,
    )
    print_table("ranking", ranking)


def print_arithmetic(trainers: dict[str, Trainer]) -> None:
    """A Markdown table of what the matrix products of training allow at most."""
    left, right = torch.randn(2048, TEXT_DIM), torch.randn(TEXT_DIM, DIM)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - started)
    rate = 2 * left.numel() * DIM / min(seconds) / 1e9
    print(f"| products alone, at {rate:,.0f} GFLOP/s | GFLOP a user | users/s |")
    print("|---|---:|---:|")
    for name, trainer in trainers.items():
        with FlopCounterMode(display=False) as counter:
            trainer._epoch(1, tqdm(disable=True))
        of_user = counter.get_total_flops() / trainer.num_users / 1e9
        print(f"| {name} | {of_user:.3f} | {rate / of_user:,.0f} |")
    print(flush=True)


def read_reviews(data: Path) -> Domain:
    """The real domain, its items in the order of the embeddings' file."""
    vectors = pl.read_parquet(data / "minilm" / f"{DOMAIN}.parquet").sort("item_id")
    index = vectors.select("item_id", item_idx=pl.int_range(1, pl.len() + 1, dtype=pl.Int32))
    lines = pl.scan_ndjson(data / f"{DOMAIN}.jsonl.gz")
    columns = lines.select("user_id", "timestamp", item_id="parent_asin").collect()
    reviews = columns.join(index, on="item_id").sort("user_id", "timestamp")
    lengths = reviews.group_by("user_id", maintain_order=True).len()["len"].to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    text = np.stack(vectors["embedding"].to_list()).astype(np.float32)
    items = Ragged(reviews["item_idx"].to_numpy(), offsets)
    return Domain(DOMAIN, leave_two_out(items), vectors["item_id"].to_list(), text, "")


def peer_sizes(data: Path, rectools_python: Path, threads: int, repeats: int) -> None:
    """Print the table of training and recommendation beside RecTools."""
    domain = read_reviews(data)
    backbone = {"dim": 64, "num_layers": 2, "num_heads": 2, "dropout": 0.2, "max_length": 20}
    config = TrainConfig(
        batch_size=128, learning_rate=1e-3, max_epochs=1, patience=1, negatives=256,
        domain_sample=32, valid_users=1, threads=2,
    )  # fmt: skip
    trainers = {name: make_trainer(name, domain, {}, config, backbone) for name in ("id", "sem")}
    after_training = domain.sequences.holdout("valid")
    peer: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        interactions = Path(folder) / "interactions.csv"
        write_interactions(domain.sequences.training(), interactions)
        driver = Path(__file__).with_name("rectools_sasrec.py")
        command = [str(rectools_python), str(driver), str(interactions), str(threads)]

        def rectools_turn() -> float:
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            result = json.loads(printed.splitlines()[-1])
            peer["recommend"] = max(peer.get("recommend", 0.0), result["recommend"])
            versions.update(rectools=result["version"], torch=result["torch"])
            return float(result["train"])

        versions: dict[str, str] = {}
        turns = {name: epoch_turn(trainer) for name, trainer in trainers.items()}
        training = best_of_turns(
            {"RecTools SASRec, BCE, 5 negatives": rectools_turn} | turns, repeats
        )
    ranking = best_of_turns(
        {name: ranking_turn(trainer, after_training) for name, trainer in trainers.items()}, repeats
    )
    lengths = domain.sequences.training().lengths
    print(f"\n{DOMAIN}: {len(lengths):,} users, {domain.num_items:,} items, {lengths.mean():.2f} "
          "training items a user; SASRec d 64, 2 blocks, 2 heads, length 20, batch 128; "
          f"RecTools {versions['rectools']} on torch {versions['torch']};\nours: BPR with 256 "
          "negatives a batch, all of which every position is compared with\n")  # fmt: skip
    print_table("training", training)
    recommend = {"RecTools recommend, top 10": peer["recommend"]}
    print_table("ranking", recommend | {f"{name}, exact ranks": ranking[name] for name in ranking})


def write_interactions(sequences: Ragged, path: Path) -> None:
    """Sequences as RecTools reads them; a position is a second."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "weight", "datetime"])
        for user in range(len(sequences)):
            values = sequences.values[sequences.offsets[user] : sequences.offsets[user + 1]]
            writer.writerows([user, item, 1, when] for when, item in enumerate(values))


def print_table(work: str, speeds: dict[str, float]) -> None:
    """A Markdown table; ratios are to the first row."""
    first = next(iter(speeds.values()))
    print(f"| {work} | users/s | ratio |\n|---|---:|---:|")
    for name, speed in speeds.items():
        print(f"| {name} | {speed:,.{0 if speed >= 100 else 1}f} | {speed / first:,.1f} |")
    print(flush=True)


def main() -> None:
    """Run the comparisons whose peers are given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, help="a checkout of LLM-RecG")
    parser.add_argument("--data", type=Path, help="a folder with reviews and MiniLM vectors")
    parser.add_argument("--rectools-python", type=Path, help="a Python that has RecTools")
    parser.add_argument("--users", type=int, default=3200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not options.peer and not (options.data and options.rectools_python):
        parser.error("give --peer, or --data and --rectools-python")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"`python -m benchmarks.training {' '.join(sys.argv[1:])}`\n")
    print(
        f"{os.cpu_count()} cores {platform.machine()}, load {os.getloadavg()[0]:.1f} at the start, "
        f"{options.threads} threads, OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']}, "
        f"Python {platform.python_version()}, torch {torch.__version__}; best of {options.repeats}"
    )
    if options.peer:
        paper_sizes(options.peer, options.users, options.repeats)
    if options.data and options.rectools_python:
        peer_sizes(options.data, options.rectools_python, options.threads, options.repeats)


if __name__ == "__main__":
    main()

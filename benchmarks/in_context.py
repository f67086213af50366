"""How many histories until they beat texts, and training: `python -m benchmarks.in_context`.

Ranks the test items of every target in the full catalogue by rows that read a share of the target's
histories, and by `in_context` with weights learned on every other domain. Needs the tables and
embeddings of a project: `--domains data/domains --embeddings data/embeddings/minilm IS MI VG`.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from recg_core.base.sources import domains_of, in_domain
from recg_core.domains.domain import Domain, load_domains
from recg_core.domains.sequences import Holdout, Ragged, share_of
from recg_core.domains.source_domains import source_of
from recg_core.evaluation.training_free import BaselinesConfig, training_free_scorers
from recg_core.models.in_context.context import read_context
from recg_core.models.in_context.scorer import InContext
from recg_core.models.in_context.trial import read_domain
from recg_core.models.near import near_items
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.ranking.metrics import mean_metrics
from recg_core.models.rows import Scorer
from recg_core.report.statistics import bootstrap_means, interval, paired_t_test
from recg_core.training.in_context import learn_in_context

ROWS = ("popularity", "knn_lse_centered", "knn_lse_popularity", "visits_last", "visits_knn", "ease")
CONFIG = BaselinesConfig(decay=0.85, sharpness=8.0, popularity=0.1, ease=50.0)
SHARES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.0)
RESAMPLES = 1000


def measured(scorer: Scorer, holdout: Holdout, num_items: int) -> dict[str, np.ndarray]:
    """Recall@10 and NDCG@10 of every user by full ranking, and NDCG@10 against 100 negatives."""
    ranks = rank_holdout(scorer, holdout, num_items, label="benchmark")
    full, sampled = ranks.metrics((10,)), ranks.metrics((10,), 100)
    return {
        "recall": full["recall@10"],
        "ndcg": full["ndcg@10"],
        "sampled_recall": sampled["recall@10"],
        "sampled": sampled["ndcg@10"],
    }


def rows_of(
    target: Domain, holdout: Holdout, observed: Ragged, learned: dict[str, list[InContext]]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Every row and its users' metrics, those of several seeds as their mean."""
    for name, scorer in training_free_scorers(target, holdout.history, observed, CONFIG):
        if name in ROWS:
            yield name, measured(scorer, holdout, target.num_items)
    start = time.perf_counter()
    read = read_domain if target.sequences.leaves_one_out else read_context
    context = read(near_items(target.text, None, torch.device("cpu")), observed)
    print(f"context of {target.name}: {time.perf_counter() - start:.1f} s", flush=True)
    for source, models in learned.items():
        if in_domain(source, target.name):
            continue
        start = time.perf_counter()
        of_seeds = [
            measured(model.scorer(context, holdout.history), holdout, target.num_items)
            for model in models
        ]
        speed = len(models) * len(holdout.users) / (time.perf_counter() - start)
        print(f"{source} -> {target.name}: {speed:.0f} users/s, ranks included", flush=True)
        yield f"in_context of {source}", mean_metrics_of(of_seeds)


def mean_metrics_of(seeds: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The mean over seeds of every user."""
    return {name: np.mean([seed[name] for seed in seeds], axis=0) for name in seeds[0]}


def compared(row: np.ndarray, other: np.ndarray) -> str:
    """95 % bootstrap interval of the mean difference over users, and p of the paired t-test."""
    difference_U1 = (row - other)[:, None]
    low, high = interval(bootstrap_means([difference_U1], len(difference_U1), RESAMPLES, 0))
    p_value = paired_t_test(difference_U1).item()
    return f"{100 * low.item():+.2f} to {100 * high.item():+.2f}, p {p_value:.2g}"


def against_its_domains(results: dict[str, dict[str, np.ndarray]]) -> Iterator[str]:
    """Rows of several domains beside the better one of these alone, better on the same users."""
    for row, metrics in results.items():
        singles = [f"in_context of {domain}" for domain in domains_of(row.split()[-1])]
        if len(singles) < 2 or not set(singles) <= set(results):
            continue
        for metric in ("ndcg", "sampled"):
            best = max(singles, key=lambda single: float(results[single][metric].mean()))
            difference = metrics[metric].mean() - results[best][metric].mean()
            said = compared(metrics[metric], results[best][metric])
            yield f"{row} | {metric} less that of {best}: {100 * difference:+.2f}, {said}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", type=Path, required=True)
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--users", type=int, default=5000, help="test users of a target")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--sources", nargs="+", help="IS, or IS+VG of two; by default the targets")
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args()
    sources = options.sources or options.targets
    names = {domain for source in sources for domain in domains_of(source)} | {*options.targets}
    found = load_domains(sorted(names), options.domains, options.embeddings, Path(".work/vectors"))
    learned: dict[str, list[InContext]] = {}
    for name in sources:
        learned[name] = []
        for seed in range(options.seeds):
            start = time.perf_counter()
            model = InContext()
            learn_in_context(model, source_of(name, found), 1000, seed)
            learned[name].append(model)
            print(f"learned on {name}: {time.perf_counter() - start:.1f} s", flush=True)
    for share in options.shares:
        for name in options.targets:
            target = found[name]
            holdout = target.sequences.holdout("test").sample(options.users)
            observed = share_of(target.sequences.observed("test"), share)
            results = dict(rows_of(target, holdout, observed, learned))
            best = results["ease"]["ndcg"]
            for row, metrics in results.items():
                means = mean_metrics(metrics)
                print(
                    f"{100 * share:g} % of {name} ({len(holdout.users)} users) | {row} | "
                    + " / ".join(f"{100 * means[m]:.2f}" for m in means)
                    + f" | NDCG@10 less EASE's {compared(metrics['ndcg'], best)}",
                    flush=True,
                )
            for line in against_its_domains(results):
                print(f"{100 * share:g} % of {name} | {line}", flush=True)


if __name__ == "__main__":
    main()

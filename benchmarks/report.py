"""Time, memory and disk of the report on the paper's full grid, from simulated ranks.

27 models (three sources, backbones and variants) x 3 targets x seeds x users, and ten training-free
rows a target: `python -m benchmarks.report`, or with `--users 465000` for 200 million ranks.
"""

import argparse
import resource
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.files import write_sealed_json
from recg_core.base.schema import SLICES
from recg_core.evaluation.certificate import NO_SOURCE, Saw, write_cell
from recg_core.models.ranking.ranks import SeedRanks
from recg_core.report.build import Inputs, Outputs, write_report
from recg_core.report.cells import Grid, Model
from recg_core.report.config import ReportConfig

ITEMS = 24_000
GRID = Grid(
    ("IS", "VG", "MI"), ("IS", "VG", "MI"), ("gru4rec", "sasrec", "bert4rec"),
    ("sem", "recg", "best"),
)  # fmt: skip
FREE_ROWS = [Model(None, f"row_{i}") for i in range(10)]


def main() -> None:
    """Simulate, report, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=90_000)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ranks = simulate(root, options.users, options.seeds)
        size = sum(path.stat().st_size for path in (root / "ranks").rglob("*.parquet"))
        print(f"{ranks:,} ranks, {size / 1e6:.1f} MB, {size / ranks:.3f} bytes a rank")
        before = peak_gigabytes()
        start = time.perf_counter()
        inputs = Inputs(*(root / n for n in ("ranks", "slices", "domains", "curves", "figures")))
        names = ("out", "full", "sampled", "summary.json", "heatmap.svg")
        outputs = Outputs(*(root / name for name in names))
        write_report(inputs, outputs, GRID, ReportConfig(), preparation="Simulated.")
        print(f"report: {time.perf_counter() - start:.1f} s")
        print(f"peak memory: {peak_gigabytes():.2f} GB ({before:.2f} GB before the report)")
        page = (root / "out" / "report.html").stat().st_size
        print(f"report.html: {page / 1e6:.2f} MB")


def peak_gigabytes() -> float:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def simulate(root: Path, users: int, seeds: int) -> int:
    """Write every input of a report; return the number of ranks."""
    random = np.random.default_rng(0)
    count = 0
    for target in GRID.domains:
        candidates = (ITEMS - 3 - random.geometric(0.2, users)).astype(np.int32)
        for model, source in product(GRID.models(zero_shot=True), GRID.sources):
            count += simulate_cell(root, model, source, target, candidates, seeds, random)
        for row in FREE_ROWS:
            count += simulate_cell(root, row, NO_SOURCE, target, candidates, 1, random)
        for source in GRID.sources:
            slices = pl.DataFrame(
                {
                    "user_idx": np.arange(users),
                    "history_length": ITEMS - candidates,
                    "popularity": random.geometric(0.02, users),
                    "head": random.random(users) < 0.5,
                    "source_similarity": random.random(users),
                },
                schema=SLICES.columns,
            )
            SLICES.write(slices, root / "slices" / f"{source}_to_{target}.parquet")
        stats = {"num_items": ITEMS, "num_users": users, "num_test_users": users}
        stats |= {"num_interactions": 8 * users}
        stats_path = root / "domains" / target / "stats.json"
        write_sealed_json(stats_path, {**stats, "mean_sequence_length": 8.0})
    return count


def simulate_cell(
    root: Path, model: Model, source: str, target: str, candidates: np.ndarray, seeds: int,
    random: np.random.Generator,
) -> int:  # fmt: skip
    """Ranks between uniform and near the top: u^2.5 of the catalogue; one rank in 100 is tied."""
    shape = (len(candidates), seeds)
    higher = (candidates[:, None] - 2) * random.random(shape) ** 2.5
    ranks = SeedRanks(
        np.arange(len(candidates), dtype=np.int32),
        np.arange(seeds, dtype=np.int32),
        candidates,
        higher.astype(np.int32),
        (random.random(shape) < 0.01).astype(np.int32),
    )
    used = source == target
    saw = Saw(
        zero_shot=not used,
        target_text_seen=True,
        target_interactions_used=used,
        user_overlap=0.0,
        item_overlap=0.0,
    )
    write_cell(
        root / "ranks" / str(model), f"{source}_to_{target}", ranks, saw,
        backbone=model.backbone, variant=model.variant, source=source, target=target,
    )  # fmt: skip
    return len(candidates) * seeds


if __name__ == "__main__":
    main()

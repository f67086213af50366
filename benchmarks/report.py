"""Time, memory and disk of the report on the paper's full grid, from simulated ranks.

27 models (three sources, backbones and variants) x 3 targets x 5 seeds x 90,000 users, and ten
training-free rows a target: `python -m benchmarks.report`
"""

import resource
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.files import write_json
from recg_core.base.schema import RANKS, SLICES
from recg_core.ranking.full_rank import cell_metrics
from recg_core.ranking.metrics import NO_SOURCE
from recg_core.ranking.ranks import SeedRanks
from recg_core.report.analysis import ReportConfig
from recg_core.report.build import Inputs, write_report
from recg_core.report.cells import Grid

USERS, SEEDS, ITEMS = 90_000, 5, 24_000
GRID = Grid(
    ("IS", "VG", "MI"), ("IS", "VG", "MI"), ("gru4rec", "sasrec", "bert4rec"),
    ("sem", "recg", "best"),
)  # fmt: skip
FREE_ROWS = [f"row_{i}" for i in range(10)]


def main() -> None:
    """Simulate, report, print."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ranks = simulate(root)
        size = sum(path.stat().st_size for path in (root / "ranks").rglob("*.parquet"))
        print(f"{ranks:,} ranks, {size / 1e6:.1f} MB, {size / ranks:.3f} bytes a rank")
        before = peak_gigabytes()
        start = time.perf_counter()
        names = ("metrics", "ranks", "slices", "domains", "curves", "figures")
        write_report(
            Inputs(*(root / name for name in names)), root / "out", GRID, ReportConfig(),
            revision="Simulated.", preparation="Simulated.",
        )  # fmt: skip
        print(f"report: {time.perf_counter() - start:.1f} s")
        print(f"peak memory: {peak_gigabytes():.2f} GB ({before:.2f} GB before the report)")
        page = (root / "out" / "report.html").stat().st_size
        print(f"report.html: {page / 1e6:.2f} MB")


def peak_gigabytes() -> float:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def simulate(root: Path) -> int:
    """Write every input of a report; return the number of ranks."""
    random = np.random.default_rng(0)
    count = 0
    for target in GRID.domains:
        candidates = (ITEMS - 3 - random.geometric(0.2, USERS)).astype(np.int32)
        for model, source in product(GRID.models(zero_shot=True), GRID.sources):
            count += simulate_cell(root, model, source, target, candidates, SEEDS, random)
        for row in FREE_ROWS:
            count += simulate_cell(root, row, NO_SOURCE, target, candidates, 1, random)
        for source in GRID.sources:
            slices = pl.DataFrame(
                {
                    "user_idx": np.arange(USERS),
                    "history_length": ITEMS - candidates,
                    "popularity": random.geometric(0.02, USERS),
                    "head": random.random(USERS) < 0.5,
                    "source_similarity": random.random(USERS),
                },
                schema=SLICES.columns,
            )
            SLICES.write(slices, root / "slices" / f"{source}_to_{target}.parquet")
        stats = dict.fromkeys(("num_items", "num_users", "num_interactions"), 1)
        stats_path = root / "domains" / target / "stats.json"
        write_json(stats_path, {**stats, "mean_sequence_length": 8.0})
    return count


def simulate_cell(
    root: Path, model: str, source: str, target: str, candidates: np.ndarray, seeds: int,
    random: np.random.Generator,
) -> int:  # fmt: skip
    """Ranks between uniform and near the top: u^2.5 of the catalogue; one rank in 100 is tied."""
    shape = (USERS, seeds)
    higher = (candidates[:, None] - 2) * random.random(shape) ** 2.5
    ranks = SeedRanks(
        np.arange(USERS, dtype=np.int32),
        np.arange(seeds, dtype=np.int32),
        candidates,
        higher.astype(np.int32),
        (random.random(shape) < 0.01).astype(np.int32),
    ).to_frame()
    place = Path(model) / f"{source}_to_{target}"
    RANKS.write(ranks, root / "ranks" / place.with_suffix(".parquet"))
    used = source == target
    content = {
        "model": model, "source": source, "target": target, "num_seeds": seeds,
        "num_users": USERS, "mean_candidates": float(candidates.mean()),
        "saw": {"target_text_seen": True, "target_interactions_used": used, "zero_shot": not used},
        **cell_metrics(ranks.head(10)),
    }  # fmt: skip
    write_json(root / "metrics" / place.with_suffix(".json"), content)
    return USERS * seeds


if __name__ == "__main__":
    main()

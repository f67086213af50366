"""Memory: its bound for a large catalogue, and what is said when there is too little."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.memory import load, peak, write_domain
from recg_core.base.errors import UserError
from recg_core.domains import domain as domains
from recg_core.domains.domain import load_domain, load_domains
from recg_core.domains.sequences import Holdout, Ragged
from recg_core.models.near import HalfItems, cosine, near_items
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.rows import Scorer

TOO_SMALL = """
import resource, sys
import numpy as np, typer
from recg_core.cli.running import run
from recg_core.evaluation.training_free import _same_for_all
from recg_core.models.neighbors import kernel_scorer
from recg_core.domains.sequences import Ragged

def main() -> None:
    import torch
    items = torch.zeros(200_000, 8)
    history = Ragged(np.arange(1, 60_001, dtype=np.int32), np.array([0, 60_000]))
    score = kernel_scorer(history, items, lambda age: torch.ones(len(age)), 1.0)
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (20 << 20), resource.RLIM_INFINITY))
    score(np.array([0]), slice(0, 1000))

sys.argv = ["test"]
run(main)
"""


@pytest.mark.parametrize("allocate", [lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50)])
def test_a_tile_that_memory_does_not_suffice_for_is_one_clear_error(allocate: object) -> None:
    assert callable(allocate)
    scorer = Scorer(lambda rows: lambda items: allocate())
    holdout = Holdout(np.zeros(1, np.int32), Ragged(np.ones(1, np.int32), np.array([0, 1])),
                      np.array([2], dtype=np.int32))  # fmt: skip
    with pytest.raises(UserError, match=r"sasrec on games: ranking among 3,000 items: .*memory"):
        rank_holdout(scorer, holdout, 3000, label="sasrec on games")


def test_a_command_with_too_little_memory_says_so_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOO_SMALL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "error: there was not enough memory; end other programs" in done.stderr


def test_large_embeddings_are_mapped_and_small_ones_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_domain(tmp_path, "games", 4500, 20)
    embeddings, mapped = tmp_path / "embeddings", tmp_path / "mapped"
    in_memory = load_domain(tmp_path / "games", embeddings / "games")
    assert load(tmp_path, "games").text.dtype == np.float32
    assert not mapped.exists()
    monkeypatch.setattr(domains, "MAPPED_BYTES", 1 << 20)
    mapped.mkdir()
    (mapped / f"embeddings-games-{'0' * 32}.safetensors").touch()  # of embeddings that are no more
    for _ in range(2):  # the file is made, and found
        found = load_domains(["games"], tmp_path, embeddings, mapped)["games"]
        assert isinstance(found.text, np.memmap)
        assert len(list(mapped.iterdir())) == 1
        np.testing.assert_array_equal(found.text.astype(np.float32), in_memory.text)
    (file,) = mapped.iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    found = load(tmp_path, "games")
    np.testing.assert_array_equal(found.text.astype(np.float32), in_memory.text)
    # Cosines of mapped halves are those of what is read into memory.
    monkeypatch.setattr("recg_core.models.near.WHOLE_BYTES", 0)
    halves = near_items(found.text, found.text_mean, torch.device("cpu"))
    assert isinstance(halves, HalfItems)
    units, some = near_items(in_memory.text, None, torch.device("cpu")), np.array([3, 4400])
    torch.testing.assert_close(cosine(halves, some), cosine(units, some), atol=1e-5, rtol=0)


@pytest.mark.real
@pytest.mark.parametrize(
    ("row", "bound"), [("knn_lse", 1200), ("sem", 900), ("visits_knn", 1200), ("slices", 700)]
)
def test_ranking_a_hundred_thousand_items_and_users_takes_little_memory(
    row: str, bound: int, tmp_path: Path
) -> None:
    """An item-item kernel would be 40 GB, all scores as much."""
    write_domain(tmp_path, "large", 100_000, 100_000)
    found, _ = peak(row, tmp_path, "large", groups=2)
    assert found < bound

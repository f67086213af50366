"""Figure 3 of trained models: which items and users are measured, and what the JSON says."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recg_core.base.errors import UserError
from recg_core.base.files import read_json
from recg_core.domains.domain import Domain
from recg_core.figures.embedding_figures import (
    FiguresConfig,
    measure_patterns,
    sample_items,
    write_embedding_figures,
)
from recg_core.figures.item_space import effective_rank
from recg_core.models.patterns import Patterns, pattern_variance_share
from recg_core.models.trained import load_trained
from recg_core.training.cluster import cluster_model
from recg_core.training.plan import plan_runs
from recg_core.training.train import train_models
from tests.conftest import alone, cycle_domain
from tests.test_cells import CLUSTERED, IDS, ONE_EPOCH, PATTERNS
from tests.test_training import SEM, pool_of, spec

CONFIG = FiguresConfig(items=12, users=10, perplexity=5.0, seed=0)
VARIANTS = {"id": IDS, "sem": SEM, "recg": CLUSTERED}


def patterns_with(fusion: Tensor, temperature: float = 1.0) -> Patterns:
    centroids = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    return Patterns(centroids, fusion, temperature)


def users(seed: int = 0) -> Tensor:
    return torch.randn(30, 2, generator=torch.Generator().manual_seed(seed))


def test_patterns_add_no_variance_where_w_f_leaves_users_as_they_are() -> None:
    start = torch.cat([torch.eye(2), torch.zeros(2, 2)], dim=1)
    assert pattern_variance_share(patterns_with(start), users()) == 0.0


def test_patterns_are_all_the_variance_where_w_f_leaves_users_out() -> None:
    fusion = torch.cat([torch.zeros(2, 2), torch.eye(2)], dim=1)
    assert pattern_variance_share(patterns_with(fusion), users()) == 1.0
    # A temperature so high that everyone attends the same mixture: it adds nothing.
    both = torch.cat([torch.eye(2), torch.eye(2)], dim=1)
    assert pattern_variance_share(patterns_with(both, 1e9), users()) == pytest.approx(0, abs=1e-9)


def test_the_variance_share_is_that_of_the_two_parts() -> None:
    fusion = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    own, added = [], []
    for user in users().tolist():
        norm = (user[0] ** 2 + user[1] ** 2) ** 0.5
        weights = np.exp([user[0] / norm, user[1] / norm])
        weights /= weights.sum()
        own.append(fusion[:, :2].numpy() @ user)
        added.append(fusion[:, 2:].numpy() @ [weights[0], 3 * weights[1]])
    variances = [np.var(own, axis=0).sum(), np.var(added, axis=0).sum()]
    expected = variances[1] / sum(variances)
    assert pattern_variance_share(patterns_with(fusion), users()) == pytest.approx(expected)


def test_numbers_of_patterns_are_means_over_domains() -> None:
    fusion = torch.ones(2, 4)
    parts = [measure_patterns(patterns_with(fusion), [users(seed)]) for seed in (0, 1)]
    both = measure_patterns(patterns_with(fusion), [users(0), users(1)])
    for name, value in both.items():
        assert value == pytest.approx((parts[0][name] + parts[1][name]) / 2)


def test_as_many_items_of_each_domain_are_sampled_as_the_smallest_has() -> None:
    domains = [cycle_domain("north", num_items=9), cycle_domain("south", num_items=24)]
    sample = sample_items(domains, CONFIG)
    assert sample.domains.tolist() == [0] * 9 + [1] * 9
    assert len(set(sample.rows[1].tolist())) == 9
    expected = [domain.text[rows] for domain, rows in zip(domains, sample.rows, strict=True)]
    assert (sample.text == np.concatenate(expected)).all()
    other = sample_items(domains, dataclasses.replace(CONFIG, seed=1))
    assert other.rows[1].tolist() != sample.rows[1].tolist()


def test_domains_that_cannot_be_compared_are_refused() -> None:
    north, small = cycle_domain("north"), cycle_domain("small", num_items=4)
    for domains in ([north], [north, small]):
        with pytest.raises(UserError, match="too few to compare domains"):
            sample_items(domains, CONFIG)
    with pytest.raises(UserError, match=r"more items than figures\.perplexity \(24\)"):
        sample_items([north, north], dataclasses.replace(CONFIG, perplexity=24.0))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GRU4Rec on `source` after an epoch, a variant each."""
    folder = tmp_path_factory.mktemp("project")
    source = cycle_domain("source", num_users=60)
    for name, variant in VARIANTS.items():
        place = Path(name, "source")
        plan = plan_runs(
            alone(source), pool_of("north", "south"), [spec("gru4rec", source, variant)],
            ONE_EPOCH, [0], work=folder / "work",
        )  # fmt: skip
        train_models(plan, folder / "models" / place)
        cluster_model(
            folder / "models" / place / "gru4rec", lambda: alone(source), PATTERNS,
            folder / "patterns" / place / "gru4rec", folder / "validation" / place / "gru4rec.json",
        )  # fmt: skip
    return folder


def both_domains() -> list[Domain]:
    return [cycle_domain("source", num_users=60), cycle_domain("target", num_users=20, seed=1)]


def written(project: Path, out: Path) -> None:
    write_embedding_figures(
        project / "models", project / "patterns", both_domains(), ["source"], ["gru4rec"],
        list(VARIANTS), CONFIG, out / "figures", out / "item_space.json",
    )  # fmt: skip


def test_every_transferable_model_is_measured_and_tabulated(project: Path, tmp_path: Path) -> None:
    written(project, tmp_path)
    numbers = read_json(tmp_path / "item_space.json")
    assert set(numbers) == {"text", "source"}
    assert set(numbers["source"]) == {"gru4rec-sem", "gru4rec-recg"}  # ids do not transfer
    assert "attention_entropy" not in numbers["source"]["gru4rec-sem"]
    assert 0 < numbers["source"]["gru4rec-recg"]["attention_entropy"] <= 1
    for method in ("tsne", "pca"):
        figure = read_json(tmp_path / "figures" / f"{method}_source.json")
        assert [row[0] for row in figure["rows"]] == ["text", "gru4rec-sem", "gru4rec-recg"]
        assert all(len(row) == len(figure["columns"]) for row in figure["rows"])
        assert figure["rows"][1][-2:] == [None, None]
        assert (tmp_path / "figures" / figure["image"]).stat().st_size < 60_000


def test_what_is_measured_are_the_item_vectors_of_the_model(project: Path, tmp_path: Path) -> None:
    written(project, tmp_path)
    domains = both_domains()
    place = Path("sem", "source", "gru4rec")
    model = load_trained(project / "models" / place, project / "patterns" / place, 0, "cpu")
    sample = sample_items(domains, CONFIG)
    with torch.no_grad():
        vectors = np.concatenate(
            [
                model.recommender.items(torch.from_numpy(domain.text[rows])).numpy()
                for domain, rows in zip(domains, sample.rows, strict=True)
            ]
        )
    found = read_json(tmp_path / "item_space.json")["source"]["gru4rec-sem"]
    assert found["effective_rank"] == pytest.approx(effective_rank(vectors), rel=1e-5)


def test_the_same_models_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        written(project, folder)
    for path in sorted(folders[0].rglob("*.*")):
        assert path.read_bytes() == (folders[1] / path.relative_to(folders[0])).read_bytes()

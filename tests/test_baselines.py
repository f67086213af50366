"""Training-free rows against plain loops, their extremes, and the stage that writes them."""

import gzip
import json
import math
import weakref
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import read_json, sha256_file
from recg_core.base.schema import ITEMS, RANKS, SEQUENCES
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Sequences
from recg_core.domains.shards import (
    Manifest,
    Shard,
    ShardEntry,
    fingerprint_of,
    write_manifest,
    write_shard,
)
from recg_core.domains.splits import SplitPositions, own_cuts, temporal
from recg_core.evaluation.certificate import Saw
from recg_core.evaluation.training_free import (
    BaselinesConfig,
    saw_of_row,
    training_free_scorers,
    weighted_mean_scorer,
    write_training_free,
)
from recg_core.models.near import UnitItems
from recg_core.models.neighbors import kernel_scorer
from recg_core.models.ranking.full_rank import Ranks, rank_holdout
from recg_core.models.rows import Rows
from stages.baselines import main
from tests.conftest import cycle_domain, leave_one_out, ragged

CONFIG = BaselinesConfig(decay=0.85, sharpness=8.0, popularity=0.1, ease=50.0)
HISTORY_ROWS = ("last", "mean", "recency", "lse")
HISTORY_TABLES = ("visits_last", "visits_knn", "ease")
ROWS = ["random", "popularity"] + [
    f"knn_{name}_{version}" for version in ("raw", "centered") for name in HISTORY_ROWS
]
ROWS += ["knn_lse_popularity", *HISTORY_TABLES]
READ_HISTORIES = ("popularity", "knn_lse_popularity", *HISTORY_TABLES)


def small_domain(seed: int = 0) -> tuple[Sequences, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = [(rng.permutation(30)[: rng.integers(3, 12)] + 1).tolist() for _ in range(25)]
    return leave_one_out(rows), rng.standard_normal((30, 6)).astype(np.float32) + 1


def games(sequences: Sequences, embeddings: np.ndarray, *fitted_on: str) -> Domain:
    """The domain `games`, encoded by an encoder fitted on some domains."""
    ids = [f"i{i}" for i in range(len(embeddings))]
    return Domain("games", sequences, ids, embeddings, "encoder", fitted_on)


def rows_by_name(sequences: Sequences, embeddings: np.ndarray) -> dict[str, Ranks]:
    """The ranks of every row."""
    domain, holdout = games(sequences, embeddings), sequences.holdout("test")
    scorers = training_free_scorers(domain, holdout.history, sequences.observed("test"), CONFIG)
    return {
        name: rank_holdout(scorer, holdout, domain.num_items, label=f"{name} on games")
        for name, scorer in scorers
    }


def user_of(ranks: Ranks, row: int) -> tuple[int, int, int]:
    columns = ranks.num_candidates, ranks.num_higher, ranks.num_ties
    candidates, higher, ties = (int(column[row]) for column in columns)
    return candidates, higher, ties


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


PLAIN: dict[str, Callable[[list[float]], float]] = {
    "last": lambda cosines: cosines[-1],
    "mean": lambda cosines: sum(cosines) / len(cosines),
    "recency": lambda cosines: sum(0.85**age * c for age, c in enumerate(reversed(cosines))),
    "lse": lambda cosines: math.log(
        sum(0.85**age * math.exp(8 * c) for age, c in enumerate(reversed(cosines)))
    ),
}


@pytest.mark.parametrize("version", ["raw", "centered"])
@pytest.mark.parametrize("name", HISTORY_ROWS)
def test_knn_rows_equal_a_plain_loop(name: str, version: str) -> None:
    sequences, embeddings = small_domain()
    vectors = embeddings.astype(np.float64)
    if version == "centered":
        vectors -= vectors.mean(axis=0)
    ranks = rows_by_name(sequences, embeddings)[f"knn_{name}_{version}"]
    holdout = sequences.holdout("test")
    for row, target in enumerate(holdout.target):
        history = holdout.history.take(np.array([row])).values.tolist()
        candidates = [j for j in range(1, 31) if j not in history]
        scores = {
            j: PLAIN[name]([cosine(vectors[i - 1], vectors[j - 1]) for i in history])
            for j in candidates
        }
        assert ranks.num_candidates[row] == len(candidates)
        assert ranks.num_higher[row] == sum(s > scores[target] for s in scores.values())


def plain_tables(observed: list[list[int]], num_items: int) -> dict[str, np.ndarray]:
    """The item-item tables of the rows that read histories, by loops; row and column i - 1."""
    visits, gram = np.zeros((num_items, num_items)), CONFIG.ease * np.eye(num_items)
    counts = np.zeros(num_items)
    for history in observed:
        for place, item in enumerate(history):
            counts[item - 1] += 1
            for later, other in enumerate(history[place + 1 : place + 6]):
                visits[item - 1, other - 1] += 0.7**later
                visits[other - 1, item - 1] += 0.5 * 0.7**later
        chosen = np.array(sorted(set(history)), dtype=int) - 1
        gram[np.ix_(chosen, chosen)] += 1
    inverse = np.linalg.inv(gram)
    ease = -inverse / np.diag(inverse)
    np.fill_diagonal(ease, 0)
    root = np.sqrt(np.maximum(counts, 1))
    return {"visits_last": visits, "visits_knn": visits / np.outer(root, root), "ease": ease}


@pytest.mark.parametrize("name", HISTORY_TABLES)
def test_rows_of_histories_equal_plain_loops(name: str) -> None:
    sequences, embeddings = small_domain()
    ranks = rows_by_name(sequences, embeddings)[name]
    observed = sequences.observed("test")
    histories = [observed.take(np.array([row])).values.tolist() for row in range(len(observed))]
    table = plain_tables(histories, 30)[name]
    holdout = sequences.holdout("test")
    decay = 0.0 if name == "visits_last" else CONFIG.decay
    for row, target in enumerate(holdout.target):
        history = holdout.history.take(np.array([row])).values.tolist()
        scores = sum(decay**age * table[i - 1] for age, i in enumerate(reversed(history)))
        others = [j for j in range(1, 31) if j not in history and j != target]
        higher = [j for j in others if scores[j - 1] > scores[target - 1] + 1e-6]
        ties = [j for j in others if abs(scores[j - 1] - scores[target - 1]) <= 1e-6]
        assert ranks.num_higher[row] == len(higher)
        assert ranks.num_ties[row] == len(ties)


def test_random_ties_every_candidate() -> None:
    random = rows_by_name(*small_domain())["random"]
    assert (random.num_higher == 0).all()
    assert (random.num_ties == random.num_candidates - 1).all()
    mean_of_shares = (10 / random.num_candidates).mean()
    assert random.metrics((10,))["recall@10"].mean() == pytest.approx(mean_of_shares)


def test_popularity_counts_the_histories_and_no_test_item() -> None:
    # Histories are all but the last item of a row: item 1 twice, 2, 3, 7 and 9 once, 4 three times.
    sequences = leave_one_out([[1, 2, 4, 5], [1, 3, 4, 5], [9, 4, 2], [2, 7, 5]])
    popularity = rows_by_name(sequences, np.eye(9, dtype=np.float32))["popularity"]
    # above the test item: 3, 7, 9; 2, 7, 9; 1 (2 ties nothing: it is counted twice); 1, 3, 4, 9
    assert popularity.num_higher.tolist() == [3, 3, 0, 4]
    assert popularity.num_ties.tolist() == [2, 2, 1, 2]  # 6, 8; 6, 8; 1; 6, 8


def test_the_popularity_of_the_combined_row_is_relative_to_cosines() -> None:
    sequences, embeddings = small_domain()
    holdout = sequences.holdout("test")
    vectors = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    counts = np.bincount(holdout.history.values, minlength=31)
    ranks = rows_by_name(sequences, embeddings)["knn_lse_popularity"]
    for row, target in enumerate(holdout.target):
        history = holdout.history.take(np.array([row])).values.tolist()
        scores = {
            j: PLAIN["lse"]([cosine(vectors[i - 1], vectors[j - 1]) for i in history]) / 8
            + 0.1 * math.log(1 + counts[j])
            for j in range(1, 31)
            if j not in history
        }
        assert ranks.num_higher[row] == sum(s > scores[target] for s in scores.values())


def test_rows_say_what_they_use(tmp_path: Path) -> None:
    """Read from the cells as they are written, the encoder fitted on another domain."""
    domain = games(*small_domain(), "books")
    write_training_free([domain], CONFIG, tmp_path)
    cells = {path.stem: read_json(path) for path in tmp_path.glob("*.json")}
    assert set(cells) == {f"{name}_to_games" for name in ROWS}
    for name in ROWS:
        cell = cells[f"{name}_to_games"]
        assert (cell["backbone"], cell["variant"]) == (None, name)
        assert (cell["source"], cell["target"]) == ("none", "games")
        saw = cell["saw"]
        assert saw["target_interactions_used"] == (name in READ_HISTORIES)
        assert saw["zero_shot"] == (name not in READ_HISTORIES)
        centered = name.endswith("_centered") or name == "knn_lse_popularity"
        assert saw["target_text_seen"] == centered


def test_an_encoder_fitted_on_the_target_has_seen_its_texts(tmp_path: Path) -> None:
    """As the demo's is: every row that reads the texts says so, the raw ones too."""
    domain = games(*small_domain(), "books", "games")
    write_training_free([domain], CONFIG, tmp_path)
    for name in ROWS:
        saw = Saw(**read_json(tmp_path / f"{name}_to_games.json")["saw"])
        assert saw == saw_of_row(name, domain)
        assert saw.target_text_seen == name.startswith("knn_"), name


def test_only_one_kernel_is_alive_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0
    module = "recg_core.evaluation.training_free"
    kernel_scorer = import_module(module).kernel_scorer

    def counted(*args: Any) -> Any:
        nonlocal most
        scorer = kernel_scorer(*args)
        cells = dict(zip(scorer.of.__code__.co_freevars, scorer.of.__closure__, strict=True))
        alive.append(weakref.ref(cells["kernel_NN"].cell_contents))
        most = max(most, sum(kernel() is not None for kernel in alive))
        return scorer

    monkeypatch.setattr(f"{module}.kernel_scorer", counted)
    rows_by_name(*small_domain())
    assert len(alive) == 2
    assert most == 1


def test_rows_that_are_passed_over_cost_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("items are multiplied for a row that nobody asks for scores")

    domain = games(*small_domain())
    monkeypatch.setattr(UnitItems, "products", refused)
    histories = domain.sequences.holdout("test").history
    scorers = training_free_scorers(domain, histories, domain.sequences.observed("test"), CONFIG)
    assert [name for name, _ in scorers] == ROWS


def test_popularity_counts_what_every_user_did_before_the_test_period() -> None:
    """Also users who have no test item: in a split by time most have none."""
    rows = [[1, 2, 3], [1, 2], [2, 5], [3, 4, 1]]
    times = [[1, 2, 8], [1, 2], [3, 4], [5, 7, 10]]
    lengths = np.array([len(row) for row in rows])
    timestamps = np.array([t for row in times for t in row])
    split: SplitPositions = temporal(timestamps, lengths, *own_cuts(np.sort(timestamps)))
    sequences = Sequences(
        ragged(rows), [f"u{i}" for i in range(4)], split.train_length, split.valid_position,
        split.test_position,
    )  # fmt: skip
    assert split.test_position.tolist() == [-1, -1, -1, 2]
    popularity = rows_by_name(sequences, np.eye(5, dtype=np.float32))["popularity"]
    # The test item 1 was seen twice, 2 three times, 5 once; 3 and 4 are the user's history.
    assert user_of(popularity, 0) == (3, 1, 0)


def test_centering_removes_what_all_items_share() -> None:
    sequences, embeddings = small_domain()
    shifted = embeddings + np.float32(3)
    for name, row in rows_by_name(sequences, shifted).items():
        unshifted = rows_by_name(sequences, embeddings)[name]
        same = np.array_equal(unshifted.num_higher, row.num_higher)
        assert same == (not name.endswith("_raw")), name


def test_only_rows_with_popularity_depend_on_other_users() -> None:
    sequences, embeddings = small_domain()
    first = sequences.items.take(np.array([0])).values.tolist()
    alone = rows_by_name(leave_one_out([first]), embeddings)
    for name, row in rows_by_name(sequences, embeddings).items():
        if name not in READ_HISTORIES:
            assert user_of(row, 0) == user_of(alone[name], 0)


def test_weights_decay_with_age() -> None:
    items = UnitItems(Rows([torch.eye(4)]))
    score = weighted_mean_scorer(ragged([[3], [1, 2, 4]]), items, 0.5)
    torch.testing.assert_close(score(np.array([1])), torch.tensor([[0.25, 0.5, 0, 1]]))


def test_a_catalogue_too_large_for_a_kept_kernel_scores_the_same() -> None:
    sequences, embeddings = small_domain()
    items = torch.nn.functional.normalize(torch.from_numpy(embeddings))
    history = sequences.holdout("test").history

    def weigh(age: np.ndarray) -> Tensor:
        return torch.from_numpy(0.7**age).float()

    kept = kernel_scorer(history, items, weigh, 8.0)
    by_batch = kernel_scorer(history, items, weigh, 8.0, max_kernel_items=1)
    rows = np.array([3, 1, 20])
    torch.testing.assert_close(kept(rows), by_batch(rows))


def test_embeddings_that_are_not_finite_name_the_row_and_the_domain() -> None:
    sequences, embeddings = small_domain()
    embeddings[4, 2] = np.nan
    with pytest.raises(UserError, match="knn_last_raw on games"):
        rows_by_name(sequences, embeddings)


@pytest.mark.parametrize("key", ["decay", "sharpness", "popularity", "ease"])
def test_config_refuses_what_makes_no_sense(key: str) -> None:
    with pytest.raises(UserError, match=f"baselines: {key} must be above 0"):
        build(BaselinesConfig, asdict(CONFIG) | {key: 0.0}, "baselines")


def write_domain(folder: Path, embeddings: Path, name: str) -> None:
    domain = cycle_domain(name, num_users=40)
    num_items, num_users = domain.num_items, len(domain.sequences.items)
    text = [""] * num_items
    items = [range(1, num_items + 1), domain.item_ids, text, text, text]
    ITEMS.write(pl.DataFrame(items, schema=ITEMS.columns), folder / "items.parquet")
    rows = [domain.sequences.items.take(np.array([u])).values.tolist() for u in range(num_users)]
    sequences = [
        range(num_users), domain.sequences.user_ids, rows, rows, domain.sequences.train_length,
        domain.sequences.valid_position, domain.sequences.test_position,
    ]  # fmt: skip
    SEQUENCES.write(pl.DataFrame(sequences, schema=SEQUENCES.columns), folder / "sequences.parquet")
    encoder = {"kind": "test"}
    fingerprint = fingerprint_of(encoder)
    shard = Shard(domain.item_ids, ["-"] * num_items, domain.text.astype(np.float16))
    write_shard(embeddings / "0.parquet", shard, fingerprint)
    entry = ShardEntry("0.parquet", num_items, sha256_file(embeddings / "0.parquet"))
    dim = domain.text.shape[1]
    write_manifest(embeddings, Manifest(encoder, fingerprint, dim, num_items, (entry,), {}))


def test_the_stage_writes_every_row_of_every_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("books", "games"):
        write_domain(tmp_path / "domains" / name, tmp_path / "embeddings" / name, name)
    params = f"grid: {{domains: [books, games]}}\nbaselines: {json.dumps(asdict(CONFIG))}\n"
    (tmp_path / "params.yaml").write_text(params)
    main(Path("domains"), Path("embeddings"), Path("ranks"))
    expected = {f"{row}_to_{target}" for row in ROWS for target in ("books", "games")}
    assert {path.stem for path in Path("ranks").glob("*.json")} == expected
    for name in expected:
        cell = json.loads((Path("ranks") / f"{name}.json").read_text())
        assert f"{cell['variant']}_to_{cell['target']}" == name
        assert RANKS.read(Path("ranks") / f"{name}.parquet").height == cell["num_users"] == 40


def real_domain(data: Path, name: str) -> tuple[Sequences, np.ndarray]:
    """Sequences of five or more embedded items, straight from the raw file."""
    table = pl.read_parquet(data / "minilm" / f"{name}.parquet")
    index = {item_id: idx for idx, item_id in enumerate(table["item_id"], start=1)}
    events: dict[str, list[tuple[int, int]]] = {}
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if record["parent_asin"] in index:
                event = (record["timestamp"], index[record["parent_asin"]])
                events.setdefault(record["user_id"], []).append(event)
    rows = [[item for _, item in sorted(row)] for row in events.values() if len(row) >= 5]
    return leave_one_out(rows), table["embedding"].to_numpy().astype(np.float32)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "recency", "lse"),
    [
        ("Musical_Instruments", (37.7, 24.5), (39.2, 26.0)),
        ("Video_Games", (51.6, 33.2), (54.9, 35.1)),
    ],
)
def test_real_domains_give_the_figures_of_an_earlier_measurement(
    name: str, recency: tuple[float, float], lse: tuple[float, float]
) -> None:
    """The earlier figures are of up to 20,000 users, so a point or so apart is no surprise."""
    data = Path(__file__).parents[2] / "shared" / "data"
    if not data.is_dir():
        pytest.skip("the real data are not on this machine")
    domain = games(*real_domain(data, name))
    holdout, observed = domain.sequences.holdout("test"), domain.sequences.observed("test")
    expected_of = {"knn_recency_centered": recency, "knn_lse_centered": lse}
    for row, scorer in training_free_scorers(domain, holdout.history, observed, CONFIG):
        if row not in expected_of:
            continue
        expected = expected_of.pop(row)
        found = rank_holdout(scorer, holdout, domain.num_items, label=row).metrics((10,), 100)
        values = [100 * found["recall@10"].mean(), 100 * found["ndcg@10"].mean()]
        assert values == pytest.approx(expected, abs=2.0)
        if not expected_of:
            return

"""A recommender in an unseen catalogue: ids in, ids out, the numbers of evaluation."""

import copy
import dataclasses
import json
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recg_core import Recommender
from recg_core.base.errors import UserError
from recg_core.cli.app import app
from recg_core.cli.running import run_app
from recg_core.domains.domain import load_domain
from recg_core.models.near import HalfItems
from recg_core.models.ranking.ranks import read_ranks
from recg_core.serving.catalogue import Catalogue
from recg_core.serving.live import LiveCatalogue
from recg_core.serving.output import write_recommendations
from recg_core.serving.tables import choose_columns
from tests.project import run_stages, small_params, with_value
from tests.test_service import until_read

VARIANTS = ["sem", "recg", "anchored", "anchored_counts", "in_context", "recg_printed"]
WORDS = [
    "red",
    "blue",
    "green",
    "old",
    "new",
    "round",
    "flat",
    "small",
    "large",
    "iron",
    "wool",
    "glass",
]
ITEMS = {
    "isbn": [f"b{n}" for n in range(24)],
    "name": [f"{WORDS[n % 12]} {WORDS[(n // 2) % 12]} thing" for n in range(24)],
    "price": list(range(24)),
}
VISITS = {
    "reader": [f"u{n // 5}" for n in range(30)],
    "isbn": [f"b{(n * 7 + n // 5) % 24}" for n in range(30)],
    "when": [f"2024-01-{n % 28 + 1:02}" for n in range(30)],
}
COLUMNS = {"price": "price"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished pipeline of small models, one source, three targets."""
    folder = tmp_path_factory.mktemp("project")
    params = with_value(small_params(), "grid.variants", VARIANTS)
    params = with_value(params, "grid.sources", params["grid"]["domains"][:1])
    params = with_value(params, "grid.backbones", ["sasrec"])
    run_stages(
        folder, params, "fetch", "preprocess", "encode", "pool", "sources", "backbones",
        "train", "cluster", "evaluate", "baselines",
    )  # fmt: skip
    return folder


def model_folder(project: Path, variant: str) -> Path:
    (folder,) = (project / "models" / variant).glob("*/sasrec")
    return folder


@pytest.fixture(scope="module")
def recommender(project: Path) -> Recommender:
    return Recommender.load(model_folder(project, "anchored_counts"), device="cpu")


@pytest.fixture
def shop(recommender: Recommender, tmp_path: Path) -> Catalogue:
    return recommender.fit_catalogue(ITEMS, VISITS, columns=COLUMNS, cache=tmp_path)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small catalogues are treated as large ones are."""
    monkeypatch.setattr("recg_core.models.near.WHOLE_BYTES", 0)
    monkeypatch.setattr("recg_core.serving.topk.WHOLE_ITEMS", 0)
    monkeypatch.setattr("recg_core.serving.topk.TILE_ITEMS", 7)


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_recommendations_have_the_ranks_that_evaluation_stored(
    variant: str, size: str, project: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if size == "large":
        request.getfixturevalue("large")
    folder = model_folder(project, variant)
    source = folder.parent.name
    target = next(n for n in small_params()["grid"]["domains"] if n != source)
    place = project / "data" / "domains" / target
    domain = load_domain(place, project / "data" / "embeddings" / "lsa" / target)
    holdout, observed = domain.sequences.holdout("test"), domain.sequences.observed("test")
    items = pl.read_parquet(place / "items.parquet")
    users = domain.sequences.user_ids
    ids = np.array(["", *domain.item_ids])
    events = [
        {"user_id": users[row], "item_id": item_id}
        for row in range(len(observed))
        for item_id in ids[observed.take(np.array([row])).values]
    ]
    shop = Recommender.load(folder, device="cpu").fit_catalogue(items, events, cache=tmp_path)
    test_users = [users[row] for row in holdout.users]
    found = shop.recommend_batch(test_users, k=len(items))
    rank = {(user, item): n for user, item, n in found["user_id", "item_id", "rank"].rows()}
    stored = read_ranks(project / "results" / "ranks" / variant / "sasrec"
                        / f"{source}_to_{target}.parquet")  # fmt: skip
    assert stored.users.tolist() == holdout.users.tolist()
    for row, user in enumerate(test_users):
        higher, ties = stored.num_higher[row, 0], stored.num_ties[row, 0]
        assert higher < rank[user, ids[holdout.target[row]]] <= higher + ties + 1


def test_a_bundle_recommends_what_the_model_did(project: Path, tmp_path: Path) -> None:
    for variant in ("recg", "anchored_counts"):
        model = Recommender.load(model_folder(project, variant), device="cpu")
        model.save(tmp_path / variant)
        bundle = Recommender.load(tmp_path / variant, device="cpu")
        frames = [
            each.fit_catalogue(ITEMS, VISITS, cache=tmp_path / "cache").recommend_batch(k=5)
            for each in (model, bundle)
        ]
        assert frames[0].equals(frames[1])
        readme = (tmp_path / variant / "README.md").read_text()
        assert "Nothing is trained on the catalogue" in readme


def test_a_bundle_with_another_encoder_is_refused(
    recommender: Recommender, project: Path, tmp_path: Path
) -> None:
    """Of the same width too."""
    recommender.save(tmp_path / "bundle")
    other = Recommender.load(model_folder(project, "sem"), device="cpu")
    arrays, header = other.encoder.state()  # type: ignore[attr-defined]
    other.encoder.restore(arrays, header | {"corpus_sha256": "0" * 64})  # type: ignore[attr-defined]
    Recommender(recommender.trained, other.encoder, recommender.card).save(tmp_path / "wrong")
    with pytest.raises(UserError, match="encoder is not the one that the model was trained with"):
        Recommender.load(tmp_path / "wrong")


@pytest.mark.parametrize("file", ["bundle.json", "seed-0.safetensors", "encoder.safetensors"])
def test_a_damaged_bundle_is_refused(file: str, recommender: Recommender, tmp_path: Path) -> None:
    recommender.save(tmp_path / "bundle")
    path = next((tmp_path / "bundle").glob(file.replace("-0", "-*")))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=path.name):
        Recommender.load(tmp_path / "bundle")
    path.unlink()
    with pytest.raises(UserError, match=path.name):
        Recommender.load(tmp_path / "bundle")


def test_a_newer_bundle_is_refused(recommender: Recommender, tmp_path: Path) -> None:
    card = dataclasses.replace(recommender.card, format=2)
    Recommender(recommender.trained, recommender.encoder, card).save(tmp_path / "bundle")
    with pytest.raises(UserError, match="a bundle of format 2, this version reads 1; update"):
        Recommender.load(tmp_path / "bundle")


def test_seen_items_are_left_out_unless_they_may_come_again(shop: Catalogue) -> None:
    history = ["b1", "b2", "b3"]
    fresh = [each.item_id for each in shop.recommend(history, k=24)]
    assert len(fresh) == 21
    assert not set(fresh) & set(history)
    assert len(shop.recommend(history, k=24, seen=True)) == 24
    few = shop.recommend(
        history, k=3, exclude=[fresh[0]], where=pl.col("price").cast(pl.Int64) < 20
    )
    assert fresh[0] not in [each.item_id for each in few]
    assert all(int(each.item_id[1:]) < 20 for each in few)
    (only,) = shop.recommend(history, where={"item_id": ["b9"]})
    assert (only.rank, only.item_id, only.title) == (1, "b9", ITEMS["name"][9])


def test_scores_are_those_of_the_list(shop: Catalogue) -> None:
    found = shop.recommend(["b1", "b2"], k=4)
    assert [each.rank for each in found] == [1, 2, 3, 4]
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    assert shop.score(["b1", "b2"], [each.item_id for each in found]) == pytest.approx(scores)


def test_reasons_are_items_of_the_history_with_shares(shop: Catalogue) -> None:
    for each in shop.recommend(["b1", "b2", "b7"], k=5, because=True):
        assert {item for item, _ in each.because} <= {"b1", "b2", "b7"}
        assert 0 < sum(share for _, share in each.because) <= 1 + 1e-6
    (one,) = shop.recommend(["b4"], k=1, because=True)
    assert one.because == (("b4", 1.0),)


def test_a_reason_is_what_the_item_would_lose(shop: Catalogue) -> None:
    history = ["b1", "b2", "b7"]
    (best,) = shop.recommend(history, k=1, because=True)
    whole = shop.score(history, [best.item_id])[0]
    losses = {}
    for left in history:
        rest = [item for item in history if item != left]
        losses[left] = max(0.0, whole - shop.score(rest, [best.item_id])[0])
    total = sum(losses.values())
    for item, share in best.because:
        assert share == pytest.approx(losses[item] / total, rel=1e-3)


def test_old_scores_do_not_move_when_items_come(shop: Catalogue) -> None:
    items = list(ITEMS["isbn"])
    before = shop.score(["b1", "b2"], items)
    shop.add_items({"isbn": ["x1"], "name": ["a purple hat"], "price": [3]}, columns=COLUMNS)
    assert shop.score(["b1", "b2"], items) == before
    assert "x1" in [each.item_id for each in shop.recommend(["b1"], k=99)]
    with pytest.raises(UserError, match=r"the catalogue's items have \['price'\]"):
        shop.add_items({"isbn": ["x2"], "name": ["a hat"]})
    with pytest.raises(UserError, match="'x1' is in the catalogue already"):
        shop.add_items({"isbn": ["x1"], "name": ["again"], "price": [3]}, columns=COLUMNS)


def test_a_large_catalogue_does_not_copy_its_vectors_for_an_item_more(
    recommender: Recommender, large: None, tmp_path: Path
) -> None:
    shop = recommender.fit_catalogue(ITEMS, VISITS, cache=tmp_path)
    before, near = shop.score(["b1", "b2"], ITEMS["isbn"]), shop._vectors.near
    shop.recommend(["b1"], approximate=True)
    for name in ("x1", "x2"):
        shop.add_items({"isbn": [name], "name": [f"a purple {name}"]})
    after = shop._vectors.near
    assert isinstance(near, HalfItems)
    assert isinstance(after, HalfItems)
    assert after.rows.parts[0] is near.rows.parts[0]
    assert [len(part) for part in after.rows.parts] == [24, 2]
    assert shop.score(["b1", "b2"], ITEMS["isbn"]) == before
    assert {"x1", "x2"} < {each.item_id for each in shop.recommend(["b1"], k=99)}
    assert {"x1", "x2"} < {each.item_id for each in shop.recommend(["b1"], 99, approximate=True)}


@pytest.mark.parametrize("variant", ["anchored_counts", "in_context"])
def test_an_approximate_list_is_a_part_of_the_exact_ranking(
    variant: str, project: Path, large: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scores are exact; of a selection that is small it is the exact list."""
    recommender = Recommender.load(model_folder(project, variant), device="cpu")
    shop = recommender.fit_catalogue(ITEMS, VISITS, columns=COLUMNS, cache=tmp_path)
    monkeypatch.setattr("recg_core.serving.catalogue.ROUGH_DIM", 1)
    monkeypatch.setattr("recg_core.serving.catalogue.CANDIDATES_OF_K", 2)
    history = ["b1", "b2", "b7"]
    exact = {each.item_id: each.score for each in shop.recommend(history, k=24)}
    found = shop.recommend(history, k=4, exclude=["b5"], approximate=True)
    assert [each.score for each in found] == pytest.approx([exact[e.item_id] for e in found])
    assert not {"b1", "b2", "b7", "b5"} & {each.item_id for each in found}
    assert len(found) == 4
    few = {"item_id": [f"b{n}" for n in range(10)]}
    approximate = shop.recommend(history, k=4, where=few, approximate=True)
    expected = shop.recommend(history, k=4, where=few)
    assert [each.item_id for each in approximate] == [each.item_id for each in expected]
    users = shop.recommend_batch(k=12, approximate=True)
    assert users["item_id"].to_list() == shop.recommend_batch(k=12)["item_id"].to_list()


def test_vectors_that_are_damaged_on_disk_are_made_again(
    recommender: Recommender, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = recommender.fit_catalogue(ITEMS, VISITS, cache=tmp_path).recommend_batch(k=3)
    (path,) = tmp_path.rglob("vectors.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again = recommender.fit_catalogue(ITEMS, VISITS, cache=tmp_path).recommend_batch(k=3)
    assert "vectors.safetensors: is damaged" in caplog.text
    assert again.equals(first)
    assert path.read_bytes() == whole


def test_histories_may_come_later_and_piece_by_piece(
    recommender: Recommender, tmp_path: Path
) -> None:
    at_once = recommender.fit_catalogue(ITEMS, VISITS, cache=tmp_path)
    later = recommender.fit_catalogue(ITEMS, cache=tmp_path)
    assert later.users == []
    frame = pl.DataFrame(VISITS).sort("reader", "when")
    for part in (frame[:11], frame[11:]):
        later.add_histories(part)
    assert sorted(later.users) == sorted(at_once.users)
    assert later.recommend_batch(["u0", "u3"]).equals(at_once.recommend_batch(["u0", "u3"]))


def test_strangers_get_what_is_popular_or_what_is_diverse(
    recommender: Recommender, shop: Catalogue, tmp_path: Path
) -> None:
    popular = shop.recommend([], k=3)
    counts = pl.Series(VISITS["isbn"]).value_counts()
    most = counts["count"].max()
    assert {each.basis for each in popular} == {"popularity"}
    assert popular[0].score == most
    nobody = recommender.fit_catalogue(ITEMS, cache=tmp_path)
    diverse = nobody.recommend([], k=4)
    assert {each.basis for each in diverse} == {"diversity"}
    assert len({each.item_id for each in diverse}) == 4
    nobody.add_histories({"user": ["new"], "isbn": ["not there"]})
    assert set(nobody.recommend_batch(k=2)["basis"]) == {"diversity"}


def test_similar_items_are_nearest_in_text(shop: Catalogue) -> None:
    found = shop.similar_items("b0", k=3)
    assert "b0" not in [each.item_id for each in found]
    assert found[0].score >= found[1].score >= found[2].score


def test_unknown_ids_are_named(shop: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match="history: the catalogue has no item 'z1', 'z2'"):
        shop.recommend(["z1", "z2"])
    with caplog.at_level(logging.WARNING):
        shop.recommend(["b1", "z1"])
    assert "the catalogue has no item 'z1'" in caplog.text
    with pytest.raises(UserError, match="exclude: the catalogue has no item 'z9'"):
        shop.recommend(["b1"], exclude=["z9"])
    with pytest.raises(UserError, match="users: no history of 'nobody'"):
        shop.recommend_batch(["nobody"])
    with pytest.raises(UserError, match="k: expected 1 or more"):
        shop.recommend(["b1"], k=0)
    with pytest.raises(UserError, match=r"where: .*colour"):
        shop.recommend(["b1"], where={"colour": "red"})


def test_tables_may_be_of_any_kind(recommender: Recommender, tmp_path: Path) -> None:
    frame = pl.DataFrame(ITEMS)
    frame.write_csv(tmp_path / "items.csv")
    frame.write_parquet(tmp_path / "items.parquet")
    rows = frame.to_dicts()
    found = [
        recommender.fit_catalogue(items, VISITS, cache=tmp_path / "cache").recommend_batch(k=3)
        for items in (ITEMS, frame, rows, tmp_path / "items.csv", str(tmp_path / "items.parquet"))
    ]
    assert all(each.equals(found[0]) for each in found)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"isbn": [], "name": []}, "^items: holds no item with text"),
        ({"isbn": ["a"], "name": [" "]}, "no item with text"),
        ({"isbn": ["a", None], "name": ["x", "y"]}, "^items:2: 1 of 2 lines of items are unusable"),
        ({"a": [1], "b": ["x"]}, "which column is item_id and which is title"),
        (3, "items: is no table"),
        ("missing.csv", "no such file"),
    ],
)
def test_bad_catalogues_are_one_clear_line(
    items: Any, message: str, recommender: Recommender, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        recommender.fit_catalogue(items, cache=tmp_path)


def test_columns_are_found_by_their_usual_names() -> None:
    found = ["Movie-ID", "Title", "Overview", "year"]
    assert choose_columns(found, "items", None, "x") == {
        "item_id": "Movie-ID",
        "title": "Title",
        "description": "Overview",
    }
    given = {"title": "year", "era": "year", "user_id": "who"}
    assert choose_columns(found, "items", given, "x") == {
        "item_id": "Movie-ID",
        "title": "year",
        "description": "Overview",
        "era": "year",
    }


def test_a_column_that_is_named_must_be_there() -> None:
    with pytest.raises(UserError, match=r"x: no column\(s\) \['blrb'\]; its columns are"):
        choose_columns(["id", "title", "blurb"], "items", {"description": "blrb"}, "x")
    given = {"item_id": "isbn", "user_id": "who"}  # the items call it id
    assert choose_columns(["id", "title"], "items", given, "x")["item_id"] == "id"
    assert choose_columns(["who", "isbn"], "histories", given, "x")["item_id"] == "isbn"


def test_a_second_call_encodes_nothing(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = recommender.encoder.encode

    def counted(texts: Any, advance: Any = None) -> Any:
        encoded.append(len(texts))
        return encode(texts, advance)

    monkeypatch.setattr(recommender.encoder, "encode", counted)
    recommender.fit_catalogue(ITEMS, cache=tmp_path)
    assert sum(encoded) == 24 - (24 - len(set(ITEMS["name"])))
    encoded.clear()
    recommender.fit_catalogue(ITEMS, cache=tmp_path)
    more = {name: [*values, value] for (name, values), value in zip(
        ITEMS.items(), ("b99", "a purple hat", 3), strict=True)}  # fmt: skip
    recommender.fit_catalogue(more, cache=tmp_path)
    assert sum(encoded) == 1


def test_the_command_writes_a_table(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pl.DataFrame(ITEMS).write_csv(tmp_path / "items.csv")
    pl.DataFrame(VISITS).write_csv(tmp_path / "visits.csv")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = str(tmp_path / "bundle")
    run = lambda *words: command(monkeypatch, *words)  # noqa: E731
    assert run("export", str(model_folder(project, "anchored")), "--out", bundle) == 0
    common = ["--items", str(tmp_path / "items.csv"), "--bundle", bundle, "--k", "3"]
    out = tmp_path / "out.csv"
    histories = ["--histories", str(tmp_path / "visits.csv")]
    assert run("recommend", *common, *histories, "--out", str(out)) == 0
    found = pl.read_csv(out)
    assert found.columns == [
        "user_id", "rank", "item_id", "title", "score", "because", "basis",
    ]  # fmt: skip
    assert found.height == 18
    assert set(json.loads(found["because"][0])[0]) == {"item_id", "share"}
    assert run("recommend", *common, "--history", "b1,b2", "--out", str(tmp_path / "o.jsonl")) == 0
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 3
    assert run("recommend", *common, "--history", "b1", "--out", str(tmp_path / "o.xlsx")) == 1
    assert not (tmp_path / "o.xlsx").exists()


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["recg", *words])
    with pytest.raises(SystemExit) as end:
        run_app(app)
    return int(end.value.code or 0)


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds neither bundle\.json nor model\.json"):
        Recommender.load(tmp_path)


def test_the_package_carries_a_bundle(tmp_path: Path) -> None:
    """Of real data: what goes together in meaning is recommended together."""
    model = Recommender.load(device="cpu")
    titles = ["Acoustic guitar strings", "Electric guitar strap", "Digital kitchen scale",
              "Stainless cooking pot", "Guitar tuner", "Chef's knife"]  # fmt: skip
    items = {"id": [f"x{n}" for n in range(6)], "title": titles}
    shop = model.fit_catalogue(items, cache=tmp_path)
    for history, expected in ((["x0"], {"x1", "x4"}), (["x2"], {"x3", "x5"})):
        assert {each.item_id for each in shop.recommend(history, k=2)} == expected


def test_a_title_is_no_formula_in_a_spreadsheet(shop: Catalogue, tmp_path: Path) -> None:
    shop.add_items({"isbn": ["x1"], "name": ["=cmd|' /C calc'!A0"], "price": [1]}, columns=COLUMNS)
    found = shop.recommend_batch(["u0"], where={"item_id": "x1"})
    write_recommendations(found, tmp_path / "out.csv")
    assert not pl.read_csv(tmp_path / "out.csv")["title"][0].startswith("=")
    with pytest.raises(UserError, match="expected a name that ends in"):
        write_recommendations(found, tmp_path / "out.xlsx")


def test_a_context_is_read_again_once_the_histories_have_grown(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Recommender.load(model_folder(project, "in_context"), device="cpu")
    more = {"reader": ["u9", "u9"], "isbn": ["b3", "b4"], "when": ["2024-02-01", "2024-02-02"]}
    both = {name: [*VISITS[name], *more[name]] for name in VISITS}
    history, items = ["b3"], ITEMS["isbn"]

    def fitted(visits: dict[str, list[Any]]) -> Catalogue:
        return model.fit_catalogue(ITEMS, visits, columns=COLUMNS, cache=tmp_path)

    before, after = (fitted(visits).score(history, items) for visits in (VISITS, both))
    assert before != after
    shop = fitted(VISITS)
    assert shop.score(history, items) == before
    shop.add_histories(more)  # two events more than thirty
    assert shop.score(history, items) == pytest.approx(after)
    monkeypatch.setattr("recg_core.serving.catalogue.REREAD_GROWTH", 0.1)
    shop = fitted(VISITS)
    assert shop.score(history, items) == before
    shop.add_histories(more)
    assert shop.score(history, items) == before


def test_a_context_is_read_again_beside_the_requests(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until that is done, what is new is known by its text, and all else scores as before."""
    model = Recommender.load(model_folder(project, "in_context"), device="cpu")
    shop = model.fit_catalogue(ITEMS, VISITS, columns=COLUMNS, cache=tmp_path)
    history, items = ["b3"], ITEMS["isbn"]
    before = shop.score(history, items)
    live = LiveCatalogue(shop)
    may_read, read_again = threading.Event(), Catalogue.read_again

    def slow(catalogue: Catalogue) -> None:
        assert may_read.wait(60)
        read_again(catalogue)

    monkeypatch.setattr(Catalogue, "read_again", slow)
    new = {"item_id": "new", "title": "A history of printing", "description": "", "features": ""}
    fields = {name: new.get(name, "") for name in shop.items.columns}
    live.add_items([fields])
    assert not live.catalogue.is_behind()
    assert live.catalogue.score(history, items) == before
    live.add_events([("u9", "b3"), ("u9", "new"), ("u10", "new")])
    assert live.catalogue.is_behind()
    assert live.catalogue.score(history, items) == before
    assert np.isfinite(live.catalogue.score(history, ["new"])).all()
    may_read.set()
    until_read(live)
    whole = copy.copy(live.catalogue)
    whole.read_again()
    assert not live.catalogue.is_behind()
    assert live.catalogue.score(history, [*items, "new"]) == whole.score(history, [*items, "new"])
    assert live.catalogue.score(history, items) != before

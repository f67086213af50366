"""What cannot be meant is refused in one sentence, and nothing is written."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recg_core import Recommender
from recg_core.base.errors import UserError
from recg_core.cli.app import app
from recg_core.cli.running import run_app
from recg_core.models.device import choose_device
from recg_core.serving.catalogue import Catalogue

ITEMS = {"id": [1, 2, 3, 4], "title": ["Red lamp", "Blue lamp", "Oak chair", "Oak table"]}
FILES = {
    "items.csv": "id,title\n1,Red lamp\n2,Blue lamp\n3,Oak chair\n4,Oak table\n",
    "none.csv": "",
    "header.csv": "id,title\n",
    "untitled.csv": "id,title\n1,\n2,\n",
    "strange.csv": "x,y\n1,Red lamp\n",
    "repeated.csv": "id,title\n1,Red lamp\n1,Other\n2,Blue lamp\n3,\n",
    "events.csv": "user,item\nu1,1\nu1,2\nu2,3\n",
    "nobody.csv": "user,item\n",
    "elsewhere.csv": "user,item\nu1,77\nu2,99\n",
    "nameless.csv": "who,item\nu1,1\n",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def model() -> Recommender:
    return Recommender.load(device="cpu")


@pytest.fixture(scope="module")
def shop(model: Recommender, cache: Path) -> Catalogue:
    return model.fit_catalogue(ITEMS, cache=cache / "recg")


@pytest.fixture
def folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return tmp_path


def recommend(monkeypatch: pytest.MonkeyPatch, words: str) -> int:
    # A word in quotation marks may be empty.
    arguments = [word.strip("'") for word in words.split()]
    monkeypatch.setattr("sys.argv", ["recg", "recommend", *arguments])
    with pytest.raises(SystemExit) as end:
        run_app(app)
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--items none.csv --history 1", "none.csv: is empty: it has no columns"),
        ("--items header.csv --history 1", "header.csv: holds no item with text"),
        ("--items untitled.csv --history 1", "untitled.csv: holds no item with text"),
        ("--items strange.csv --history 1", "which column is item_id and which is title?"),
        ("--items missing.csv --history 1", "missing.csv: no such file"),
        ("--items items.csv --history 7,8", "history: the catalogue has no item '7', '8'"),
        ("--items items.csv --history 1 --k 0", "k: expected 1 or more, got 0"),
        ("--items items.csv --history 1 --k -2", "k: expected 1 or more, got -2"),
        ("--items items.csv --histories missing.csv", "missing.csv: no such file"),
        ("--items items.csv --histories nameless.csv", "which column is user_id?"),
        ("--items items.csv --histories nobody.csv", "nobody.csv: no event names an item of items"),
        ("--items items.csv --histories elsewhere.csv", "are the ids those of the items?"),
        ("--items items.csv --columns title", "--columns: 'title' has no '='"),
        ("--items items.csv --columns title=name", "no column(s) ['name']"),
        ("--items items.csv --device tpu", "device 'tpu': this machine has none"),
        ("--items items.csv --bundle events.csv", "holds neither bundle.json nor model.json"),
    ],
)
def test_the_command_says_what_is_wrong_and_writes_nothing(
    words: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert recommend(monkeypatch, f"{words} --out out.csv") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert said in line
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("out", ["out.xlsx", ".", "events.csv/out.csv"])
def test_where_nothing_can_be_written_one_is_told(
    out: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recommend(monkeypatch, f"--items items.csv --history 1 --out {out}") == 1
    assert f"error: {out}: " in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


@pytest.mark.parametrize(
    ("words", "users", "basis"),
    [
        ("", {"anyone"}, {"diversity"}),
        ("--history ''", {"anyone"}, {"diversity"}),
        ("--histories events.csv --history ''", {"anyone"}, {"popularity"}),
        ("--history 1", {"history"}, {"history"}),
        ("--histories events.csv --history 1,2", {"history"}, {"history"}),
        ("--histories events.csv", {"u1", "u2"}, {"history"}),
    ],
)
def test_for_whom_it_is_depends_on_what_is_given(
    words: str, users: set[str], basis: set[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recommend(monkeypatch, f"--items items.csv {words} --out out.csv") == 0
    found = pl.read_csv("out.csv")
    assert set(found["user_id"]) == users
    assert set(found["basis"]) == basis


def test_a_small_or_untidy_catalogue_gives_what_it_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`k` beyond the catalogue; of an item that is there twice the first; none without text."""
    assert recommend(monkeypatch, "--items repeated.csv --history 1 --k 50 --out out.csv") == 0
    assert pl.read_csv("out.csv")["title"].to_list() == ["Blue lamp"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda shop: shop.recommend("12"), "history: expected a list of ids, got str '12'"),
        (lambda shop: shop.recommend(None), "history: expected a list of ids, got NoneType"),
        (lambda shop: shop.recommend(3), "history: expected a list of ids, got int 3"),
        (lambda shop: shop.recommend([None]), "history: the catalogue has no item 'None'"),
        (lambda shop: shop.recommend([1], k="3"), "k: expected 1 or more, got '3'"),
        (lambda shop: shop.recommend([1], k=2.5), "k: expected 1 or more, got 2.5"),
        (lambda shop: shop.recommend([1], exclude="2"), "exclude: expected a list of ids"),
        (lambda shop: shop.recommend([1], where=len), "where: expected columns with their values"),
        (lambda shop: shop.recommend([1], where=pl.col("title")), "does not say yes or no"),
        (lambda shop: shop.recommend_batch("u1"), "users: expected a list of ids, got str 'u1'"),
        (lambda shop: shop.similar_items(1, k=0), "k: expected 1 or more, got 0"),
        (lambda shop: shop.similar_items(99), "item: the catalogue has no item '99'"),
        (lambda shop: shop.score("1", ["2"]), "history: expected a list of ids"),
        (lambda shop: shop.add_user("x", "12"), "history: expected a list of ids"),
        (lambda shop: shop.add_histories({"user": ["a"]}), "histories: which column is item_id?"),
        (lambda shop: shop.add_histories({"user": [None], "item": [1]}), "histories:1: 1 of 1"),
        (lambda shop: shop.add_items(None), "items: is no table, but None"),
        (lambda shop: shop.add_items({}), "items: is empty: it has no columns"),
        (lambda shop: shop.add_items(ITEMS, columns="title=name"), "columns: expected a dict"),
        (lambda shop: shop.add_items({"id": [[1]], "title": ["a"]}), "items: column 'id' is List"),
    ],
)
def test_the_catalogue_says_what_is_wrong(
    call: Callable[[Any], Any], said: str, shop: Catalogue
) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        call(shop)
    assert "\n" not in str(caught.value)
    assert "/tmp" not in str(caught.value)


def test_numbers_are_ids_as_they_are_written(shop: Catalogue) -> None:
    expected = shop.recommend(["1", "2"])
    for history in ([1, 2], [1.0, 2.0], np.array([1, 2]), (1, 2), pl.Series([1, 2])):
        assert shop.recommend(history) == expected  # type: ignore[arg-type]
    assert len(shop.recommend([1], k=np.int64(2))) == 2
    assert len(shop.recommend([1], where=pl.lit(True))) == 3


def test_vectors_that_are_no_numbers_are_refused_and_not_kept(
    model: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = model.encoder.encode

    def broken(texts: Any, advance: Any = None) -> Any:
        return np.full_like(encode(texts, advance), np.nan)

    monkeypatch.setattr(model.encoder, "encode", broken)
    with pytest.raises(UserError, match="NaN or infinite embedding for"):
        model.fit_catalogue(ITEMS, cache=tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_device_is_one_that_is_there() -> None:
    assert choose_device("cpu").type == "cpu"
    for name in ("tpu", "cuda:99", ""):
        with pytest.raises(UserError, match=f"device '{name}': this machine has none"):
            choose_device(name)

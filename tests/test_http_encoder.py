"""The HTTP encoder against a local server that misbehaves."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recg_core.base.errors import UserError
from recg_core.domains.shards import load_embeddings
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.encoders.http import HttpEncoder
from tests.embedding_server import SIZE, Behaviour, serve, vector
from tests.fakes import contents, items_frame

TEXTS = ["red scarf", "blue hat", "", "steel pan", "soup pot " * 40]
KEY = "sk-hunter2"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    found: list[float] = []
    monkeypatch.setattr("recg_core.encoders.endpoint.time.sleep", found.append)
    return found


def ours(behaviour: Behaviour, **options: Any) -> HttpEncoder:
    settings: dict[str, Any] = {"model": "m", "template": "{title}", "normalize": False}
    return HttpEncoder(url=serve(behaviour), **{**settings, **options})


def expected(texts: list[str], dim: int = SIZE) -> np.ndarray:
    return np.array([vector(text or " ", dim) for text in texts], dtype=np.float32)


# --- what is asked and what is made of it --------------------------------------------------------


def test_texts_go_in_batches_and_vectors_come_in_their_order() -> None:
    behaviour, done = Behaviour(), list[int]()
    found = ours(behaviour, batch_texts=2).encode(TEXTS, done.append)
    np.testing.assert_array_equal(found, expected(TEXTS))
    assert (
        [body["input"] for body in behaviour.bodies]
        == [
            TEXTS[:2],
            [" ", "steel pan"],  # servers refuse an empty text
            TEXTS[4:],
        ]
    )
    assert done == [2, 2, 1]
    assert {(body["model"], body["encoding_format"]) for body in behaviour.bodies} == {
        ("m", "float")
    }
    assert not any("dimensions" in body for body in behaviour.bodies)


def test_prompt_cut_size_and_norm_are_what_the_row_says() -> None:
    behaviour = Behaviour()
    found = ours(behaviour, prompt="q: ", max_characters=9, dim=3, normalize=True).encode(TEXTS)
    sent = [("q: " + text)[:9] for text in TEXTS]
    assert behaviour.bodies[0]["input"] == sent
    assert behaviour.bodies[0]["dimensions"] == 3
    raw = expected(sent, 3)
    np.testing.assert_allclose(found, raw / np.linalg.norm(raw, axis=1)[:, None], atol=1e-6)


def test_rows_are_joined_by_index_not_by_order() -> None:
    behaviour = Behaviour(change=lambda content: {**content, "data": content["data"][::-1]})
    np.testing.assert_array_equal(ours(behaviour).encode(TEXTS), expected(TEXTS))


def test_the_key_is_the_variables_and_stands_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, waits: list[float]
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SHOP_KEY", KEY)
    behaviour = Behaviour(first=[(429, {})], change=lambda content: f"bad {KEY} key".encode())
    encoder = ours(behaviour, key_variable="SHOP_KEY", attempts=2)
    with pytest.raises(UserError, match=r"no JSON \(bad \*\*\* key\)") as caught:
        encoder.encode(TEXTS)
    assert [sent["Authorization"] for sent in behaviour.headers] == [f"Bearer {KEY}"] * 2
    assert KEY not in str(caught.value) + caplog.text + str(encoder.identity())


def test_without_a_variable_no_credentials_are_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor those that the library would find for the host."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    behaviour = Behaviour()
    ours(behaviour).encode(TEXTS)
    assert "Authorization" not in behaviour.headers[0]


# --- failures that pass --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "expected_waits"),
    [
        ([(429, {})], [1]),
        ([(429, {"Retry-After": "7"})], [7]),
        ([(503, {"Retry-After": "0"}), (500, {})], [1, 2]),
        ([(500, {}), (502, {}), (529, {}), "drop", (408, {})], [1, 2, 4, 8, 16]),
        ([(429, {"Retry-After": "soon"})], [1]),
    ],
)
def test_a_busy_server_is_asked_again_after_the_time_it_wants(
    first: list[Any], expected_waits: list[float], waits: list[float]
) -> None:
    np.testing.assert_array_equal(ours(Behaviour(first=first)).encode(TEXTS), expected(TEXTS))
    assert waits == expected_waits


def test_the_time_may_be_a_date(waits: list[float]) -> None:
    until = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90), usegmt=True)
    ours(Behaviour(first=[(429, {"Retry-After": until})])).encode(TEXTS)
    assert 80 <= waits[0] <= 90


def test_a_server_that_stays_away_is_given_up(waits: list[float]) -> None:
    encoder = ours(Behaviour(first=["drop"] * 3), attempts=3)
    with pytest.raises(UserError, match=r"connection failed \(ConnectionError\), 3 times in a row"):
        encoder.encode(TEXTS)
    assert waits == [1, 2]
    nobody = HttpEncoder(url="http://127.0.0.1:1/v1", model="m", template="{title}", attempts=1)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:1/v1/embeddings: the connection failed"):
        nobody.encode(TEXTS)


def test_a_wait_of_hours_is_left_to_the_user(waits: list[float]) -> None:
    with pytest.raises(UserError, match="429 Too Many Requests and asks to wait 7200 s"):
        ours(Behaviour(first=[(429, {"Retry-After": "7200"})])).encode(TEXTS)
    assert waits == []


def test_a_slow_server_counts_as_lost(waits: list[float]) -> None:
    behaviour = Behaviour(delay=threading.Event())
    encoder = ours(behaviour, timeout=0.1, attempts=2)
    with pytest.raises(UserError, match=r"failed \(ReadTimeout\), 2 times in a row"):
        encoder.encode(TEXTS)
    assert behaviour.delay is not None
    behaviour.delay.set()


def test_a_page_in_place_of_json_may_pass(waits: list[float]) -> None:
    pages = [b"<html>starting</html>"]
    behaviour = Behaviour(change=lambda content: pages.pop() if pages else content)
    np.testing.assert_array_equal(ours(behaviour).encode(TEXTS), expected(TEXTS))
    assert waits == [1]


# --- failures that stay --------------------------------------------------------------------------


def edited(**change: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An answer whose second row is another."""

    def edit(content: dict[str, Any]) -> dict[str, Any]:
        content["data"][1].update(change)
        return content

    return edit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: {"data": content["data"][1:]}, "4 embeddings for 5 texts"),
        (lambda content: {"data": content["data"] * 2}, "10 embeddings for 5 texts"),
        (edited(index=0), "5 embeddings for 5 texts, 4 of different index"),
        (edited(index="1"), "5 embeddings for 5 texts, 4 of different index"),
        (edited(index=9), "5 embeddings for 5 texts, 5 of different index"),
        (edited(embedding=[1.0] * 7), r"embeddings of \[7, 8\] numbers"),
        (edited(embedding=[]), "no list of numbers"),
        (edited(embedding="AAAA"), "no list of numbers"),
        (edited(embedding=[None] * SIZE), "NaN or infinite|no list of numbers"),
        (edited(embedding=["x"] * SIZE), "no list of numbers"),
        (edited(embedding=[float("nan")] * SIZE), "NaN or infinite numbers"),
        (edited(embedding=[1e300] * SIZE), "NaN or infinite numbers"),
        (lambda content: {"error": {"message": "no such model"}}, "no list .*no such model"),
        (lambda content: [1, 2], "has no list of embeddings"),
        (lambda content: {"data": [1, 2, 3, 4, 5]}, "has no list of embeddings"),
    ],
)
def test_a_wrong_answer_is_refused_at_once(
    change: Callable[[dict[str, Any]], Any], message: str, waits: list[float]
) -> None:
    behaviour = Behaviour(change=change)
    with pytest.raises(UserError, match=message):
        ours(behaviour).encode(TEXTS)
    assert waits == []
    assert len(behaviour.bodies) == 1


def test_a_server_that_ignores_the_size_is_refused() -> None:
    behaviour = Behaviour()
    encoder = ours(behaviour, dim=3)
    behaviour.change = lambda content: {
        "data": [{**row, "embedding": [1.0] * SIZE} for row in content["data"]]
    }
    with pytest.raises(UserError, match=r"embeddings of \[8\] numbers, expected 3"):
        encoder.encode(TEXTS)


def test_the_size_of_the_first_answer_is_that_of_all() -> None:
    behaviour = Behaviour()
    encoder = ours(behaviour)
    encoder.encode(TEXTS)
    behaviour.change = lambda content: {
        "data": [{**row, "embedding": [1.0] * 9} for row in content["data"]]
    }
    with pytest.raises(UserError, match=r"embeddings of \[9\] numbers, expected 8"):
        encoder.encode(TEXTS)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "400 Bad Request for model 'm': <html>busy</html>; check url and model, and lower"),
        (404, "404 Not Found for model 'm'"),
        (413, "413 .* lower max_characters or batch_texts"),
        (401, "401 Unauthorized; it wants a key: put it into an environment variable"),
        (302, "302 Found, a redirect; give the address that it leads to"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, message: str, waits: list[float]) -> None:
    with pytest.raises(UserError, match=message):
        ours(Behaviour(first=[(status, {"Location": "http://127.0.0.1:1/"})])).encode(TEXTS)
    assert waits == []


def test_a_missing_or_refused_key_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SHOP_KEY", raising=False)
    with pytest.raises(UserError, match="variable SHOP_KEY is not set or empty"):
        ours(Behaviour(), key_variable="SHOP_KEY").encode(TEXTS)
    monkeypatch.setenv("SHOP_KEY", "sk-\x07bell")
    with pytest.raises(UserError, match="SHOP_KEY is no key") as caught:
        ours(Behaviour(), key_variable="SHOP_KEY").encode(TEXTS)
    assert "bell" not in str(caught.value)
    monkeypatch.setenv("SHOP_KEY", KEY)
    with pytest.raises(UserError, match="the key in the environment variable SHOP_KEY is not acc"):
        ours(Behaviour(first=[(403, {})]), key_variable="SHOP_KEY").encode(TEXTS)


@pytest.mark.parametrize(
    "url",
    ["localhost:8000/v1", "ftp://host/v1", "https://me:hunter2@host/v1", "http://h/v1?key=hunter2"],
)
def test_an_address_that_is_none_or_holds_a_key_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="is not usable; it is http:// or https://") as caught:
        HttpEncoder(url=url, model="m", template="{title}")
    assert "hunter2" not in str(caught.value)


# --- shards --------------------------------------------------------------------------------------


def test_a_run_that_was_given_up_goes_on_at_its_last_shard(
    tmp_path: Path, waits: list[float]
) -> None:
    ids = [f"i{n}" for n in range(8)]
    items, config = items_frame(ids), EncodeConfig(rows_per_shard=3)
    behaviour = Behaviour()
    answered = iter([True, True])
    behaviour.change = lambda content: content if next(answered, False) else b"<html>"
    with pytest.raises(UserError, match="no JSON"):
        encode_items(items, ours(behaviour, attempts=2), tmp_path / "broken", config)
    resumed = Behaviour()
    encode_items(items, ours(resumed), tmp_path / "broken", config)
    assert [body["input"] for body in resumed.bodies] == [ids[6:]]
    encode_items(items, ours(Behaviour()), tmp_path / "whole", config)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    np.testing.assert_array_equal(load_embeddings(tmp_path / "whole", ids), expected(ids))

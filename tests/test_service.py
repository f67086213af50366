"""The HTTP service within the process; `test_server.py` runs it as people do."""

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import polars as pl
import pytest
from fastapi.testclient import TestClient

from recg_core import Recommender
from recg_core.serving import limits
from recg_core.serving.catalogue import Catalogue
from recg_core.serving.eventlog import open_log
from recg_core.serving.limits import BodyLimit
from recg_core.serving.live import LiveCatalogue
from recg_core.serving.messages import MAX_EVENTS, MAX_HISTORY, MAX_ITEMS, MAX_K
from recg_core.serving.service import PAGE, create_app, page_headers

TITLES = ["Guitar strings", "Guitar strap", "Guitar tuner", "Cooking pot", "Chef's knife", "Ladle"]
ITEMS = {
    "id": [f"x{n}" for n in range(6)],
    "title": TITLES,
    "brand": ["Acme", "Acme", "Other", "Acme", "Other", "Other"],
}
VISITS = {"user": ["ann", "ann", "bob", "bob"], "item": ["x0", "x1", "x3", "x4"]}
BRAND = {"brand": "brand"}
HAT = {"item_id": "h1", "title": "A purple hat", "brand": "Hats"}


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender.load(device="cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def new_shop(recommender: Recommender, cache: Path) -> Catalogue:
    return recommender.fit_catalogue(ITEMS, VISITS, columns=BRAND, cache=cache)


def until_read(live: LiveCatalogue) -> None:
    """Wait until all that was added is known to the context as well."""
    end = time.monotonic() + 60
    while live.catalogue.is_behind():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def shop(recommender: Recommender, cache: Path) -> Catalogue:
    return new_shop(recommender, cache)


@pytest.fixture
def client(shop: Catalogue) -> Iterator[TestClient]:
    with TestClient(create_app(LiveCatalogue(shop)), raise_server_exceptions=False) as client:
        yield client


def ids(answer: Any, key: str = "recommendations") -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["item_id"] for each in answer.json()[key]]


def ranking(client: TestClient, **wanted: Any) -> list[tuple[str, float]]:
    found = client.post("/recommend", json={"k": MAX_K, **wanted}).json()["recommendations"]
    return [(each["item_id"], each["score"]) for each in found]


def test_it_recommends_what_the_catalogue_does(shop: Catalogue, client: TestClient) -> None:
    wanted = {"history": ["x0", "x3"], "k": 3, "because": True}
    found = client.post("/recommend", json=wanted).json()["recommendations"]
    for got, expected in zip(found, shop.recommend(["x0", "x3"], 3, because=True), strict=True):
        assert (got["rank"], got["item_id"]) == (expected.rank, expected.item_id)
        assert (got["title"], got["basis"]) == (expected.title, "history")
        assert got["score"] == pytest.approx(expected.score)
        reasons = [(each["item_id"], each["share"]) for each in got["because"]]
        assert reasons == [pytest.approx(each) for each in expected.because]
        assert all(each["title"] == TITLES[int(each["item_id"][1])] for each in got["because"])
    assert ranking(client, user_id="ann") == ranking(client, history=["x0", "x1"])


def test_what_is_asked_for_is_what_comes(client: TestClient) -> None:
    post = lambda **wanted: ids(client.post("/recommend", json=wanted))  # noqa: E731
    assert post(history=["x0"], k=1) == ["x1"]
    assert "x1" not in post(history=["x0"], exclude=["x1"])
    assert post(history=["x0"], where={"brand": "Acme", "item_id": ["x3", "x4"]}) == ["x3"]
    assert len(post(history=["x0"], seen=True)) == 6
    assert set(post(user_id="bob", seen=False)) == {"x0", "x1", "x2", "x5"}
    assert len(post(history=[])) == 6
    assert ids(client.get("/similar", params={"item_id": "x0", "k": 2})) == ["x1", "x2"]
    assert ids(client.get("/search", params={"q": "guitar st"}), "items") == ["x0", "x1"]
    answer = client.post("/recommend", json={"history": ["x0", "zz"]}).json()
    assert answer["unknown"] == ["zz"]


def test_what_strangers_get_follows_what_is_added(client: TestClient) -> None:
    stranger = lambda: ids(client.post("/recommend", json={"history": [], "k": 1}))  # noqa: E731
    before = stranger()
    assert stranger() == before
    events = [{"user_id": f"v{n}", "item_id": "x5"} for n in range(3)]
    client.post("/events", json={"events": events})
    assert stranger() == ["x5"] != before


def test_of_a_long_history_the_latest_count_and_all_are_seen(shop: Catalogue) -> None:
    shop.add_user("long", ["x5", *["x0"] * MAX_HISTORY])
    with TestClient(create_app(LiveCatalogue(shop))) as client:
        found = ranking(client, user_id="long")
        assert found == ranking(client, history=["x0"] * MAX_HISTORY, exclude=["x5"])
        assert "x5" in dict(ranking(client, user_id="long", seen=True))


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("post", "/recommend", {"history": ["z1"]}, 422, "history: the catalogue has no item 'z1'"),
        ("post", "/recommend", {"user_id": "z"}, 422, "users: no history of 'z'"),
        ("post", "/recommend", {"history": ["x0"], "exclude": ["z"]}, 422,
         "exclude: the catalogue has no item 'z'"),
        ("post", "/recommend", {}, 422, "the body: give either user_id or history"),
        ("post", "/recommend", {"history": [], "user_id": "ann"}, 422,
         "the body: give either user_id or history"),
        ("post", "/recommend", {"history": ["x0"], "k": MAX_K + 1}, 422,
         f"k: input should be less than or equal to {MAX_K}"),
        ("post", "/recommend", {"history": ["x0"], "k": 0}, 422,
         "k: input should be greater than or equal to 1"),
        ("post", "/recommend", {"history": ["x0"], "limit": 3}, 422,
         "limit: there is no such field"),
        ("post", "/recommend", {"history": ["x0"], "where": {"brand": 3}}, 422,
         "where.brand: input should be a valid string"),
        ("post", "/recommend", {"history": ["x0"], "where": {"colour": "red"}}, 422, "colour"),
        ("post", "/recommend", {"history": [" "]}, 422, "history.0: expected an id"),
        ("post", "/recommend", {"history": ["x0"] * (MAX_HISTORY + 1)}, 422,
         "history: list should"),
        ("post", "/recommend", b'{"history": ["\\ud800"]}', 422, "history.0: input should be a"),
        ("post", "/recommend", b'{"history": ["x0"', 400, "the body is no JSON"),
        ("post", "/recommend", b"[" * 100_000, 400, "the body is no JSON"),
        ("post", "/recommend", b"\xff", 400, "the body is no JSON"),
        ("post", "/recommend", b"", 422, "the body: is missing"),
        ("post", "/items", {"items": [{"item_id": "x0", "title": "x", "brand": ""}]}, 422,
         "items: 'x0' is in the catalogue already"),
        ("post", "/items", {"items": [{"title": "x"}]}, 422, "items.0.item_id: is missing"),
        ("post", "/items", {"items": [{"item_id": "n", "title": "x", "colour": "red"}]}, 422,
         "items: have no field(s) ['colour']; theirs are ['item_id', 'title'"),
        ("post", "/items", {"items": [{"item_id": "n", "title": "x", "brand": 3}]}, 422,
         "items.0.brand: input should be a valid string"),
        ("post", "/items", {"items": [{"item_id": "n", "title": " "}]}, 422,
         "items: holds no item with text"),
        ("post", "/items", {"items": [HAT] * (MAX_ITEMS + 1)}, 422, "items: list should have at"),
        ("post", "/events", {"events": []}, 422, "events: list should have at least 1 item"),
        ("post", "/events", {"events": [{"user_id": "a", "item_id": "x"}] * (MAX_EVENTS + 1)}, 422,
         "events: list should have at most"),
        ("post", "/events", {"events": [{"user_id": "a"}]}, 422, "events.0.item_id: is missing"),
        ("get", "/similar?item_id=z", None, 422, "item: the catalogue has no item 'z'"),
        ("get", "/similar", None, 422, "item_id: is missing"),
        ("get", "/search?q=" + "a" * 201, None, 422, "q: string should have at most 200"),
        ("get", "/nothing", None, 404, "there is no /nothing"),
        ("delete", "/items", None, 405, "DELETE is not allowed here"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(
    client: TestClient, method: str, path: str, body: Any, status: int, said: str
) -> None:
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    answer = client.request(method, path, content=content, headers=JSON)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert answer.json()["error"].startswith(said) or said in ("colour",)
    assert "\n" not in answer.json()["error"]


def test_only_json_is_taken_so_that_pages_of_others_cannot_add(client: TestClient) -> None:
    body = json.dumps({"events": [{"user_id": "a", "item_id": "x0"}]})
    answer = client.post("/events", content=body, headers={"content-type": "text/plain"})
    assert answer.status_code == 422
    assert "sent as application/json" in answer.json()["error"]


def test_a_defect_shows_no_traceback(shop: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalogue, "recommend", lambda *_, **__: 1 / 0)
    with TestClient(create_app(LiveCatalogue(shop)), raise_server_exceptions=False) as client:
        answer = client.post("/recommend", json={"history": ["x0"]})
        assert answer.status_code == 500
        assert answer.json() == {"error": "the server failed; its log says how"}


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(
    client: TestClient, announced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [b" " * (1 << 20)] * 5
    content = b"".join(parts) if announced else iter(parts)
    answer = client.post("/events", content=content, headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("the body has more than 4,194,304 bytes")


def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINGER_SECONDS", 0.01)
    sent = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(*_: Any) -> None:
        raise AssertionError("it has no body to work with")

    limited = BodyLimit(app, seconds=0.01)
    anyio.run(limited, {"type": "http", "headers": []}, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"]) == {"error": "the body did not arrive within 0.01 seconds"}


def test_what_is_added_counts_at_once_and_after_a_restart(
    recommender: Recommender, cache: Path, tmp_path: Path
) -> None:
    events = [
        {"user_id": user, "item_id": item}
        for user, item in (("eve", "h1"), ("ann", "later"), ("ann", "x2"), (" eve", "x4 "))
    ]
    later = {"item_id": "later", "title": "Guitar picks", "features": ["thin", "red"]}
    asked: list[dict[str, Any]] = [{"user_id": "eve"}, {"user_id": "ann"}, {"history": ["later"]}]
    with open_log(tmp_path) as log:
        live = LiveCatalogue(new_shop(recommender, cache), log)
        client = TestClient(create_app(live))
        assert client.post("/items", json={"items": [HAT]}).json() == {"added": 1}
        added = client.post("/events", json={"events": events}).json()
        assert added == {"added": 4, "unknown": ["later"]}
        assert client.post("/items", json={"items": [later]}).json() == {"added": 1}
        assert ids(client.get("/search", params={"q": "purple"}), "items") == ["h1"]
        until_read(live)
        before = [ranking(client, **wanted) for wanted in asked]
    with (
        open_log(tmp_path) as log,
        TestClient(create_app(LiveCatalogue(new_shop(recommender, cache), log))) as client,
    ):
        assert [ranking(client, **wanted) for wanted in asked] == before
        assert client.get("/health").json() == {"status": "ok", "items": 8, "users": 3}
        assert ids(client.get("/search", params={"q": "pick"}), "items") == ["later"]
    shop = new_shop(recommender, cache)
    shop.add_items([HAT, {**later, "features": "thin red", "brand": ""}], columns=BRAND)
    visits = [[event["user_id"].strip(), event["item_id"].strip()] for event in events]
    shop.add_histories(pl.DataFrame(visits, schema=["user", "item"], orient="row"))
    expected = [(each.item_id, each.score) for each in shop.recommend(shop.history("ann"), 99)]
    assert dict(before[1]) == pytest.approx(dict(expected), rel=1e-4)


def test_items_of_the_log_that_the_table_has_by_now_are_those_of_the_table(
    recommender: Recommender, cache: Path, tmp_path: Path
) -> None:
    with open_log(tmp_path) as log:
        LiveCatalogue(new_shop(recommender, cache), log).add_items([HAT])
    shop = new_shop(recommender, cache)
    shop.add_items([{**HAT, "title": "A green hat"}], columns=BRAND)
    with open_log(tmp_path) as log:
        assert LiveCatalogue(shop, log).search.find("hat", 9) == [("h1", "A green hat")]


def test_what_could_not_be_written_is_not_there(
    recommender: Recommender, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with (
        open_log(tmp_path) as log,
        TestClient(create_app(LiveCatalogue(new_shop(recommender, cache), log))) as client,
    ):
        before = ranking(client, user_id="ann")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            event = {"user_id": "ann", "item_id": "x2"}
            for answer in (
                client.post("/events", json={"events": [event]}),
                client.post("/items", json={"items": [HAT]}),
            ):
                assert answer.status_code == 503
                assert "No space left on device" in answer.json()["error"]
        assert ranking(client, user_id="ann") == before
        assert ids(client.get("/search", params={"q": "hat"}), "items") == []


def test_readers_see_the_catalogue_before_or_after_and_nothing_between(shop: Catalogue) -> None:
    """While items and events come, every answer is that of one state."""
    live = LiveCatalogue(shop)
    done = threading.Event()

    def read() -> int:
        turns = 0
        while not done.is_set() or not turns:
            found = [item_id for item_id, _ in live.search.find("hat", 99)]
            now = live.catalogue
            assert len(now.titles(found)) == len(found)
            assert len(now.recommend(["x0"], 99)) == len(now.items) - 1
            assert all(now.history(user) for user in now.users)
            turns += 1
        return turns

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for n in range(15):
            live.add_items([{"item_id": f"n{n}", "title": f"hat {n}"}])
            live.add_events([(f"v{n}", f"n{n}"), ("ann", f"n{n}")])
        done.set()
    assert all(reader.result() for reader in readers)
    assert live.catalogue.history("ann") == ["x0", "x1", *(f"n{n}" for n in range(15))]


def test_metrics_count_requests_by_route(client: TestClient) -> None:
    for path in ("/similar?item_id=x0", "/similar?item_id=z", "/a", "/b"):
        client.get(path)
    lines = client.get("/metrics").text.splitlines()
    assert 'recg_requests_total{route="/similar",status="200"} 1.0' in lines
    assert 'recg_requests_total{route="/similar",status="422"} 1.0' in lines
    assert 'recg_requests_total{route="none",status="404"} 2.0' in lines
    assert "recg_items 6.0" in lines
    assert "recg_users 2.0" in lines
    assert 'recg_request_seconds_count{route="/similar"} 2.0' in lines


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for outside in ("http:", "https:", '"//', "@import", "url("):
        assert outside not in answer.text
    changed = PAGE.read_text(encoding="utf-8").replace("K = 10", "K = 11")
    assert page_headers(changed)["content-security-policy"] != policy


def test_the_openapi_document_names_every_endpoint(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/recommend", "/similar", "/search", "/items", "/events", "/health", "/metrics",
    }  # fmt: skip
    assert document["components"]["schemas"]["Failure"]["required"] == ["error"]

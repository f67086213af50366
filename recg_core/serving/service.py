"""The HTTP service of one catalogue."""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from recg_core.base.errors import UserError
from recg_core.serving.catalogue import Catalogue, Recommendation
from recg_core.serving.eventlog import NotWritten
from recg_core.serving.limits import BodyLimit
from recg_core.serving.live import LiveCatalogue
from recg_core.serving.messages import (
    MAX_HISTORY,
    MAX_QUERY,
    AddedEvents,
    AddedItems,
    EventsRequest,
    Failure,
    Found,
    Health,
    Id,
    Item,
    ItemsRequest,
    K,
    Reason,
    Recommendations,
    Recommended,
    RecommendRequest,
)
from recg_core.serving.metrics import Measured, Metrics

PAGE = Path(__file__).with_name("page.html")
DESCRIPTION = 'Of one catalogue. A failure is `{"error": "what was wrong, in one line"}`.'
REFUSED = {"model": Failure, "description": "It cannot be done; `error` says why."}
UNION_TAG = re.compile(r"^(list\[)?constrained-str\]?$")  # pydantic's names for parts of a union
MAX_STRANGERS = 64  # answers that are kept
PLAINLY = {
    "extra_forbidden": "there is no such field",
    "missing": "is missing",
    "model_attributes_type": "expected a JSON object, sent as application/json",
}
Result = TypeVar("Result")


class Service:
    """The endpoints.

    What computes runs on threads, as many as there are cores: more would only make all requests
    wait for each other. What adds has a thread of its own, so that reading does not wait for a disk
    or for texts that are being encoded.
    """

    def __init__(self, live: LiveCatalogue) -> None:
        self._live = live
        self._page = PAGE.read_text(encoding="utf-8")
        self._metrics = Metrics(live)
        self._readers = anyio.CapacityLimiter(os.cpu_count() or 1)
        self._writers = anyio.CapacityLimiter(1)
        self._strangers = Strangers()

    def app(self) -> FastAPI:
        """The ASGI application."""
        app = FastAPI(
            title="Recommendations",
            description=DESCRIPTION,
            docs_url=None,  # its scripts would come from elsewhere
            redoc_url=None,
            responses={422: REFUSED},
        )
        app.get("/", response_class=HTMLResponse, include_in_schema=False)(self.page)
        app.post("/recommend")(self.recommend)
        app.get("/similar")(self.similar)
        app.get("/search")(self.search)
        app.post("/items", responses={503: REFUSED})(self.add_items)
        app.post("/events", responses={503: REFUSED})(self.add_events)
        app.get("/health")(self.health)
        app.get("/metrics", response_class=Response)(self.metrics)
        app.add_exception_handler(RequestValidationError, _refused_request)
        app.add_exception_handler(HTTPException, _refused_route)
        app.add_exception_handler(UserError, _refused)
        app.add_exception_handler(Exception, _defect)
        app.add_middleware(BodyLimit)
        app.add_middleware(Measured, metrics=self._metrics)
        return app

    async def recommend(self, wanted: RecommendRequest) -> Recommendations:
        """The best items for a user, or for someone with a history of items."""
        shop = self._live.catalogue
        if wanted.history == []:
            return await self._read(lambda: self._strangers.recommend(shop, wanted))
        return await self._read(lambda: _recommend(shop, wanted))

    async def similar(self, item_id: Id, k: K = 10) -> Recommendations:
        """The items whose texts are nearest to that of an item."""
        shop = self._live.catalogue
        found = await self._read(lambda: shop.similar_items(item_id, k))
        return Recommendations(recommendations=_described(shop, found))

    async def search(self, q: Annotated[str, Query(max_length=MAX_QUERY)], k: K = 10) -> Found:
        """Items whose titles have the words, or words that begin with them, best first."""
        found = await self._read(lambda: self._live.search.find(q, k))
        return Found(items=[Item(item_id=item_id, title=title) for item_id, title in found])

    async def add_items(self, wanted: ItemsRequest) -> AddedItems:
        """Add items; when this answers they are on disk and may be recommended."""
        items = [item.model_dump() for item in wanted.items]
        return AddedItems(added=await self._write(lambda: self._live.add_items(items)))

    async def add_events(self, wanted: EventsRequest) -> AddedEvents:
        """Add events; when this answers they are on disk and count."""
        events = [(event.user_id, event.item_id) for event in wanted.events]
        unknown = await self._write(lambda: self._live.add_events(events))
        return AddedEvents(added=len(events), unknown=unknown)

    async def health(self) -> Health:
        """Whether it serves, and how much."""
        shop = self._live.catalogue
        return Health(status="ok", items=len(shop.items), users=len(shop.users))

    async def metrics(self) -> Response:
        """Counters for Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def page(self) -> HTMLResponse:
        """The page for people."""
        return HTMLResponse(self._page, headers=page_headers(self._page))

    async def _read(self, work: Callable[[], Result]) -> Result:
        return await anyio.to_thread.run_sync(work, limiter=self._readers)

    async def _write(self, work: Callable[[], Result]) -> Result:
        return await anyio.to_thread.run_sync(work, limiter=self._writers)


class Strangers:
    """Recommendations without a history, kept until the catalogue is another.

    Every visitor of the page begins with them, and without any events they are centres of the
    texts, which take a second for ten thousand items.
    """

    def __init__(self) -> None:
        self._of: tuple[Catalogue | None, dict[str, Recommendations]] = (None, {})

    def recommend(self, shop: Catalogue, wanted: RecommendRequest) -> Recommendations:
        """As `_recommend`; threads may meet here and do the same work twice."""
        of = self._of
        if of[0] is not shop:
            of = self._of = shop, {}
        kept, key = of[1], wanted.model_dump_json()
        if key not in kept:
            found = _recommend(shop, wanted)
            if len(kept) >= MAX_STRANGERS:
                return found
            kept[key] = found
        return kept[key]


def create_app(live: LiveCatalogue) -> FastAPI:
    """An ASGI application that serves a catalogue."""
    return Service(live).app()


def page_headers(page: str) -> dict[str, str]:
    """What keeps a page to its own scripts and styles, known by their digests."""
    allowed = {
        kind: " ".join(f"'sha256-{_sha256(part)}'" for part in _inline(page, kind))
        for kind in ("script", "style")
    }
    return {
        "content-security-policy": (
            f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        ),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-cache",
    }


def _inline(page: str, kind: str) -> list[str]:
    return re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _recommend(shop: Catalogue, wanted: RecommendRequest) -> Recommendations:
    history, older = wanted.history, list[str]()
    if history is None:
        history = shop.history(str(wanted.user_id))
        older, history = history[:-MAX_HISTORY], history[-MAX_HISTORY:]
    unknown = shop.unknown_items(history)
    known = [item_id for item_id in history if item_id not in unknown]
    found = shop.recommend(
        known or history,  # which it names when it knows none of it
        wanted.k,
        exclude=wanted.exclude if wanted.seen else [*older, *wanted.exclude],
        where=wanted.where or None,
        seen=wanted.seen,
        because=wanted.because,
    )
    return Recommendations(recommendations=_described(shop, found), unknown=unknown)


def _described(shop: Catalogue, found: Sequence[Recommendation]) -> list[Recommended]:
    """With the titles of the reasons."""
    reasons = sorted({item_id for each in found for item_id, _ in each.because})
    title = dict(zip(reasons, shop.titles(reasons), strict=True))
    return [
        Recommended(
            item_id=each.item_id,
            title=each.title,
            rank=each.rank,
            score=each.score,
            basis=each.basis,
            because=[
                Reason(item_id=item_id, title=title[item_id], share=share)
                for item_id, share in each.because
            ],
        )
        for each in found
    ]


def _refused_request(request: Request, error: Any) -> JSONResponse:
    """The first thing that is wrong with a request, where it stands."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _answer(400, f"the body is no JSON ({first['ctx']['error']})")
    place = [str(part) for part in first["loc"][1:] if not UNION_TAG.match(str(part))]
    said = PLAINLY.get(first["type"], first["msg"].removeprefix("Value error, "))
    return _answer(422, f"{'.'.join(place) or 'the body'}: {said[:1].lower()}{said[1:]}")


def _refused_route(request: Request, error: Any) -> JSONResponse:
    known = {
        400: "the body is no JSON",
        404: f"there is no {request.url.path}",
        405: f"{request.method} is not allowed here",
    }
    said = known.get(error.status_code, str(error.detail))
    return JSONResponse({"error": said}, error.status_code, error.headers)


def _refused(request: Request, error: Any) -> JSONResponse:
    return _answer(503 if isinstance(error, NotWritten) else 422, str(error))


def _defect(request: Request, error: Any) -> JSONResponse:
    return _answer(500, "the server failed; its log says how")


def _answer(status: int, said: str) -> JSONResponse:
    return JSONResponse({"error": said}, status)

"""What a server counts, in the format of Prometheus."""

import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from recg_core.serving.limits import App, Message, Receive, Scope, Send
from recg_core.serving.live import LiveCatalogue

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters and gauges of one server, apart from those of others in the process."""

    def __init__(self, live: LiveCatalogue) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "recg_requests", "Requests by route and status.", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "recg_request_seconds", "Time to answer.", ["route"], buckets=BUCKETS,
            registry=self._registry,
        )  # fmt: skip
        for name, said, value in (
            ("recg_items", "Items of the catalogue.", lambda: len(live.catalogue.items)),
            ("recg_users", "Users with histories.", lambda: len(live.catalogue.users)),
            ("recg_log_bytes", "Bytes of the log of what was added.", lambda: live.log_size),
        ):
            Gauge(name, said, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)


class Measured:
    """An ASGI application that counts and times the requests of `app`."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            # By route and not by path, of which clients could invent any number.
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - start)

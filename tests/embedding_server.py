"""A local server of embeddings, as well or as badly behaved as a test wants it."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIZE = 8


def vector(text: str, dim: int = SIZE) -> list[float]:
    """Letters counted by their code modulo `dim`, plus one."""
    counts = [1.0] * dim
    for letter in text:
        counts[ord(letter) % dim] += 1
    return counts


@dataclass
class Behaviour:
    """What the server does, and what it was asked.

    Attributes:
        first: answers to the first requests: a status with headers, or "drop" for none at all.
        change: makes another body of the right one; bytes are sent as they are.
        bodies: of all requests.
        headers: of all requests.
    """

    first: list[Any] = field(default_factory=list)
    change: Callable[[dict[str, Any]], Any] = lambda content: content
    delay: threading.Event | None = None  # an answer waits for it
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_POST(self) -> None:
        behaviour = self.behaviour
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        behaviour.bodies.append(asked)
        behaviour.headers.append(dict(self.headers))
        if behaviour.delay is not None:
            behaviour.delay.wait()
        if behaviour.first:
            found = behaviour.first.pop(0)
            if found == "drop":
                self.close_connection = True
                return
            self._answer(found[0], b"<html>busy</html>", found[1])
            return
        dim = asked.get("dimensions", SIZE)
        rows = [
            {"object": "embedding", "index": place, "embedding": vector(text, dim)}
            for place, text in enumerate(asked["input"])
        ]
        content = behaviour.change({"object": "list", "data": rows, "model": asked["model"]})
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._answer(200, body, {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve(behaviour: Behaviour | None = None) -> str:
    """Start one in a thread that ends with the process; its address up to `/v1`."""
    handler = type("Handler", (_Handler,), {"behaviour": behaviour or Behaviour()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that left
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1"

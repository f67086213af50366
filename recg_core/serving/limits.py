"""What a request may be, checked before anything of it is understood."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
from starlette.responses import JSONResponse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 4 << 20  # bytes
BODY_SECONDS = 30.0  # for a body to arrive
LINGER_SECONDS = 2.0  # a client that sends on is heard so long, so that it gets to read the answer


class BodyLimit:
    """An ASGI application that reads a request's body, up to a limit, before `app` sees it."""

    def __init__(self, app: App, max_body: int = MAX_BODY, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._max_body = max_body
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 413 or 408, or go on with `app`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        too_large = f"the body has more than {self._max_body:,} bytes; send less at a time"
        if _announced(scope) > self._max_body:
            await _refuse(receive, send, 413, too_large)
            return
        body, more = bytearray(), True
        with anyio.move_on_after(self._seconds) as waiting:
            while more and len(body) <= self._max_body:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message.get("body", b"")
                more = message.get("more_body", False)
        if waiting.cancelled_caught:
            said = f"the body did not arrive within {self._seconds:g} seconds"
            await _refuse(receive, send, 408, said)
            return
        if len(body) > self._max_body:
            await _refuse(receive, send, 413, too_large)
            return
        given = False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, whole, send)


def _announced(scope: Scope) -> int:
    """The length that the request says its body has; 0 where it does not."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _refuse(receive: Receive, send: Send, status: int, said: str) -> None:
    """Answer, and drop what still arrives for a while.

    A connection that is closed while the client sends is reset, and the answer lost with it.
    """
    answer = JSONResponse({"error": said}, status, {"connection": "close"})
    await send({"type": "http.response.start", "status": status, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    with anyio.move_on_after(LINGER_SECONDS):
        message = await receive()
        while message["type"] == "http.request" and message.get("more_body", False):
            message = await receive()
    await send({"type": "http.response.body", "body": b"", "more_body": False})

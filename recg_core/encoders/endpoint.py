"""Requests to a server of embeddings: tries until it answers, and believes no answer unchecked."""

import logging
import os
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.client import responses as REASONS
from typing import Any

import numpy as np
import requests
from requests.auth import AuthBase

from recg_core.base.errors import UserError
from recg_core.base.printable import printable
from recg_core.base.secrets import HIDDEN

log = logging.getLogger(__name__)

_TRANSIENT = {408, 425, 429}  # besides the server's own errors, 500 and above
_FIRST_WAIT = 1.0  # seconds before the second try; doubled each time,
_LONGEST_WAIT = 60.0  # up to a minute, unless the server asks for more,
_MOST_ASKED = 600.0  # of which this is the most that is waited
_SHOWN = 200  # characters of what a server says


class _Again(Exception):
    """The connection or the server failed; another try may help."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait  # seconds that the server asks for


class _Key(AuthBase):
    """The key as a bearer token, and no other credentials that the library might find."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Endpoint:
    """One address, one model.

    Args:
        url: where requests go.
        model: its name there.
        key_variable: the environment variable that holds the key; None for none.
        dim: numbers of a vector; None for as many as the first has.
        timeout: seconds without a byte after which a connection counts as lost.
        attempts: of each request.

    Raises:
        UserError: when the variable holds no key.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_variable: str | None,
        dim: int | None,
        timeout: float,
        attempts: int,
    ) -> None:
        self._url = url
        self._model = model
        self._key_variable = key_variable
        self._key = None if key_variable is None else _read_key(key_variable)
        self._asked_dim = dim
        self._dim = dim
        self._timeout = timeout
        self._attempts = attempts
        self._session = requests.Session()

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of some texts, one at least, float32 [len(texts), dim].

        Raises:
            UserError: as `HttpEncoder.encode` does.
        """
        for attempt in range(1, self._attempts + 1):
            try:
                vectors = self._read(self._post(texts), len(texts))
            except _Again as error:
                if attempt == self._attempts:
                    raise UserError(
                        f"{self._url}: {error}, {attempt} times in a row; what is encoded is kept, "
                        "so run the same again later"
                    ) from None
                wait = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)
                wait = max(wait, error.wait or 0.0)
                log.warning("%s: %s; trying again in %.0f s", self._url, error, wait)
                time.sleep(wait)
                continue
            self._dim = vectors.shape[1]
            return vectors
        raise AssertionError("there is one attempt at least")

    def _post(self, texts: Sequence[str]) -> requests.Response:
        body: dict[str, Any] = {
            "model": self._model,
            "input": list(texts),
            "encoding_format": "float",
        }
        if self._asked_dim is not None:
            body["dimensions"] = self._asked_dim
        try:
            response = self._session.post(
                self._url,
                json=body,
                auth=_Key(self._key),
                timeout=self._timeout,
                allow_redirects=False,  # the key is for this host alone
            )
        except requests.RequestException as error:
            raise _Again(f"the connection failed ({type(error).__name__})") from None
        self._check_status(response)
        return response

    def _check_status(self, response: requests.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        answer = f"the server answered {status} {REASONS.get(status, '')}".rstrip()
        if status >= 500 or status in _TRANSIENT:
            asked = _asked_wait(response)
            if asked is not None and asked > _MOST_ASKED:
                raise UserError(
                    f"{self._url}: {answer} and asks to wait {asked:.0f} s; what is encoded is "
                    "kept, so run the same again then"
                )
            raise _Again(answer, asked)
        if status in (401, 403):
            named = (
                "it wants a key: put it into an environment variable and name that as key_variable"
                if self._key_variable is None
                else f"the key in the environment variable {self._key_variable} is not accepted"
            )
            raise UserError(f"{self._url}: {answer}; {named}")
        if 300 <= status < 400:
            raise UserError(f"{self._url}: {answer}, a redirect; give the address that it leads to")
        raise UserError(
            f"{self._url}: {answer} for model {self._model!r}: {self._said(response.text)}; check "
            "url and model, and lower max_characters or batch_texts if it is too much text"
        )

    def _read(self, response: requests.Response, count: int) -> np.ndarray:
        """The vectors of an answer, in the order of their `index`."""
        try:
            content = response.json()
        except ValueError:
            raise _Again(f"the answer is no JSON ({self._said(response.text)})") from None
        rows = content.get("data") if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._wrong(f"has no list of embeddings ({self._said(response.text)})")
        found = {row.get("index"): row.get("embedding") for row in rows if _is_index(row)}
        if len(rows) != count or found.keys() != set(range(count)):
            raise self._wrong(
                f"has {len(rows)} embeddings for {count} texts, {len(found)} of different index"
            )
        lengths = {len(row) if isinstance(row, list) else -1 for row in found.values()}
        if -1 in lengths or 0 in lengths:
            raise self._wrong("has an embedding that is no list of numbers")
        if lengths != {self._dim or min(lengths)}:
            wanted = self._dim or "as many each"
            raise self._wrong(f"has embeddings of {sorted(lengths)} numbers, expected {wanted}")
        try:
            with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused
                vectors = np.array([found[index] for index in range(count)], dtype=np.float32)
        except (TypeError, ValueError):
            raise self._wrong("has an embedding that is no list of numbers") from None
        if not np.isfinite(vectors).all():
            raise self._wrong("has NaN or infinite numbers")
        return vectors

    def _wrong(self, what: str) -> UserError:
        return UserError(f"{self._url}: the answer for model {self._model!r} {what}")

    def _said(self, text: str) -> str:
        """The beginning of what the server said, as it may be shown."""
        hidden = text if self._key is None else text.replace(self._key, HIDDEN)
        shown = printable(hidden.strip())
        return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


def _read_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise UserError(
            f"key_variable: the environment variable {variable} is "
            + ("no key: it has characters that no key has" if key else "not set or empty")
        )
    return key


def _is_index(row: dict[str, Any]) -> bool:
    return isinstance(row.get("index"), int) and not isinstance(row["index"], bool)


def _asked_wait(response: requests.Response) -> float | None:
    """The seconds of Retry-After, which is a number or a date (RFC 9110, 10.2.3)."""
    asked = response.headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except (TypeError, ValueError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())

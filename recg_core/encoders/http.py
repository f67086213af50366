"""Embeddings of a server: the `/v1/embeddings` of OpenAI, which vLLM, TEI and Ollama offer too."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.secrets import without_secrets
from recg_core.encoders.base import ENCODER_VERSION, Advance
from recg_core.encoders.text import check_placeholders

if TYPE_CHECKING:  # a run without new texts asks no server
    from recg_core.encoders.endpoint import Endpoint


class HttpEncoder:
    """The vectors that a server gives for a model's name.

    Where the server is does not count as part of the vectors, what it calls the model does: give
    another name to other weights.

    Args:
        url: of the server, up to `/v1`.
        model: its name there.
        template: how an item becomes a text.
        key_variable: the environment variable that holds the key; None for a server without one.
            The key is written nowhere.
        prompt: stands before every text.
        dim: ask for vectors of so many numbers; None for what the model gives.
        normalize: scale every vector to norm 1.
        max_characters: longer texts are cut, the prompt included.
        batch_texts: texts a request.
        timeout: seconds without a byte after which a connection counts as lost.
        attempts: of a request that fails for a reason that may pass.
    """

    libraries: tuple[str, ...] = ("requests",)

    def __init__(
        self,
        *,
        url: str,
        model: str,
        template: str,
        key_variable: str | None = None,
        prompt: str = "",
        dim: int | None = None,
        normalize: bool = True,
        max_characters: int = 8000,
        batch_texts: int = 64,
        timeout: float = 60.0,
        attempts: int = 6,
    ) -> None:
        check_placeholders(template)
        _check_url(url)
        if min(dim or 1, max_characters, batch_texts, attempts) < 1 or timeout <= 0 or dim == 0:
            raise UserError(
                "dim, max_characters, batch_texts and attempts must be 1 or more, timeout above 0"
            )
        self.template = template
        self._url = url.rstrip("/") + "/embeddings"
        self._model_name = model
        self._key_variable = key_variable
        self._prompt = prompt
        self._dim = dim
        self._normalize = normalize
        self._max_characters = max_characters
        self._batch_texts = batch_texts
        self._timeout = timeout
        self._attempts = attempts
        self._endpoint: Endpoint | None = None

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector, as far as a client knows."""
        return {
            "encoder_version": ENCODER_VERSION,
            "kind": "http",
            "model": self._model_name,
            "template": self.template,
            "prompt": self._prompt,
            "dim": self._dim,
            "normalize": self._normalize,
            "max_characters": self._max_characters,
        }

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        """The vectors of `texts`, float32 [len(texts), dim].

        Raises:
            UserError: when the key is missing or refused, the server stays unreachable or busy,
                or answers something else than one vector of finite numbers a text, all of one size.
        """
        from recg_core.encoders.endpoint import Endpoint

        if self._endpoint is None:
            self._endpoint = Endpoint(
                self._url,
                self._model_name,
                key_variable=self._key_variable,
                dim=self._dim,
                timeout=self._timeout,
                attempts=self._attempts,
            )
        # Servers refuse an empty text. Without any text, one is asked for to learn the size.
        sent = [(self._prompt + text)[: self._max_characters] or " " for text in texts] or [" "]
        parts = []
        for start in range(0, len(sent), self._batch_texts):
            batch = sent[start : start + self._batch_texts]
            parts.append(self._endpoint.vectors(batch))
            if advance is not None and texts:
                advance(len(batch))
        vectors = np.concatenate(parts)[: len(texts)]
        if self._normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # half an IPv6 address
        usable = False
    if not usable or "@" in url or parts.query or parts.fragment:
        raise UserError(
            f"url: {without_secrets(url)} is not usable; it is http:// or https://, a host and a "
            "path such as /v1, without a key: `key_variable` names the variable that holds it"
        )

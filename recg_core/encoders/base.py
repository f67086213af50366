"""What every text encoder offers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

# Raised whenever the code here starts to give other vectors for the same settings.
ENCODER_VERSION = 1

Dtype = Literal["float32", "float16", "bfloat16"]
Advance = Callable[[int], object]  # called with a number of texts that have just been encoded


class Encoder(Protocol):
    """Turns texts into vectors. Constructing one is cheap: models are loaded at the first text."""

    template: str  # how an item becomes a text; see `encoders.text.render_texts`
    libraries: tuple[str, ...]  # distributions whose versions a manifest records

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector, as plain JSON values, without loading a model."""
        ...

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        """The vectors of `texts`, which may be none, in their order, float32 [len(texts), dim]."""
        ...


@runtime_checkable
class CorpusEncoder(Encoder, Protocol):
    """An encoder that is fitted on the item texts of some domains before it encodes."""

    fit_domains: tuple[str, ...]

    def fit(self, texts: Sequence[str]) -> None:
        """Take the texts that span the space; needed before `identity` and `encode`."""
        ...

    def state(self) -> tuple[dict[str, np.ndarray], Any]:
        """What it has learned of the texts, as arrays and JSON values."""
        ...

    def restore(self, arrays: Mapping[str, np.ndarray], header: Any) -> None:
        """Take what `state` gave, in the place of `fit`."""
        ...


@dataclass(frozen=True)
class Tokens:
    """Texts as a model reads them."""

    sequences: list[list[int]]  # token ids, special tokens included
    num_pooled: list[int]  # of the last tokens of each: those whose states make the vector


@runtime_checkable
class TokenEncoder(Encoder, Protocol):
    """An encoder in two steps, the first of which needs no model and may run in a thread."""

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """The tokens of `texts`, in their order."""
        ...

    def embed(self, tokens: Tokens, advance: Advance | None = None) -> np.ndarray:
        """What `encode` returns for the texts of `tokens`."""
        ...

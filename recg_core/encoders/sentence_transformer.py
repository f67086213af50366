"""Any sentence encoder as its card says: the `sentence-transformers` library loads and pools."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recg_core.base.errors import UserError
from recg_core.encoders.base import ENCODER_VERSION, Advance, Dtype
from recg_core.encoders.hub import describe
from recg_core.encoders.text import check_placeholders

if TYPE_CHECKING:  # it imports torch and transformers: seconds that a run without new texts saves
    from sentence_transformers import SentenceTransformer

Pooling = Literal["card", "mean", "cls", "lasttoken"]


class SentenceEncoder:
    """The vectors that `sentence_transformers.SentenceTransformer(model).encode` gives.

    Pooling, layers after it, prompts and the maximal length are what the files beside the weights
    say (`modules.json` and the folders that it names); each row may set what they leave open.

    Args:
        model: a name that `recg_core.encoders.hub` understands.
        template: how an item becomes a text.
        pooling: `card`, or for a model without `modules.json` what makes one vector of the states.
        prompt: stands before every text; None for the card's default prompt, which few have.
        max_tokens: longer texts are cut, prompt and special tokens included; None for the card's.
        dim: keep the first so many numbers of a vector (Matryoshka); None for all.
        normalize: scale every vector to norm 1, after the cut to `dim`.
        batch_tokens: tokens a batch at most; on a GPU with little memory left, half or a quarter
            of it, on a CPU 1,024 at most. Changes speed and memory, not the vectors.
        dtype: of weights and activations.
    """

    libraries: tuple[str, ...] = ("torch", "transformers", "tokenizers", "sentence-transformers")

    def __init__(
        self,
        *,
        model: str,
        template: str,
        pooling: Pooling = "card",
        prompt: str | None = None,
        max_tokens: int | None = None,
        dim: int | None = None,
        normalize: bool = True,
        batch_tokens: int = 8192,
        dtype: Dtype = "float32",
    ) -> None:
        check_placeholders(template)
        if (max_tokens is not None and max_tokens < 3) or batch_tokens < 1:
            raise UserError("max_tokens must be 3 or more and batch_tokens 1 or more")
        if dim is not None and dim < 1:
            raise UserError(f"dim: expected 1 or more, got {dim}")
        self.template = template
        self._model_name = model
        self._pooling: Pooling = pooling
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._dim = dim
        self._normalize = normalize
        self._batch_tokens = batch_tokens
        self._dtype: Dtype = dtype
        self._model: SentenceTransformer | None = None

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector; the card is among the files of `model`."""
        return {
            "encoder_version": ENCODER_VERSION,
            "kind": "sentence_transformer",
            "model": describe(self._model_name),
            "template": self.template,
            "dtype": self._dtype,
            "pooling": self._pooling,
            "prompt": self._prompt,
            "max_tokens": self._max_tokens,
            "dim": self._dim,
            "normalize": self._normalize,
        }

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        """The vectors of `texts`, float32 [len(texts), dim].

        Raises:
            UserError: when the model cannot be had or loaded, does not fit the settings, or fails
                the self-test.
        """
        from recg_core.encoders.sentences import encode_batches, fit_model, load_sentence_model

        if self._model is None:
            self._model = load_sentence_model(
                self._model_name,
                self._pooling,
                max_tokens=self._max_tokens,
                dim=self._dim,
                dtype=self._dtype,
            )
            self._batch_tokens = fit_model(self._model, self._batch_tokens, self._model_name)
        vectors = encode_batches(self._model, texts, self._prompt, self._batch_tokens, advance)
        if self._normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

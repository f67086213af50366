"""Any sentence encoder: tokens, one forward pass, mean over the tokens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recg_core.encoders.base import ENCODER_VERSION, Advance
from recg_core.encoders.hub import describe, resolve
from recg_core.encoders.text import check_template
from recg_core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Transformer:
    """Mean of the last hidden states over all tokens of a text.

    Args:
        model: a name that `recg_core.encoders.hub` understands.
        template: how an item becomes a text.
        max_tokens: longer texts are cut, special tokens included.
        batch_tokens: padded tokens a batch; changes speed and memory, not the vectors.
        dtype: of weights and activations.
        normalize: scale every vector to norm 1.
    """

    libraries: tuple[str, ...] = ("torch", "transformers", "tokenizers")

    def __init__(
        self,
        *,
        model: str,
        template: str,
        max_tokens: int = 256,
        batch_tokens: int = 8192,
        dtype: Literal["float32", "float16", "bfloat16"] = "float32",
        normalize: bool = True,
    ) -> None:
        check_template(template)
        if max_tokens < 3 or batch_tokens < 1:
            raise UserError("max_tokens must be 3 or more and batch_tokens 1 or more")
        self.template = template
        self._model_name = model
        self._max_tokens = max_tokens
        self._batch_tokens = batch_tokens
        self._dtype: Literal["float32", "float16", "bfloat16"] = dtype
        self._normalize = normalize
        self._loaded: tuple[Any, PreTrainedModel] | None = None

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector."""
        return {
            "encoder_version": ENCODER_VERSION,
            "kind": "transformer",
            "model": describe(self._model_name),
            "template": self.template,
            "max_tokens": self._max_tokens,
            "dtype": self._dtype,
            "pooling": "mean",
            "normalize": self._normalize,
            "attention": "of the model",
        }

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        """The vectors of `texts`, float32 [len(texts), dim].

        Raises:
            UserError: when the model cannot be had or loaded, or takes fewer than `max_tokens`.
        """
        # torch and transformers take seconds to import; a run that reuses every shard needs none.
        from recg_core.encoders.forward import embed

        tokenizer, model = self._load()
        sequences = tokenizer(list(texts), truncation=True, max_length=self._max_tokens)[
            "input_ids"
        ]
        # A text without any token, where the tokenizer adds none either, is one padding token.
        sequences = [sequence or [tokenizer.pad_token_id or 0] for sequence in sequences]
        vectors = embed(
            model,
            sequences,
            [len(sequence) for sequence in sequences],
            self._batch_tokens,
            bidirectional=False,
            advance=advance,
        )
        if self._normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _load(self) -> "tuple[Any, PreTrainedModel]":
        if self._loaded is None:
            from recg_core.encoders.forward import choose_device, load_model, load_tokenizer

            folder = resolve(self._model_name)
            tokenizer = load_tokenizer(folder, self._model_name)
            model = load_model(folder, self._model_name, self._dtype)
            limit = min(
                tokenizer.model_max_length,
                getattr(model.config, "max_position_embeddings", self._max_tokens),
            )
            if self._max_tokens > limit:
                raise UserError(
                    f"model {self._model_name!r}: takes {limit} tokens at most, "
                    f"max_tokens is {self._max_tokens}"
                )
            self._loaded = tokenizer, model.to(choose_device())
        return self._loaded

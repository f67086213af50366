"""Any sentence encoder: tokens, one forward pass, mean over the tokens."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recg_core.base.errors import UserError
from recg_core.encoders.base import Advance, Dtype, Tokens
from recg_core.encoders.pretrained import PretrainedEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from recg_core.encoders.forward import Forward


class Transformer(PretrainedEncoder):
    """Mean of the last hidden states over all tokens of a text.

    Args:
        max_tokens: longer texts are cut, special tokens included.
        normalize: scale every vector to norm 1.
        model, template, batch_tokens, dtype: see `PretrainedEncoder`.
    """

    def __init__(
        self,
        *,
        model: str,
        template: str,
        max_tokens: int = 256,
        batch_tokens: int = 8192,
        dtype: Dtype = "float32",
        normalize: bool = True,
    ) -> None:
        super().__init__(model, template, max_tokens, batch_tokens, dtype)
        if max_tokens < 3 or batch_tokens < 1:
            raise UserError("max_tokens must be 3 or more and batch_tokens 1 or more")
        self._normalize = normalize

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector."""
        return super().identity() | {
            "kind": "transformer",
            "max_tokens": self._max_length,
            "pooling": "mean",
            "normalize": self._normalize,
            "attention": "of the model",
        }

    def embed(self, tokens: Tokens, advance: Advance | None = None) -> np.ndarray:
        """The vectors of tokenized texts, as `encode` returns them."""
        vectors = super().embed(tokens, advance)
        if self._normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _tokenize(self, texts: Sequence[str], tokenizer: Any) -> Tokens:
        encoded = tokenizer(list(texts), truncation=True, max_length=self._max_length)
        # A text without any token, where the tokenizer adds none either, is one padding token.
        sequences = [ids or [tokenizer.pad_token_id or 0] for ids in encoded["input_ids"]]
        return Tokens(sequences, [len(sequence) for sequence in sequences])

    def _load_model(self) -> "tuple[PreTrainedModel, Forward]":
        from recg_core.encoders.forward import padded_states
        from recg_core.encoders.loading import encoder_device, load_model

        model = load_model(self._model_name, self._dtype)
        limit = min(
            self._tokenizer.model_max_length,
            getattr(model.config, "max_position_embeddings", self._max_length),
        )
        if self._max_length > limit:
            raise UserError(
                f"model {self._model_name!r}: takes {limit} tokens at most, "
                f"max_tokens is {self._max_length}"
            )
        model = model.to(encoder_device())
        return model, partial(padded_states, model)

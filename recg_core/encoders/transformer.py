"""Any sentence encoder: tokens, one forward pass, mean over the tokens."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recg_core.base.errors import UserError
from recg_core.encoders.base import ENCODER_VERSION, Advance, Tokens
from recg_core.encoders.hub import describe, resolve
from recg_core.encoders.text import check_placeholders

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Transformer:
    """Mean of the last hidden states over all tokens of a text.

    Args:
        model: a name that `recg_core.encoders.hub` understands.
        template: how an item becomes a text.
        max_tokens: longer texts are cut, special tokens included.
        batch_tokens: padded tokens a batch at most; on a GPU with little memory left, half or a
            quarter of it. Changes speed and memory, not the vectors.
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
        check_placeholders(template)
        if max_tokens < 3 or batch_tokens < 1:
            raise UserError("max_tokens must be 3 or more and batch_tokens 1 or more")
        self.template = template
        self._model_name = model
        self._max_tokens = max_tokens
        self._batch_tokens = batch_tokens
        self._dtype: Literal["float32", "float16", "bfloat16"] = dtype
        self._normalize = normalize
        self._tokenizer: Any = None
        self._model: PreTrainedModel | None = None

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
        return self.embed(self.tokenize(texts), advance)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """The tokens of every text, all of them pooled.

        Raises:
            UserError: when the tokenizer cannot be had or loaded.
        """
        tokenizer = self._load_tokenizer()
        if not texts:  # which the tokenizer would refuse
            return Tokens([], [])
        sequences = tokenizer(list(texts), truncation=True, max_length=self._max_tokens)[
            "input_ids"
        ]
        # A text without any token, where the tokenizer adds none either, is one padding token.
        sequences = [sequence or [tokenizer.pad_token_id or 0] for sequence in sequences]
        return Tokens(sequences, [len(sequence) for sequence in sequences])

    def embed(self, tokens: Tokens, advance: Advance | None = None) -> np.ndarray:
        """The vectors of tokenized texts, as `encode` returns them."""
        # torch and transformers take seconds to import; a run that reuses every shard needs none.
        from recg_core.encoders.forward import embed, padded_states

        model = self._load_model()
        if not tokens.sequences:
            return np.empty((0, model.config.hidden_size), dtype=np.float32)
        vectors = embed(partial(padded_states, model), tokens, self._batch_tokens, advance)
        if self._normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _load_tokenizer(self) -> Any:
        if self._tokenizer is None:
            from recg_core.encoders.loading import load_tokenizer

            self._tokenizer = load_tokenizer(resolve(self._model_name), self._model_name)
        return self._tokenizer

    def _load_model(self) -> "PreTrainedModel":
        if self._model is None:
            from recg_core.encoders.forward import fit_batch_tokens_of
            from recg_core.encoders.loading import encoder_device, load_model

            model = load_model(resolve(self._model_name), self._model_name, self._dtype)
            limit = min(
                self._load_tokenizer().model_max_length,
                getattr(model.config, "max_position_embeddings", self._max_tokens),
            )
            if self._max_tokens > limit:
                raise UserError(
                    f"model {self._model_name!r}: takes {limit} tokens at most, "
                    f"max_tokens is {self._max_tokens}"
                )
            model = model.to(encoder_device())
            self._batch_tokens = fit_batch_tokens_of(
                model, self._batch_tokens, self._max_tokens, self._model_name
            )
            self._model = model
        return self._model

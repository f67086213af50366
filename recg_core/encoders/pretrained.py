"""What encoders with a pretrained model share: lazy loading, tokens first, then batches of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recg_core.encoders.base import ENCODER_VERSION, Advance, Dtype, Tokens
from recg_core.encoders.hub import describe
from recg_core.encoders.text import check_placeholders

if TYPE_CHECKING:  # these import torch and transformers: seconds that a run without new texts saves
    from transformers import PreTrainedModel

    from recg_core.encoders.forward import Forward


class PretrainedEncoder(ABC):
    """A `TokenEncoder` whose vectors are means of a model's last hidden states.

    Args:
        model: a name that `recg_core.encoders.hub` understands.
        template: how an item becomes a text.
        max_length: tokens of a whole sequence.
        batch_tokens: tokens a batch at most; on a GPU with little memory left, half or a quarter
            of it. Changes speed and memory, not the vectors.
        dtype: of weights and activations.
    """

    libraries: tuple[str, ...] = ("torch", "transformers", "tokenizers")

    def __init__(
        self, model: str, template: str, max_length: int, batch_tokens: int, dtype: Dtype
    ) -> None:
        check_placeholders(template)
        self.template = template
        self._model_name = model
        self._max_length = max_length
        self._batch_tokens = batch_tokens
        self._dtype: Dtype = dtype
        self._tokenizer: Any = None
        self._model: PreTrainedModel | None = None
        self._forward: Forward | None = None

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector."""
        return {
            "encoder_version": ENCODER_VERSION,
            "model": describe(self._model_name),
            "template": self.template,
            "dtype": self._dtype,
        }

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        """The vectors of `texts`, float32 [len(texts), dim].

        Raises:
            UserError: when tokenizer, model or adapters cannot be had or loaded, do not fit the
                settings or one another, or fail the self-test.
        """
        return self.embed(self.tokenize(texts), advance)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """The tokens of every text, and how many of them are pooled.

        Raises:
            UserError: when the tokenizer cannot be had or loaded, or does not fit the settings.
        """
        if self._tokenizer is None:
            self._tokenizer = self._load_tokenizer()
        # No text would be refused by the tokenizer.
        return self._tokenize(texts, self._tokenizer) if texts else Tokens([], [])

    def embed(self, tokens: Tokens, advance: Advance | None = None) -> np.ndarray:
        """The vectors of tokenized texts, as `encode` returns them."""
        from recg_core.encoders.forward import embed, fit_to_memory

        if self._model is None or self._forward is None:
            self.tokenize([])
            self._model, self._forward = self._load_model()
            self._batch_tokens = fit_to_memory(
                self._model, self._batch_tokens, self._max_length, self._model_name
            )
        if not tokens.sequences:
            return np.empty((0, self._model.config.hidden_size), dtype=np.float32)
        return embed(self._forward, tokens, self._batch_tokens, advance)

    def _load_tokenizer(self) -> Any:
        from recg_core.encoders.loading import load_tokenizer

        return load_tokenizer(self._model_name)

    @abstractmethod
    def _tokenize(self, texts: Sequence[str], tokenizer: Any) -> Tokens: ...

    @abstractmethod
    def _load_model(self) -> "tuple[PreTrainedModel, Forward]":
        """The model on its device, and its forward pass; the tokenizer is there already."""

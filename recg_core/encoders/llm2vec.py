"""LLM2Vec (BehnamGhader et al. 2024): a decoder turned into a text encoder, as the paper uses it.

The forward pass is our own, so any transformers from 4.43 on will do; the vectors are those of the
`llm2vec` package, except where it has traps:
- its chat template depends on the model's name, so a local copy gives other vectors: here
  `chat_template` is a setting;
- an empty text averages over padding: here it is the mean over the tokens that are there;
- a text whose first word exceeds the limit becomes empty: here it is cut by tokens;
- a long instruction pushes the text out and itself into the mean: here it is refused;
- a text that contains its separator is torn apart: here there is no separator.
"""

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

# What stands before and after instruction and text in the chat format of a model.
CHAT_TEMPLATES: dict[str, tuple[str, str]] = {
    "none": ("", ""),
    "llama3": ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
    "mistral": ("[INST] ", " [/INST]"),
    "qwen2": ("<|im_start|>user\n", "<|im_end|>"),
}


class Llm2Vec:
    """Mean over the content tokens of a decoder with bidirectional attention.

    Content is the text and what the chat template puts after it; the beginning-of-text token, the
    template's start and the instruction are attended to, not averaged.

    Args:
        model: the base model, a name that `recg_core.encoders.hub` understands.
        adapters: LoRA adapters, merged in this order (MNTP, then supervised).
        template: how an item becomes a text.
        chat_template: `llama3`, `mistral`, `qwen2`, or `none` for a model that has no chat format.
        instruction: stands before the text.
        max_tokens: content tokens; longer texts lose words at their end.
        max_length: tokens of the whole sequence.
        batch_tokens: tokens a batch at most; on a GPU with little memory left, half or a quarter
            of it. Changes speed and memory, not the vectors.
        dtype: of weights and activations.
    """

    libraries: tuple[str, ...] = ("torch", "transformers", "tokenizers", "peft")

    def __init__(
        self,
        *,
        model: str,
        adapters: tuple[str, ...],
        template: str,
        chat_template: Literal["none", "llama3", "mistral", "qwen2"],
        instruction: str = "",
        max_tokens: int = 400,
        max_length: int = 512,
        batch_tokens: int = 8192,
        dtype: Literal["float32", "float16", "bfloat16"] = "bfloat16",
    ) -> None:
        check_placeholders(template)
        if batch_tokens < 1 or not 1 <= max_tokens <= max_length:
            raise UserError("batch_tokens must be 1 or more, max_tokens between 1 and max_length")
        self.template = template
        self._model_name = model
        self._adapters = adapters
        self._chat_template = chat_template
        self._prefix, self._suffix = CHAT_TEMPLATES[chat_template]
        if instruction.strip():
            self._prefix += instruction.strip() + " "
        self._instruction = instruction
        self._max_tokens = max_tokens
        self._max_length = max_length
        self._batch_tokens = batch_tokens
        self._dtype: Literal["float32", "float16", "bfloat16"] = dtype
        self._tokenizer: Any = None
        self._probes = Tokens([], [])  # of the self-test, once there is a tokenizer
        self._model: PreTrainedModel | None = None

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector; `prefix` and `suffix` are the resolved template."""
        return {
            "encoder_version": ENCODER_VERSION,
            "kind": "llm2vec",
            "model": describe(self._model_name),
            "adapters": [describe(adapter) for adapter in self._adapters],
            "template": self.template,
            "chat_template": self._chat_template,
            "instruction": self._instruction.strip(),
            "prefix": self._prefix,
            "suffix": self._suffix,
            "max_tokens": self._max_tokens,
            "max_length": self._max_length,
            "dtype": self._dtype,
            "pooling": "mean of content tokens",
            "attention": "bidirectional",
        }

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        """The vectors of `texts`, float32 [len(texts), dim]; they are not normalised.

        Raises:
            UserError: when a model or adapter cannot be had or loaded, adapters do not fit, the
                instruction leaves no room for `max_tokens`, or the self-test fails.
        """
        return self.embed(self.tokenize(texts), advance)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """The tokens of every text in its chat format; the content is pooled.

        Raises:
            UserError: when the tokenizer cannot be had or loaded, or the instruction leaves no
                room for `max_tokens`.
        """
        tokenizer = self._load_tokenizer()
        # No text would be refused by the tokenizer.
        return self._tokenize(texts, tokenizer) if texts else Tokens([], [])

    def _tokenize(self, texts: Sequence[str], tokenizer: Any) -> Tokens:
        shortened = shorten(texts, tokenizer, self._max_tokens, self._max_length)
        if self._chat_template != "none":
            shortened = [text.rstrip() for text in shortened]
        contents = [text + self._suffix for text in shortened]
        sequences = tokenizer([self._prefix + content for content in contents])["input_ids"]
        # A text without any token, where the tokenizer adds none either, is one end-of-text token.
        sequences = [ids or [tokenizer.eos_token_id or 0] for ids in sequences]
        # Counted from the content alone, as the package does: in place, a token may merge with the
        # space before it.
        alone = tokenizer(contents, add_special_tokens=False)["input_ids"]
        num_content = [
            min(len(ids), len(sequence)) or len(sequence)
            for ids, sequence in zip(alone, sequences, strict=True)
        ]
        return Tokens(sequences, num_content)

    def embed(self, tokens: Tokens, advance: Advance | None = None) -> np.ndarray:
        """The vectors of tokenized texts, as `encode` returns them."""
        # torch and transformers take seconds to import; a run that reuses every shard needs none.
        from recg_core.encoders.decoder import packed_states
        from recg_core.encoders.forward import embed

        model = self._load_model()
        if not tokens.sequences:
            return np.empty((0, model.config.hidden_size), dtype=np.float32)
        return embed(partial(packed_states, model), tokens, self._batch_tokens, advance)

    def _load_tokenizer(self) -> Any:
        if self._tokenizer is None:
            from recg_core.encoders.loading import load_tokenizer
            from recg_core.encoders.selftest import PROBES, check_spelling

            # Adapters first: they are small, and a wrong name should not cost the large download.
            for adapter in self._adapters:
                resolve(adapter)
            folder = resolve(self._model_name)
            if (folder / "adapter_config.json").exists():
                raise UserError(
                    f"model {self._model_name!r}: is an adapter; give its base model as `model` "
                    "and list it in `adapters`"
                )
            tokenizer = load_tokenizer(folder, self._model_name)
            self._check_room(tokenizer)
            # Here and not beside the model: a tokenizer serves one thread at a time.
            self._probes = self._tokenize(PROBES, tokenizer)
            check_spelling(self.identity(), tokenizer, PROBES[0], self._probes.sequences[0])
            self._tokenizer = tokenizer
        return self._tokenizer

    def _load_model(self) -> "PreTrainedModel":
        if self._model is None:
            from recg_core.encoders.decoder import check_architecture
            from recg_core.encoders.forward import fit_batch_tokens_of
            from recg_core.encoders.loading import encoder_device, load_model, merge_adapter
            from recg_core.encoders.selftest import check_decoder

            name = self._model_name
            # The self-test's reference: SDPA takes a 4-D mask on every version.
            model = load_model(resolve(name), name, self._dtype, attention="sdpa")
            check_architecture(model, name, self._max_length)
            for adapter in self._adapters:
                model = merge_adapter(model, resolve(adapter), adapter)
            model = model.eval().to(encoder_device())
            self._load_tokenizer()
            check_decoder(model, self._probes, name)
            self._batch_tokens = fit_batch_tokens_of(
                model, self._batch_tokens, self._max_length, name
            )
            self._model = model
        return self._model

    def _check_room(self, tokenizer: Any) -> None:
        used = len(tokenizer(self._prefix + self._suffix)["input_ids"])
        if used + self._max_tokens > self._max_length:
            raise UserError(
                f"llm2vec: instruction and chat template take {used} tokens and max_tokens is "
                f"{self._max_tokens}, more than max_length {self._max_length}; shorten the "
                "instruction, lower max_tokens or raise max_length"
            )


def shorten(texts: Sequence[str], tokenizer: Any, max_tokens: int, max_length: int) -> list[str]:
    """Cut texts of more than `max_tokens` tokens at a word, as the `llm2vec` package does.

    Its rule: keep the share max_tokens / min(tokens, max_length) of the words, and repeat. A text
    of which this leaves nothing is cut after its first `max_tokens` tokens instead.
    """
    shortened = list(texts)
    counts = _count_tokens(shortened, tokenizer, max_length)
    while too_long := [row for row, count in enumerate(counts) if count > max_tokens]:
        for row in too_long:
            words = shortened[row].split()
            shortened[row] = " ".join(words[: int(len(words) * (max_tokens / counts[row]))])
        recounted = _count_tokens([shortened[row] for row in too_long], tokenizer, max_length)
        for row, count in zip(too_long, recounted, strict=True):
            counts[row] = count
    return [
        cut if cut or not text.strip() else _cut_by_tokens(text, tokenizer, max_tokens)
        for cut, text in zip(shortened, texts, strict=True)
    ]


def _count_tokens(texts: list[str], tokenizer: Any, max_length: int) -> list[int]:
    encoded = tokenizer(texts, add_special_tokens=False, truncation=True, max_length=max_length)
    return [len(ids) for ids in encoded["input_ids"]]


def _cut_by_tokens(text: str, tokenizer: Any, max_tokens: int) -> str:
    keep = max_tokens
    while True:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if len(encoded["input_ids"]) <= max_tokens or keep == 0:
            return text
        # The beginning alone may split into more tokens than it did in place: then cut earlier.
        text = text[: encoded["offset_mapping"][keep - 1][1]]
        keep -= 1

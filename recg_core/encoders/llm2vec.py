"""LLM2Vec (BehnamGhader et al. 2024): a decoder turned into a text encoder, as the paper uses it.

The forward pass is our own, so any transformers from 4.43 on will do; the vectors are those of the
`llm2vec` package, except where it has traps:
- its chat template depends on the model's name, so a local copy gives other vectors: here
  `chat_template` is a setting;
- an empty text averages over padding: here it is the mean over the tokens that are there;
- a text whose first word exceeds the limit becomes empty: here it is cut by tokens;
- a long instruction pushes the text out and itself into the mean: here it is refused;
- a text that contains its separator is torn apart: here there is no separator;
- a control token in a text (`<|eot_id|>`) is one to the model: here it is text, unless
  `keep_control_tokens`.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recg_core.base.errors import UserError
from recg_core.encoders.base import ENCODER_VERSION, Advance, Dtype, Tokens
from recg_core.encoders.hub import describe, resolve
from recg_core.encoders.text import check_placeholders

if TYPE_CHECKING:  # these import torch and transformers: seconds that a run without new texts saves
    from transformers import PreTrainedModel

    from recg_core.encoders.forward import Forward

# What stands before and after instruction and text in the chat format of a model.
CHAT_TEMPLATES: dict[str, tuple[str, str]] = {
    "none": ("", ""),
    "llama3": ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
    "mistral": ("[INST] ", " [/INST]"),
    "qwen2": ("<|im_start|>user\n", "<|im_end|>"),
}


class Llm2Vec:
    """Mean over the content tokens of a decoder with bidirectional attention, not normalised.

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
        keep_control_tokens: leave the tokenizer's special tokens in texts what they are, as the
            package does; otherwise they are read as plain characters.
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
        keep_control_tokens: bool = False,
        batch_tokens: int = 8192,
        dtype: Dtype = "bfloat16",
    ) -> None:
        check_placeholders(template)
        if batch_tokens < 1 or not 1 <= max_tokens <= max_length:
            raise UserError("batch_tokens must be 1 or more, max_tokens between 1 and max_length")
        self.template = template
        self._model_name = model
        self._adapters = adapters
        self._chat_template = chat_template
        self._instruction = instruction.strip()
        self._prefix, self._suffix = CHAT_TEMPLATES[chat_template]
        if self._instruction:
            self._prefix += self._instruction + " "
        self._max_tokens = max_tokens
        self._max_length = max_length
        self._keep_control_tokens = keep_control_tokens
        self._batch_tokens = batch_tokens
        self._dtype: Dtype = dtype
        self._probes = Tokens([], [])  # of the self-test, once there is a tokenizer
        self._tokenizer: Any = None
        self._model: PreTrainedModel | None = None
        self._forward: Forward | None = None

    def identity(self) -> dict[str, Any]:
        """Everything that can change a vector; `prefix` and `suffix` are the resolved template."""
        return {
            "encoder_version": ENCODER_VERSION,
            "kind": "llm2vec",
            "model": describe(self._model_name),
            "template": self.template,
            "dtype": self._dtype,
            "adapters": [describe(adapter) for adapter in self._adapters],
            "chat_template": self._chat_template,
            "instruction": self._instruction,
            "prefix": self._prefix,
            "suffix": self._suffix,
            "max_tokens": self._max_tokens,
            "max_length": self._max_length,
            "keep_control_tokens": self._keep_control_tokens,
            "pooling": "mean of content tokens",
            "attention": "bidirectional",
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
        from recg_core.encoders.selftest import PROBES, check_spelling

        # Adapters first: they are small, and a wrong name should not cost the large download.
        for adapter in self._adapters:
            resolve(adapter)
        if (resolve(self._model_name) / "adapter_config.json").exists():
            raise UserError(
                f"model {self._model_name!r}: is an adapter; give its base model as `model` "
                "and list it in `adapters`"
            )
        tokenizer = load_tokenizer(self._model_name)
        used = len(tokenizer(self._prefix + self._suffix)["input_ids"])
        if used + self._max_tokens > self._max_length:
            raise UserError(
                f"llm2vec: instruction and chat template take {used} tokens and max_tokens is "
                f"{self._max_tokens}, more than max_length {self._max_length}; shorten the "
                "instruction, lower max_tokens or raise max_length"
            )
        # Here and not beside the model: a tokenizer serves one thread at a time.
        self._probes = self._tokenize(PROBES, tokenizer)
        check_spelling(self.identity(), tokenizer, PROBES[0], self._probes.sequences[0])
        return tokenizer

    def _tokenize(self, texts: Sequence[str], tokenizer: Any) -> Tokens:
        if not self._keep_control_tokens:
            texts = without_control_tokens(texts, tokenizer)
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

    def _load_model(self) -> "tuple[PreTrainedModel, Forward]":
        """The model on its device, and its forward pass; the tokenizer is there already."""
        from recg_core.encoders.decoder import check_architecture, packed_states
        from recg_core.encoders.loading import encoder_device, load_model, merge_adapter
        from recg_core.encoders.selftest import check_batches, check_forward

        name = self._model_name
        # The self-test's reference: SDPA takes a 4-D mask on every version.
        model = load_model(name, self._dtype, attn_implementation="sdpa")
        check_architecture(model, name, self._max_length)
        for adapter in self._adapters:
            model = merge_adapter(model, adapter)
        model = model.eval().to(encoder_device())
        forward = partial(packed_states, model)
        check_forward(model, forward, name)
        check_batches(forward, self._probes, model.dtype, name)
        return model, forward


def without_control_tokens(texts: Sequence[str], tokenizer: Any) -> list[str]:
    """Texts in which no special token of the tokenizer occurs: a space splits each of them.

    Wherever one begins, and so within another as well, the space follows its first character.
    """
    added = tokenizer.added_tokens_decoder.values()
    special = {token.content for token in added if token.special} | set(
        tokenizer.all_special_tokens
    )
    begins = re.compile(f"(?={'|'.join(map(re.escape, sorted(special)))})(.)", re.DOTALL)
    return [begins.sub(r"\1 ", text) for text in texts] if special else list(texts)


def shorten(texts: Sequence[str], tokenizer: Any, max_tokens: int, max_length: int) -> list[str]:
    """Cut texts of more than `max_tokens` tokens at a word, as the `llm2vec` package does.

    Its rule: keep the share max_tokens / min(tokens, max_length) of the words, and repeat. A text
    of which this leaves nothing is cut after its first `max_tokens` tokens instead.
    """
    shortened = list(texts)
    rows = list(range(len(texts)))  # of texts that may be too long
    while rows:
        encoded = tokenizer(
            [shortened[row] for row in rows],
            add_special_tokens=False,
            truncation=True,
            max_length=max_length,
        )
        counts = dict(zip(rows, map(len, encoded["input_ids"]), strict=True))
        rows = [row for row in rows if counts[row] > max_tokens]
        for row in rows:
            words = shortened[row].split()
            shortened[row] = " ".join(words[: int(len(words) * (max_tokens / counts[row]))])
    return [
        cut if cut or not text.strip() else _cut_by_tokens(text, tokenizer, max_tokens)
        for cut, text in zip(shortened, texts, strict=True)
    ]


def _cut_by_tokens(text: str, tokenizer: Any, max_tokens: int) -> str:
    keep = max_tokens
    while True:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if len(encoded["input_ids"]) <= max_tokens or keep == 0:
            return text
        # The beginning alone may split into more tokens than it did in place: then cut earlier.
        text = text[: encoded["offset_mapping"][keep - 1][1]]
        keep -= 1

"""What has to hold before hours of encoding: seconds on a few short texts."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

from recg_core.base.errors import UserError
from recg_core.encoders.base import Tokens
from recg_core.encoders.forward import Forward, embed

# The first is a single token, so that no limit cuts it.
PROBES = ("a", "Guitar strings, light gauge.", "Red scarf of soft wool with long fringes: 180 cm.")

_NUM_TOKENS = 12  # of the probe of attention
# Relative to the longest vector: sums in another order, of 24, 11 or 8 bits, over tens of layers.
_TOLERANCES = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def check_spelling(identity: dict[str, Any], tokenizer: Any, text: str, ids: Sequence[int]) -> None:
    """Refuse a sequence that does not spell the recorded prefix, the text and the recorded suffix.

    Args:
        identity: of the encoder, with `prefix` and `suffix`.
        tokenizer: of the model.
        text: short enough not to be cut.
        ids: what the encoder makes of the text.

    Raises:
        UserError: on a difference, or when a special token of the chat template is none here.
    """
    expected = identity["prefix"] + text + identity["suffix"]
    known = tokenizer.get_added_vocab()
    if unknown := [mark for mark in re.findall(r"<\|\w+\|>", expected) if mark not in known]:
        raise UserError(
            f"chat_template {identity['chat_template']!r}: {unknown[0]} is no special token of "
            "this model's tokenizer; choose the chat_template of the model, or none"
        )
    spelt = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if not "".join(spelt.split()).endswith("".join(expected.split())):
        raise UserError(
            f"llm2vec: the model would read {spelt!r} where the recorded template gives "
            f"{expected!r}; this tokenizer and this chat_template do not belong together"
        )


def check_forward(model: PreTrainedModel, forward: Forward, name: str) -> None:
    """Refuse a forward pass that is causal, or differs from the library's own under no mask.

    Raises:
        UserError: when the first token does not see the last, or the last states differ from those
            of transformers with a 4-D mask that hides nothing.
    """
    vocabulary = model.config.vocab_size
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (_NUM_TOKENS,), generator=generator).tolist()
    other = [*ids[:-1], (ids[-1] + 1) % vocabulary]
    with torch.inference_mode():
        states, changed = (forward([each])[0] for each in (ids, other))
        if torch.equal(states[0], changed[0]):
            raise UserError(
                f"model {name!r}: attention is causal: the first token does not see the last"
            )
        ids_BL = torch.tensor([ids], device=model.device)
        mask = torch.zeros(1, 1, len(ids), len(ids), dtype=model.dtype, device=model.device)
        expected = model(input_ids=ids_BL, attention_mask=mask).last_hidden_state[0]
    found, wanted = (x.float().cpu().numpy() for x in (states, expected))
    if _difference(found, wanted) > _TOLERANCES[model.dtype]:
        raise UserError(
            f"model {name!r}: the states differ from those of its own layers under transformers "
            f"{transformers.__version__}, so its vectors would not be LLM2Vec's"
        )


def check_batches(forward: Forward, tokens: Tokens, dtype: torch.dtype, name: str) -> None:
    """Refuse a forward pass in which a text's neighbours in the batch change its vector.

    Raises:
        UserError: when a text alone and in a batch differ by more than rounding.
    """
    together = embed(forward, tokens, sum(map(len, tokens.sequences)) * len(tokens.sequences))
    alone = embed(forward, tokens, 1)
    if _difference(together, alone) > _TOLERANCES[dtype]:
        raise UserError(f"model {name!r}: a text's vector depends on the rest of its batch")


def check_sentence_vectors(
    alone: np.ndarray, together: np.ndarray, dtype: torch.dtype, name: str
) -> None:
    """Refuse a sentence encoder in which a text's neighbours in the batch change its vector.

    Args:
        alone: vectors [texts, D] of texts that were encoded one by one.
        together: of the same texts in one batch.

    Raises:
        UserError: when they differ by more than rounding, or are not finite.
    """
    if _difference(together, alone) > _TOLERANCES[dtype]:
        raise UserError(
            f"model {name!r}: a text's vector depends on the rest of its batch, or is no number; "
            "its pooling and the side on which its tokenizer pads do not belong together, or dtype "
            "is too narrow for it"
        )


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of a row, relative to the longest row; NaN counts as infinite."""
    largest = np.linalg.norm(one - other, axis=1).max() / np.linalg.norm(other, axis=1).max()
    return float(largest) if np.isfinite(largest) else np.inf

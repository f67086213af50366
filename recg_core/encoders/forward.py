"""The forward pass of pretrained encoders: loading, batches by tokens, mean pooling.

This module imports torch and transformers; the encoders import it at the first text only.
Shapes: B texts of a batch, L tokens of its longest, D hidden size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from recg_core.encoders.base import Advance
from recg_core.errors import UserError

Dtype = Literal["float32", "float16", "bfloat16"]


def choose_device() -> torch.device:
    """CUDA where there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def load_tokenizer(folder: Path, name: str) -> Any:
    """The fast tokenizer in `folder`.

    Raises:
        UserError: when there is none.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model {name!r}: {folder} has no tokenizer that loads ({error})"
        ) from error
    if not tokenizer.is_fast:
        raise UserError(f"model {name!r}: needs a fast tokenizer (tokenizer.json)")
    return tokenizer


def load_model(
    folder: Path, name: str, dtype: Dtype, attention: str | None = None
) -> PreTrainedModel:
    """The bare model in `folder`, in evaluation mode, on the CPU.

    Raises:
        UserError: when there is none with safetensors weights.
    """
    options: dict[str, Any] = {} if attention is None else {"attn_implementation": attention}
    # transformers 5 renamed the first and made the second the default.
    if int(transformers.__version__.split(".")[0]) >= 5:
        options |= {"dtype": getattr(torch, dtype)}
    else:
        options |= {"torch_dtype": getattr(torch, dtype), "low_cpu_mem_usage": True}
    try:
        model = transformers.AutoModel.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, **options
        )
    except (OSError, ValueError) as error:
        raise UserError(f"model {name!r}: {folder} holds no model that loads ({error})") from error
    model.config.use_cache = False  # every text is read once: a key-value cache is only memory
    return model.eval()


def token_batches(lengths: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Group texts, longest first, so that a padded batch has at most `batch_tokens` tokens.

    A text longer than the budget is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + size])
        start += size
    return batches


def embed(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    num_pooled: Sequence[int],
    batch_tokens: int,
    bidirectional: bool,
    advance: Advance | None = None,
) -> np.ndarray:
    """Mean of the last hidden states over the last `num_pooled` tokens of every sequence.

    Args:
        model: on its device.
        sequences: token ids, at least one each.
        num_pooled: per sequence, 1..its length.
        batch_tokens: padded tokens a batch.
        bidirectional: override a causal model's mask by one that hides padding alone.
        advance: called with the size of every finished batch.

    Returns:
        float32 [len(sequences), D]. What else is in a batch changes a vector by rounding only.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    device = next(model.parameters()).device
    pooled = np.empty((len(sequences), model.config.hidden_size), dtype=np.float32)
    for batch in token_batches(lengths, batch_tokens):
        ids_BL = np.zeros((len(batch), lengths[batch].max()), dtype=np.int64)
        for row, index in enumerate(batch):
            ids_BL[row, : lengths[index]] = sequences[index]
        column_L = np.arange(ids_BL.shape[1])
        valid_BL = column_L < lengths[batch, None]
        first_B1 = (lengths[batch] - np.asarray(num_pooled)[batch])[:, None]
        pooled[batch] = _pooled_states(
            model,
            torch.from_numpy(ids_BL).to(device),
            torch.from_numpy(valid_BL).to(device),
            torch.from_numpy(valid_BL & (column_L >= first_B1)).to(device),
            bidirectional,
        )
        if advance is not None:
            advance(len(batch))
    return pooled


@torch.inference_mode()
def hidden_states(
    model: PreTrainedModel, ids_BL: Tensor, valid_BL: Tensor, bidirectional: bool
) -> Tensor:
    """The last hidden states, [B, L, D]; sequences are padded on the right."""
    mask = additive_mask(valid_BL, model.dtype) if bidirectional else valid_BL.long()
    return model(input_ids=ids_BL, attention_mask=mask).last_hidden_state


def additive_mask(valid_BL: Tensor, dtype: torch.dtype) -> Tensor:
    """A 4-D attention mask [B, 1, L, L]: 0 for every valid key, the dtype's minimum for padding.

    A decoder takes a 4-D mask as it is instead of adding its causal one.
    """
    hidden_B11L = torch.zeros(valid_BL.shape, dtype=dtype, device=valid_BL.device).masked_fill(
        ~valid_BL, torch.finfo(dtype).min
    )[:, None, None, :]
    return hidden_B11L.expand(-1, 1, valid_BL.shape[1], -1)


def check_bidirectional(model: PreTrainedModel, name: str) -> None:
    """Refuse a model whose first token does not see the last one.

    Raises:
        UserError: when attention stays causal under the 4-D mask.
    """
    device = next(model.parameters()).device
    ids_BL = torch.tensor([[0, 1], [0, 2]], device=device)
    states = hidden_states(model, ids_BL, torch.ones_like(ids_BL, dtype=torch.bool), True)
    if torch.equal(states[0, 0], states[1, 0]):
        raise UserError(
            f"model {name!r}: attention stays causal under transformers "
            f"{transformers.__version__}; LLM2Vec needs a decoder that honours a 4-D mask"
        )


def _pooled_states(
    model: PreTrainedModel, ids_BL: Tensor, valid_BL: Tensor, pooled_BL: Tensor, bidirectional: bool
) -> np.ndarray:
    states_BLD = hidden_states(model, ids_BL, valid_BL, bidirectional)
    # Summed in float32: half precision would lose digits over long texts.
    weights_BL1 = pooled_BL[..., None].float()
    mean_BD = (states_BLD.float() * weights_BL1).sum(dim=1) / weights_BL1.sum(dim=1)
    return mean_BD.cpu().numpy()

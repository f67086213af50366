"""From token ids to pooled vectors: batches by tokens, mean pooling, what fits into memory.

This module imports torch and transformers; the encoders import it at the first text only.
Shapes: D hidden size.
"""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from recg_core.base.errors import UserError
from recg_core.encoders.base import Advance, Tokens

# The last hidden states of each text of a batch, [length, D].
Forward = Callable[[Sequence[Sequence[int]]], Sequence[Tensor]]

_USABLE_SHARE = 0.8  # of the free memory; the rest is for what the allocator cannot reuse


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


@torch.inference_mode()
def embed(
    forward: Forward, tokens: Tokens, batch_tokens: int, advance: Advance | None = None
) -> np.ndarray:
    """Mean of the last hidden states over the pooled tokens of every text.

    On a GPU a batch is launched before the one ahead of it has come back.

    Args:
        forward: the model.
        tokens: at least one text, at least one token each.
        batch_tokens: tokens a batch, see `token_batches`.
        advance: called with the size of every finished batch.

    Returns:
        float32 [texts, D]. What else is in a batch changes a vector by rounding only.
    """
    lengths = np.array([len(sequence) for sequence in tokens.sequences])
    batches = token_batches(lengths, batch_tokens)
    waiting: deque[tuple[int, Callable[[], np.ndarray]]] = deque()
    parts = []

    def collect() -> None:
        size, arrive = waiting.popleft()
        parts.append(arrive())
        if advance is not None:
            advance(size)

    for batch in batches:
        states = forward([tokens.sequences[index] for index in batch])
        # In float32: half precision would lose digits over long texts.
        means = [
            state[-tokens.num_pooled[index] :].float().mean(dim=0)
            for state, index in zip(states, batch, strict=True)
        ]
        waiting.append((len(batch), _to_host(torch.stack(means))))
        if len(waiting) > 1:
            collect()
    collect()
    pooled = np.empty((len(lengths), parts[0].shape[1]), dtype=np.float32)
    pooled[np.concatenate(batches)] = np.concatenate(parts)
    return pooled


def fit_to_memory(model: PreTrainedModel, batch_tokens: int, longest: int, name: str) -> int:
    """`fit_batch_tokens` for a model on its device; only CUDA runs out of memory by batches.

    Raises:
        UserError: when not even one text fits.
    """
    if model.device.type != "cuda":
        return batch_tokens
    config = model.config
    wide = getattr(config, "intermediate_size", 4 * config.hidden_size)
    # An upper estimate of what one token takes in one layer: residual, normed, query, key, value
    # and mixed states and their copies; gate, up and their product; the pooled copy in float32.
    states = 12 * config.hidden_size + 4 * wide
    token_bytes = model.dtype.itemsize * states + 4 * config.hidden_size
    free, _ = torch.cuda.mem_get_info(model.device)
    return fit_batch_tokens(batch_tokens, longest, token_bytes, free, name)


def fit_batch_tokens(
    batch_tokens: int, longest: int, token_bytes: int, free_bytes: int, name: str
) -> int:
    """The largest of `batch_tokens` and its halves whose activations fit into the free memory.

    Halving keeps the batches, and so the last bits of vectors, the same on machines that differ
    little. The longest text alone is the least that has to fit.

    Raises:
        UserError: when it does not.
    """
    usable = int(free_bytes * _USABLE_SHARE)
    while batch_tokens > longest and batch_tokens * token_bytes > usable:
        batch_tokens //= 2
    if longest * token_bytes > usable:
        raise UserError(
            f"model {name!r}: {free_bytes / 2**30:.1f} GiB of GPU memory are left beside the "
            f"weights, and a text of {longest} tokens may take "
            f"{longest * token_bytes / 2**30:.1f} GiB; use a larger GPU, a smaller model, or "
            "shorter texts"
        )
    return batch_tokens


def _to_host(tensor: Tensor) -> Callable[[], np.ndarray]:
    """Start the copy to the host; the returned function waits for it."""
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def arrive() -> np.ndarray:
        copied.synchronize()
        return host.numpy()

    return arrive

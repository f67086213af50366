"""Bidirectional forward pass of Llama-like decoders over packed texts: no padding, no mask.

The tokens of a batch stand one after the other, so that the linear layers compute nothing for
padding. Attention is one kernel over texts of any lengths where torch has it (CUDA, half precision,
torch 2.10 and later). Elsewhere it runs once for every length in the batch, over all texts of that
length together: none of them needs a mask, and every fast attention kernel applies.

Shapes: T tokens of a batch, D hidden size, H query heads, K key heads, E head size.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import accumulate, chain, groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention
from transformers import PreTrainedModel

from recg_core.base.errors import UserError

# Model types of transformers with exactly these layers; biases and the activation are the model's.
ARCHITECTURES = ("llama", "mistral", "qwen2")
_VARYING_ROPE = ("dynamic", "longrope")  # whose frequencies depend on the length of a text

# From query [T, H, E], key and value [T, K, E] to the mixed values [T, H, E].
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def check_architecture(model: PreTrainedModel, name: str, max_length: int) -> None:
    """Refuse a model whose layers are others than those computed here.

    Raises:
        UserError: on another architecture, rotary frequencies that depend on the length, or an
            attention window shorter than `max_length`.
    """
    config = model.config
    if config.model_type not in ARCHITECTURES:
        raise UserError(
            f"model {name!r}: is a {config.model_type!r} model; llm2vec takes {ARCHITECTURES}"
        )
    # transformers 5 renamed it.
    rope = getattr(config, "rope_parameters", getattr(config, "rope_scaling", None)) or {}
    if rope.get("rope_type", rope.get("type")) in _VARYING_ROPE:
        raise UserError(f"model {name!r}: its rotary scaling {rope} depends on the text's length")
    window = getattr(config, "sliding_window", None)
    if window is not None and window < max_length:
        raise UserError(
            f"model {name!r}: attends to {window} tokens at most, max_length is {max_length}"
        )


def packed_states(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> list[Tensor]:
    """The last hidden states of every text, each token attending to all tokens of its text.

    Args:
        model: one that `check_architecture` accepts, on its device.
        sequences: token ids, at least one each; texts of equal length should be neighbours.

    Returns:
        One [length, D] tensor a text.
    """
    lengths = [len(sequence) for sequence in sequences]
    device = model.device
    ids_T = _to_device(torch.tensor(list(chain.from_iterable(sequences))), device)
    places_T = _to_device(torch.cat([torch.arange(length) for length in lengths]), device)
    states_TD = model.embed_tokens(ids_T)
    rotation = _rotation(model, places_T, states_TD.dtype)
    attention = _attention(lengths, device, states_TD.dtype)
    for layer in model.layers:
        normed_TD = _normalize(layer.input_layernorm, states_TD)
        states_TD = states_TD + _attend(layer.self_attn, normed_TD, rotation, attention)
        mlp = layer.mlp
        normed_TD = _normalize(layer.post_attention_layernorm, states_TD)
        gated = mlp.act_fn(mlp.gate_proj(normed_TD)).mul_(mlp.up_proj(normed_TD))
        states_TD = states_TD + mlp.down_proj(gated)
    return list(_normalize(model.norm, states_TD).split(lengths))


def _attend(
    layer: Any, states_TD: Tensor, rotation: tuple[Tensor, Tensor], attention: Attention
) -> Tensor:
    size = layer.head_dim
    query_THE = _rotate(layer.q_proj(states_TD).unflatten(-1, (-1, size)), rotation)
    key_TKE = _rotate(layer.k_proj(states_TD).unflatten(-1, (-1, size)), rotation)
    value_TKE = layer.v_proj(states_TD).unflatten(-1, (-1, size))
    return layer.o_proj(attention(query_THE, key_TKE, value_TKE).flatten(1))


def _attention(lengths: Sequence[int], device: torch.device, dtype: torch.dtype) -> Attention:
    """The attention within each of the texts, by the fastest way that there is."""
    if has_varlen(device, dtype):
        starts = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        return partial(attend_varlen, _to_device(starts, device), max(lengths))
    return partial(attend_by_length, lengths)


def has_varlen(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch attends to texts of many lengths in one kernel."""
    return (
        device.type == "cuda"
        and dtype in (torch.float16, torch.bfloat16)
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and find_spec("torch.nn.attention.varlen") is not None
    )


def attend_varlen(
    starts: Tensor, longest: int, query_THE: Tensor, key_TKE: Tensor, value_TKE: Tensor
) -> Tensor:
    """Attention within texts that begin at `starts` (their end in the last place), one kernel."""
    from torch.nn.attention.varlen import varlen_attn

    # Repeated, since not every version takes fewer key heads; next to the products it costs 1 %.
    shared = query_THE.shape[1] // key_TKE.shape[1]
    key_THE, value_THE = (x.repeat_interleave(shared, dim=1) for x in (key_TKE, value_TKE))
    mixed = varlen_attn(query_THE, key_THE, value_THE, starts, starts, longest, longest)
    assert isinstance(mixed, Tensor)  # and no pair, as nothing else was asked for
    return mixed


def attend_by_length(
    lengths: Sequence[int], query_THE: Tensor, key_TKE: Tensor, value_TKE: Tensor
) -> Tensor:
    """Attention within texts of these lengths, one product for neighbours of the same length."""
    size = query_THE.shape[-1]
    mixed_THE = torch.empty_like(query_THE)
    start = 0
    for length, group in groupby(lengths):
        texts = len(list(group))
        rows = slice(start, start + texts * length)
        query, key, value, mixed = (
            x[rows].view(texts, length, -1, size).transpose(1, 2)
            for x in (query_THE, key_TKE, value_TKE, mixed_THE)
        )
        # The query heads that share a key head are so many more queries to it.
        folded = query.reshape(texts, key.shape[1], -1, size)
        # Some of CUDA's kernels return other strides, which a view does not take.
        mixed.copy_(scaled_dot_product_attention(folded, key, value).reshape(query.shape))
        start = rows.stop
    return mixed_THE


def _rotation(
    model: PreTrainedModel, places_T: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the rotary embedding, [T, 1, E] each."""
    # Where the frequencies are kept depends on the version of transformers.
    rotary = getattr(model, "rotary_emb", None) or model.layers[0].self_attn.rotary_emb
    angles = places_T[:, None, None].float() * rotary.inv_freq.float()
    scale = getattr(rotary, "attention_scaling", 1.0)
    cos, sin = angles.cos() * scale, angles.sin() * scale
    return torch.cat([cos, cos], dim=-1).to(dtype), torch.cat([-sin, sin], dim=-1).to(dtype)


def _rotate(heads: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = rotation
    return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, -1), sin)


def _normalize(norm: Any, states: Tensor) -> Tensor:
    return rms_norm(states, states.shape[-1:], norm.weight, norm.variance_epsilon)


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)

"""Bidirectional forward pass of Llama-like decoders over packed texts: no padding, no mask.

The tokens of a batch stand one after the other, so that the linear layers compute nothing for
padding. Attention runs once for every length in the batch, over all texts of that length together:
none of them needs a mask, and every fast attention kernel applies.

Shapes: T tokens of a batch, D hidden size, H query heads, K key heads, E head size.
"""

from collections.abc import Sequence
from itertools import chain, groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention
from transformers import PreTrainedModel

from recg_core.base.errors import UserError

# Model types of transformers with exactly these layers; biases and the activation are the model's.
ARCHITECTURES = ("llama", "mistral", "qwen2")
_VARYING_ROPE = ("dynamic", "longrope")  # whose frequencies depend on the length of a text


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
    for layer in model.layers:
        normed_TD = _normalize(layer.input_layernorm, states_TD)
        states_TD = states_TD + _attend(layer.self_attn, normed_TD, rotation, lengths)
        mlp = layer.mlp
        normed_TD = _normalize(layer.post_attention_layernorm, states_TD)
        gated = mlp.act_fn(mlp.gate_proj(normed_TD)).mul_(mlp.up_proj(normed_TD))
        states_TD = states_TD + mlp.down_proj(gated)
    return list(_normalize(model.norm, states_TD).split(lengths))


def _attend(
    attention: Any, states_TD: Tensor, rotation: tuple[Tensor, Tensor], lengths: Sequence[int]
) -> Tensor:
    size = attention.head_dim
    query_THE = _rotate(attention.q_proj(states_TD).unflatten(-1, (-1, size)), rotation)
    key_TKE = _rotate(attention.k_proj(states_TD).unflatten(-1, (-1, size)), rotation)
    value_TKE = attention.v_proj(states_TD).unflatten(-1, (-1, size))
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
        mixed.copy_(scaled_dot_product_attention(folded, key, value).view_as(query))
        start = rows.stop
    return attention.o_proj(mixed_THE.flatten(1))


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

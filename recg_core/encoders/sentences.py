"""Loading and running models of the `sentence-transformers` library.

This module imports torch, transformers and that library; the encoder imports it at the first text
only.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from recg_core.base.errors import UserError
from recg_core.encoders.base import Advance, Dtype
from recg_core.encoders.forward import fit_to_memory, token_batches
from recg_core.encoders.hub import resolve
from recg_core.encoders.loading import dtype_option, encoder_device, load_model
from recg_core.encoders.selftest import PROBES, check_sentence_vectors

_CARD = "modules.json"
# Of a batch on a CPU: larger ones pad more and leave its cache, and fill no more of its cores.
_CPU_BATCH_TOKENS = 1024
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def load_sentence_model(
    name: str, pooling: str, *, max_tokens: int | None, dim: int | None, dtype: Dtype
) -> SentenceTransformer:
    """The model `name` on its device, every weight of it, in evaluation mode.

    Args:
        pooling: `card`, or for a model without a card `mean`, `cls` or `lasttoken`.
        max_tokens: of a text; None for what the card says.
        dim: of the vectors; None for all that the model gives.

    Raises:
        UserError: when there is none with safetensors weights, some are missing, the card is
            missing and `pooling` does not stand in for it, the model takes fewer tokens or gives
            smaller vectors, or it fails the self-test.
    """
    folder = resolve(name)
    _check_card(name, folder, pooling)
    # The library only warns of missing weights, and leaves them random: loaded once to see.
    body_folder = folder / _first_module(folder)
    load_model(name, dtype, folder=body_folder)
    # Without any vocabulary transformers 5 makes an empty one and says nothing.
    if not any(path for kind in _VOCABULARIES for path in body_folder.glob(kind)):
        raise UserError(f"model {name!r}: {body_folder} has no tokenizer; get the files anew")
    options: dict[str, Any] = {
        "model_kwargs": dtype_option(dtype) | {"use_safetensors": True},
        "processor_kwargs": {"clean_up_tokenization_spaces": False},  # of decoding
    }
    # What it tells of itself is no news to whoever wrote the row; its warnings are.
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    try:
        if pooling == "card":
            model = SentenceTransformer(
                str(folder), device="cpu", local_files_only=True, truncate_dim=dim, **options
            )
        else:
            body = Transformer(str(folder), **options)
            head = Pooling(body.get_embedding_dimension(), pooling_mode=pooling)
            model = SentenceTransformer(modules=[body, head], device="cpu", truncate_dim=dim)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise UserError(
            f"model {name!r}: sentence-transformers could not load {folder} ({error})"
        ) from error
    _limit_tokens(model, max_tokens, name)
    model = model.to(encoder_device()).eval()
    vectors = encode_batches(model, PROBES, "", 1)
    if dim is not None and vectors.shape[1] < dim:
        raise UserError(
            f"model {name!r}: its vectors have {vectors.shape[1]} numbers, dim is {dim}"
        )
    together = encode_batches(model, PROBES, "", 1 << 20)
    check_sentence_vectors(vectors, together, getattr(torch, dtype), name)
    return model


def fit_model(model: SentenceTransformer, batch_tokens: int, name: str) -> int:
    """The tokens of a batch: as many as memory holds on a GPU, at most 1,024 on a CPU.

    Raises:
        UserError: as `fit_to_memory` does.
    """
    if model.device.type == "cpu":
        return min(batch_tokens, _CPU_BATCH_TOKENS)
    longest = model.max_seq_length or batch_tokens
    return fit_to_memory(_body(model), batch_tokens, longest, name)


def encode_batches(
    model: SentenceTransformer,
    texts: Sequence[str],
    prompt: str | None,
    batch_tokens: int,
    advance: Advance | None = None,
) -> np.ndarray:
    """What the model's `encode` gives, in batches of at most `batch_tokens` tokens.

    Args:
        prompt: stands before every text; None for the card's default prompt.
        advance: called with the size of every finished batch.

    Returns:
        float32 [texts, D]. What else is in a batch changes a vector by rounding only.
    """
    asked = list(texts) or [PROBES[0]]  # whose vector tells D
    default = model.prompts.get(model.default_prompt_name or "") or ""
    before = default if prompt is None else prompt
    tokens = model.tokenizer(
        [before + text for text in asked], truncation=True, max_length=model.max_seq_length
    )["input_ids"]
    batches = token_batches(np.array([len(ids) for ids in tokens]), batch_tokens)
    parts = []
    for batch in batches:
        part = model.encode(
            [asked[index] for index in batch],
            prompt=prompt,
            batch_size=len(batch),
            show_progress_bar=False,
        )
        parts.append(part.astype(np.float32))
        if advance is not None and texts:
            advance(len(batch))
    vectors = np.empty((len(asked), parts[0].shape[1]), dtype=np.float32)
    vectors[np.concatenate(batches)] = np.concatenate(parts)
    return vectors[: len(texts)]


def _check_card(name: str, folder: Path, pooling: str) -> None:
    has_card = (folder / _CARD).is_file()
    if pooling == "card" and not has_card:
        raise UserError(
            f"model {name!r}: {folder} has no {_CARD}, so nothing says how it pools; set "
            "`pooling` to mean, cls or lasttoken, as the model was trained"
        )
    if pooling != "card" and has_card:
        raise UserError(f"model {name!r}: its {_CARD} says how it pools; leave out `pooling`")


def _first_module(folder: Path) -> str:
    """The folder, in that of the model, of the transformer whose states are pooled."""
    if not (folder / _CARD).is_file():
        return ""
    try:
        modules = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        return str(min(modules, key=lambda module: module["idx"])["path"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder / _CARD}: is no list of modules; get the files anew") from error


def _body(model: SentenceTransformer) -> Any:
    """The model of transformers whose states are pooled."""
    return model[0].auto_model


def _limit_tokens(model: SentenceTransformer, max_tokens: int | None, name: str) -> None:
    limit = model.tokenizer.model_max_length
    limit = min(limit, getattr(_body(model).config, "max_position_embeddings", limit))
    if max_tokens is not None and max_tokens > limit:
        raise UserError(f"model {name!r}: takes {limit} tokens at most, max_tokens is {max_tokens}")
    if max_tokens is not None:
        model.max_seq_length = max_tokens

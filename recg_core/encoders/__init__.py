"""Text encoders: item texts in, vectors out. `ENCODERS` is the whole registry."""

from collections.abc import Callable, Mapping
from typing import Any

from recg_core.base.config import build_kind
from recg_core.encoders.base import CorpusEncoder, Encoder
from recg_core.encoders.llm2vec import Llm2Vec
from recg_core.encoders.lsa import Lsa
from recg_core.encoders.transformer import Transformer

ENCODERS: dict[str, Callable[..., Encoder]] = {
    "lsa": Lsa,
    "transformer": Transformer,
    "llm2vec": Llm2Vec,
}

__all__ = ["ENCODERS", "CorpusEncoder", "Encoder", "build_encoder"]


def build_encoder(row: Mapping[str, Any], address: str) -> Encoder:
    """Build an encoder from its row: `kind`, and the arguments of that kind's constructor.

    Raises:
        UserError: on an unknown kind, or an unknown, missing or mistyped argument.
    """
    return build_kind(ENCODERS, row, address)

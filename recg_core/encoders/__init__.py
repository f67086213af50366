"""Text encoders: item texts in, vectors out. `ENCODERS` is the whole registry."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recg_core.base.config import build_kind
from recg_core.domains.items import load_items
from recg_core.encoders.base import CorpusEncoder, Encoder
from recg_core.encoders.http import HttpEncoder
from recg_core.encoders.llm2vec import Llm2Vec
from recg_core.encoders.lsa import Lsa
from recg_core.encoders.sentence_transformer import SentenceEncoder
from recg_core.encoders.text import render_texts

ENCODERS: dict[str, Callable[..., Encoder]] = {
    "lsa": Lsa,
    "sentence_transformer": SentenceEncoder,
    "llm2vec": Llm2Vec,
    "http": HttpEncoder,
}

__all__ = ["ENCODERS", "CorpusEncoder", "Encoder", "build_encoder", "fit_corpus"]


def build_encoder(row: Mapping[str, Any], address: str) -> Encoder:
    """Build an encoder from its row: `kind`, and the arguments of that kind's constructor.

    Raises:
        UserError: on an unknown kind, or an unknown, missing or mistyped argument.
    """
    return build_kind(ENCODERS, row, address)


def fit_corpus(encoder: Encoder, domains_root: Path) -> None:
    """Fit a corpus encoder on the items of its `fit_domains`; any other needs no fitting.

    Raises:
        UserError: when the items of a domain are missing or damaged.
    """
    if isinstance(encoder, CorpusEncoder):
        frames = (load_items(domains_root / domain) for domain in encoder.fit_domains)
        encoder.fit([text for frame in frames for text in render_texts(frame, encoder.template)])

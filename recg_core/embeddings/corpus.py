"""The texts that an encoder is fitted on, from the domains that it names."""

from pathlib import Path

from recg_core.domains.items import load_items
from recg_core.encoders.base import CorpusEncoder, Encoder
from recg_core.encoders.text import render_texts


def fit_corpus(encoder: Encoder, domains_root: Path) -> None:
    """Fit a corpus encoder on the items of its `fit_domains`; any other needs no fitting.

    Args:
        domains_root: holds a folder for every domain.

    Raises:
        UserError: when the items of a domain are missing or damaged.
    """
    if not isinstance(encoder, CorpusEncoder):
        return
    frames = (load_items(domains_root / domain) for domain in encoder.fit_domains)
    encoder.fit([text for frame in frames for text in render_texts(frame, encoder.template)])

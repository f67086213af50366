"""A domain in memory: its users' sequences and its items' text embeddings."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recg_core.base.schema import ITEMS
from recg_core.domains.sequences import Sequences, load_sequences
from recg_core.domains.shards import load_embeddings, read_manifest


@dataclass(frozen=True)
class Domain:
    """What training and evaluation read of a domain."""

    name: str
    sequences: Sequences
    item_ids: list[str]  # of item_idx 1..N, in this order
    text: np.ndarray  # float32 [N, H], row item_idx - 1
    encoder_fingerprint: str  # of the encoder that made `text`
    encoder_domains: tuple[str, ...] = ()  # whose item texts that encoder was fitted on
    text_mean: np.ndarray | None = None  # [H], what centring subtracts; None: the mean of `text`

    @property
    def num_items(self) -> int:
        """N, the items of the catalogue."""
        return len(self.text)


def load_domains(
    names: Iterable[str], domains_root: Path, embeddings_root: Path
) -> dict[str, Domain]:
    """The named domains, each of which has a folder below both roots.

    Raises:
        UserError: as `load_domain` does.
    """
    return {name: load_domain(domains_root / name, embeddings_root / name) for name in names}


def load_domain(folder: Path, embeddings: Path) -> Domain:
    """Read a domain's tables and join its embeddings by item id.

    Args:
        folder: bears the domain's name and holds `items.parquet` and `sequences.parquet`.
        embeddings: the domain's shards and manifest.

    Raises:
        UserError: when a file is missing, damaged or incomplete.
    """
    manifest = read_manifest(embeddings)
    item_ids = ITEMS.read(folder / "items.parquet").sort("item_idx")["item_id"].to_list()
    return Domain(
        name=folder.name,
        sequences=load_sequences(folder / "sequences.parquet"),
        item_ids=item_ids,
        text=load_embeddings(embeddings, item_ids),
        encoder_fingerprint=manifest.fingerprint,
        encoder_domains=tuple(manifest.encoder.get("fit_domains", ())),
    )

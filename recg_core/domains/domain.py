"""A domain in memory: its users' sequences and its items' text embeddings."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS
from recg_core.domains.sequences import Sequences, load_sequences
from recg_core.domains.shards import load_embeddings, read_manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Domain:
    """What training and evaluation read of a domain."""

    name: str
    sequences: Sequences
    item_ids: list[str]  # of item_idx 1..N, in this order
    text: np.ndarray  # float32 [N, H], row item_idx - 1; float16 for a model that only ranks it
    encoder_fingerprint: str  # of the encoder that made `text`
    encoder_domains: tuple[str, ...] = ()  # whose item texts that encoder was fitted on
    text_mean: np.ndarray | None = None  # [H], what centring subtracts; None: the mean of `text`

    @property
    def num_items(self) -> int:
        """N, the items of the catalogue."""
        return len(self.text)


def why_untested(name: str, num_users: int, num_test_users: int) -> str | None:
    """Why nothing can be evaluated on a domain, as a sentence; None where it can."""
    if not num_users:
        return (
            f"{name}: has no interactions; it can be neither trained on nor evaluated; its items "
            "can be recommended"
        )
    if not num_test_users:
        return f"{name}: no user has a history and a test item; it cannot be evaluated"
    return None


def tested(domains: Iterable[Domain]) -> list[Domain]:
    """Those of the domains that can be evaluated; a log says why others cannot.

    Raises:
        UserError: when none can.
    """
    found, reasons = [], []
    for domain in domains:
        users = domain.sequences
        reason = why_untested(domain.name, len(users.user_ids), len(users.holdout("test").users))
        if reason is None:
            found.append(domain)
        else:
            log.warning("%s", reason)
            reasons.append(reason)
    if not found:
        raise UserError("; ".join(reasons))
    return found


def require_interactions(source: Domain) -> None:
    """Refuse to train on a domain without users.

    Raises:
        UserError: saying so.
    """
    if not source.sequences.user_ids:
        raise UserError(str(why_untested(source.name, 0, 0)))


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

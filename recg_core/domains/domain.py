"""A domain in memory: its users' sequences and its items' text embeddings."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.files import sha256_file, sha256_json
from recg_core.base.mapped import map_rows, write_rows
from recg_core.base.schema import ITEMS
from recg_core.domains.sequences import Ragged, Sequences, load_sequences
from recg_core.domains.shards import (
    MANIFEST_NAME,
    embedding_blocks,
    load_embeddings,
    read_manifest,
)

log = logging.getLogger(__name__)

MAPPED_BYTES = 1 << 26  # of stored embeddings; more are mapped: from 87,000 items of 384 dimensions
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Domain:
    """What training and evaluation read of a domain."""

    name: str
    sequences: Sequences
    item_ids: list[str]  # of item_idx 1..N, in this order
    text: np.ndarray  # float32 [N, H], row item_idx - 1; float16 for what only ranks it
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


def training_rows(source: Domain) -> tuple[Ragged, np.ndarray]:
    """The training sequences of a domain, and the rows of those that have two items.

    Raises:
        UserError: when none has.
    """
    sequences = source.sequences.training()
    rows = np.flatnonzero(sequences.lengths >= 2)
    if not len(rows):
        raise UserError(f"{source.name}: no user has two training items; nothing to learn from")
    return sequences, rows


def load_domains(
    names: Iterable[str], domains_root: Path, embeddings_root: Path, mapped: Path
) -> dict[str, Domain]:
    """The named domains, each of which has a folder below both roots; to be ranked, not trained on.

    Args:
        mapped: folder for the embeddings of large domains, which are mapped from a file there: all
            processes share its pages, and the operating system may take them back.

    Raises:
        UserError: as `load_domain` does, and when `mapped` cannot be written.
    """
    return {
        name: load_domain(domains_root / name, embeddings_root / name, mapped) for name in names
    }


def load_domain(folder: Path, embeddings: Path, mapped: Path | None = None) -> Domain:
    """Read a domain's tables and join its embeddings by item id.

    Args:
        folder: bears the domain's name and holds `items.parquet` and `sequences.parquet`.
        embeddings: the domain's shards and manifest.
        mapped: see `load_domains`; None: all embeddings are read into memory as float32.

    Raises:
        UserError: when a file is missing, damaged or incomplete.
    """
    manifest = read_manifest(embeddings)
    item_ids = ITEMS.read(folder / "items.parquet").sort("item_idx")["item_id"].to_list()
    mean = None
    if mapped is None or 2 * manifest.dim * len(item_ids) <= MAPPED_BYTES:
        text = load_embeddings(embeddings, item_ids)
    else:
        text = _map_embeddings(embeddings, item_ids, mapped)
        mean = mean_of(text)
    return Domain(
        name=folder.name,
        sequences=load_sequences(folder / "sequences.parquet"),
        item_ids=item_ids,
        text=text,
        encoder_fingerprint=manifest.fingerprint,
        encoder_domains=tuple(manifest.encoder.get("fit_domains", ())),
        text_mean=mean,
    )


def _map_embeddings(embeddings: Path, item_ids: list[str], mapped: Path) -> np.ndarray:
    """Embeddings as they are stored, float16 [N, H]; their file is made where there is none."""
    digest = sha256_json([sha256_file(embeddings / MANIFEST_NAME), item_ids])[:32]
    prefix = f"{embeddings.parent.name}-{embeddings.name}"
    path = mapped / f"{prefix}-{digest}.safetensors"
    if path.is_file():
        try:
            return map_rows(path, "it is made again")
        except UserError as error:
            log.warning("not used: %s", error)
    shape = (len(item_ids), read_manifest(embeddings).dim)
    mapped.mkdir(parents=True, exist_ok=True)
    write_rows(path, shape, embedding_blocks(embeddings, item_ids))
    for other in mapped.glob(f"{prefix}-{'?' * len(digest)}.safetensors"):
        if other != path:  # of embeddings that are no more
            other.unlink(missing_ok=True)
    return map_rows(path, "delete it and try again")


def mean_of(text: np.ndarray) -> np.ndarray:
    """The mean of embeddings [N, H], float32 [H]; summed in float64, a block at a time."""
    total_H = np.zeros(text.shape[1])
    for start in range(0, len(text), _ROWS_AT_ONCE):
        total_H += text[start : start + _ROWS_AT_ONCE].sum(axis=0, dtype=np.float64)
    return (total_H / len(text)).astype(np.float32)

"""The pool: item vectors by domain that the generalization loss may see (texts, never users)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recg_core.base.errors import UserError
from recg_core.base.tensors import read_tensors, write_tensors
from recg_core.domains.items import load_items
from recg_core.domains.shards import load_embeddings, read_manifest


@dataclass(frozen=True)
class PoolConfig:
    """Which domains the pool holds and how much of each."""

    domains: tuple[str, ...]
    max_items: int  # a domain
    seed: int

    def __post_init__(self) -> None:
        if not self.domains:
            raise ValueError("domains: name at least one domain")
        if len(set(self.domains)) != len(self.domains):
            raise ValueError(f"domains: {list(self.domains)} names a domain twice")
        if self.max_items < 1:
            raise ValueError(f"max_items: expected 1 or more, got {self.max_items}")


@dataclass(frozen=True)
class Pool:
    """Item vectors by domain, all by one encoder."""

    vectors: dict[str, np.ndarray]  # float32 [n, dim], in the order of PoolConfig.domains
    fingerprint: str  # of the encoder


def build_pool(config: PoolConfig, domains_root: Path, embeddings_root: Path) -> Pool:
    """Choose the items of every domain and load their vectors.

    An item is chosen when the hash of seed, domain and item id is among the `max_items` smallest of
    its domain, and rows are in the order of item ids: the pool depends neither on the order of a
    catalogue nor on other domains, and a grown catalogue replaces few of its items.

    Args:
        config: the domains, and how many items of each.
        domains_root: holds a folder for every domain.
        embeddings_root: holds the embeddings of every domain, by one encoder.

    Raises:
        UserError: when items are missing, or embeddings incomplete, damaged, or by different
            encoders.
    """
    fingerprints = {
        domain: read_manifest(embeddings_root / domain).fingerprint for domain in config.domains
    }
    if len(set(fingerprints.values())) > 1:
        found = ", ".join(f"{domain} {value[:12]}" for domain, value in fingerprints.items())
        raise UserError(f"pool: made by different encoders ({found}); re-run the encode stage")
    vectors = {}
    for domain in config.domains:
        item_ids = load_items(domains_root / domain)["item_id"].to_list()
        chosen = choose_items(item_ids, config.max_items, f"{config.seed}/{domain}")
        vectors[domain] = load_embeddings(embeddings_root / domain, chosen)
    return Pool(vectors, fingerprints[config.domains[0]])


def choose_items(item_ids: Sequence[str], max_items: int, salt: str) -> list[str]:
    """At most `max_items` of the items, chosen by hash and sorted."""
    ranked = sorted(item_ids, key=lambda i: hashlib.sha256(f"{salt}/{i}".encode()).digest())
    return sorted(ranked[:max_items])


def write_pool(path: Path, pool: Pool) -> None:
    """Write the pool, one float16 tensor a domain; equal pools give equal bytes."""
    tensors = {domain: rows.astype(np.float16) for domain, rows in pool.vectors.items()}
    write_tensors(path, tensors, {"fingerprint": pool.fingerprint, "domains": list(pool.vectors)})


def load_pool(path: Path) -> Pool:
    """Read a pool.

    Raises:
        UserError: when the file is missing, damaged, or no pool.
    """
    tensors, header = read_tensors(path, "run the pool stage")
    vectors = {domain: tensors[domain].astype(np.float32) for domain in header["domains"]}
    return Pool(vectors, header["fingerprint"])

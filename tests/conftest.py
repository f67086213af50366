"""Fixtures shared by the tests: one thread, small domains with a known answer, a local Ray."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Ragged, Sequences
from recg_core.domains.source_domains import SourceDomains

torch.set_num_threads(1)
# How long an example takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def ragged(rows: list[list[int]]) -> Ragged:
    """A Ragged of the given rows."""
    values = np.array([value for row in rows for value in row], dtype=np.int32)
    return Ragged(values, np.concatenate([[0], np.cumsum([len(row) for row in rows])]))


def leave_one_out(rows: list[list[int]]) -> Sequences:
    """Sequences whose last item is the test item and last but one the validation item."""
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    users = [f"u{i}" for i in range(len(rows))]
    return Sequences(ragged(rows), users, lengths - 2, lengths - 2, lengths - 1)


def cycle_domain(name: str, *, num_users: int = 300, num_items: int = 24, seed: int = 0) -> Domain:
    """Users walk the items of a cycle in order; an item's text is its place on a circle.

    The answer is known: after item i comes item i + 1, whatever the user.
    """
    rng = np.random.default_rng(seed)
    starts = rng.integers(num_items, size=num_users)
    lengths = rng.integers(5, 10, size=num_users)
    rows = [
        [int((s + t) % num_items) + 1 for t in range(n)]
        for s, n in zip(starts, lengths, strict=True)
    ]
    angles = 2 * np.pi * np.arange(num_items) / num_items
    text = np.stack([f(k * angles) for k in range(1, 5) for f in (np.sin, np.cos)], axis=1)
    item_ids = [f"{name}-{i}" for i in range(1, num_items + 1)]
    return Domain(name, leave_one_out(rows), item_ids, text.astype(np.float32), "encoder")


def alone(domain: Domain) -> SourceDomains:
    """A source of one domain."""
    return SourceDomains((domain,))


@pytest.fixture
def cycle() -> Domain:
    """A domain that a sequence model must learn to perfection."""
    return cycle_domain("cycle")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local Ray of two cores whose workers find the tests."""
    import ray

    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": path})
    yield
    ray.shutdown()

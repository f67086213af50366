"""Slice attributes by hand."""

import numpy as np
import polars as pl
import pytest

from recg_core.base.schema import SLICES
from recg_core.domains.domain import Domain
from recg_core.domains.sequences import Sequences
from recg_core.evaluation.slices import slice_attributes, slice_masks
from tests.conftest import alone, ragged


def domain(name: str, histories: list[list[int]], ids: list[str], text: np.ndarray) -> Domain:
    lengths = np.array([len(history) for history in histories], dtype=np.int32)
    users = [f"{name}{i}" for i in range(len(histories))]
    sequences = Sequences(ragged(histories), users, lengths - 2, lengths - 2, lengths - 1)
    return Domain(name, sequences, ids, text.astype(np.float32), "fingerprint")


def test_attributes_by_hand() -> None:
    target = domain(
        "target",
        [[1, 1, 2, 3], [1, 2, 4, 5, 1], [2, 3, 5]],
        ["a", "b", "c", "d", "e"],
        np.array([[1, 0], [0, 1], [1, 1], [-1, 0], [3, 4]]),
    )
    source = domain("source", [[1, 2, 1]], ["a", "z"], np.array([[1, 0], [0, 2]]))
    frame = slice_attributes(alone(source), target)
    assert frame["history_length"].to_list() == [3, 4, 2]
    # Training items are 1 1, 1 2 4, 2: item 1 three times, the head; the tests are items 3, 1, 5.
    assert frame["popularity"].to_list() == [0, 3, 0]
    assert frame["head"].to_list() == [False, True, False]
    # Item a itself does not count for item a: what is left is z, at a right angle.
    assert frame["source_similarity"].to_list() == pytest.approx([2**-0.5, 0.0, 0.8])


def test_slices_split_all_users_and_keep_equal_values_together() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 9, 500).astype(np.int32)
    frame = pl.DataFrame(
        {
            "user_idx": np.arange(500, dtype=np.int32),
            "history_length": lengths,
            "popularity": np.zeros(500, dtype=np.int32),
            "head": random.random(500) < 0.3,
            "source_similarity": random.random(500).astype(np.float32),
        },
        schema=SLICES.columns,
    )
    masks = slice_masks(frame)
    for attribute, count in [("popularity", 1), ("head", 2), ("source_similarity", 4)]:
        parts = [mask for name, _, mask in masks if name == attribute]
        assert len(parts) == count
        assert np.stack(parts).sum(axis=0).tolist() == [1] * 500
    seen = [set(lengths[mask]) for name, _, mask in masks if name == "history_length"]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 6

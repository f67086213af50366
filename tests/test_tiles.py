"""A catalogue in tiles and halves: the same lists as at once, in bounded memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recg_core.base.errors import UserError
from recg_core.base.mapped import map_rows, write_rows
from recg_core.base.tensors import read_tensors
from recg_core.domains.sequences import Holdout, Ragged
from recg_core.models import neighbors
from recg_core.models.near import HalfItems, UnitItems, anchor_items, cosine, with_texts
from recg_core.models.neighbors import kernel_scorer
from recg_core.models.ranking import tiles
from recg_core.models.ranking.full_rank import rank_holdout
from recg_core.models.rows import EVERY, Items, Rows, Scorer, combined
from recg_core.serving import topk


def table_scorer(scores: Tensor) -> Scorer:
    return Scorer(lambda rows: lambda items: scores[rows][:, items])


def ragged(rows: list[list[int]]) -> Ragged:
    offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
    return Ragged(np.array([i for row in rows for i in row], dtype=np.int32), offsets)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, list[list[int]], np.ndarray, int, int]:
    """Scores with many ties, excluded items, allowed ones, k, and items a tile."""
    users, items = draw(st.integers(1, 4)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = torch.from_numpy(rng.integers(0, 6, (users, items)).astype(np.float32))
    excluded = [
        sorted(rng.choice(items, rng.integers(0, items + 1), replace=False) + 1)
        for _ in range(users)
    ]
    allowed = rng.random(items) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    return scores, excluded, allowed, draw(st.integers(1, 12)), draw(st.integers(1, 9))


@settings(max_examples=150, deadline=None)
@given(case=cases())
def test_tiles_give_the_lists_of_a_stable_sort(
    case: tuple[Tensor, list[list[int]], np.ndarray, int, int],
) -> None:
    scores, excluded, allowed, k, tile = case
    num_users, num_items = scores.shape
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "WHOLE_ITEMS", 0)
        patch.setattr(topk, "USERS_AT_ONCE", 2)
        patch.setattr(topk, "TILE_ITEMS", tile)
        asked = (table_scorer(scores), num_items, ragged(excluded))
        found, found_scores = topk.top_items(*asked, k, allowed)
        many = topk.candidates(*asked, k, allowed)
    for user in range(num_users):
        order = np.argsort(-scores[user].numpy(), kind="stable")
        expected = [j + 1 for j in order if allowed[j] and j + 1 not in excluded[user]]
        assert found[user].tolist() == expected[:k]
        assert found_scores[user].tolist() == [float(scores[user, i - 1]) for i in expected[:k]]
        rest = [float(scores[user, i - 1]) for i in many[user]]
        assert sorted(rest, reverse=True) == found_scores[user].tolist()
        assert set(many[user].tolist()) <= set(expected)


@pytest.fixture
def text() -> np.ndarray:
    rng = np.random.default_rng(5)
    return (rng.standard_normal((40, 6)) + 2).astype(np.float16)


PARTS: list[Items] = [EVERY, slice(3, 11), slice(28, 35), np.array([39, 0, 31, 7])]


@pytest.mark.parametrize("items", PARTS, ids=str)
@pytest.mark.parametrize("kind", [UnitItems, HalfItems])
def test_cosines_of_parts_and_of_items_that_came_later(
    kind: type, items: Items, text: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recg_core.models.near._BLOCK_BYTES", 4 * 4 * 6)
    first, mean = text[:30], text[:30].astype(np.float32).mean(axis=0)
    rows = Rows([torch.from_numpy(first)])
    near = (
        HalfItems(rows, torch.from_numpy(mean))
        if kind is HalfItems
        else UnitItems(Rows([anchor_items(rows[:], mean)]))
    )
    base = near.rows.parts[0]
    for start in (30, 33):
        near = with_texts(near, text[start : 33 if start == 30 else 40], mean)
    assert near.rows.parts[0] is base  # what was there is not copied
    units = text.astype(np.float64) - mean
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    chosen = np.array([2, 36])
    expected = (units[chosen] @ units.T)[:, items]
    np.testing.assert_allclose(cosine(near, chosen, items), expected, atol=1e-6)


@pytest.mark.parametrize("items", PARTS, ids=str)
@pytest.mark.parametrize("kept", [0, 100])
def test_a_kernel_of_some_items_is_that_of_all_at_their_places(
    kept: int, items: Items, text: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the kernel is kept, made in one piece, or made for a few users at a time."""
    history = ragged([[1, 2], [3], [], list(range(1, 41)), [40, 7, 7]])
    weigh: Callable[[np.ndarray], Tensor] = lambda age: torch.from_numpy(0.8**age).float()  # noqa: E731
    units = anchor_items(torch.from_numpy(text).float())
    whole = kernel_scorer(history, units, weigh, 8.0)(np.arange(5))
    monkeypatch.setattr("recg_core.models.neighbors._KERNEL_BYTES", 300)
    score = kernel_scorer(history, units, weigh, 8.0, max_kernel_items=kept)
    rows = np.array([4, 0, 3, 2])
    torch.testing.assert_close(score(rows, items), whole[rows][:, items])
    if score.together is not None:
        shared = score.together(np.array([0, 2, 3, 4]))
        for some in (rows, np.array([2]), np.array([4, 0])):
            torch.testing.assert_close(shared(some, items), whole[some][:, items])


def test_groups_in_turn_make_each_part_of_a_kernel_twice(
    text: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many groups of users there are; and ranks are those of scores at once."""
    made = []
    kernel = neighbors._kernel

    def counted(near: UnitItems, units: Tensor, items: Items, sharpness: float) -> Tensor:
        made.append(items)
        return kernel(near, units, items, sharpness)

    rng = np.random.default_rng(0)
    history = ragged([rng.choice(40, 5, replace=False) + 1 for _ in range(60)])
    target = rng.integers(1, 41, 60).astype(np.int32)
    holdout = Holdout(np.arange(60, dtype=np.int32), history, target)
    units = anchor_items(torch.from_numpy(text).float())
    weigh: Callable[[np.ndarray], Tensor] = lambda age: torch.from_numpy(0.8**age).float()  # noqa: E731
    lse = kernel_scorer(history, units, weigh, 8.0, max_kernel_items=0)
    both = combined([lse], lambda rows: lambda items, scores: scores.log())
    monkeypatch.setattr(tiles, "USERS_AT_ONCE", 4)
    monkeypatch.setattr(tiles, "USERS_SHARING", 3)
    monkeypatch.setattr(tiles, "SCORES_AT_ONCE", 16)
    monkeypatch.setattr(neighbors, "_KERNEL_BYTES", 2048)  # eight columns and more of 40 items
    monkeypatch.setattr(neighbors, "_kernel", counted)
    found = rank_holdout(both, holdout, 40)
    assert len(made) == 2 * -(-40 // 8) - 1  # the last one serves both passes
    monkeypatch.undo()
    expected = rank_holdout(kernel_scorer(history, units, weigh, 8.0), holdout, 40)
    np.testing.assert_array_equal(found.num_higher, expected.num_higher)
    np.testing.assert_array_equal(found.num_ties, expected.num_ties)


def test_directions_of_all_dimensions_lose_nothing(text: np.ndarray) -> None:
    mean = torch.from_numpy(text.astype(np.float32).mean(axis=0))
    near = HalfItems(Rows([torch.from_numpy(text)]), mean)
    chosen = np.array([1, 8])
    short = near.projected(near.directions(6))
    torch.testing.assert_close(cosine(short, chosen), cosine(near, chosen), atol=2e-3, rtol=0)
    errors = [
        float((cosine(near.projected(near.directions(size)), chosen) - cosine(near, chosen)).norm())
        for size in (1, 3, 5)
    ]
    assert errors == sorted(errors, reverse=True)


def test_a_mapped_matrix_is_what_was_written(text: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    write_rows(path, text.shape, iter([text[:7], text[7:7], text[7:]]))
    mapped = map_rows(path, "write it again")
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == np.float16
    np.testing.assert_array_equal(mapped, text)
    np.testing.assert_array_equal(read_tensors(path, "")[0]["rows"], text)
    with pytest.raises(ValueError, match="do not make a matrix"):
        write_rows(tmp_path / "short", (41, 6), [text])
    assert [each.name for each in tmp_path.iterdir()] == ["rows.safetensors"]


@pytest.mark.parametrize("place", [0, 3, 30, 120, 300, -1])
def test_a_damaged_matrix_is_refused(place: int, text: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    write_rows(path, text.shape, [text])
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"rows\.safetensors: is .*; write it again"):
        map_rows(path, "write it again")
    path.write_bytes(bytes(content)[:-20])
    with pytest.raises(UserError, match="write it again"):
        map_rows(path, "write it again")

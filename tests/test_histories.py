"""Histories that grow piece by piece are those of all events at once."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from recg_core.serving.histories import Histories, no_histories

Events = list[tuple[str, str]]
EVENTS = st.lists(st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdef")), max_size=8)
ITEMS = st.lists(st.sampled_from("abcdef"), max_size=2)


def frame(events: Events) -> pl.DataFrame:
    return pl.DataFrame(events, schema={"user_id": pl.String, "item_id": pl.String}, orient="row")


def rows(found: Histories) -> dict[str, list[int]]:
    starts, ends = found.items.offsets[:-1], found.items.offsets[1:]
    values = [found.items.values[a:b].tolist() for a, b in zip(starts, ends, strict=True)]
    assert found.row_of == {user: row for row, user in enumerate(found.user_ids)}
    return dict(zip(found.user_ids, values, strict=True))


@given(steps=st.lists(st.tuples(EVENTS, ITEMS), max_size=5))
@settings(max_examples=150)
def test_events_and_items_in_any_order_give_the_plain_lists(
    steps: list[tuple[Events, list[str]]],
) -> None:
    """An event with an item that comes later stands where it would have stood."""
    found, item_idx, all_events = no_histories(), dict[str, int](), Events()
    for events, items in steps:
        before, found = rows(found), found.with_events(frame(events), item_idx)
        all_events += events
        for item in items:
            item_idx = item_idx | {item: item_idx.get(item, len(item_idx) + 1)}
        found = found.with_items(item_idx)
        plain: dict[str, list[int]] = {user: [] for user, _ in all_events}
        for user, item in all_events:
            if item in item_idx:
                plain[user].append(item_idx[item])
        assert rows(found) == plain
        assert list(rows(found)) == list(plain)
        assert list(before) == list(plain)[: len(before)]
    at_once = no_histories().with_events(frame(all_events), item_idx)
    assert rows(at_once) == rows(found)


def test_what_there_was_stays_as_it_was() -> None:
    """So that whoever reads it needs no lock."""
    before = no_histories().with_events(frame([("u", "a"), ("v", "z"), ("u", "z")]), {"a": 1})
    held = rows(before)
    after = before.with_events(frame([("u", "b"), ("w", "a")]), {"a": 1, "b": 2})
    grown = after.with_items({"a": 1, "b": 2, "z": 3})
    assert rows(before) == held == {"u": [1], "v": []}
    assert rows(after) == {"u": [1, 2], "v": [], "w": [1]}
    assert rows(grown) == {"u": [1, 3, 2], "v": [3], "w": [1]}

"""Items by words of their titles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recg_core.serving.search import MAX_WORDS, TitleSearch

TITLES = {
    "a": "Acoustic Guitar Strings",
    "b": "Guitar strap",
    "c": "Café table",
    "d": "Drum sticks",
}


@pytest.fixture(scope="module")
def search() -> TitleSearch:
    found = TitleSearch()
    found.add(TITLES.items())
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("guitar", ["b", "a"]),  # the shorter title first
        ("GUIT str", ["b", "a"]),
        ("strings guitar", ["a"]),  # all words, in any order
        ("guitar drum", ["d", "b", "a"]),  # no title has both: any, the rarer word first
        ("cafe", ["c"]),
        ("tab", ["c"]),
        ("able", []),
        ("", []),
        ("  ?! ", []),
        # The language of the index means nothing.
        ('AND OR NOT "', []),
        ("title:drum*", ["d"]),
        ("NEAR(drum sticks)", ["d"]),
        ("guitar' -- \"", ["b", "a"]),
    ],
)
def test_words_find_titles(search: TitleSearch, text: str, expected: list[str]) -> None:
    assert [item_id for item_id, _ in search.find(text, 10)] == expected
    assert search.find(text, 1) == [(item_id, TITLES[item_id]) for item_id in expected[:1]]


@given(text=st.text())
def test_no_text_is_taken_for_a_query_of_the_base(text: str) -> None:
    search = TitleSearch()
    search.add(TITLES.items())
    assert {item_id for item_id, _ in search.find(text, 10)} <= set(TITLES)


def test_items_that_come_later_are_found_and_more_words_than_count_are_left_out() -> None:
    search = TitleSearch()
    search.add(TITLES.items())
    search.add([("e", "Guitar, electric")])
    assert {item_id for item_id, _ in search.find("guitar", 10)} == {"a", "b", "e"}
    assert search.find("drum " * MAX_WORDS + "guitar", 10) == [("d", TITLES["d"])]

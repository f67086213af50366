"""From raw records to a domain: known answers, slow references, every kind of bad input."""

import datetime
import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recg_core.domains.interactions as interactions
import recg_core.raw.items as items_module
import recg_core.raw.jsonl as jsonl
import recg_core.raw.rejects as rejects_module
from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, sha256_file, write_sealed_json
from recg_core.base.schema import ITEMS, SEQUENCES
from recg_core.domains.kcore import core_items, in_core
from recg_core.domains.preprocess import PreprocessConfig, config_of_domain, preprocess
from recg_core.domains.sequences import load_sequences
from recg_core.domains.splits import Cuts, leave_one_out, own_cuts, temporal
from recg_core.raw.blocks import read_blocks
from recg_core.raw.records import read_interactions
from recg_core.raw.source import RawTable, TextLayout
from recg_core.raw.textclean import clean_text

SHARED = Path(__file__).parents[2] / "shared" / "data"
DAY = 86_400_000
START = 1_600_000_000_000
REVIEW_COLUMNS = {"user_id": "user_id", "item_id": "parent_asin", "timestamp": "timestamp"}
META_COLUMNS = {
    "item_id": "parent_asin",
    "title": "title",
    "features": "features",
    "description": "description",
}


def config(**changes: Any) -> PreprocessConfig:
    values = {"k_core": 1, "text_rule": "any", "split": "leave_one_out", "max_reject_share": 1.0}
    return PreprocessConfig(**(values | changes))


def review(user: Any = "u", item: Any = "i", when: Any = START, **more: Any) -> dict[str, Any]:
    return {"rating": 5.0, "user_id": user, "parent_asin": item, "timestamp": when, **more}


def meta(item: Any, **texts: Any) -> dict[str, Any]:
    return {"parent_asin": item, "title": f"The {item}", "features": [], "price": None, **texts}


def lines(records: Iterable[Any]) -> bytes:
    """JSON lines; a record that is text or bytes already stands as it is."""
    made = (r if isinstance(r, str | bytes) else json.dumps(r) for r in records)
    return b"".join((m.encode() if isinstance(m, str) else m) + b"\n" for m in made)


def write_raw(
    folder: Path, reviews: Iterable[Any], items: Iterable[Any] | None = None, suffix: str = ""
) -> Path:
    """A raw folder; by default every item of the reviews has metadata."""
    reviews = list(reviews)
    if items is None:
        ids = {r["parent_asin"] for r in reviews if isinstance(r, dict) and r.get("parent_asin")}
        items = [meta(item) for item in sorted(ids, key=str)]
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    for stem, records in (("reviews", reviews), ("meta", items)):
        data = lines(records)
        (raw / f"{stem}.jsonl{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    source = {
        "interactions": {
            "files": [f"reviews.jsonl{suffix}"],
            "format": "jsonl",
            "columns": REVIEW_COLUMNS,
        },
        "items": {"files": [f"meta.jsonl{suffix}"], "format": "jsonl", "columns": META_COLUMNS},
        "timestamp_unit": "ms",
        "row": {},
    }
    write_sealed_json(raw / "source.json", source)
    fetched(raw)
    return raw


def fetched(raw: Path) -> None:
    """Let `source.json` have the digests of the files as they are."""
    source = read_sealed_json(raw / "source.json", "")
    files = [name for table in ("interactions", "items") for name in source[table]["files"]]
    source["sha256"] = {name: sha256_file(raw / name) for name in files}
    write_sealed_json(raw / "source.json", source)


def histories(out: Path) -> dict[str, list[str]]:
    """Each user's item ids, oldest first."""
    ids = dict(ITEMS.read(out / "items.parquet").select("item_idx", "item_id").rows())
    frame = SEQUENCES.read(out / "sequences.parquet")
    return {
        user: [ids[item] for item in items]
        for user, items in frame.select("user_id", "item_idx").rows()
    }


def rejected(out: Path) -> list[tuple[str, int, str]]:
    records = map(json.loads, (out / "rejects.jsonl").read_text().splitlines())
    return [(r["file"], r["line"], r["reason"]) for r in records]


# k-core


def slow_k_core(pairs: list[tuple[int, int]], k: int) -> list[int]:
    kept = list(range(len(pairs)))
    while True:
        users = Counter(pairs[i][0] for i in kept)
        items = Counter(pairs[i][1] for i in kept)
        fewer = [i for i in kept if users[pairs[i][0]] >= k and items[pairs[i][1]] >= k]
        if fewer == kept:
            return kept
        kept = fewer


PAIRS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60)


def k_core(pairs: list[tuple[int, int]], k: int, num_parts: int = 1) -> list[int]:
    """Positions in the core, found with all of a user's pairs in one of several parts."""
    users, items = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    parts = [np.flatnonzero(users % num_parts == part) for part in range(num_parts)]
    kept = core_items(lambda: ((users[rows], items[rows]) for rows in parts), 8, k)
    found = [rows[in_core(users[rows], items[rows], kept, k)] for rows in parts]
    return sorted(np.concatenate(found).tolist())


@given(PAIRS, st.integers(1, 4), st.integers(1, 3))
def test_k_core_is_the_fixed_point_of_removal(
    pairs: list[tuple[int, int]], k: int, num_parts: int
) -> None:
    assert k_core(pairs, k, num_parts) == slow_k_core(pairs, k)


def test_k_core_follows_a_chain_of_removals() -> None:
    # Item 2 is bought once; without it user 1 has one item; without user 1 item 1 has one user.
    pairs = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (3, 0), (3, 3), (2, 3)]
    assert k_core(pairs, 2) == [4, 5, 6, 7]


# The whole against a slow reference

REVIEWS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=60
)


@settings(deadline=None, max_examples=40)
@given(REVIEWS, st.integers(1, 3), st.sets(st.integers(0, 6)), st.sets(st.integers(0, 6)))
def test_domain_is_that_of_plain_python(
    tmp_path_factory: pytest.TempPathFactory,
    reviews: list[tuple[int, int, int]],
    k: int,
    textless: set[int],
    unlisted: set[int],
) -> None:
    folder = tmp_path_factory.mktemp("plain")
    items = [
        meta(f"i{i}", title="" if i in textless else "x") for i in range(7) if i not in unlisted
    ]
    raw = write_raw(folder, [review(f"u{u}", f"i{i}", START + t) for u, i, t in reviews], items)

    known = [(t, n, u, i) for n, (u, i, t) in enumerate(reviews) if i not in unlisted]
    first: dict[tuple[int, int], tuple[int, int]] = {}
    for t, n, u, i in sorted(known):
        first.setdefault((u, i), (t, n))
    kept = [(u, i) for u, i in first if i not in textless]
    core = [kept[n] for n in slow_k_core(kept, k)]
    expected: dict[str, list[str]] = {}
    for u, i in sorted(core, key=lambda pair: first[pair]):
        expected.setdefault(f"u{u}", []).append(f"i{i}")

    if not core:
        with pytest.raises(
            UserError, match=r"preprocess\.(k_core|text_rule|max_reject_share)|holds no items"
        ):
            preprocess(raw, folder / "out", config(k_core=k))
        assert not (folder / "out").exists()
        return
    stats = preprocess(raw, folder / "out", config(k_core=k))
    assert histories(folder / "out") == expected
    assert stats["dropped"]["interactions"] == {
        "low_rating": 0,
        "repeated": len(known) - len(first),
        "no_text": len(first) - len(kept),
        "k_core": len(kept) - len(core),
        "after_test": 0,
    }
    assert_accounts_balance(stats)


def assert_accounts_balance(stats: dict[str, Any]) -> None:
    for table, kept in (("interactions", "num_interactions"), ("items", "num_items")):
        away = {**stats["rejected"][table], **stats["dropped"][table]}
        assert stats["read"][table] == stats[kept] + sum(away.values())


BROKEN = [
    "not json",
    "",
    "[1]",
    "null",
    b'{"user_id": "\xff"}',
    '{"user_id": "u0"',
    review(user=None),
    review(item=None),
    review(when=None),
    review(user=""),
    review(user=["u"]),
    review(item={"a": 1}),
    review(when=-5),
    review(when=0),
    review(when=START // 1000),
    review(when=START * 1000),
    review(when=float(START)),
    review(when=str(START)),
    review(when=10**30),
    review(when=True),
    review(item="elsewhere"),
    '{"user_id": "u0", "user_id": "u9", "parent_asin": "i0", "timestamp": 1600000000009}',
    '{"user_id": "u\\ud800", "parent_asin": "i0", "timestamp": 1600000000009}',
    '{"user_id": 12, "parent_asin": "i0", "timestamp": 1600000000009, "x": NaN}',
    '\ufeff{"user_id": "u0", "parent_asin": "i0", "timestamp": 1600000000009}',
]
GOOD = [review(f"u{n % 4}", f"i{n % 3}", START + n, text="é \u2028 \t") for n in range(12)]
ITEMS_OF_GOOD = [meta(f"i{n}") for n in range(3)]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(st.sampled_from(BROKEN), st.sampled_from(GOOD)), max_size=30))
def test_every_line_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    raw = write_raw(folder, [*records, GOOD[0]], ITEMS_OF_GOOD)
    stats = preprocess(raw, folder / "out", config())
    assert stats["read"]["interactions"] == len(records) + 1
    assert_accounts_balance(stats)
    listed = Counter(reason for _, _, reason in rejected(folder / "out"))
    assert listed == Counter(stats["rejected"]["interactions"])


def test_bad_neighbours_do_not_change_how_a_line_is_read(tmp_path: Path) -> None:
    def read(some: list[Any]) -> list[tuple[Any, ...]]:
        (tmp_path / "r.jsonl").write_bytes(lines(some))
        frames = jsonl.read_jsonl(
            tmp_path / "r.jsonl", REVIEW_COLUMNS, TextLayout(), lambda _: None
        )
        return pl.concat(frames).drop("line").rows()

    for record in [*BROKEN, *GOOD]:
        assert read([record, "not json"]) == [*read([record]), (None, None, None, "not_json")]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.one_of(st.sampled_from(BROKEN), st.sampled_from(GOOD)), min_size=1, max_size=30),
    st.integers(1, 40),
)
def test_pieces_add_up_to_the_block(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], piece_lines: int
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "r.jsonl"
    path.write_bytes(lines(records))
    whole = pl.concat(jsonl.read_jsonl(path, REVIEW_COLUMNS, TextLayout(), lambda _: None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "PIECE_LINES", piece_lines)
        pieces = pl.concat(jsonl.read_jsonl(path, REVIEW_COLUMNS, TextLayout(), lambda _: None))
    assert pieces.rows() == whole.rows()
    assert whole["line"].to_list() == list(range(1, len(records) + 1))


# Order and repetition


def test_equal_timestamps_keep_the_order_of_the_input(tmp_path: Path) -> None:
    order = ["i9", "i1", "i5", "i0", "i7"]
    raw = write_raw(tmp_path, [review("u", item) for item in order])
    preprocess(raw, tmp_path / "out", config())
    assert histories(tmp_path / "out") == {"u": order}


def test_the_earliest_of_repeated_reviews_is_kept(tmp_path: Path) -> None:
    reviews = [
        review("u", "a", START + 9),
        review("u", "b", START + 5),
        review("u", "a", START + 1),
        review("u", "c", START + 3),
        review("v", "a", START + 2),
    ]
    stats = preprocess(write_raw(tmp_path, reviews), tmp_path / "out", config())
    assert histories(tmp_path / "out") == {"u": ["a", "c", "b"], "v": ["a"]}
    assert stats["dropped"]["interactions"]["repeated"] == 1


def test_indices_follow_the_ids(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, [review("z", "b"), review("a", "c"), review("m", "a")])
    preprocess(raw, tmp_path / "out", config())
    items = ITEMS.read(tmp_path / "out" / "items.parquet")
    assert items.select("item_idx", "item_id").rows() == [(1, "a"), (2, "b"), (3, "c")]
    sequences = SEQUENCES.read(tmp_path / "out" / "sequences.parquet")
    assert sequences.select("user_idx", "user_id").rows() == [(0, "a"), (1, "m"), (2, "z")]


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    reviews = [
        review(f"u{rng.integers(50)}", f"i{rng.integers(30)}", START + int(rng.integers(40)))
        for _ in range(2000)
    ]
    raw = write_raw(tmp_path, [*reviews, "bad"], suffix=".gz")
    for name in ("one", "two"):
        preprocess(raw, tmp_path / name, config(k_core=3))
    for name in ("items.parquet", "sequences.parquet", "rejects.jsonl", "stats.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == [
        "items.parquet",
        "rejects.jsonl",
        "sequences.parquet",
        "stats.json",
    ]


def in_files(raw: Path, num_files: int) -> Path:
    """The same raw folder with its reviews in several files, every line in one of them."""
    source = read_sealed_json(raw / "source.json", "")
    found = (raw / "reviews.jsonl").read_bytes().splitlines(keepends=True)
    names = [f"reviews-{number}.jsonl" for number in range(num_files)]
    for number, name in enumerate(names):
        (raw / name).write_bytes(b"".join(found[number::num_files]))
    source["interactions"] |= {"files": names, "columns": {**REVIEW_COLUMNS, "rating": "rating"}}
    write_sealed_json(raw / "source.json", source)
    fetched(raw)
    return raw


def random_reviews(seed: int) -> list[Any]:
    """Reviews with repeats, ties, low and missing ratings, unknown items and bad lines."""
    rng = np.random.default_rng(seed)
    columns = (rng.integers(high, size=3000).tolist() for high in (90, 40, 50, 5))
    made = zip(*columns, strict=True)
    good = [review(f"u{u}", f"i{i}", START + t, rating=r or None) for u, i, t, r in made]
    return [*good, "bad", review(user=None), ""]


@pytest.mark.parametrize("split", ["leave_one_out", "temporal"])
def test_parts_and_pieces_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Any
) -> None:
    items = [meta(f"i{n}") for n in range(35)]
    raw = in_files(write_raw(tmp_path, random_reviews(0), items), 3)
    wanted = config(k_core=3, split=split)
    preprocess(raw, tmp_path / "whole", wanted)
    monkeypatch.setattr(interactions, "PART_BYTES", 10_000)
    monkeypatch.setattr(interactions, "DIVIDED_ROWS", 100)
    monkeypatch.setattr(interactions, "SAMPLED", 2)
    monkeypatch.setattr(items_module, "TEXT_ROWS", 4)
    preprocess(raw, tmp_path / "parts", wanted)
    for name in ("sequences.parquet", "rejects.jsonl", "stats.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    whole, parts = (ITEMS.read(tmp_path / name / "items.parquet") for name in ("whole", "parts"))
    assert whole.equals(parts)


def test_ray_reads_files_to_the_same_bytes(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interactions, "PART_BYTES", 50_000)
    items = [meta(f"i{n}") for n in range(35)]
    in_files(write_raw(tmp_path, random_reviews(1), items), 4)
    wanted = config(k_core=3, min_rating=2)
    monkeypatch.chdir(tmp_path)  # workers stand elsewhere
    preprocess(Path("raw"), Path("serial"), wanted)
    preprocess(Path("raw"), Path("ray"), wanted, on_ray=True)
    for name in ("items.parquet", "sequences.parquet", "rejects.jsonl", "stats.json"):
        assert (tmp_path / "serial" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()


def test_a_machine_that_divides_users_in_another_way_is_refused(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interactions, "PROBE", pl.Series(["another"]))
    raw = in_files(write_raw(tmp_path, [review()]), 2)
    with pytest.raises(UserError, match=r"^file ., reviews-.\.jsonl: .* another Polars or CPU"):
        preprocess(raw, tmp_path / "out", config(), on_ray=True)
    assert not (tmp_path / "out").exists()


# Splits


def test_leave_one_out_by_hand() -> None:
    split = leave_one_out(np.array([1, 2, 3, 6]))
    assert split.train_length.tolist() == [1, 2, 1, 4]
    assert split.valid_position.tolist() == [-1, -1, 1, 4]
    assert split.test_position.tolist() == [-1, -1, 2, 5]
    assert split.length.tolist() == [1, 2, 3, 6]


def test_temporal_split_by_hand() -> None:
    # Twenty interactions at times 0..19: validation begins at 16, the test at 18.
    users = [
        [0, 1, 16, 18, 19],  # all periods; the last item comes after the test item
        [2, 3, 4],  # training only
        [5, 17],  # no test
        [6, 7, 8, 9, 10, 11, 12, 13, 14],
        [15],
    ]
    # Nothing was bought at exactly one time twice, so every quantile is one interaction.
    timestamps = np.array([time for user in users for time in user])
    assert own_cuts(np.sort(timestamps)) == (16, 18)
    split = temporal(timestamps, np.array([len(user) for user in users]), 16, 18)
    assert split.train_length.tolist() == [2, 3, 1, 9, 1]
    assert split.valid_position.tolist() == [2, -1, 1, -1, -1]
    assert split.test_position.tolist() == [3, -1, -1, -1, -1]
    assert split.length.tolist() == [4, 3, 2, 9, 1]


def test_temporal_split_of_a_user_without_training_items() -> None:
    timestamps = np.array([*range(8), 8, 9])
    split = temporal(timestamps, np.array([8, 2]), *own_cuts(np.sort(timestamps)))
    assert split.train_length.tolist() == [8, 0]
    assert split.valid_position.tolist() == [-1, 0]
    assert split.test_position.tolist() == [-1, 1]


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=9), min_size=1, max_size=9))
def test_temporal_split_never_trains_on_what_comes_later(users: list[list[int]]) -> None:
    users = [sorted(user) for user in users]
    timestamps = np.concatenate(users)
    split = temporal(
        timestamps, np.array([len(user) for user in users]), *own_cuts(np.sort(timestamps))
    )
    pieces = list(
        zip(users, split.train_length, split.valid_position, split.test_position, strict=True)
    )
    train = [t for user, length, _, _ in pieces for t in user[:length]]
    valid = [user[v] for user, _, v, _ in pieces if v >= 0]
    test = [user[t] for user, _, _, t in pieces if t >= 0]
    assert max(train, default=-1) < min(valid, default=99)
    assert max(train + valid, default=-1) < min(test, default=99)


def test_temporal_split_of_a_domain(tmp_path: Path) -> None:
    users = {"a": [0, 1, 16, 18, 19], "b": list(range(2, 16)), "c": [17]}
    reviews = [
        review(user, f"i{time:02}", START + time * DAY)
        for user, times in users.items()
        for time in times
    ]
    stats = preprocess(write_raw(tmp_path, reviews), tmp_path / "out", config(split="temporal"))
    assert histories(tmp_path / "out")["a"] == ["i00", "i01", "i16", "i18"]
    assert stats["dropped"]["interactions"]["after_test"] == 1
    assert stats["num_valid_users"] == 2
    assert stats["num_test_users"] == 1
    assert stats["num_interactions"] == 19


def day(time: int) -> str:
    moment = datetime.datetime.fromtimestamp((START + time * DAY) / 1000, datetime.timezone.utc)
    return moment.isoformat()


def test_moments_cut_domains_of_other_times_alike(tmp_path: Path) -> None:
    split = Cuts(day(10), day(20))
    users = {"early": {"a": [0, 1, 2, 20]}, "late": {"b": [9, 10, 19], "c": [15, 21, 22]}}
    expected = {"early": {"a": (3, -1, 3)}, "late": {"b": (1, 1, -1), "c": (0, 0, 1)}}
    for name, times in users.items():
        reviews = [
            review(user, f"i{time:02}", START + time * DAY)
            for user, own in times.items()
            for time in own
        ]
        (tmp_path / name).mkdir()
        out = tmp_path / name / "out"
        preprocess(write_raw(tmp_path / name, reviews), out, config(split=split))
        found = load_sequences(out / "sequences.parquet")
        positions = zip(found.train_length, found.valid_position, found.test_position, strict=True)
        assert dict(zip(found.user_ids, positions, strict=True)) == expected[name]


def test_the_share_of_later_events_by_hand(tmp_path: Path) -> None:
    """Only a split by time keeps what others did afterwards out of what is known."""
    users = {"a": [0, 1, 5], "b": [2, 3, 4, 9], "c": [7]}
    reviews = [
        review(user, f"i{time:02}", START + time * DAY)
        for user, times in users.items()
        for time in times
    ]
    raw = write_raw(tmp_path, reviews)
    stats = preprocess(raw, tmp_path / "out", config())
    # Known are 0, 1, 2, 3, 4 and 7; 7 alone is later than 5, nothing is later than 9.
    assert stats["later_share"] == pytest.approx((1 / 6 + 0) / 2)
    by_time = preprocess(raw, tmp_path / "out", config(split=Cuts(day(4), day(5))))
    assert by_time["later_share"] == pytest.approx(0.0)
    source = read_sealed_json(raw / "source.json", "")
    write_sealed_json(raw / "source.json", {**source, "timestamp_unit": "order"})
    assert preprocess(raw, tmp_path / "out", config())["later_share"] is None


def test_moments_are_utc_where_they_name_no_zone() -> None:
    split = Cuts("2018-01-01", "2018-01-01T02:00:00+01:00")
    assert split.milliseconds == (1_514_764_800_000, 1_514_768_400_000)
    assert Cuts(datetime.date(2018, 1, 1), "2018-02-01").milliseconds[0] == 1_514_764_800_000


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"train_end": "2018-02-01", "test_start": "2018-02-01"}, "is not before"),
        ({"train_end": "last year", "test_start": "2018-02-01"}, "isoformat"),
        ({"train_end": "2018-02-01"}, "missing key"),
        ("by time", "expected one of"),
    ],
)
def test_a_wrong_split_is_named(split: Any, said: str) -> None:
    section = {"k_core": 1, "text_rule": "any", "split": split, "max_reject_share": 1.0}
    with pytest.raises(UserError, match=said):
        config_of_domain(section, "shop")


def test_moments_need_a_clock_and_a_test_period(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, [review("a", "i", START), review("a", "j", START + DAY)])
    with pytest.raises(UserError, match=r"test_start is .* but the last interaction is of 20"):
        preprocess(raw, tmp_path / "out", config(split=Cuts(day(1), day(2))))
    source = read_sealed_json(raw / "source.json", "")
    write_sealed_json(raw / "source.json", {**source, "timestamp_unit": "order"})
    with pytest.raises(UserError, match="only order them"):
        preprocess(raw, tmp_path / "out", config(split=Cuts(day(0), day(1))))
    assert not (tmp_path / "out").exists()


# Text


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("features_or_description", ["described", "featured"]),
        ("title", ["described", "titled"]),
        ("any", ["described", "featured", "titled"]),
    ],
)
def test_text_rules(tmp_path: Path, rule: str, kept: list[str]) -> None:
    items = [
        meta("bare", title=None, description=["<br>", " "]),
        meta("described", title="x", description=["y"]),
        meta("featured", title="&nbsp;", features=["f"]),
        meta("titled", title="x", description=None),
    ]
    reviews = [review("u", item["parent_asin"]) for item in items]
    raw = write_raw(tmp_path, reviews, items)
    stats = preprocess(raw, tmp_path / "out", config(text_rule=rule))
    assert ITEMS.read(tmp_path / "out" / "items.parquet")["item_id"].to_list() == kept
    assert stats["dropped"]["items"]["no_text"] == 4 - len(kept)
    assert stats["dropped"]["interactions"]["no_text"] == 4 - len(kept)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (None, ""),
        ("  a \t\n b\u00a0\u2003c  ", "a b c"),
        ("Salt &amp; Pepper &lt;3 &#39;x&#39;", "Salt & Pepper <3 'x'"),
        ("one<br>two<br/>three <b class='x'>bold</b>", "one two three bold"),
        ("&lt;p&gt;hidden markup&lt;/p&gt;", "hidden markup"),
        ("pipes < 3 inch and > 2 inch", "pipes < 3 inch and > 2 inch"),
        ("<style>p {color: red}</style>seen<!-- not -->", "seen"),
        ("be\x07ll \x00nul", "bell nul"),
        ("naïve 日本 🎸", "naïve 日本 🎸"),
    ],
)
def test_text_is_cleaned(raw: str | None, clean: str) -> None:
    assert clean_text(pl.Series([raw, "other & <i>"], dtype=pl.String)).to_list()[0] == clean


def test_records_of_the_2023_edition(tmp_path: Path) -> None:
    """Prices null, numbers or text; nested details; image objects; lists that are null."""
    image = {"thumb": "https://x/1.jpg", "large": "https://x/2.jpg", "hi_res": None}
    common = {"average_rating": 4.5, "store": None, "videos": [], "bought_together": None}
    items = [
        meta(
            "a", price=None, images=[image], details={"Brand": "B", "Rank": {"Toys": 5}}, **common
        ),
        meta("b", price=69.0, images=[], details={}, description=["One.", "Two."], **common),
        meta("c", price="from 9.99", features=None, description=None, details=None, **common),
        meta("d", title=None, features=['1" wide; 5-1/2" loop', "caf\u00e9 \ud83d\ude00"]),
    ]
    photo = [{"small_image_url": "https://x/3.jpg", "attachment_type": "IMAGE"}]
    reviews = [
        review("u", item["parent_asin"], images=photo if n % 2 else [], asin=None, helpful_vote=n)
        for n, item in enumerate(items)
    ]
    stats = preprocess(write_raw(tmp_path, reviews, items), tmp_path / "out", config())
    assert stats["rejected"] == {"interactions": {}, "items": {}}
    texts = ITEMS.read(tmp_path / "out" / "items.parquet").drop("item_idx").rows()
    assert texts == [
        ("a", "The a", "", ""),
        ("b", "The b", "", "One. Two."),
        ("c", "The c", "", ""),
        ("d", "", '1" wide; 5-1/2" loop café 😀', ""),
    ]


# Bad input


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("not json", "not_json"),
        ('{"user_id": "u", "parent_asin": "i"', "not_json"),
        (b'{"user_id": "\xff\xfe", "parent_asin": "i"}', "not_utf8"),
        ("[1, 2]", "not_object"),
        ("null", "not_object"),
        ({"parent_asin": "i", "timestamp": START}, "missing_user"),
        (review(user=None), "missing_user"),
        (review(user=""), "missing_user"),
        (review(user=["u"]), "user_not_text"),
        ({"user_id": "u", "timestamp": START}, "missing_item"),
        (review(item=None), "missing_item"),
        (review(item={"id": "i"}), "item_not_text"),
        ({"user_id": "u", "parent_asin": "i"}, "missing_timestamp"),
        (review(when=None), "missing_timestamp"),
        (review(when=-START), "timestamp_not_positive"),
        (review(when=0), "timestamp_not_positive"),
        (review(when=START // 1000), "timestamp_in_seconds"),
        (review(when=START * 1000), "timestamp_too_large"),
        (review(when=START + 0.5), "timestamp_not_time"),
        (review(when="yesterday"), "timestamp_not_time"),
        (review(when=10**30), "timestamp_too_large"),
        (review(when=True), "timestamp_not_text"),
        (review(item="unheard of"), "unknown_item"),
    ],
)
def test_bad_lines_are_listed_with_their_number(tmp_path: Path, bad: Any, reason: str) -> None:
    reviews = [review(f"u{n}", "i", START + n) for n in range(200)]
    raw = write_raw(tmp_path, [*reviews[:150], bad, *reviews[150:]], [meta("i")])
    stats = preprocess(raw, tmp_path / "out", config())
    assert rejected(tmp_path / "out") == [("reviews.jsonl", 151, reason)]
    assert stats["rejected"]["interactions"] == {reason: 1}
    assert stats["num_interactions"] == 200


def test_bad_items_are_listed(tmp_path: Path) -> None:
    items = [
        meta("i"),
        "not json",
        meta(None),
        meta("i", title="the second"),
        meta("j", title=["as", "a", "list"]),
        meta(["k"]),
    ]
    raw = write_raw(tmp_path, [review("u", "i"), review("u", "j")], items)
    stats = preprocess(raw, tmp_path / "out", config())
    assert rejected(tmp_path / "out") == [
        ("meta.jsonl", 2, "not_json"),
        ("meta.jsonl", 3, "missing_item"),
        ("meta.jsonl", 6, "item_not_text"),
    ]
    assert stats["dropped"]["items"]["duplicate"] == 1
    assert_accounts_balance(stats)
    assert ITEMS.read(tmp_path / "out" / "items.parquet")["title"].to_list()[0] == "The i"


def test_lists_of_rejects_are_capped_but_counts_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects_module, "MAX_LISTED", 3)
    raw = write_raw(tmp_path, ["bad"] * 10 + [review("u", "no")] * 5 + [review()], [meta("i")])
    stats = preprocess(raw, tmp_path / "out", config())
    assert stats["rejected"]["interactions"] == {"not_json": 10, "unknown_item": 5}
    assert [line for _, line, _ in rejected(tmp_path / "out")] == [1, 2, 3, 11, 12, 13]


def test_too_many_bad_lines_stop(tmp_path: Path) -> None:
    reviews = [review(f"u{n}", "i") for n in range(95)] + [review(when=5)] * 3 + ["bad"] * 2
    raw = write_raw(tmp_path, reviews)
    preprocess(raw, tmp_path / "out", config(max_reject_share=0.05))
    with pytest.raises(UserError) as error:
        preprocess(raw, tmp_path / "other", config(max_reject_share=0.04))
    assert "5.00% of 100 lines of interactions are unusable" in str(error.value)
    assert "timestamp_in_seconds (3 lines, e.g. reviews.jsonl:96)" in str(error.value)
    assert "raise preprocess.max_reject_share" in str(error.value)
    assert not (tmp_path / "other").exists()


def test_a_failure_leaves_the_old_domain(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, [review()])
    preprocess(raw, tmp_path / "out", config())
    before = (tmp_path / "out" / "stats.json").read_bytes()
    with pytest.raises(UserError):
        preprocess(raw, tmp_path / "out", config(k_core=5))
    assert (tmp_path / "out" / "stats.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


@pytest.mark.parametrize("keep", [0, 5, 300, -9, -1])
def test_cut_gzip_stops_with_file_and_offset(tmp_path: Path, keep: int) -> None:
    rng = np.random.default_rng(0)
    reviews = [review(f"u{rng.integers(10**9)}", f"i{n}") for n in range(500)]
    raw = write_raw(tmp_path, reviews, suffix=".gz")
    path = raw / "reviews.jsonl.gz"
    path.write_bytes(path.read_bytes()[:keep])
    fetched(raw)  # the file was so when it came
    offset = path.stat().st_size
    with pytest.raises(UserError, match=rf"reviews\.jsonl\.gz: .* cut at byte offset {offset}"):
        preprocess(raw, tmp_path / "out", config())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["reviews.jsonl", "meta.jsonl", "source.json"])
def test_a_raw_file_that_changed_since_it_was_fetched_is_refused(tmp_path: Path, name: str) -> None:
    raw = write_raw(tmp_path, [review("u", f"i{n}") for n in range(5)])
    changed = (raw / name).read_bytes().replace(b"i", b"j", 1)
    (raw / name).write_bytes(changed)
    with pytest.raises(UserError, match=rf"{name}: is damaged.*; .*fetch"):
        preprocess(raw, tmp_path / "out", config())
    assert not (tmp_path / "out").exists()


def test_damaged_gzip_stops_with_file_and_offset(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, [review("u", f"i{n}") for n in range(500)], suffix=".gz")
    path = raw / "meta.jsonl.gz"
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 200)
    fetched(raw)
    with pytest.raises(UserError, match=r"meta\.jsonl\.gz: .* damaged between byte offsets 0 and"):
        preprocess(raw, tmp_path / "out", config())


def test_a_domain_that_k_core_empties(tmp_path: Path) -> None:
    reviews = [review(f"u{n}", f"i{n % 3}") for n in range(6)]
    with pytest.raises(UserError) as error:
        preprocess(write_raw(tmp_path, reviews), tmp_path / "out", config(k_core=2))
    assert "k_core = 2 leaves nothing of 6 users and 3 items" in str(error.value)
    assert "lower preprocess.k_core" in str(error.value)


def test_a_domain_that_the_text_rule_empties(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, [review()])
    with pytest.raises(UserError, match=r"0 of 1 items have such text; choose another"):
        preprocess(raw, tmp_path / "out", config(text_rule="features_or_description"))


def test_a_domain_without_interactions_has_all_items_with_text(tmp_path: Path) -> None:
    raw = write_raw(tmp_path, [], [meta("j"), meta("i"), meta("k", title=" ")])
    stats = preprocess(raw, tmp_path / "out", config(k_core=5))
    assert ITEMS.read(tmp_path / "out" / "items.parquet")["item_id"].to_list() == ["i", "j"]
    assert SEQUENCES.read(tmp_path / "out" / "sequences.parquet").is_empty()
    assert (stats["num_users"], stats["num_items"], stats["num_interactions"]) == (0, 2, 0)
    assert_accounts_balance(stats)


def test_no_items_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"meta\.jsonl: holds no items"):
        preprocess(write_raw(tmp_path, [review()], []), tmp_path / "out", config())


@pytest.mark.parametrize(("key", "value"), [("k_core", 0), ("max_reject_share", 1.5)])
def test_impossible_settings(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        config(**{key: value})


def test_csv_rows_of_another_width_are_listed(tmp_path: Path) -> None:
    text = f'user_id,parent_asin,timestamp\n"a, b",i,{START}\nu,i\nu,i,x1\nu,i,\nv,i,{START}\n'
    (tmp_path / "r.csv").write_text(text)
    raw = RawTable(("r.csv",), "csv", REVIEW_COLUMNS)
    frame = pl.concat(read_interactions(tmp_path, raw, "ms"))
    assert frame.select("line", "user_id", "reason").rows() == [
        (2, "a, b", None),
        (3, None, "wrong_number_of_columns"),
        (4, "u", "timestamp_not_time"),
        (5, "u", "missing_timestamp"),
        (6, "v", None),
    ]


@pytest.mark.parametrize(
    ("column", "dtype"),
    [("timestamp", pl.Boolean), ("timestamp", pl.Time), ("user_id", pl.Boolean)],
)
def test_parquet_columns_of_another_type_are_refused(
    column: str, dtype: Any, tmp_path: Path
) -> None:
    table = RawTable(("r.parquet",), "parquet", REVIEW_COLUMNS)
    values = pl.Series(column, [None], dtype=dtype)
    pl.DataFrame([review()]).with_columns(values).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(UserError, match=rf"column '{column}' is {dtype}, which is no {column}"):
        list(read_interactions(tmp_path, table, "ms"))


# Blocks


@given(
    st.lists(st.text("añ \u2028\x85", max_size=20).map(str.encode), max_size=20),
    st.integers(1, 64),
    st.booleans(),
    st.booleans(),
)
def test_blocks_add_up_to_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[bytes],
    block_bytes: int,
    compressed: bool,
    ends: bool,
) -> None:
    data = b"\n".join(texts) + (b"\n" if ends else b"")
    path = tmp_path_factory.mktemp("blocks") / ("x.gz" if compressed else "x")
    half = len(data) // 2
    # Two members and padding, as `cat` of gzip files and tapes leave them.
    packed = gzip.compress(data[:half]) + gzip.compress(data[half:]) + b"\0" * 9
    path.write_bytes(packed if compressed else data)
    advanced: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recg_core.raw.blocks.BLOCK_BYTES", block_bytes)
        patch.setattr("recg_core.raw.blocks.READ_BYTES", 7)
        blocks = list(read_blocks(path, advanced.append))
    assert all(block.endswith(b"\n") for block in blocks)
    whole = data if data.endswith(b"\n") or not data else data + b"\n"
    assert b"".join(blocks) == whole
    assert sum(advanced) == path.stat().st_size


# Real data


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data are not here")
def test_real_five_core_is_kept_whole(tmp_path: Path) -> None:
    raw = _real_raw(tmp_path, SHARED, "Industrial_and_Scientific")
    chosen = config(k_core=5, text_rule="title", max_reject_share=0.0)
    stats = preprocess(raw, tmp_path / "out", chosen)
    assert (stats["num_users"], stats["num_items"]) == (8317, 4344)
    assert stats["num_interactions"] == 58492


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data are not here")
@pytest.mark.parametrize(
    "category", ["Industrial_and_Scientific", "Musical_Instruments", "Video_Games"]
)
def test_real_records_of_2023_parse(tmp_path: Path, category: str) -> None:
    raw = _real_raw(tmp_path, SHARED / "raw2023_samples", f"{category}.mini")
    stats = preprocess(raw, tmp_path / "out", config(max_reject_share=0.0))
    assert stats["num_users"] == 30
    assert stats["rejected"] == {"interactions": {}, "items": {}}
    assert_accounts_balance(stats)


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data are not here")
def test_real_raw_lines_parse(tmp_path: Path) -> None:
    samples = SHARED / "raw2023_samples"
    reviews = (samples / "raw_review_lines.jsonl").read_bytes().splitlines()
    items = (samples / "raw_meta_lines.jsonl").read_bytes().splitlines()
    known = [json.loads(line)["parent_asin"] for line in items]
    bought = [meta(json.loads(line)["parent_asin"]) for line in reviews]
    raw = write_raw(tmp_path, [*reviews, *(review("x", item) for item in known)], [*items, *bought])
    stats = preprocess(raw, tmp_path / "out", config(max_reject_share=0.0))
    assert stats["read"]["interactions"] == len(reviews) + len(known)
    assert stats["rejected"]["interactions"] == {}


def _real_raw(folder: Path, place: Path, name: str) -> Path:
    raw = write_raw(folder, [], [], suffix=".gz")
    (raw / "reviews.jsonl.gz").write_bytes((place / f"{name}.jsonl.gz").read_bytes())
    (raw / "meta.jsonl.gz").write_bytes((place / f"meta_{name}.jsonl.gz").read_bytes())
    fetched(raw)
    return raw


def test_stats_file_is_what_is_returned(tmp_path: Path) -> None:
    reviews = [review(f"u{u}", f"i{i}", START + i) for u in range(2) for i in range(4)]
    stats = preprocess(write_raw(tmp_path, reviews), tmp_path / "out", config())
    assert read_sealed_json(tmp_path / "out" / "stats.json", "") == stats
    assert stats["mean_sequence_length"] == 4.0
    assert stats["density"] == 1.0
    assert stats["num_test_users"] == 2

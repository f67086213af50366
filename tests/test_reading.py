"""One value has one spelling in every format, and no line of any file is lost in silence."""

import datetime
import gzip
import itertools
import json
import time
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recg_core.raw.blocks as blocks
import recg_core.raw.delimited as delimited
import recg_core.raw.jsonl as jsonl
from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS, SEQUENCES
from recg_core.domains.preprocess import PreprocessConfig, preprocess
from recg_core.raw.delimited import read_delimited
from recg_core.raw.fetch import fetch
from recg_core.raw.parquet import read_parquet
from recg_core.raw.source import TextLayout
from recg_core.raw.textclean import clean_text
from recg_core.raw.values import canonical, canonical_text, parse_times

CASES = Path(__file__).parents[2] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
COLUMNS = {
    "user_id": "user",
    "item_id": "item",
    "timestamp": "ts",
    "title": "title",
    "description": "desc",
}
PLAIN = (CASES / "plain" / "interactions.csv", CASES / "plain" / "items.csv")


def read(
    folder: Path, interactions: Any, items: Any, share: float = 0.0, **row: Any
) -> dict[str, Any]:
    """The stats of a domain made of two tables, each a path or a section."""
    row = {
        "reader": "table",
        "interactions": str(interactions) if isinstance(interactions, Path) else interactions,
        "items": str(items) if isinstance(items, Path) else items,
        "columns": COLUMNS,
        "timestamp_unit": "s",
        **row,
    }
    fetch("shop", row, "domains.shop", folder / "raw", folder / "parts")
    config = PreprocessConfig(1, "any", "leave_one_out", share)
    return preprocess(folder / "raw", folder / "out", config)


def tables(folder: Path) -> tuple[list[Any], list[Any]]:
    return (
        ITEMS.read(folder / "out" / "items.parquet").rows(),
        SEQUENCES.read(folder / "out" / "sequences.parquet").rows(),
    )


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical_form"),
    [
        ("7", "7"),
        ("7.0", "7"),
        ("-0.0", "0"),
        ("7e+00", "7"),
        ("1.5e+01", "15"),
        ("1.55e+01", "1.55e+01"),
        ("1e+16", "10000000000000000"),
        ("007", "007"),  # what only looks like a number is a name
        ("007.0", "007.0"),
        ("12e5", "12e5"),
        ("1.10", "1.10"),
        (" a b ", "a b"),
        ("\ufeffu1\u200b", "u1"),
        ("nan", ""),
        ("\u200b\u200d", ""),
        ("[]", ""),
        ("[ ]", ""),
        ("[None, nan]", ""),
        ("['a', \"b's\"]", "a b's"),
        ("['a' 'b'\n 'c']", "a b c"),
        ('["x", null]', "x"),
        ("['two\nlines']", "two lines"),
        ("[DVD] Title", "[DVD] Title"),
        ("[2021]", "[2021]"),
        ("['a', b]", "['a', b]"),
        ("{6F9619FF-a}", "{6F9619FF-a}"),
    ],
)
def test_canonical_text_by_hand(text: str, canonical_form: str) -> None:
    assert canonical_text(text) == canonical_form
    assert canonical(pl.Series([text, "x"])).to_list() == [canonical_form or None, "x"]
    assert clean_text(pl.Series([text, "x"])).to_list() == [canonical_form, "x"]


@given(st.lists(st.text(), max_size=5))
def test_one_pass_over_a_column_is_one_call_a_value(texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    assert canonical(series).to_list() == [canonical_text(text) or None for text in texts]
    assert [canonical_text(canonical_text(text)) for text in texts] == [
        canonical_text(text) for text in texts
    ]


NOON = 1_600_000_000_000


@pytest.mark.parametrize(
    "written",
    [
        "1600000000",
        "1600000000.0",
        " 1600000000 ",
        "1.6e9",
        "1.600000000000000000e+09",
        "2020-09-13T12:26:40+00:00",
        "2020-09-13T12:26:40Z",
        "2020-09-13 12:26:40",
        "2020-09-13 12:26:40 UTC",
        "2020-09-13T12:26:40.000",
        "2020-09-13T14:26:40+02:00",
        "2020-09-13T17:56:40+0530",
        "2020-09-13T10:26:40-02",
    ],
)
def test_a_time_may_be_written_in_many_ways(written: str) -> None:
    times, reasons = parse_times(pl.Series([written, None], dtype=pl.String), "s")
    assert (times.to_list(), reasons.to_list()) == ([NOON, None], [None, "missing_timestamp"])


def test_typed_times_need_no_unit() -> None:
    moment = datetime.datetime(2020, 9, 13, 12, 26, 40, tzinfo=datetime.UTC)
    for dtype in (pl.Datetime("ns", "Asia/Tokyo"), pl.Datetime("us"), pl.Datetime("ms")):
        values = pl.Series([moment]).cast(pl.Datetime("us", "UTC"))
        values = values.dt.convert_time_zone("Asia/Tokyo") if dtype.time_zone else values
        assert parse_times(values.cast(dtype), "s")[0].to_list() == [NOON]
    day = pl.Series([datetime.date(2020, 9, 13)])
    assert parse_times(day, "ms")[0].to_list() == [NOON - NOON % 86_400_000]


@pytest.mark.parametrize(
    ("unit", "written", "reason"),
    [
        ("s", "1600000000000", "timestamp_in_milliseconds"),
        ("s", "5", "timestamp_too_small"),
        ("ms", "1600000000", "timestamp_in_seconds"),
        ("ms", "1600000000000.5", "timestamp_not_time"),
        ("ms", "13/09/2020", "timestamp_not_time"),
        ("ms", "2020-13-45", "timestamp_not_time"),
        ("ms", "2020-09-13T12:26:60", "timestamp_not_time"),
        ("ms", "2020-09-13T24:00", "timestamp_not_time"),
        ("ms", "2020-09-13T12:26+99:99", "timestamp_not_time"),
        ("ms", "-1", "timestamp_not_positive"),
        ("ms", "9" * 30, "timestamp_too_large"),
        ("order", "1.5", "timestamp_not_time"),
        ("order", "9" * 30, "timestamp_not_time"),
    ],
)
def test_what_is_no_time_says_why(unit: Any, written: str, reason: str) -> None:
    times, reasons = parse_times(pl.Series([written]), unit)
    assert (times.to_list(), reasons.to_list()) == ([None], [reason])


def test_seconds_keep_their_milliseconds_and_an_order_its_numbers() -> None:
    assert parse_times(pl.Series(["1600000000.25"]), "s")[0].to_list() == [NOON + 250]
    assert parse_times(pl.Series(["-3", "0", "7.0"]), "order")[0].to_list() == [-3, 0, 7]


# --- the same records in every format ------------------------------------------------------------

TEXTS = st.text("aé7.0[]'\"{}, \n\t&;<>\u200b\\", max_size=6) | st.sampled_from(
    ["", "nan", "[]", "['a', 'b']", "1.0", "[DVD] x", "true", "null"]
)
NUMBERS = st.integers(0, 3) | st.integers(0, 3).map(float)
RECORDS = st.lists(
    st.tuples(st.sampled_from(["a", " b", "{c}", "[d]", "true", 7, 7.0, 12.0]), TEXTS | NUMBERS),
    min_size=1,
    max_size=8,
)


def write_tables(folder: Path, records: list[tuple[Any, Any]]) -> dict[str, tuple[Path, Path]]:
    """The records as items that three users have met, in every format."""
    items = [{"item": item, "title": "T", "desc": text} for item, text in records]
    visits = [
        {"user": user, "item": item, "ts": 1_600_000_000.0 + n}
        for user in (1.0, 2.0)
        for n, (item, _) in enumerate(records)
    ]
    made: dict[str, list[Path]] = {}
    for stem, rows in (("visits", visits), ("items", items)):
        lines = [json.dumps(row) for row in rows]
        blank = [part for line in lines for part in (line, "", " \t")]
        odd = [*lines, '{"item": {"no": "id"}, "user": [1], "desc": ["x"], "title": "T"}']
        texts = {
            "lines.jsonl": lines,
            "blank.jsonl": blank,
            "odd.jsonl": odd,
            "comma.csv": csv_lines(rows, ","),
            "semicolon.csv": csv_lines(rows, ";"),
            "tab.tsv": csv_lines(rows, "\t"),
        }
        for name, content in texts.items():
            path = folder / f"{stem}-{name}"
            path.write_text("\n".join(content) + "\n", encoding="utf-8", newline="")
            made.setdefault(name, []).append(path)
        path = folder / f"{stem}.parquet"
        columns = {key: [_parquet_value(row[key]) for row in rows] for key in rows[0]}
        pl.DataFrame(columns, strict=False).write_parquet(path)
        made.setdefault("parquet", []).append(path)
    return {name: (paths[0], paths[1]) for name, paths in made.items()}


def _parquet_value(value: Any) -> Any:
    """A column has one type: numbers among texts are as printed."""
    return value if isinstance(value, float) and value > 10**9 else str(value)


def csv_lines(rows: list[dict[str, Any]], separator: str) -> list[str]:
    def quoted(value: Any) -> str:
        text = str(value)
        return f'"{text.replace(chr(34), chr(34) * 2)}"' if set(text) & set('",;\t\n') else text

    return [separator.join(rows[0])] + [
        separator.join(quoted(value) for value in row.values()) for row in rows
    ]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(RECORDS)
def test_every_format_gives_the_same_tables(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[Any, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    found = {}
    for name, (visits, items) in write_tables(folder, records).items():
        options = {"separator": ";"} if "semicolon" in name else {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jsonl, "PIECE_LINES", 2)
            read(
                folder,
                {"path": str(visits), **options},
                {"path": str(items), **options},
                share=0.9,
            )
        found[name] = tables(folder)
    assert all(table == found["lines.jsonl"] for table in found.values()), found


# --- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", ["<script>", "<!--", "<!--<style>", "<!-- <script></script>"])
def test_a_text_of_tags_that_end_nowhere_takes_time_in_proportion_to_its_length(
    piece: str,
) -> None:
    def seconds(pieces: int) -> float:
        texts = pl.Series([piece * pieces])
        starts = [time.perf_counter()]
        for _ in range(3):
            clean_text(texts)
            starts.append(time.perf_counter())
        return min(end - start for start, end in itertools.pairwise(starts))

    # Sixteenfold text took 256 times as long.
    assert seconds(64_000) < 64 * seconds(4_000) + 0.05


def test_comments_scripts_and_styles_go_with_what_they_hold() -> None:
    text = "a<script>1</script>b<style >2</style>c<!-- <script> -->d<br/>e <script>f"
    assert clean_text(pl.Series([text])).to_list() == ["a b c d e f"]


def test_a_character_of_a_number_too_long_for_any_is_none() -> None:
    texts = pl.Series([f"x &#{'9' * 5000}; &amp; &#x{'f' * 5000}; y"])
    assert clean_text(texts).to_list() == ["x \ufffd & \ufffd y"]


# --- delimited text ------------------------------------------------------------------------------


def parse(tmp_path: Path, text: str, **layout: Any) -> list[tuple[Any, ...]]:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    columns = {"item_id": "a", "title": "b"}
    return pl.concat(read_delimited(path, columns, TextLayout(**layout), lambda _: None)).rows()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,x\n", [(2, "1", "x", None)]),
        ("a,b\r\n1,x\r\n", [(2, "1", "x", None)]),
        ('a,b\n1,"x, ""y"""\n', [(2, "1", 'x, "y"', None)]),
        (
            'a,b\n1,"x\ny"\n2,z\n',
            [(2, "1", "x\ny", None), (3, None, None, "continued"), (4, "2", "z", None)],
        ),
        (
            'a,b\n1,"x\n2,y\n3,z\n',
            [(2, None, None, "stray_quote"), (3, "2", "y", None), (4, "3", "z", None)],
        ),
        (
            'a,b\n1,"x" y\n2,5" pipe\n3,z\n',
            [
                (2, None, None, "stray_quote"),
                (3, None, None, "stray_quote"),
                (4, "3", "z", None),
            ],
        ),
        (
            'a,b\n"1,x\n2",y\n3,z\n',
            [
                (2, None, None, "stray_quote"),
                (3, None, None, "stray_quote"),
                (4, "3", "z", None),
            ],
        ),
        ("a,b\n\n1,x,y\n \n", [
            (2, None, None, "blank"),
            (3, None, None, "wrong_number_of_columns"),
            (4, None, None, "blank"),
        ]),
    ],
)  # fmt: skip
def test_csv_is_cut_strictly(tmp_path: Path, text: str, rows: list[Any]) -> None:
    assert parse(tmp_path, text) == rows


def test_bytes_that_are_no_text_reject_a_record_whichever_of_its_lines_they_are_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'a,b\n1,"x\n\xff y"\n2,z\n')
    columns = {"item_id": "a", "title": "b"}
    rows = pl.concat(read_delimited(path, columns, TextLayout(), lambda _: None)).rows()
    assert [row[3] for row in rows] == ["not_utf8", "continued", None]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(["1,x", '2,"y', 'z"', "", '3,"a"']), max_size=12))
def test_rows_are_the_same_however_many_a_frame_has(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("frames")
    body = "a,b\n0,w\n" + "".join(text + "\n" for text in texts)
    whole = parse(folder, body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "FRAME_ROWS", 2)
        patch.setattr(blocks, "BLOCK_BYTES", 8)
        assert parse(folder, body) == whole


def test_other_quotes_and_separators(tmp_path: Path) -> None:
    assert parse(tmp_path, 'a|b\n1|"x \\"y\\""\n', separator="|", quotes="escaped") == [
        (2, "1", 'x "y"', None)
    ]
    assert parse(tmp_path, 'a::b\n1::5" pipe\n', separator="::", quotes="none") == [
        (2, "1", '5" pipe', None)
    ]
    assert parse(tmp_path, "1,x\n2,y\n", header=("a", "b")) == [
        (1, "1", "x", None),
        (2, "2", "y", None),
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text('a,"\n\r', max_size=8), max_size=8), st.integers(1, 40))
def test_every_physical_line_is_one_row(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], block_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    body = "".join(text + "\n" for text in texts)
    whole = parse(folder, "a,b\n" + body) if body else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", block_bytes)
        in_blocks = parse(folder, "a,b\n" + body) if body else []
    assert [row[0] for row in whole] == list(range(2, 2 + body.count("\n")))
    assert in_blocks == whole


@given(st.lists(st.lists(st.text('a,"\n é', max_size=5), min_size=2, max_size=2), max_size=6))
def test_what_is_quoted_rightly_is_read_whole(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    rows = [[f"i{n}", text] for n, (_, text) in enumerate(rows)]
    text = "".join(f'{a},"{b.replace(chr(34), chr(34) * 2)}"\n' for a, b in rows)
    folder = tmp_path_factory.mktemp("quoted")
    found = parse(folder, "a,b\n" + text) if rows else []
    assert [list(row[1:3]) for row in found if row[3] != "continued"] == rows


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "a zip archive or a spreadsheet"),
        (b"BZh91AY", "compressed with bzip2"),
        (b"PAR1rest", "a Parquet file"),
        ("user,item,ts\n".encode("utf-16"), "is UTF-16; set `encoding: utf-16`"),
        ("user,item,ts\n".encode("utf-16-le"), "full of zero bytes"),
        (b"user,item,item,ts\n", r"column\(s\) \['item'\] more than once"),
        (b"user;item;ts\n", "looks separated by ';'"),
        (b"", r"no column\(s\)"),
    ],
)
def test_what_is_no_such_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "v.csv").write_bytes(content)
    (tmp_path / "i.csv").write_text("item,title,desc\na,T,x\n")
    with pytest.raises(UserError, match=rf"v\.csv: .*{message}"):
        read(tmp_path, tmp_path / "v.csv", tmp_path / "i.csv")


def test_other_encodings_are_a_setting(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("user,item,ts\nu,é,1600000000\n", encoding="utf-16")
    (tmp_path / "i.csv").write_text("item,title,desc\né,Café,x\n", encoding="latin-1")
    visits = {"path": str(tmp_path / "v.csv"), "encoding": "utf-16"}
    with pytest.raises(UserError, match=r"not_utf8 .*set the file's `encoding:`"):
        read(tmp_path, visits, tmp_path / "i.csv")
    read(tmp_path, visits, {"path": str(tmp_path / "i.csv"), "encoding": "latin-1"})
    assert tables(tmp_path)[0][0][1:3] == ("é", "Café")
    with pytest.raises(UserError, match=r"items: encoding: Python knows no 'latin-99'"):
        read(tmp_path, visits, {"path": str(tmp_path / "i.csv"), "encoding": "latin-99"})


@pytest.mark.parametrize("place", [0, 40, 400, -700, -60])
def test_damaged_parquet_is_refused_not_read_short_or_wrong(tmp_path: Path, place: int) -> None:
    """Flipped bits of pages, and pages that are not where the footer says."""
    item_ids = [f"item {n}" for n in range(200)]
    path = tmp_path / "i.parquet"
    table = pa.table({"item": item_ids, "title": [f"Lamp {n * n}" for n in range(200)]})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    whole = path.read_bytes()
    columns = {"item_id": "item", "title": "title"}

    def found() -> list[Any]:
        return pl.concat(read_parquet(path, columns, TextLayout(), lambda _: None)).rows()

    expected = found()
    for damaged in (
        whole[:place] + bytes([whole[place] ^ 1]) + whole[place:][1:],
        whole[place:],
        whole[:place],
    ):
        path.write_bytes(damaged)
        try:
            assert found() == expected
        except UserError as error:
            assert "not a readable Parquet file" in str(error)  # noqa: PT017


def test_a_table_may_be_several_files(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("item,title,desc\na,T,x\nb,U,x\n")
    for day in (2, 10, 1):
        lines = f"u,a,{1_600_000_000 + day}\nw{day},b,x\n"
        (tmp_path / f"day-{day:02}.csv").write_text("user,item,ts\n" + lines)
    stats = read(tmp_path, tmp_path / "day-*.csv", tmp_path / "i.csv", share=0.5)
    assert stats["read"]["interactions"] == 6
    listed = map(json.loads, (tmp_path / "out" / "rejects.jsonl").read_text().splitlines())
    assert [(r["file"], r["line"]) for r in listed] == [
        ("interactions-0001.csv", 3),
        ("interactions-0002.csv", 3),
        ("interactions-0003.csv", 3),
    ]
    with pytest.raises(UserError, match=r"no-\*\.csv: no such file"):
        read(tmp_path, tmp_path / "no-*.csv", tmp_path / "i.csv")


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LINE_BYTES", 1 << 16)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(blocks, "READ_BYTES", 1 << 12)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"x\n" + b"0" * (1 << 20)))
    with pytest.raises(UserError, match=r"bomb\.gz:2: is a line of more than"):
        list(blocks.read_blocks(path, lambda _: None))


def test_old_mac_lines(tmp_path: Path) -> None:
    assert parse(tmp_path, "a,b\r1,x\r2,y\r") == [(2, "1", "x", None), (3, "2", "y", None)]


def test_filters(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("item,title,desc\na,T,x\nb,U,x\n")
    (tmp_path / "v.csv").write_text(
        "user,item,ts,stars\nu,a,1,5\nu,b,2,4\nu,a,3,5\nu,b,4,1\nw,a,5,\nw,b,6,3.5\n"
    )
    row = {
        "reader": "table",
        "interactions": str(tmp_path / "v.csv"),
        "items": str(tmp_path / "i.csv"),
        "columns": {**COLUMNS, "rating": "stars"},
        "timestamp_unit": "order",
    }
    fetch("shop", row, "domains.shop", tmp_path / "raw", tmp_path / "parts")
    config = PreprocessConfig(1, "any", "leave_one_out", 0.5, min_rating=3.5, repeats="all")
    stats = preprocess(tmp_path / "raw", tmp_path / "out", config)
    assert stats["dropped"]["interactions"]["low_rating"] == 1
    assert stats["rejected"]["interactions"] == {"missing_rating": 1}
    assert [row[2] for row in tables(tmp_path)[1]] == [[1, 2, 1], [2]]
    row["columns"] = COLUMNS
    fetch("shop", row, "domains.shop", tmp_path / "raw", tmp_path / "parts")
    with pytest.raises(UserError, match=r"min_rating = 3\.5, but no column"):
        preprocess(tmp_path / "raw", tmp_path / "out", config)


# --- the shared cases ----------------------------------------------------------------------------


@needs_cases
def test_numbers_as_ids_are_the_same_in_every_pair(tmp_path: Path) -> None:
    found = []
    for visits in sorted((CASES / "number_ids").glob("interactions*")):
        for items in sorted((CASES / "number_ids").glob("items*")):
            read(tmp_path, visits, items)
            found.append(tables(tmp_path))
    assert len(found) == 9
    assert all(pair == found[0] for pair in found)
    assert [row[1] for row in found[0][0]] == ["0", "1", "2", "3"]


@needs_cases
@pytest.mark.parametrize(
    ("interactions", "items", "settings"),
    [
        ("plain/interactions.csv", "csv/items_long_description.csv", {}),
        ("csv/interactions_old_mac.csv", "plain/items.csv", {}),
        ("csv/interactions_gzip_named.csv", "plain/items.csv", {}),
        ("csv/interactions_semicolon.csv", "plain/items.csv", {"separator": ";"}),
        ("csv/interactions_tab.tsv", "plain/items.csv", {}),
        (
            "csv/interactions_double_colon.dat",
            "plain/items.csv",
            {"separator": "::", "header": ["user", "item", "rating", "ts"]},
        ),
        ("csv/interactions_spaces_around.csv", "plain/items.csv", {}),
        ("time/interactions_float.csv", "plain/items.csv", {}),
        ("time/interactions_text_seconds.jsonl", "plain/items.csv", {}),
        ("time/interactions_iso.csv", "plain/items.csv", {}),
    ],
)
def test_cases_that_are_the_plain_domain(
    tmp_path: Path, interactions: str, items: str, settings: dict[str, Any]
) -> None:
    read(tmp_path, *PLAIN)
    plain = tables(tmp_path)
    stats = read(tmp_path, {"path": str(CASES / interactions), **settings}, CASES / items)
    assert tables(tmp_path)[1] == plain[1]
    assert stats["rejected"] == {"interactions": {}, "items": {}}


@needs_cases
@pytest.mark.parametrize(
    ("interactions", "items", "message"),
    [
        ("plain/interactions.csv", "csv/items_short_rows.csv", r"items\.csv: .*number_of_columns"),
        ("csv/interactions_stray_quotes.csv", "plain/items.csv", r"stray_quote .*s\.csv:2"),
        ("csv/interactions_open_quote.csv", "plain/items.csv", r"stray_quote .*s\.csv:8"),
        ("plain/interactions.csv", "csv/items_latin1.csv", r"not_utf8"),
        ("csv/interactions_semicolon.csv", "plain/items.csv", r"looks separated by ';'"),
        ("csv/interactions_double_colon.dat", "plain/items.csv", r"looks separated by '::'"),
        ("plain/interactions.csv", "csv/items_same_column_twice.csv", r"\['item'\] more than once"),
        ("plain/interactions.csv", "json/items_pretty.json", r"one JSON object a line"),
    ],
)
def test_cases_that_are_refused(
    tmp_path: Path, interactions: str, items: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, CASES / interactions, CASES / items)
    assert not (tmp_path / "out").exists()


@needs_cases
def test_cases_of_absent_texts(tmp_path: Path) -> None:
    read(tmp_path, PLAIN[0], CASES / "absent" / "items_list_text.csv")
    assert [row[4] for row in tables(tmp_path)[0]] == ["", "one text two", "", "x"]
    read(tmp_path, PLAIN[0], CASES / "absent" / "items_first_row_empty.csv")
    assert tables(tmp_path)[0][0][1:] == ("a", "Good", "", "Text")
    stats = read(tmp_path, PLAIN[0], CASES / "absent" / "items_zero_width_title.csv")
    assert [row[1] for row in tables(tmp_path)[0]] == ["b", "c", "d"]
    assert stats["dropped"]["items"]["no_text"] == 1


@needs_cases
def test_cases_of_ids_ties_and_a_new_shop(tmp_path: Path) -> None:
    read(tmp_path, CASES / "ids/interactions_guid.csv", CASES / "ids/items_guid.csv")
    assert tables(tmp_path)[0][0][1:3] == ("{6F9619FF-a}", "[DVD] T a")
    stats = read(tmp_path, CASES / "time/interactions_days_newest_first.csv", PLAIN[1])
    assert stats["num_ties"] == 12
    stats = read(tmp_path, CASES / "new_shop/interactions.csv", CASES / "new_shop/items.csv")
    assert (stats["num_items"], stats["num_users"]) == (4, 0)
    stats = read(tmp_path, None, CASES / "new_shop/items.csv")
    assert (stats["num_items"], stats["num_users"]) == (4, 0)


@needs_cases
def test_the_amazon_edition_of_2018_is_named(tmp_path: Path) -> None:
    meta = (CASES / "amazon" / "meta_2018.jsonl").read_bytes()
    (tmp_path / "meta_X.jsonl").write_bytes(meta)
    (tmp_path / "X.jsonl").write_text('{"user_id":"u","parent_asin":"a","timestamp":1}\n')
    row = {"reader": "amazon2023", "category": "X", "location": str(tmp_path)}
    row |= {"interactions": "reviews"}
    with pytest.raises(UserError, match=r"meta_X\.jsonl: no column\(s\) \['parent_asin'\]"):
        fetch("x", row, "domains.x", tmp_path / "raw", tmp_path / "parts")

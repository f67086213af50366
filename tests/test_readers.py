"""Raw folders by reader: demo, Amazon Reviews 2023, tables."""

import errno
import gzip
import hashlib
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import stages.fetch
from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS, SEQUENCES
from recg_core.domains.preprocess import PreprocessConfig, preprocess
from recg_core.raw.fetch import fetch as fetch_domain
from recg_core.raw.readers import READERS
from recg_core.raw.source import read_source
from tests.project import bytes_below
from tests.rows import COLUMNS, START, THINGS, VISITS, write_amazon

KEEP_ALL = PreprocessConfig(k_core=1, text_rule="any", split="leave_one_out", max_reject_share=0.0)


def fetch(row: dict[str, Any], folder: Path) -> Path:
    """Run the stage in `folder` with one domain, `garden`."""
    (folder / "params.yaml").write_text(json.dumps({"domains": {"garden": row}}))
    stages.fetch.main("garden", folder / "raw", folder / "parts")
    return folder / "raw"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def amazon(tmp_path: Path) -> Path:
    """A folder in the official layout with the category Lamps."""
    write_amazon(tmp_path / "official")
    return tmp_path / "official"


def histories(raw: Path, out: Path) -> dict[str, list[tuple[str, int]]]:
    """Preprocess a raw folder and give each user's (item_id, timestamp) in order."""
    preprocess(raw, out, KEEP_ALL)
    ids = dict(ITEMS.read(out / "items.parquet").select("item_idx", "item_id").rows())
    return {
        row["user_id"]: [
            (ids[i], t) for i, t in zip(row["item_idx"], row["timestamp"], strict=True)
        ]
        for row in SEQUENCES.read(out / "sequences.parquet").rows(named=True)
    }


EXPECTED = {
    f"u{u}": [(r["item"], r["when"]) for r in VISITS if r["user"] == f"u{u}"] for u in range(3)
}


def test_demo_writes_a_folder_that_preprocess_understands(work: Path) -> None:
    raw = fetch(
        {"reader": "demo", "num_users": 60, "num_items": 24, "pattern": 0.9, "seed": 1}, work
    )
    assert read_source(raw).row["num_users"] == 60
    assert preprocess(raw, work / "out", KEEP_ALL)["num_users"] == 60


@pytest.mark.parametrize("interactions", ["reviews", "rating_only"])
@pytest.mark.parametrize("layout", ["official", "flat", "relative"])
def test_amazon_files_from_a_folder(
    work: Path, amazon: Path, interactions: str, layout: str
) -> None:
    location = "official" if layout == "relative" else str(amazon)
    if layout == "flat":
        for path in list(amazon.rglob("*.gz")):
            path.rename(amazon / path.name)
    row = {"reader": "amazon2023", "category": "Lamps", "location": location}
    raw = fetch(row | {"interactions": interactions}, work)
    assert histories(raw, work / "out") == EXPECTED


def test_uncompressed_files_are_found(work: Path, amazon: Path) -> None:
    for path in list(amazon.rglob("*.jsonl.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    row = {"reader": "amazon2023", "category": "Lamps", "location": str(amazon)}
    raw = fetch(row | {"interactions": "reviews"}, work)
    assert sorted(path.name for path in raw.iterdir()) == [
        "Lamps.jsonl",
        "meta_Lamps.jsonl",
        "source.json",
    ]
    assert histories(raw, work / "out") == EXPECTED


def test_the_original_is_copied_not_shared(work: Path, amazon: Path) -> None:
    row = {"reader": "amazon2023", "category": "Lamps", "location": str(amazon)}
    raw = fetch(row | {"interactions": "reviews"}, work)
    assert (raw / "Lamps.jsonl.gz").stat().st_nlink == 1


def test_missing_files_are_named(work: Path, amazon: Path) -> None:
    row = {"reader": "amazon2023", "category": "Chairs", "location": str(amazon)}
    with pytest.raises(UserError, match=r"Chairs\.jsonl\.gz, raw/review_categories/Chairs\.jsonl"):
        fetch(row | {"interactions": "reviews"}, work)
    assert not (work / "raw").exists()


def test_wrong_digest_of_a_local_file(work: Path, amazon: Path) -> None:
    row = {"reader": "amazon2023", "category": "Lamps", "location": str(amazon)}
    row |= {"interactions": "reviews"}
    with pytest.raises(UserError, match="expected 00"):
        fetch(row | {"sha256": {"Lamps.jsonl.gz": "00"}}, work)
    with pytest.raises(UserError, match=r"no such file\(s\) \['Lamp.gz'\]"):
        fetch(row | {"sha256": {"Lamp.gz": "00"}}, work)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    count = 0

    def do_GET(self) -> None:
        QuietHandler.count += 1
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def address(amazon: Path) -> Iterator[str]:
    handler = partial(QuietHandler, directory=str(amazon))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_amazon_files_from_an_address_are_downloaded_once(
    work: Path, amazon: Path, address: str
) -> None:
    name = "Lamps.jsonl.gz"
    digest = hashlib.sha256((amazon / "raw/review_categories" / name).read_bytes()).hexdigest()
    row = {
        "reader": "amazon2023",
        "category": "Lamps",
        "location": address,
        "interactions": "reviews",
        "sha256": {name: digest},
    }
    QuietHandler.count = 0
    raw = fetch(row, work)
    assert histories(raw, work / "out") == EXPECTED
    assert QuietHandler.count == 2
    first = bytes_below(raw)
    shutil.rmtree(raw)  # as DVC does before it runs the stage again
    fetch(row, work)
    assert QuietHandler.count == 2
    assert bytes_below(raw) == first
    (raw / name).write_bytes(b"damaged")  # and with it what is kept, where that is one file
    fetch(row, work)
    assert bytes_below(raw) == first


def test_an_interrupted_download_keeps_the_file_that_is_whole(
    work: Path, amazon: Path, address: str
) -> None:
    meta = amazon / "raw/meta_categories/meta_Lamps.jsonl.gz"
    meta.rename(work / "meta")
    row = {"reader": "amazon2023", "category": "Lamps", "location": address}
    row |= {"interactions": "reviews"}
    with pytest.raises(UserError, match=r"meta_Lamps\.jsonl\.gz: the server answered 404"):
        fetch(row, work)
    assert not (work / "raw").exists()
    (work / "meta").rename(meta)
    QuietHandler.count = 0
    assert histories(fetch(row, work), work / "out") == EXPECTED
    assert QuietHandler.count == 1


def test_downloads_are_copied_where_the_disk_has_no_hard_links(
    work: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    row = {"reader": "amazon2023", "category": "Lamps", "location": address}
    raw = fetch(row | {"interactions": "reviews"}, work)
    assert histories(raw, work / "out") == EXPECTED
    assert (raw / "Lamps.jsonl.gz").stat().st_nlink == 1


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "jsonl", "jsonl.gz"])
@pytest.mark.parametrize("unit", ["ms", "s"])
def test_tables_of_every_format_give_the_same_domain(work: Path, suffix: str, unit: str) -> None:
    scale = 1000 if unit == "s" else 1
    rows = [row | {"when": row["when"] // scale, "stars": 5.0} for row in VISITS]
    for stem, records in (("ratings", rows), ("things", THINGS)):
        frame, path = pl.DataFrame(records), work / f"{stem}.{suffix}"
        if suffix == "parquet":
            frame.write_parquet(path)
            continue
        text = frame.write_csv() if "csv" in suffix else frame.write_ndjson()
        path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    row = {
        "reader": "table",
        "interactions": f"ratings.{suffix}",
        "items": f"things.{suffix}",
        "columns": COLUMNS,
        "timestamp_unit": unit,
    }
    raw = fetch(row, work)
    assert histories(raw, work / "out") == EXPECTED
    items = ITEMS.read(work / "out" / "items.parquet")
    assert items["title"].to_list() == [f"Lamp {i}" for i in range(4)]
    assert items["description"].to_list() == [f'It, "{i}" shines' for i in range(4)]
    assert items["features"].to_list() == [""] * 4


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_integer_ids_are_taken_as_text(work: Path, suffix: str) -> None:
    rows = [{"user": 7, "item": i, "when": START + i} for i in range(3)]
    things = [{"item": i, "name": "x", "about": "y"} for i in range(3)]
    for stem, records in (("ratings", rows), ("things", things)):
        frame, path = pl.DataFrame(records), work / f"{stem}.{suffix}"
        {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[
            suffix
        ](path)
    row = {
        "reader": "table",
        "interactions": f"ratings.{suffix}",
        "items": f"things.{suffix}",
        "columns": COLUMNS,
        "timestamp_unit": "ms",
    }
    assert histories(fetch(row, work), work / "out") == {
        "7": [(str(i), START + i) for i in range(3)]
    }


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_unknown_columns_list_those_of_the_file(work: Path, suffix: str) -> None:
    frame = pl.DataFrame(VISITS)
    path = work / f"ratings.{suffix}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[suffix](
        path
    )
    row = {
        "reader": "table",
        "interactions": path.name,
        "items": path.name,
        "columns": COLUMNS | {"user_id": "customer"},
        "timestamp_unit": "ms",
    }
    with pytest.raises(
        UserError, match=r"no column\(s\) \['customer'\]; its columns are \[.*'user'"
    ):
        fetch(row, work)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"reader": "amazn"},
            rf"garden\.reader: expected one of {re.escape(str(sorted(READERS)))}, got 'amazn'",
        ),
        ({"colums": {}}, r"unknown key\(s\) \['colums'\]"),
        ({"columns": {"user_id": "user"}}, r"columns: missing key\(s\) \['item_id'"),
        ({"timestamp_unit": "us"}, r"expected one of \['s', 'ms', 'order'\]"),
        ({"interactions": "ratings.xlsx"}, "no such file"),
        ({"interactions": "."}, "is no file"),
        ({"interactions": "no.csv"}, "no such file"),
    ],
)
def test_rows_are_strict(work: Path, change: dict[str, Any], message: str) -> None:
    row = {
        "reader": "table",
        "interactions": "ratings.csv",
        "items": "things.csv",
        "columns": COLUMNS,
        "timestamp_unit": "ms",
    }
    with pytest.raises(UserError, match=message):
        fetch_domain("garden", row | change, "domains.garden", work / "raw", work / "parts")
    assert not (work / "raw").exists()


def test_a_folder_of_other_content_is_not_replaced(work: Path) -> None:
    (work / "raw").mkdir()
    (work / "raw" / "thesis.txt").write_text("years of work")
    row = {"reader": "demo", "num_users": 60, "num_items": 24, "pattern": 0.9, "seed": 1}
    with pytest.raises(UserError, match=r"holds \['thesis.txt'\] and no source\.json"):
        fetch(row, work)
    assert (work / "raw" / "thesis.txt").exists()


def test_a_folder_that_dvc_emptied_is_filled_again(work: Path) -> None:
    (work / "raw").mkdir()
    (work / "raw" / ".gitignore").write_text("/source.json")
    row = {"reader": "demo", "num_users": 60, "num_items": 24, "pattern": 0.9, "seed": 1}
    assert read_source(fetch(row, work)).row == row

"""Where a domain's raw files come from: one function a `reader`, its keywords the row's schema."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.files import sha256_file
from recg_core.raw.download import download, finish
from recg_core.raw.formats import FileFormat, column_names
from recg_core.raw.source import SOURCE_FILE, RawFile, Source, read_source
from stages.demo import write_demo

REVIEW_COLUMNS = {"user_id": "user_id", "item_id": "parent_asin", "timestamp": "timestamp"}
META_COLUMNS = {
    "item_id": "parent_asin",
    "title": "title",
    "features": "features",
    "description": "description",
}
REVIEW_FOLDER = "raw/review_categories"
META_FOLDER = "raw/meta_categories"
RATING_FOLDER = "benchmark/5core/rating_only"
FORMAT_OF_SUFFIX: dict[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
}


@dataclass(frozen=True)
class RawFiles:
    """What a reader put into the raw folder."""

    interactions: RawFile
    items: RawFile
    timestamp_unit: Literal["ms", "s"] = "ms"


@dataclass(frozen=True)
class Place:
    """What a reader is given besides its row.

    Attributes:
        domain: the row's name.
        folder: where the files go; empty.
        partial_dir: where downloads are kept until they are whole.
    """

    domain: str
    folder: Path
    partial_dir: Path


@dataclass(frozen=True)
class TableColumns:
    """Which columns of a table play which role; `item_id` has one name in both files."""

    user_id: str
    item_id: str
    timestamp: str
    title: str
    features: str | None = None
    description: str | None = None


def read_demo(
    place: Place, *, num_users: int, num_items: int, pattern: float, seed: int
) -> RawFiles:
    """A made-up domain; see `stages.demo`."""
    write_demo(
        place.folder,
        domain=place.domain,
        num_users=num_users,
        num_items=num_items,
        pattern=pattern,
        seed=seed,
    )
    return RawFiles(
        RawFile("reviews.jsonl.gz", "jsonl", REVIEW_COLUMNS),
        RawFile("meta.jsonl.gz", "jsonl", META_COLUMNS),
    )


def read_amazon2023(
    place: Place,
    *,
    category: str,
    location: str,
    interactions: Literal["reviews", "rating_only"],
    sha256: dict[str, str] | None = None,
) -> RawFiles:
    """A category of Amazon Reviews 2023.

    Args:
        category: as in the official file names, such as Video_Games.
        location: a folder that holds the files, flat or in the official layout, compressed or
            not; or the address above the official layout.
        interactions: all reviews, or the official 5-core ratings, which are much smaller.
        sha256: the digest that each of the named files must have.
    """
    if interactions == "reviews":
        first = f"{REVIEW_FOLDER}/{category}.jsonl.gz"
    else:
        first = f"{RATING_FOLDER}/{category}.csv.gz"
    wanted = [first, f"{META_FOLDER}/meta_{category}.jsonl.gz"]
    names = _get_files(place, location, wanted, sha256 or {})
    return RawFiles(
        RawFile(names[0], "jsonl" if interactions == "reviews" else "csv", REVIEW_COLUMNS),
        RawFile(names[1], "jsonl", META_COLUMNS),
    )


def read_table(
    place: Place,
    *,
    interactions: str,
    items: str,
    columns: TableColumns,
    timestamp_unit: Literal["ms", "s"],
) -> RawFiles:
    """Anyone's own interactions and items, each a CSV, Parquet or JSON lines file.

    Args:
        interactions: path of a file with the columns for user_id, item_id and timestamp.
        items: path of a file with the columns for item_id and the texts.
        columns: the name of each of these columns.
        timestamp_unit: of the timestamps, which count from 1970.
    """
    roles = {role: name for role, name in vars(columns).items() if name is not None}
    people = {role: roles[role] for role in ("user_id", "item_id", "timestamp")}
    texts = {role: name for role, name in roles.items() if role not in ("user_id", "timestamp")}
    return RawFiles(
        _copy_table(place, Path(interactions), "interactions", people),
        _copy_table(place, Path(items), "items", texts),
        timestamp_unit,
    )


READERS: dict[str, Callable[..., RawFiles]] = {
    "demo": read_demo,
    "amazon2023": read_amazon2023,
    "table": read_table,
}


def fetch_row(row: Mapping[str, Any], address: str, place: Place) -> Source:
    """Run the reader that a row names and say what is in the folder now.

    Raises:
        UserError: when there is no such reader, a key is wrong, or a file cannot be had.
    """
    name = row.get("reader")
    if name not in READERS:
        raise UserError(f"{address}.reader: expected one of {sorted(READERS)}, got {name!r}")
    arguments = {key: value for key, value in row.items() if key != "reader"}
    files = build(READERS[name], arguments, address, place=place)
    names = (files.interactions.name, files.items.name)
    return Source(
        interactions=files.interactions,
        items=files.items,
        timestamp_unit=files.timestamp_unit,
        sha256={name: sha256_file(place.folder / name) for name in names},
        row=dict(row),
    )


def is_downloaded(row: Mapping[str, Any], folder: Path) -> bool:
    """Whether `folder` holds, whole and unchanged, what `row` would download.

    Rows that read local files are never taken for done: those files may have changed.
    """
    if not _is_url(str(row.get("location", ""))) or not (folder / SOURCE_FILE).is_file():
        return False
    try:
        source = read_source(folder)
    except UserError:
        return False
    return source.row == dict(row) and all(
        sha256_file(folder / name) == digest for name, digest in source.sha256.items()
    )


def _is_url(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _get_files(
    place: Place, location: str, wanted: list[str], sha256: Mapping[str, str]
) -> list[str]:
    """Bring the files of the official layout into the folder and return their names."""
    if _is_url(location):
        addresses = [f"{location.rstrip('/')}/{path}" for path in wanted]
        names = [path.rsplit("/", 1)[1] for path in wanted]
        _check_names(names, sha256)
        # All are loaded before any is moved, so that the next try has to load none again.
        loaded = [
            download(a, place.partial_dir, sha256=sha256.get(n))
            for a, n in zip(addresses, names, strict=True)
        ]
        for (part, _), name in zip(loaded, names, strict=True):
            finish(part, place.folder / name)
        return names
    found = [_find_local(Path(location), path) for path in wanted]
    _check_names([path.name for path in found], sha256)
    for path in found:
        _copy(path, place.folder / path.name)
        digest = sha256.get(path.name)
        if digest is not None and sha256_file(path) != digest.lower():
            raise UserError(f"{path}: its SHA-256 is {sha256_file(path)}, expected {digest}")
    return [path.name for path in found]


def _check_names(names: list[str], sha256: Mapping[str, str]) -> None:
    unknown = sorted(set(sha256) - set(names))
    if unknown:
        raise UserError(f"sha256: no such file(s) {unknown}; the files are {names}")


def _find_local(location: Path, path: str) -> Path:
    candidates = [location / Path(path).name, location / path]
    candidates += [candidate.with_suffix("") for candidate in candidates]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(
        f"{location}: found none of {', '.join(str(c.relative_to(location)) for c in candidates)}; "
        "location must be a folder with the files of Amazon Reviews 2023 or an http(s) address"
    )


def _copy_table(place: Place, path: Path, stem: str, columns: dict[str, str]) -> RawFile:
    suffix = next((s for s in sorted(FORMAT_OF_SUFFIX) if path.name.endswith(s)), None)
    if suffix is None:
        raise UserError(f"{path}: expected a file name that ends in {sorted(FORMAT_OF_SUFFIX)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file, named as '{stem}' of the table")
    file_format = FORMAT_OF_SUFFIX[suffix]
    found = column_names(path, file_format)
    unknown = sorted(set(columns.values()) - set(found))
    if unknown:
        raise UserError(f"{path}: no column(s) {unknown}; its columns are {found}")
    _copy(path, place.folder / f"{stem}{suffix}")
    return RawFile(f"{stem}{suffix}", file_format, columns)


def _copy(path: Path, to: Path) -> None:
    """Copy, not link: DVC makes what a stage wrote read-only, which would reach the original."""
    shutil.copyfile(path, to)

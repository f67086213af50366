"""A category of Amazon Reviews 2023 (Hou et al. 2024), from a folder or downloaded."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from recg_core.base.errors import UserError
from recg_core.base.files import link_or_copy, sha256_file
from recg_core.raw.formats import FORMATS, check_columns
from recg_core.raw.readers.base import Contents, Place, RawFiles, check_text_names
from recg_core.raw.source import FileFormat, RawTable, TextLayout

REVIEW_COLUMNS = {
    "user_id": "user_id",
    "item_id": "parent_asin",
    "timestamp": "timestamp",
    "rating": "rating",
}
META_COLUMNS = {
    "item_id": "parent_asin",
    "title": "title",
    "features": "features",
    "description": "description",
}
OPTIONAL = ("rating", "features", "description")
REVIEW_FOLDER = "raw/review_categories"
META_FOLDER = "raw/meta_categories"
RATING_FOLDER = "benchmark/5core/rating_only"


@dataclass(frozen=True)
class Amazon2023:
    """A category of Amazon Reviews 2023.

    Attributes:
        category: as in the official file names, such as Video_Games.
        location: a folder that holds the files, flat or in the official layout, compressed or
            not; or the address above the official layout.
        interactions: all reviews, or the official 5-core ratings, which are much smaller.
        sha256: the digest that each of the named files must have.
        texts: further texts of the items, such as `{store: store}`: the name that a template has
            for it, and the key.
    """

    category: str
    location: str
    interactions: Literal["reviews", "rating_only"]
    sha256: dict[str, str] | None = None
    texts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text_names(self.texts)

    def contents(self) -> Contents:
        """The texts of every category, and those that the row names."""
        return Contents(texts=(*Contents().texts, *self.texts))

    def fetch(self, place: Place) -> RawFiles:
        """Copy the files, or download those that are not in `place.partial_dir` yet."""
        if self.interactions == "reviews":
            first = f"{REVIEW_FOLDER}/{self.category}.jsonl.gz"
        else:
            first = f"{RATING_FOLDER}/{self.category}.csv.gz"
        wanted = [first, f"{META_FOLDER}/meta_{self.category}.jsonl.gz"]
        get = _download if self.location.lower().startswith(("http://", "https://")) else _copy
        reviews, meta = get(place, self.location, wanted, self.sha256 or {}).items()
        file_format: FileFormat = "jsonl" if self.interactions == "reviews" else "csv"
        return RawFiles(
            _table(*reviews, file_format, REVIEW_COLUMNS),
            _table(*meta, "jsonl", {**META_COLUMNS, **self.texts}),
        )


def _table(name: str, path: Path, file_format: FileFormat, columns: dict[str, str]) -> RawTable:
    """The file `name`, a copy of `path`, with those columns that are there or have to be."""
    layout = TextLayout()
    found = FORMATS[file_format].columns(path, layout)
    present = {
        role: column for role, column in columns.items() if column in found or role not in OPTIONAL
    }
    check_columns(path, file_format, present, layout)
    return RawTable((name,), file_format, present, layout)


def _download(
    place: Place, location: str, wanted: list[str], sha256: Mapping[str, str]
) -> dict[str, Path]:
    """Bring the files of the official layout into the folder; return names and origins."""
    from recg_core.raw.download import download  # the web's libraries, which no other reader needs

    names = [path.rsplit("/", 1)[1] for path in wanted]
    _check_names(names, sha256)
    origins = {}
    above, mark, query = location.partition("?")  # a signature, which each file is asked for with
    for path, name in zip(wanted, names, strict=True):
        address = f"{above.rstrip('/')}/{path}{mark}{query}"
        origins[name] = download(address, place.partial_dir, sha256=sha256.get(name))
        link_or_copy(origins[name], place.folder / name)
    return origins


def _copy(
    place: Place, location: str, wanted: list[str], sha256: Mapping[str, str]
) -> dict[str, Path]:
    """As `_download`, from a local folder."""
    found = [_find(Path(location), path) for path in wanted]
    _check_names([path.name for path in found], sha256)
    for path in found:
        # No link: DVC makes what a stage wrote read-only, which would reach the original.
        shutil.copyfile(path, place.folder / path.name)
        digest = sha256.get(path.name)
        if digest is not None and sha256_file(path) != digest.lower():
            raise UserError(f"{path}: its SHA-256 is {sha256_file(path)}, expected {digest}")
    return {path.name: path for path in found}


def _check_names(names: list[str], sha256: Mapping[str, str]) -> None:
    unknown = sorted(set(sha256) - set(names))
    if unknown:
        raise UserError(f"sha256: no such file(s) {unknown}; the files are {names}")


def _find(location: Path, path: str) -> Path:
    candidates = [location / Path(path).name, location / path]
    candidates += [candidate.with_suffix("") for candidate in candidates]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(
        f"{location}: found none of {', '.join(str(c.relative_to(location)) for c in candidates)}; "
        "location must be a folder with the files of Amazon Reviews 2023 or an http(s) address"
    )

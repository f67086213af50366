"""Items and histories as people have them: files of any kind, frames, dictionaries."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from recg_core.base.errors import UserError
from recg_core.raw.formats import FORMATS, check_columns
from recg_core.raw.items import read_raw_items
from recg_core.raw.readers.table import TableFile, describe
from recg_core.raw.records import INTERACTION_ROLES, read_interactions, read_items
from recg_core.raw.rejects import Rejects
from recg_core.raw.source import TEXT_ROLES, RawTable, TextLayout

log = logging.getLogger(__name__)

# A path, paths, a frame of Polars or pandas, a dictionary of columns, or a list of dictionaries.
Table = Any
MAX_REJECT_SHARE = 0.01
# The usual names of columns, without case and punctuation; the first that is there counts.
USUAL_NAMES = {
    "user_id": "userid user uid customerid customer reviewerid readerid reader visitorid accountid",
    "item_id": "itemid item iid parentasin asin productid product movieid filmid bookid isbn sku "
    "articleid songid trackid gameid id",
    "timestamp": "timestamp time ts when datetime date unixreviewtime createdat eventtime ratedat",
    "title": "title name producttitle productname itemname itemtitle movietitle booktitle label",
    "features": "features feature bulletpoints",
    "description": "description desc details summary overview blurb about abstract text",
}
NEEDED = {"items": ("item_id", "title"), "histories": ("user_id", "item_id")}
ROLES = {
    "items": ("item_id", *TEXT_ROLES),
    "histories": INTERACTION_ROLES,
}


def read_catalogue(items: Table, columns: Mapping[str, str] | None = None) -> pl.DataFrame:
    """The items with text, as (item_id, title, features, description, …) ordered by item_id.

    Args:
        columns: role -> column where the names are not usual ones. Other roles than those above
            are further texts.

    Raises:
        UserError: when a table cannot be read, holds no item with text, or more than
            `MAX_REJECT_SHARE` of its lines are unusable.
    """
    with _raw_table(items, "items", columns) as table, tempfile.TemporaryDirectory() as folder:
        rejects = Rejects(table.files)
        frames = read_items(Path(), table)
        raw = read_raw_items(frames, "any", Path(folder) / "items.arrow", rejects)
        _check(rejects, "items")
        usable = raw.items.filter("usable")
        if usable.is_empty():
            raise UserError(f"{table.files[0]}: holds no item with text")
        if without := raw.items.height - usable.height:
            log.warning("%d item(s) without text are left out", without)
        if raw.num_repeated:
            log.warning("%d row(s) repeat an item and are left out", raw.num_repeated)
        return pl.concat(raw.texts(usable["item"].to_numpy()))


def check_columns_of(histories: Table, columns: Mapping[str, str] | None = None) -> None:
    """Refuse a file of histories that is missing or lacks a column, before items are encoded.

    Raises:
        UserError: as `read_histories` does for those reasons.
    """
    if isinstance(histories, str | Path) or _are_paths(histories):
        with _raw_table(histories, "histories", columns):
            pass


def read_histories(histories: Table, columns: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Interactions as (user_id, item_id), those of a user together, oldest first.

    Without a column of times the order of the lines counts.

    Raises:
        UserError: as `read_catalogue`; no interaction at all is none of it.
    """
    with _raw_table(histories, "histories", columns) as table:
        if "timestamp" not in table.columns:
            log.info("histories: no column of times is known; the order of the lines counts")
        rejects = Rejects(table.files)
        frames = [rejects.split(frame) for frame in read_interactions(Path(), table, "order")]
        _check(rejects, "histories")
    if not frames:
        return pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String})
    found = pl.concat(frames).sort("user_id", "timestamp", "line")
    return found.select("user_id", "item_id")


@contextmanager
def _raw_table(given: Table, kind: str, columns: Mapping[str, str] | None) -> Iterator[RawTable]:
    """The table as files with their columns by role; a frame becomes a file for a while.

    What is wrong with a frame is said without the name of that file.
    """
    if columns is not None and not isinstance(columns, Mapping):
        raise UserError(f"columns: expected a dictionary of role to column, got {columns!r}")
    if isinstance(given, str | Path | TableFile) or _are_paths(given):
        files = given if isinstance(given, TableFile) else _as_paths(given)
        paths, file_format, layout = describe(files, kind)
        found = FORMATS[file_format].columns(paths[0], layout)
        chosen = choose_columns(found, kind, columns, str(paths[0]))
        for path in paths[1:]:
            check_columns(path, file_format, chosen, layout)
        yield RawTable(tuple(map(str, paths)), file_format, chosen, layout)
        return
    frame = _as_frame(given, kind)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{kind}.parquet"
        frame.write_parquet(path)
        chosen = choose_columns(frame.columns, kind, columns, kind)
        try:
            yield RawTable((str(path),), "parquet", chosen, TextLayout())
        except UserError as error:  # of a file that the caller does not know
            raise UserError(str(error).replace(str(path), kind)) from error


def choose_columns(
    found: Sequence[str], kind: str, given: Mapping[str, str] | None, label: str
) -> dict[str, str]:
    """Which column of a table plays which role: as given, else by its usual name.

    Args:
        kind: "items" or "histories".
        given: role -> column, of both tables; what the other table has is left out.

    Raises:
        UserError: when a role that is needed has no column.
    """
    if not any(found):
        raise UserError(f"{label}: is empty: it has no columns")
    given = given or {}
    simple = {"".join(filter(str.isalnum, name)).lower(): name for name in reversed(found)}
    chosen = {}
    for role in ROLES[kind]:
        usual = next((simple[name] for name in USUAL_NAMES[role].split() if name in simple), None)
        # The id of an item may have a name of its own in each table.
        column = given.get(role, usual) if role != "item_id" or given.get(role) in found else usual
        if column is not None:
            chosen[role] = column
    if kind == "items":
        others = {role for roles in ROLES.values() for role in roles}
        chosen |= {role: column for role, column in given.items() if role not in others}
    if unknown := sorted(set(chosen.values()) - set(found)):
        raise UserError(f"{label}: no column(s) {unknown}; its columns are {list(found)}")
    missing = [role for role in NEEDED[kind] if role not in chosen]
    if missing:
        raise UserError(
            f"{label}: which column is {' and which is '.join(missing)}? Its columns are "
            f"{list(found)}; name them, as in --columns {missing[0]}=…"
        )
    return chosen


def _check(rejects: Rejects, kind: str) -> None:
    if not rejects.total:
        return
    reason, example = rejects.commonest()
    said = (
        f"{rejects.total} of {rejects.num_records} lines of {kind} are unusable, most by {reason}"
    )
    if rejects.share > MAX_REJECT_SHARE:
        raise UserError(f"{example}: {said}; mend the file")
    log.warning("%s: %s; they are left out", example, said)


def _are_paths(given: Table) -> bool:
    is_list = isinstance(given, list | tuple) and len(given) > 0
    return is_list and all(isinstance(each, str | Path) for each in given)


def _as_paths(given: str | Path | Sequence[str | Path]) -> str | tuple[str, ...]:
    return str(given) if isinstance(given, str | Path) else tuple(map(str, given))


def _as_frame(given: Table, kind: str) -> pl.DataFrame:
    if given is None:
        raise UserError(f"{kind}: is no table, but None")
    try:
        if isinstance(given, pl.DataFrame):
            return given
        if isinstance(given, pl.LazyFrame):
            return given.collect()
        if hasattr(given, "to_numpy"):  # of pandas
            return pl.from_pandas(given)
        return pl.DataFrame(given, strict=False, infer_schema_length=None)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{kind}: is no table ({error})") from error

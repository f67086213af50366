"""What a reader is: it brings the raw files of one domain into a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recg_core.raw.source import SCALAR_ROLES, TEXT_ROLES, RawTable, TimestampUnit


@dataclass(frozen=True)
class RawFiles:
    """What a reader put into the raw folder."""

    interactions: RawTable | None
    items: RawTable
    timestamp_unit: TimestampUnit = "ms"


@dataclass(frozen=True)
class Place:
    """What a reader is given besides its row.

    Attributes:
        domain: the row's name.
        folder: where the files go; empty.
        partial_dir: where downloads are kept, whole and unfinished, for the next run.
    """

    domain: str
    folder: Path
    partial_dir: Path


@dataclass(frozen=True)
class Contents:
    """What a domain will hold, as far as its row says.

    Attributes:
        texts: of the items, by the names that templates have for them.
    """

    texts: tuple[str, ...] = TEXT_ROLES
    has_interactions: bool = True
    has_ratings: bool = True


class Reader(Protocol):
    """Built from a row of `domains` in params.yaml, whose keys are the constructor's keywords."""

    def contents(self) -> Contents:
        """What the domain will hold; nothing is read."""
        ...

    def fetch(self, place: Place) -> RawFiles:
        """Bring the files into `place.folder`; equal sources give equal bytes.

        Raises:
            UserError: when a file cannot be had or is not what it should be.
        """
        ...


def check_text_names(texts: dict[str, str]) -> None:
    """Refuse a name of a further text that a template cannot have or another role has.

    Raises:
        ValueError: naming it.
    """
    taken = (*SCALAR_ROLES, *TEXT_ROLES, "line", "reason", "item_idx")
    for name in texts:
        if not name.isidentifier() or name in taken:
            raise ValueError(f"texts: {name!r} is no name for a text; use letters, not {taken}")

"""What a reader is: it brings the raw files of one domain into a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from recg_core.raw.source import RawFile


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
        partial_dir: where downloads are kept, whole and unfinished, for the next run.
    """

    domain: str
    folder: Path
    partial_dir: Path


class Reader(Protocol):
    """Built from a row of `domains` in params.yaml, whose keys are the constructor's keywords."""

    def fetch(self, place: Place) -> RawFiles:
        """Bring the files into `place.folder`; equal sources give equal bytes.

        Raises:
            UserError: when a file cannot be had or is not what it should be.
        """
        ...

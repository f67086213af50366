"""Where a domain's raw files come from. `READERS` is the whole registry."""

from collections.abc import Callable

from recg_core.raw.readers.amazon2023 import Amazon2023
from recg_core.raw.readers.base import Contents, Place, RawFiles, Reader
from recg_core.raw.readers.demo import Demo
from recg_core.raw.readers.table import TableFiles

READERS: dict[str, Callable[..., Reader]] = {
    "demo": Demo,
    "amazon2023": Amazon2023,
    "table": TableFiles,
}

__all__ = ["READERS", "Contents", "Place", "RawFiles", "Reader"]

"""A domain's raw folder, made anew by the reader that its row names."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from recg_core.base.config import build_kind
from recg_core.base.files import replaced_folder, sha256_file
from recg_core.base.secrets import row_without_secrets
from recg_core.raw.readers import READERS, Place
from recg_core.raw.source import SOURCE_FILE, Source, write_source


def fetch(
    domain: str, row: Mapping[str, Any], address: str, out: Path, partial_dir: Path
) -> Source:
    """Make, copy or download the raw files of a domain.

    Args:
        row: `reader`, and the arguments of that reader's constructor.
        address: where the row stands, named in errors.
        out: the raw folder, which is replaced as a whole.
        partial_dir: where downloads are kept; what is whole there is not loaded again.

    Raises:
        UserError: when there is no such reader, a key is wrong, or a file cannot be had; `out` is
            then as before.
    """
    reader = build_kind(READERS, row, address, key="reader")
    with replaced_folder(out, SOURCE_FILE) as folder:
        files = reader.fetch(Place(domain, folder, partial_dir))
        source = Source(
            interactions=files.interactions,
            items=files.items,
            timestamp_unit=files.timestamp_unit,
            sha256={},
            row=row_without_secrets(dict(row)),
        )
        digests = {name: sha256_file(folder / name) for name in source.files}
        source = replace(source, sha256=digests)
        write_source(folder, source)
    return source

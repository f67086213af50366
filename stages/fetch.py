"""A domain's raw files: `python -m stages.fetch --domain X --out data/raw/X`."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.files import write_json
from recg_core.base.folders import replaced_folder
from recg_core.raw.source import SOURCE_FILE
from stages.common import read_params, run
from stages.readers import Place, fetch_row, is_downloaded

log = logging.getLogger(__name__)


def main(
    domain: Annotated[str, typer.Option(help="A row of `domains` in params.yaml.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    partial_dir: Annotated[
        Path, typer.Option(help="Where unfinished downloads wait for the next run.")
    ] = Path(".downloads"),
) -> None:
    """Make, copy or download the raw files of one domain."""
    row = read_params(Path("params.yaml")).section(f"domains.{domain}")
    if is_downloaded(row, out):
        log.info("%s: already whole and unchanged", out)
        return
    with replaced_folder(out, SOURCE_FILE) as folder:
        source = fetch_row(row, f"domains.{domain}", Place(domain, folder, partial_dir))
        write_json(folder / SOURCE_FILE, asdict(source))


if __name__ == "__main__":
    run(main)

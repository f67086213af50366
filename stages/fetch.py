"""A domain's raw files: `python -m stages.fetch --domain X --out data/raw/X`."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.raw.fetch import fetch
from stages import run


def main(
    domain: Annotated[str, typer.Option(help="A row of `domains` in params.yaml.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    partial_dir: Annotated[
        Path, typer.Option(help="Where downloads are kept, whole and unfinished.")
    ] = Path(".downloads"),
) -> None:
    """Make, copy or download the raw files of one domain."""
    address = f"domains.{domain}"
    fetch(domain, read_params(Path("params.yaml")).section(address), address, out, partial_dir)


if __name__ == "__main__":
    run(main)

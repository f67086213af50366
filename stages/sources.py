"""List the files of what models are trained on, so that each depends on its own domains alone."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.files import new_folder
from recg_core.base.params import read_params
from recg_core.domains.source_domains import write_source
from stages import run


def main(
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    out: Annotated[Path, typer.Option(help="Folder for a JSON of every source.")],
) -> None:
    """Write a JSON of every source of the grid: the files of its domains and their digests."""
    sources = read_params(Path("params.yaml")).get("grid.sources", list[str])
    with new_folder(out) as folder:
        for name in sources:
            write_source(name, domains, embeddings, folder / f"{name}.json")


if __name__ == "__main__":
    run(main)

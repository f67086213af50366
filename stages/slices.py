"""Write what the report cuts every source -> target evaluation by."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.domain import load_domains
from recg_core.evaluation.slices import write_slices
from stages import run


def main(
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    out: Annotated[Path, typer.Option(help="Folder for a table of every source and target.")],
) -> None:
    """Write the slice attributes of every source and target of the grid."""
    params = read_params(Path("params.yaml"))
    loaded = load_domains(params.get("grid.domains", list[str]), domains, embeddings)
    write_slices(loaded, params.get("grid.sources", list[str]), out)


if __name__ == "__main__":
    run(main)

"""Write what the report cuts every source -> target evaluation by."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.base.schema import SLICES
from recg_core.domains.domain import load_domains, tested
from recg_core.domains.source_domains import source_of
from recg_core.evaluation.slices import slice_attributes
from stages import WORK, run


def main(
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    out: Annotated[Path, typer.Option(help="Folder for a table of every source and target.")],
) -> None:
    """Write the slice attributes of every source and target of the grid."""
    params = read_params(Path("params.yaml"))
    names = params.get("grid.domains", list[str])
    loaded = load_domains(names, domains, embeddings, WORK / "vectors")
    targets = tested(loaded.values())
    for source in params.get("grid.sources", list[str]):
        for target in targets:
            frame = slice_attributes(source_of(source, loaded), target)
            SLICES.write(frame, out / f"{source}_to_{target.name}.parquet")


if __name__ == "__main__":
    run(main)

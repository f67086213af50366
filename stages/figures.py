"""Draw the items of all domains, as texts and in models, and measure how far apart they lie."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.domain import load_domains
from recg_core.figures.embedding_figures import FiguresConfig, write_embedding_figures
from stages import WORK, run


def main(
    models: Annotated[Path, typer.Option(help="Holds the models of every variant.")],
    patterns: Annotated[Path, typer.Option(help="Holds the patterns of every variant.")],
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    out: Annotated[Path, typer.Option(help="Folder for the images and their captions.")],
    numbers: Annotated[Path, typer.Option(help="JSON for the numbers.")],
) -> None:
    """Write the figures and numbers of the grid's models."""
    params = read_params(Path("params.yaml"))
    names = params.get("grid.domains", list[str])
    loaded = load_domains(names, domains, embeddings, WORK / "vectors")
    write_embedding_figures(
        models,
        patterns,
        list(loaded.values()),
        params.get("grid.sources", list[str]),
        params.get("grid.backbones", list[str]),
        params.get("grid.variants", list[str]),
        params.build(FiguresConfig, "figures"),
        out,
        numbers,
    )


if __name__ == "__main__":
    run(main)

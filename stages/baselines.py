"""Rank every target domain by the training-free rows."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.domain import load_domains, tested
from recg_core.evaluation.training_free import BaselinesConfig, write_training_free
from stages import WORK, run


def main(
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    out: Annotated[Path, typer.Option(help="Folder for the cells of every row and target.")],
) -> None:
    """Write ranks and certificate of every training-free row for every domain of the grid."""
    params = read_params(Path("params.yaml"))
    config = params.build(BaselinesConfig, "baselines")
    names = params.get("grid.domains", list[str])
    loaded = load_domains(names, domains, embeddings, WORK / "vectors")
    write_training_free(tested(loaded.values()), config, out)


if __name__ == "__main__":
    run(main)

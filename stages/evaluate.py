"""Evaluate the models of a variant on their sources and, zero-shot, on every other domain."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.domain import load_domains, tested
from recg_core.domains.source_domains import source_of
from recg_core.evaluation.cells import evaluate_variant
from recg_core.evaluation.training_free import BaselinesConfig
from stages import WORK, run


def main(
    variant: Annotated[str, typer.Option(help="What the certificates call the variant.")],
    models: Annotated[Path, typer.Option(help="Holds the model of every source.")],
    patterns: Annotated[Path, typer.Option(help="Holds the patterns of every source.")],
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    out: Annotated[Path, typer.Option(help="Folder for the cells of every source.")],
) -> None:
    """Write ranks and certificate of every source -> target cell of the models."""
    params = read_params(Path("params.yaml"))
    config = params.build(BaselinesConfig, "baselines")
    names = params.get("grid.domains", list[str])
    loaded = load_domains(names, domains, embeddings, WORK / "vectors")
    sources = params.get("grid.sources", list[str])
    targets = tested(loaded.values())
    of_sources = [source_of(name, loaded) for name in sources]
    evaluate_variant(models, patterns, of_sources, targets, out, config, variant=variant)


if __name__ == "__main__":
    run(main)

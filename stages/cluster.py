"""Cluster the source's users into sequential patterns and train their fusion W_f."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.source_domains import load_source
from recg_core.models.card import model_names
from recg_core.training.cluster import cluster_model
from recg_core.training.config import FusionConfig
from stages import run


def main(
    models: Annotated[Path, typer.Option(help="Holds the model of every backbone.")],
    source: Annotated[Path, typer.Option(help="JSON with the files of what they were trained on.")],
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    out: Annotated[Path, typer.Option(help="Folder for a folder of patterns a backbone.")],
    valid: Annotated[Path, typer.Option(help="Folder for a metrics JSON a backbone.")],
) -> None:
    """Write the patterns of every seed; a variant without patterns writes an empty list."""
    params = read_params(Path("params.yaml"))
    config = params.build(FusionConfig, "patterns")
    load = partial(load_source, source, domains, embeddings)
    for name in model_names(models):
        cluster_model(models / name, load, config, out / name, valid / f"{name}.json")


if __name__ == "__main__":
    run(main)

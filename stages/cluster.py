"""Cluster the source's users into sequential patterns and train their fusion W_f."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.domain import load_domain
from recg_core.models.card import model_names
from recg_core.training.cluster import cluster_model
from recg_core.training.config import FusionConfig
from stages import run


def main(
    models: Annotated[Path, typer.Option(help="Holds the model of every backbone.")],
    domain: Annotated[Path, typer.Option(help="Tables of the domain they were trained on.")],
    embeddings: Annotated[Path, typer.Option(help="The source's embeddings.")],
    out: Annotated[Path, typer.Option(help="Folder for a folder of patterns a backbone.")],
    valid: Annotated[Path, typer.Option(help="Folder for a metrics JSON a backbone.")],
) -> None:
    """Write the patterns of every seed; a variant without patterns writes an empty list."""
    params = read_params(Path("params.yaml"))
    config = params.build(FusionConfig, "patterns")
    load_source = partial(load_domain, domain, embeddings)
    for name in model_names(models):
        cluster_model(models / name, load_source, config, out / name, valid / f"{name}.json")


if __name__ == "__main__":
    run(main)

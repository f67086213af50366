"""Cluster the source's users into sequential patterns and train their fusion W_f.

    python -m stages.cluster --source garden --model models/sasrec/recg/garden \
        --domain data/domains/garden --embeddings data/embeddings/lsa/garden \
        --out patterns/sasrec/recg/garden
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.cells import cluster_model
from recg_core.config import build
from recg_core.domain import load_domain
from recg_core.patterns import PatternConfig
from stages.common import read_params, run


def main(
    source: Annotated[str, typer.Option(help="Domain that the model was trained on.")],
    model: Annotated[Path, typer.Option(help="The model's folder.")],
    domain: Annotated[Path, typer.Option(help="The source's tables.")],
    embeddings: Annotated[Path, typer.Option(help="The source's embeddings.")],
    out: Annotated[Path, typer.Option(help="Folder for the patterns of every seed.")],
) -> None:
    """Write the patterns of every seed; a variant without patterns writes an empty list."""
    params = read_params(Path("params.yaml"))
    config = build(PatternConfig, params.section("patterns"), "patterns")
    cluster_model(model, load_domain(source, domain, embeddings), config, out)


if __name__ == "__main__":
    run(main)

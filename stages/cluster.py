"""Cluster the source's users into sequential patterns and train their fusion W_f.

    python -m stages.cluster --source garden --name sasrec-recg \
        --model models/sasrec/recg/garden \
        --domain data/domains/garden --embeddings data/embeddings/lsa/garden \
        --out patterns/sasrec/recg/garden --validation results/validation/sasrec-recg/garden.json
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.config import build
from recg_core.embeddings.domain import load_domain
from recg_core.evaluation.cells import cluster_model
from recg_core.models.patterns import PatternConfig
from stages.common import read_params, run


def main(
    source: Annotated[str, typer.Option(help="Domain that the model was trained on.")],
    name: Annotated[str, typer.Option(help="What the metrics call the model.")],
    model: Annotated[Path, typer.Option(help="The model's folder.")],
    domain: Annotated[Path, typer.Option(help="The source's tables.")],
    embeddings: Annotated[Path, typer.Option(help="The source's embeddings.")],
    out: Annotated[Path, typer.Option(help="Folder for the patterns of every seed.")],
    validation: Annotated[Path, typer.Option(help="JSON for the metrics of source validation.")],
) -> None:
    """Write the patterns of every seed; a variant without patterns writes an empty list."""
    params = read_params(Path("params.yaml"))
    config = build(PatternConfig, params.section("patterns"), "patterns")
    data = load_domain(source, domain, embeddings)
    cluster_model(model, data, config, out, validation, name=name)


if __name__ == "__main__":
    run(main)

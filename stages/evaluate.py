"""Evaluate a trained model on its source and, zero-shot, on every other domain of the grid.

    python -m stages.evaluate --source garden --name sasrec-recg \
        --model models/sasrec/recg/garden --patterns patterns/sasrec/recg/garden \
        --domains-root data/domains --embeddings-root data/embeddings/lsa \
        --ranks results/ranks/sasrec-recg/garden --metrics results/metrics/sasrec-recg/garden
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.embeddings.domain import load_domain
from recg_core.evaluation.cells import evaluate_model
from stages.common import read_params, run


def main(
    source: Annotated[str, typer.Option(help="Domain that the model was trained on.")],
    name: Annotated[str, typer.Option(help="What the cells call the model.")],
    model: Annotated[Path, typer.Option(help="The model's folder.")],
    patterns: Annotated[Path, typer.Option(help="The patterns' folder.")],
    domains_root: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings_root: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    ranks: Annotated[Path, typer.Option(help="Folder for the ranks of every target.")],
    metrics: Annotated[Path, typer.Option(help="Folder for the metrics of every target.")],
) -> None:
    """Write ranks and metrics of every source -> target cell of the model."""
    params = read_params(Path("params.yaml"))
    domains = {
        domain: load_domain(domain, domains_root / domain, embeddings_root / domain)
        for domain in {source: None, **dict.fromkeys(params.get("grid.domains", list[str]))}
    }
    evaluate_model(
        model, patterns, domains[source], list(domains.values()), ranks, metrics, name=name
    )


if __name__ == "__main__":
    run(main)

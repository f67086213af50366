"""Rank every target domain by the training-free rows.

    python -m stages.baselines --domains-root data/domains --embeddings-root data/embeddings/lsa \
        --ranks results/ranks/training_free --metrics results/metrics/training_free
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.config import build
from recg_core.embeddings.domain import load_domain
from recg_core.evaluation.training_free import BaselinesConfig, training_free_rows
from recg_core.ranking.full_rank import write_cell
from stages.common import read_params, run


def main(
    domains_root: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings_root: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    ranks: Annotated[Path, typer.Option(help="Folder for the ranks of every row and target.")],
    metrics: Annotated[Path, typer.Option(help="Folder for the metrics of every row and target.")],
) -> None:
    """Write ranks and metrics of every training-free row for every domain of the grid."""
    params = read_params(Path("params.yaml"))
    config = build(BaselinesConfig, params.section("baselines"), "baselines")
    for domain in params.get("grid.domains", list[str]):
        data = load_domain(domain, domains_root / domain, embeddings_root / domain)
        for row in training_free_rows(data.sequences, data.text, config, target=domain):
            name = f"{row.name}_to_{domain}"
            write_cell(row.ranks, row.content, ranks / f"{name}.parquet", metrics / f"{name}.json")


if __name__ == "__main__":
    run(main)

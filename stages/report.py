"""Write the paper's tables with the training-free rows beside, and one summary of scalars.

python -m stages.report --metrics results/metrics --domains data/domains --out results/report
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.config import build
from recg_core.report import write_report
from recg_core.results import Grid
from stages.common import read_params, run


def main(
    metrics: Annotated[Path, typer.Option(help="Holds the metrics of every cell.")],
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    out: Annotated[Path, typer.Option(help="Folder for report.md and summary.json.")],
) -> None:
    """Write the report of the grid's cells."""
    params = read_params(Path("params.yaml"))
    learned_ids = frozenset(
        variant
        for variant in params.get("grid.variants", list[str])
        if params.get(f"variants.{variant}.items", str) == "id"
    )
    grid = build(Grid, params.section("grid"), "grid", in_domain_only=learned_ids)
    write_report(metrics, domains, out, grid)


if __name__ == "__main__":
    run(main)

"""Write the paper's tables with the training-free rows beside, and one summary of scalars.

python -m stages.report --metrics results/metrics --domains data/domains --out results/report
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.files import read_json, write_json, write_text
from recg_core.report import Grid, build_report, build_summary, load_cells
from stages.common import read_params, run


def main(
    metrics: Annotated[Path, typer.Option(help="Holds the metrics of every cell.")],
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    out: Annotated[Path, typer.Option(help="Folder for report.md and summary.json.")],
) -> None:
    """Write the report of the grid's cells."""

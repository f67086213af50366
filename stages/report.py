"""Derive from stored ranks the metrics that DVC shows and the report: tables, a page, a summary."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.report.build import Inputs, Outputs, write_report
from recg_core.report.cells import Grid
from recg_core.report.config import ReportConfig
from recg_core.report.wording import preparation
from stages import run


def main(
    ranks: Annotated[Path, typer.Option(help="Holds ranks and certificate of every cell.")],
    slices: Annotated[Path, typer.Option(help="Holds the slices of every source and target.")],
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    curves: Annotated[Path, typer.Option(help="Holds the training curves of every model.")],
    figures: Annotated[Path, typer.Option(help="Holds figures with their JSON; may be missing.")],
    full: Annotated[Path, typer.Option(help="Folder for the metrics under full ranking.")],
    sampled: Annotated[Path, typer.Option(help="Folder for the metrics under sampled ranking.")],
    summary: Annotated[Path, typer.Option(help="JSON for the summary.")],
    heatmap: Annotated[Path, typer.Option(help="SVG for the heat-map.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
) -> None:
    """Write the metrics and the report of the grid's cells."""
    params = read_params(Path("params.yaml"))
    write_report(
        Inputs(ranks, slices, domains, curves, figures),
        Outputs(out, full, sampled, summary, heatmap),
        params.build(Grid, "grid", in_domain_only=frozenset()),
        params.build(ReportConfig, "report"),
        preparation=preparation(params.section("preprocess")),
    )


if __name__ == "__main__":
    run(main)

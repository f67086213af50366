"""`recg show`: the metrics of every cell in the terminal."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from recg_core.report.show import show_results


def main(
    metric: Annotated[str, typer.Option(help="recall@K or ndcg@K, K of `report.ks`.")] = "ndcg@10",
    protocol: Annotated[str, typer.Option(help="full or sampled.")] = "full",
    folder: Annotated[
        Path, typer.Option(help="Holds `full`, `sampled` and `summary.json`.")
    ] = Path("cells"),
) -> None:
    """Print one metric of every model on every source-target pair, zero-shot pairs first."""
    typer.echo(show_results(folder, protocol, metric, shutil.get_terminal_size().columns))

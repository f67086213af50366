"""A trained model as a bundle that works without the pipeline."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[Path, typer.Argument(help="models/<variant>/<source>/<backbone>.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder to write.")],
    license: Annotated[str, typer.Option(help="Of the weights: mit, other, …")] = "unknown",
) -> None:
    """Write a bundle of a trained model: weights, encoder, model card with its results."""
    # Imported here: the other commands need not wait for torch.
    from recg_core.serving.export import export_model

    export_model(model, out, license=license)

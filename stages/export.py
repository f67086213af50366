"""A trained model as a bundle that works without the pipeline."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[Path, typer.Argument(help="models/<variant>/<source>/<backbone>.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder to write.")],
) -> None:
    """Write a bundle of a trained model: weights, encoder, model card."""
    # Imported here: the other commands need not wait for torch.
    from recg_core.serving.recommender import Recommender

    Recommender.load(model, device="cpu").save(out)

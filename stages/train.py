"""Train a variant of every backbone on one source."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.files import read_sealed_json
from recg_core.base.params import read_params
from recg_core.domains.pool import load_pool
from recg_core.domains.source_domains import load_source
from recg_core.training.plan import plan_variant
from recg_core.training.train import train_models, write_curves
from stages import WORK, run


def main(
    variant: Annotated[str, typer.Option(help="Row of `variants` in params.yaml.")],
    rows: Annotated[Path, typer.Option(help="JSON with the rows of the backbones.")],
    source: Annotated[Path, typer.Option(help="JSON with the files of the source's domains.")],
    domains: Annotated[Path, typer.Option(help="Holds a folder for every domain.")],
    embeddings: Annotated[Path, typer.Option(help="Holds the embeddings of every domain.")],
    pool: Annotated[Path, typer.Option(help="Item texts that the generalization loss may see.")],
    out: Annotated[Path, typer.Option(help="Folder for a model's folder a backbone.")],
    curves: Annotated[Path, typer.Option(help="Folder for a CSV a backbone: losses by epoch.")],
    work: Annotated[Path, typer.Option(help="Where the state of every seed is kept.")] = WORK,
) -> None:
    """Train every seed of every backbone on the source."""
    plan = plan_variant(
        read_params(Path("params.yaml")),
        variant,
        read_sealed_json(rows, "run the backbones stage"),
        load_source(source, domains, embeddings),
        load_pool(pool),
        work,
    )
    write_curves(train_models(plan, out), curves)


if __name__ == "__main__":
    run(main)

"""Train a variant of every backbone on one source."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.files import read_sealed_json
from recg_core.base.params import read_params
from recg_core.domains.pool import load_pool
from recg_core.domains.source_domains import load_source
from recg_core.models.card import spec_of
from recg_core.training.config import TrainConfig
from recg_core.training.train import train_models, write_curves
from recg_core.training.tuned import model_settings
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
    params = read_params(Path("params.yaml"))
    address = f"variants.{variant}"
    train_config = params.build(TrainConfig, "train")
    data = load_source(source, domains, embeddings)
    of_backbones = read_sealed_json(rows, "run the backbones stage")
    found = {
        name: model_settings(params, name, of["row"], variant) for name, of in of_backbones.items()
    }
    specs = [spec_of(name, of.backbone, of.variant, data) for name, of in found.items()]
    tuned = {name: of.train for name, of in found.items()}
    seeds = params.get("seeds", list[int])
    place = work / "train" / variant / data.name
    trained = train_models(
        data, load_pool(pool), specs, train_config, seeds, out,
        work=place, address=address, tuned=tuned,
    )  # fmt: skip
    write_curves(trained, curves)


if __name__ == "__main__":
    run(main)

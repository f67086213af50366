"""Train a variant of a backbone on one source domain.

    python -m stages.train --source garden --backbone sasrec --variant recg \
        --domain data/domains/garden --embeddings data/embeddings/lsa/garden \
        --pool data/pool/lsa.safetensors --out models/sasrec/recg/garden \
        --curves results/curves/sasrec-recg/garden.csv
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.config import build
from recg_core.base.files import atomic_path
from recg_core.embeddings.domain import load_domain
from recg_core.embeddings.pool import load_pool
from recg_core.models.model import ModelSpec, VariantConfig
from recg_core.training.seeds import train_model
from recg_core.training.trainer import TrainConfig
from stages.common import read_params, run


def main(
    source: Annotated[str, typer.Option(help="Domain to train on.")],
    backbone: Annotated[str, typer.Option(help="Row of `backbones` in params.yaml.")],
    variant: Annotated[str, typer.Option(help="Row of `variants` in params.yaml.")],
    domain: Annotated[Path, typer.Option(help="The source's tables.")],
    embeddings: Annotated[Path, typer.Option(help="The source's embeddings.")],
    pool: Annotated[Path, typer.Option(help="Item texts that the generalization loss may see.")],
    out: Annotated[Path, typer.Option(help="Folder for weights and model.json.")],
    curves: Annotated[Path, typer.Option(help="CSV for the losses of every epoch.")],
) -> None:
    """Train every seed on the source and write the model's folder."""
    params = read_params(Path("params.yaml"))
    variant_config = build(
        VariantConfig, params.section(f"variants.{variant}"), f"variants.{variant}"
    )
    train_config = build(TrainConfig, params.section("train"), "train")
    data = load_domain(source, domain, embeddings)
    spec = ModelSpec(
        backbone=backbone,
        backbone_args=params.section(f"backbones.{backbone}"),
        variant=variant_config,
        feature_dim=data.num_items if variant_config.items == "id" else data.text.shape[1],
    )
    seeds = params.get("seeds", list[int])
    history = train_model(data, load_pool(pool), spec, train_config, seeds, out)
    with atomic_path(curves) as temporary:
        history.write_csv(temporary)


if __name__ == "__main__":
    run(main)

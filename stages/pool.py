"""Collect the item vectors that the generalization loss may see."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.pool import PoolConfig, build_pool, write_pool
from stages import run


def main(
    domains: Annotated[Path, typer.Option(help="The folder of preprocessed domains.")],
    embeddings: Annotated[Path, typer.Option(help="One encoder's folder of embeddings.")],
    out: Annotated[Path, typer.Option(help="The pool file to write.")],
) -> None:
    """Write one float16 tensor of item vectors for every domain of the `pool` section."""
    config = read_params(Path("params.yaml")).build(PoolConfig, "pool")
    write_pool(out, build_pool(config, domains, embeddings))


if __name__ == "__main__":
    run(main)

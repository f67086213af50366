"""Raw records to a domain's tables: `python -m stages.preprocess --raw data/raw/X --out ...`."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.preprocess import PreprocessConfig, preprocess
from stages import run


def main(
    raw: Annotated[Path, typer.Option(help="The folder that fetch wrote.")],
    out: Annotated[Path, typer.Option(help="The domain's folder to write.")],
) -> None:
    """Clean, filter and split one domain."""
    params = read_params(Path("params.yaml"))
    config = params.build(PreprocessConfig, "preprocess")
    preprocess(raw, out, config)


if __name__ == "__main__":
    run(main)

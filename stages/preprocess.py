"""Raw records to a domain's tables: `python -m stages.preprocess --raw data/raw/X --out ...`."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.preprocess import config_of_domain, preprocess
from stages import run


def main(
    raw: Annotated[Path, typer.Option(help="The folder that fetch wrote.")],
    out: Annotated[Path, typer.Option(help="The domain's folder to write.")],
    ray: Annotated[
        bool, typer.Option("--ray", help="Read the files of interactions as tasks of Ray.")
    ] = False,
) -> None:
    """Clean, filter and split one domain."""
    section = read_params(Path("params.yaml")).section("preprocess")
    preprocess(raw, out, config_of_domain(section, out.name), on_ray=ray)


if __name__ == "__main__":
    run(main)

"""What training takes of the backbones: rows and code of those in the grid.

Training depends on this file and not on all that params and code hold, so that a new backbone makes
no other model stale.
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.files import write_sealed_json
from recg_core.base.params import read_params
from recg_core.models.backbone_code import backbone_sha256
from stages import run


def main(out: Annotated[Path, typer.Option(help="JSON for rows and digests.")]) -> None:
    """Write the row of every backbone of the grid, and the digest of its code."""
    params = read_params(Path("params.yaml"))
    rows = {
        name: {"row": params.section(f"backbones.{name}"), "sha256": backbone_sha256(name)}
        for name in params.get("grid.backbones", list[str])
    }
    write_sealed_json(out, rows)


if __name__ == "__main__":
    run(main)

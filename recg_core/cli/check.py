"""What is wrong with `params.yaml`, before anything runs."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.files import write_json
from recg_core.base.params import read_params


def main(
    params: Annotated[Path, typer.Option(help="The params to check.", readable=False)] = Path(
        "params.yaml"
    ),
    out: Annotated[Path | None, typer.Option(help="JSON to write when nothing is wrong.")] = None,
) -> None:
    """Report all mistakes of the params together: exit status 1 if there is one."""
    # Imported here: the other commands need not wait for torch.
    from recg_core.project.check import check_params

    check_params(read_params(params))
    if out is None:
        print(f"{params}: nothing is wrong")
    else:
        write_json(out, {"mistakes": 0})

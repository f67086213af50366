"""The options of the commands that show a model a shop."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.errors import UserError

Items = Annotated[Path, typer.Option(help="The catalogue: ids and texts, in any format.")]
Histories = Annotated[Path | None, typer.Option(help="Who met what, oldest first or with times.")]
Columns = Annotated[
    str | None, typer.Option(help="Where names are not usual ones: user_id=reader,title=name.")
]
Bundle = Annotated[
    Path | None, typer.Option(help="A bundle or a trained model; else the package's own.")
]
Device = Annotated[str | None, typer.Option(help="Of torch, such as cpu or cuda.")]


def pairs(text: str | None) -> dict[str, str]:
    """`a=b,c=d` as a dictionary.

    Raises:
        UserError: naming a part without `=`.
    """
    found = {}
    for part in (text or "").split(",") if text else []:
        role, equals, column = part.partition("=")
        if not equals:
            raise UserError(f"--columns: '{part}' has no '='; write role=column,role=column")
        found[role.strip()] = column.strip()
    return found

"""Encode the item texts of one domain.

With --plan it says what that would take; with --max-minutes it ends with status 75 when time runs
out, and goes on at the next call.
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.params import read_params
from recg_core.domains.items import load_items
from recg_core.embeddings.encode import EncodeConfig, update_embeddings
from recg_core.embeddings.plan import plan_encoding
from recg_core.encoders import build_encoder, fit_corpus
from stages import UNFINISHED, WORK, run


def main(
    domain: Annotated[str, typer.Option(help="The domain to encode.")],
    encoder: Annotated[str, typer.Option(help="A row of `encoders` in params.yaml.")],
    domains: Annotated[Path, typer.Option(help="The folder of preprocessed domains.")],
    out: Annotated[Path, typer.Option(help="The folder of embedding shards.")],
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it will take.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop at a shard's end by then, with status 75.")
    ] = None,
    work: Annotated[
        Path, typer.Option(help="Where shards are made and kept, whatever becomes of --out.")
    ] = WORK,
) -> None:
    """Encode the item texts of one domain into shards, reusing every vector that still holds."""
    params = read_params(Path("params.yaml"))
    config = params.build(EncodeConfig, "encode")
    address = f"encoders.{encoder}"
    built = build_encoder(params.section(address), address)
    items = load_items(domains / domain)
    fit_corpus(built, domains)
    place = work / "embeddings" / encoder / domain
    if plan:
        typer.echo("\n".join(plan_encoding(items, built, place, config, known=(out,)).lines()))
    elif update_embeddings(items, built, out, place, config, max_minutes) is None:
        raise typer.Exit(UNFINISHED)


if __name__ == "__main__":
    run(main)

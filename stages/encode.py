"""Encode the item texts of one domain.

python -m stages.encode --domain garden --encoder lsa --domains-root data/domains
    --out data/embeddings/lsa/garden

With --plan it says what that would take; with --max-minutes it ends with status 75 when time runs
out, and goes on at the next call.
"""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.config import build
from recg_core.base.schema import ITEMS
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.embeddings.estimate import estimate_encoding
from recg_core.encoders import CorpusEncoder, build_encoder
from recg_core.encoders.text import render_texts
from stages.common import UNFINISHED, read_params, run


def main(
    domain: Annotated[str, typer.Option(help="The domain to encode.")],
    encoder: Annotated[str, typer.Option(help="A row of `encoders` in params.yaml.")],
    domains_root: Annotated[Path, typer.Option(help="The folder of preprocessed domains.")],
    out: Annotated[Path, typer.Option(help="The folder of embedding shards.")],
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it will take.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop at a shard's end by then, with status 75.")
    ] = None,
) -> None:
    """Encode the item texts of one domain into shards, reusing every vector that still holds."""
    params = read_params(Path("params.yaml"))
    config = build(EncodeConfig, params.section("encode"), "encode")
    address = f"encoders.{encoder}"
    built = build_encoder(params.section(address), address)
    items = ITEMS.read(domains_root / domain / "items.parquet")
    if isinstance(built, CorpusEncoder):
        corpus = (ITEMS.read(domains_root / d / "items.parquet") for d in built.fit_domains)
        built.fit([text for frame in corpus for text in render_texts(frame, built.template)])
    if plan:
        typer.echo("\n".join(estimate_encoding(items, built, out, config).lines()))
    elif encode_items(items, built, out, config, max_minutes) is None:
        raise typer.Exit(UNFINISHED)


if __name__ == "__main__":
    run(main)

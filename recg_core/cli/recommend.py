"""Recommendations for a catalogue that nobody trained on."""

from pathlib import Path
from typing import Annotated

import typer

from recg_core.base.errors import UserError
from recg_core.cli.shop import Bundle, Columns, Device, Histories, Items, pairs

HISTORY = "history"  # the basis of recommendations to users who are known


def recommend(
    items: Items,
    out: Annotated[Path, typer.Option(help="CSV, Parquet or JSON lines to write, by its name.")],
    histories: Histories = None,
    history: Annotated[
        str | None, typer.Option(help="Item ids of one user alone, oldest first: id1,id2,id3.")
    ] = None,
    k: Annotated[int, typer.Option(help="Items for each user.")] = 10,
    columns: Columns = None,
    bundle: Bundle = None,
    because: Annotated[bool, typer.Option(help="Say which items of a history it goes by.")] = True,
    device: Device = None,
) -> None:
    """Write the best items of a catalogue: for every user of the histories, or for one history.

    The model is not trained: it reads the texts, and the histories where there are some. With
    neither, or with an empty --history, the items are those for somebody who is not known.
    """
    # Imported here: the other commands need not wait for torch.
    from recg_core.serving.catalogue import as_frame
    from recg_core.serving.checks import checked_k
    from recg_core.serving.output import check_name, write_recommendations
    from recg_core.serving.recommender import Recommender

    check_name(out)
    checked_k(k)
    model = Recommender.load(bundle, device=device)
    shop = model.fit_catalogue(items, histories, columns=pairs(columns))
    if history is None and histories is not None:
        found = shop.recommend_batch(k=k, because=because)
        if HISTORY not in found["basis"]:
            raise UserError(
                f"{histories}: no event names an item of {items}, so there is nobody to recommend "
                "to; are the ids those of the items?"
            )
    else:
        ids = [part.strip() for part in (history or "").split(",") if part.strip()]
        user = "history" if ids else "anyone"
        found = as_frame([(user, shop.recommend(ids, k, because=because))])
    write_recommendations(found, out)

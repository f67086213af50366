"""What an evaluation is cut by: attributes of a target's test users, for one source.

Legend: U test users, N items of the target, S items of the source, H embedding dimension.
"""

import numpy as np
import polars as pl

from recg_core.base.schema import SLICES
from recg_core.domains.domain import Domain
from recg_core.domains.source_domains import SourceDomains

HEAD_SHARE = 0.2  # the most popular fifth of a catalogue is its head
_BATCH = 1024  # items of the target at a time, and
_SOURCE_ITEMS = 1 << 15  # of the source
ATTRIBUTES = {
    "history_length": "Length of the user's history",
    "popularity": "Training count of the test item",
    "head": "Head or tail of the catalogue",
    "source_similarity": "Cosine of the test item's text to the nearest source item",
}


def slice_attributes(source: SourceDomains, target: Domain) -> pl.DataFrame:
    """The SLICES table of a source and a target; an item is not its own neighbour.

    Popularity reads the target's training histories: it describes the evaluation and reaches no
    model.
    """
    holdout = target.sequences.holdout("test")
    counts = np.bincount(target.sequences.training().values, minlength=target.num_items + 1)
    ranked = np.argsort(-counts[1:], kind="stable") + 1
    head = np.zeros(target.num_items + 1, dtype=bool)
    head[ranked[: round(HEAD_SHARE * target.num_items)]] = True
    items, place = np.unique(holdout.target, return_inverse=True)
    nearest = np.max([nearest_cosine(d, target, items) for d in source.domains], axis=0)
    return pl.DataFrame(
        {
            "user_idx": holdout.users,
            "history_length": holdout.history.lengths.astype(np.int32),
            "popularity": counts[holdout.target].astype(np.int32),
            "head": head[holdout.target],
            "source_similarity": nearest[place],
        },
        schema=SLICES.columns,
    )


def nearest_cosine(source: Domain, target: Domain, items: np.ndarray) -> np.ndarray:
    """The largest cosine of each of the target's `items` to another item of `source`, float32."""
    position = {item_id: index for index, item_id in enumerate(source.item_ids)}
    own_N = np.array([position.get(item_id, -1) for item_id in target.item_ids])
    nearest = np.full(len(items), -1.0, dtype=np.float32)
    for first in range(0, len(source.text), _SOURCE_ITEMS):
        source_SH = _unit(source.text[first : first + _SOURCE_ITEMS])
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH] - 1
            cosines, own = _unit(target.text[batch]) @ source_SH.T, own_N[batch] - first
            here = (own >= 0) & (own < len(source_SH))
            cosines[here, own[here]] = -1.0
            part = nearest[start : start + _BATCH]
            np.maximum(part, cosines.max(axis=1), out=part)
    return nearest


def slice_masks(frame: pl.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """Attribute, label and users (bool [U]) of every slice: quarters of users, head and tail.

    Equal values stay together, so that a quarter may be larger or missing.
    """
    found = []
    for attribute in ATTRIBUTES:
        values = frame[attribute].to_numpy()
        if values.dtype == bool:
            found += [(attribute, "head", values), (attribute, "tail", ~values)]
            continue
        edges = np.unique(np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
        bins = np.searchsorted(edges[1:-1], values)
        for index in np.unique(bins):
            mask = bins == index
            found.append((attribute, _range(values[mask]), mask))
    return found


def _range(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        return f"{low:.2f} to {high:.2f}"
    return f"{low} to {high}" if low < high else str(low)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32, copy=False)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

"""The figures that the paper prints in its Tables 3 to 6, in percent, for its own domains."""

import json
from functools import cache
from importlib import resources
from typing import Any

from recg_core.report.cells import Model


def published_statistics(domain: str) -> dict[str, float] | None:
    """Table 3's row of a domain: `num_items`, `num_users`, `mean_sequence_length`."""
    row: dict[str, float] | None = _content()["domains"].get(domain)
    return row


def published(model: Model, source: str, target: str, metric: str) -> float | None:
    """What the paper reports for a cell, against 100 sampled negatives.

    None where it reports nothing, or where the text of the paper that was read has lost the digits.
    """
    cells: dict[str, dict[str, dict[str, float]]] = _content()["cells"]
    return cells.get(str(model), {}).get(f"{source}_to_{target}", {}).get(metric)


@cache
def _content() -> dict[str, Any]:
    text = resources.files("recg_core.report").joinpath("published.json").read_text("utf-8")
    content: dict[str, Any] = json.loads(text)
    return content

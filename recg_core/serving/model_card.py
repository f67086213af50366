"""A bundle's README: what the model is, what it reads, what it reached, where its limits are.

Its head is the metadata by which the Hugging Face hub finds and lists models.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recg_core.base.errors import UserError
from recg_core.evaluation.describe import describe_variant
from recg_core.models.card import Origin
from recg_core.report.escape import markdown_prose, markdown_text
from recg_core.report.wording import title_of

TAGS = ("recommendation", "sequential-recommendation", "cross-domain", "zero-shot")
_COUNTED = (
    " Occurrences were counted in all users' histories up to their own test item, so those of "
    "other users may be later than it."
)
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class CellResult:
    """One metric of a model on a target, in fractions.

    Attributes:
        num_negatives: of the sampled protocol; None: full ranking.
        low, high: ends of the 95 % bootstrap interval over test users.
        training_free: the best training-free row of the target that may compete.
        training_free_value: that row's metric.
    """

    target: str
    num_users: int
    num_seeds: int
    num_negatives: int | None
    metric: str
    value: float
    low: float
    high: float
    training_free: str
    training_free_value: float


def check_license(license: str) -> None:
    """Refuse what is no identifier of a licence.

    Raises:
        UserError: naming it.
    """
    if not _LICENSE.fullmatch(license):
        raise UserError(
            f"license {license!r}: expected an identifier of the Hugging Face hub, such as mit, "
            "apache-2.0, cc-by-nc-4.0, other or unknown"
        )


def render_card(
    origin: Origin,
    encoder: dict[str, Any],
    trained_on: str,
    license: str,
    results: Sequence[CellResult],
) -> str:
    """The README of a bundle, Markdown with a head of YAML.

    Args:
        encoder: the row that builds the encoder.
        trained_on: a sentence, without its full stop.
    """
    variant = origin.spec.variant
    histories = " and the histories that it is given"
    model = f" `{encoder['model']}`" if "model" in encoder else ""
    parts = [
        _head(license),
        "# A recommender for catalogues that it has never seen",
        "Nothing is trained on the catalogue that it recommends from: items are known by their "
        "texts, users by the items that they met.",
        "```python\nfrom recg_core import Recommender\n\n"
        'model = Recommender.from_pretrained("this/folder")  # or its name on the hub\n'
        'shop = model.fit_catalogue("items.csv", "histories.csv")\n'
        'shop.recommend(["an item id", "another"], k=10)\n```',
        "## What it is",
        "\n".join(
            [
                f"- **Trained**: {markdown_prose(trained_on)}.",
                f"- **Model**: {origin.spec.backbone}. {markdown_text(describe_variant(variant))}",
                f"- **Encoder**: `{encoder['kind']}`{model}, fingerprint "
                f"`{origin.encoder_fingerprint[:16]}…`, template `{encoder['template']}`.",
                f"- **Reads of a new catalogue**: the texts of items"
                f"{histories if variant.reads_histories else ''}.",
            ]
        ),
        "## Results",
        *_results(results, variant.reads_histories),
        "## Limits",
        "It ranks by what texts say. It knows no prices, stock or images, and texts in languages "
        "that its encoder does not know mean nothing to it. Results on other catalogues may be "
        "better or worse than those above: compare with the training-free rows on your own.",
        "## Licence",
        _license_words(license),
    ]
    return "\n\n".join(parts) + "\n"


def _head(license: str) -> str:
    return "\n".join(
        ["---", f"license: {license}", "library_name: llm-recg", f"tags: {json.dumps(TAGS)}", "---"]
    )


def _results(results: Sequence[CellResult], reads_histories: bool) -> list[str]:
    if not results:
        return ["None: the pipeline that it comes from had evaluated it on no other domain."]
    lines = [
        "| target | test users | ranking | metric | this model | best training-free row |",
        "| --- | --: | --- | --- | --: | --: |",
    ]
    for found in results:
        ranking = "full" if found.num_negatives is None else f"{found.num_negatives} negatives"
        lines.append(
            f"| {markdown_text(found.target)} | {found.num_users:,} | {ranking} "
            f"| {title_of(found.metric)} | {100 * found.value:.2f} ({100 * found.low:.2f} to "
            f"{100 * found.high:.2f}) | {100 * found.training_free_value:.2f} "
            f"`{found.training_free}` |"
        )
    seeds = results[0].num_seeds
    return [
        "Percent, on domains that the model was not trained on; means over test users"
        f"{f' and {seeds} seeds' if seeds > 1 else ''} with 95 % bootstrap intervals. Sampled "
        "negatives are not drawn: the figures are their exact expectation."
        f"{_COUNTED if reads_histories else ''}",
        "\n".join(lines),
    ]


def _license_words(license: str) -> str:
    if license == "unknown":
        return "Nobody named a licence of these weights: ask those who trained them."
    return f"The weights: `{license}`. The data that they were trained on have terms of their own."

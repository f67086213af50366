"""A variant in words, made of its parts: what the report and a model's card say that it is."""

from typing import Any

from recg_core.models.variant import GeneralizationConfig, TextItemsConfig, VariantConfig

LOSSES = {"bpr": "BPR", "softmax": "softmax", "gbce": "gBCE"}


def describe_variant(variant: VariantConfig) -> str:
    """One sentence on how a variant sees items and users, what it is trained with, what it reads.

    A part of a row's own making is named by its key, so that every variant has a sentence.
    """
    kind = str(variant.loss["kind"])
    loss = f"trained with the {LOSSES.get(kind, kind)} loss"
    if not isinstance(variant.items, TextItemsConfig):
        return f"Learns a vector for each item id, so it works in its source alone; {loss}."
    number = "two merged projections" if variant.items.projections == 2 else "one projection"
    parts = [f"Reads item texts through {number}"]
    if variant.items.center:
        parts[0] += " after centring each domain"
    if variant.user == "residual":
        parts.append("adds the mean of the history's items to the user's state")
    parts.append(f"{'cosine scores' if variant.score == 'cosine' else 'dot products'}, {loss}")
    if variant.generalization is not None:
        parts.append(_generalization(variant.generalization))
    if (patterns := variant.patterns) is not None:
        parts.append(
            f"blends in {patterns.clusters} sequential patterns of the source (temperature "
            f"{patterns.temperature:g})"
        )
    if variant.anchor is not None:
        counted = " and by how often items occur in the histories there"
        parts.append(
            "elsewhere ranks by likeness to the history alone, with learned rules of how users "
            f"move{counted if variant.anchor.counts else ''}"
        )
    if variant.in_context is not None:
        parts.append(
            "everywhere weighs, as it learned in the source, likeness to the history, counts, what "
            "is met soon after what, and regressions of items on each other, all read from the "
            "histories of the domain that it ranks"
        )
    return "; ".join(parts) + "."


def _generalization(config: GeneralizationConfig) -> str:
    readings = {"intra": config.intra, "inter": config.inter}
    named = ", ".join(f"{side} {_reading(row)}" for side, row in readings.items() if row)
    weights = {"alpha": config.alpha, "beta": config.beta}
    values = ", ".join(f"{name} {value:g}" for name, value in weights.items() if value)
    return f"item-level generalization ({named}; {values})"


def _reading(row: dict[str, Any]) -> str:
    return str(row["kind"]).replace("_", " ")

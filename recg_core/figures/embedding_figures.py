"""Figure 3: where the items of all domains lie before a model and in it, drawn and measured.

Shapes: N sampled items of all domains, D dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recg_core.base.errors import UserError
from recg_core.base.files import write_json
from recg_core.domains.domain import Domain
from recg_core.domains.pool import choose_items
from recg_core.domains.sequences import Ragged
from recg_core.figures.draw import Image, Scatter, draw_scatters, write_image
from recg_core.figures.item_space import (
    PROBE_FOLDS,
    cross_domain_pairs,
    measure_items,
    project_pca,
    project_tsne,
)
from recg_core.models.card import read_card
from recg_core.models.patterns import (
    Patterns,
    attention_weights,
    normalized_entropy,
    pattern_variance_share,
)
from recg_core.models.trained import load_seeds

METHODS = {"tsne": "t-SNE", "pca": "PCA"}
TEXT = "text"  # the embeddings before any model
COLUMNS = {
    "domain_probe_accuracy": "Domain probe",
    "alignment": "Alignment",
    "uniformity": "Uniformity",
    "center_distance": "Centre distance",
    "effective_rank": "Effective rank",
    "attention_entropy": "Attention entropy",
    "pattern_variance_share": "Pattern variance",
}


@dataclass(frozen=True)
class FiguresConfig:
    """The `figures` section of the params."""

    items: int  # of each domain
    users: int  # of each domain, for the numbers of the patterns
    perplexity: float  # of t-SNE
    seed: int

    def __post_init__(self) -> None:
        if self.items < PROBE_FOLDS:
            raise ValueError(f"items must be {PROBE_FOLDS} or more")
        if self.users < 1 or self.perplexity <= 0 or self.seed < 0:
            raise ValueError("users and perplexity must be above 0, seed not below")


@dataclass(frozen=True)
class Sample:
    """The items that are drawn and measured, as many of each domain."""

    rows: list[np.ndarray]  # of each domain, item_idx - 1
    domains: np.ndarray  # int [N]
    text: np.ndarray  # [N, H]
    pairs: np.ndarray  # int [N, 2]: an item and the most similar text of another domain


@dataclass(frozen=True)
class ItemVectors:
    """The sampled items as a model, or the encoder, sees them."""

    projections: dict[str, np.ndarray]  # [N, 2] by method, of the first seed
    numbers: dict[str, float]  # means over seeds


def write_embedding_figures(
    models: Path,
    patterns: Path,
    domains: Sequence[Domain],
    sources: Sequence[str],
    backbones: Sequence[str],
    variants: Sequence[str],
    config: FiguresConfig,
    figures: Path,
    metrics: Path,
) -> None:
    """Draw t-SNE and PCA of all domains' items for each source, and write the numbers behind.

    The first panel is the text embeddings; then a row a backbone and a column a variant. Variants
    of item ids have no vectors of other domains' items and are left out.

    Args:
        models: holds `<variant>/<source>/<backbone>/`.
        patterns: likewise.
        domains: whose items are drawn, two at least.
        figures: folder for the images and their captions.
        metrics: JSON for all numbers: `{"text": {...}, source: {model: {...}}}`.

    Raises:
        UserError: when a model is missing, was trained on another encoder, or the domains are too
            few or small.
    """
    sample = sample_items(domains, config)
    text = ItemVectors(
        project(sample.text, config),
        measure_items(sample.text, sample.domains, sample.pairs, config.seed),
    )
    numbers: dict[str, Any] = {TEXT: text.numbers}
    measured: dict[str, dict[tuple[str, str], ItemVectors]] = {source: {} for source in sources}
    places = list(product(sources, backbones, variants))
    for source, backbone, variant in tqdm(places, "figures", unit="model", disable=None):
        place = Path(variant, source, backbone)
        if not read_card(models / place).spec.variant.by_id:
            found = measure_model(models / place, patterns / place, domains, sample, config)
            measured[source][backbone, variant] = found
            numbers.setdefault(source, {})[f"{backbone}-{variant}"] = found.numbers
    labels = [domain.name for domain in domains]
    for source, of_source in measured.items():
        for method, title in METHODS.items():
            png = draw_scatters(_panels(method, text, of_source, sample.domains), labels)
            image = _describe(f"{title} of items, trained on {source}", labels, text, of_source)
            write_image(figures, f"{method}_{source}", image, png)
    write_json(metrics, numbers)


def sample_items(domains: Sequence[Domain], config: FiguresConfig) -> Sample:
    """Choose the same number of items of each domain, by the hash of their ids.

    Raises:
        UserError: when there is one domain, or too few items for the probe or the perplexity.
    """
    size = min(config.items, *(domain.num_items for domain in domains))
    if len(domains) < 2 or size < PROBE_FOLDS or size * len(domains) <= config.perplexity:
        raise UserError(
            f"figures: {size} items of each of {len(domains)} domain(s) are too few to compare "
            f"domains: it takes two domains, {PROBE_FOLDS} items of each, and more items than "
            f"figures.perplexity ({config.perplexity:g})"
        )
    rows = []
    for domain in domains:
        chosen = set(choose_items(domain.item_ids, size, f"{config.seed}/{domain.name}"))
        rows.append(np.array([i for i, item in enumerate(domain.item_ids) if item in chosen]))
    parts = [d.text[r].astype(np.float32) for d, r in zip(domains, rows, strict=True)]
    text = np.concatenate(parts)
    labels = np.repeat(np.arange(len(domains)), size)
    return Sample(rows, labels, text, cross_domain_pairs(text, labels))


def project(vectors: np.ndarray, config: FiguresConfig) -> dict[str, np.ndarray]:
    """The vectors in two dimensions, [N, 2] by method."""
    return {
        "tsne": project_tsne(vectors, config.perplexity, config.seed),
        "pca": project_pca(vectors),
    }


@torch.no_grad()
def measure_model(
    model: Path,
    patterns: Path,
    domains: Sequence[Domain],
    sample: Sample,
    config: FiguresConfig,
) -> ItemVectors:
    """Project and measure the sampled items and, where there are patterns, users of each domain.

    Raises:
        UserError: when the model or its patterns do not fit the embeddings or each other.
    """
    seeds = load_seeds(model, patterns, domains)
    projections: dict[str, np.ndarray] = {}
    numbers: list[dict[str, float]] = []
    for trained in seeds.values():
        tables = [trained.item_table(domain) for domain in domains]
        vectors = np.concatenate(
            [table[1:].cpu().numpy()[rows] for table, rows in zip(tables, sample.rows, strict=True)]
        )
        projections = projections or project(vectors, config)
        numbers.append(measure_items(vectors, sample.domains, sample.pairs, config.seed))
        if trained.patterns is not None:
            histories = [_histories(domain, config) for domain in domains]
            users = [
                trained.user_matrix(table, history)
                for table, history in zip(tables, histories, strict=True)
                if len(history)  # a domain may have items alone
            ]
            numbers[-1] |= measure_patterns(trained.patterns, users)
    means = {name: float(np.mean([seed[name] for seed in numbers])) for name in numbers[0]}
    return ItemVectors(projections, means)


def measure_patterns(patterns: Patterns, users: Sequence[Tensor]) -> dict[str, float]:
    """Entropy of the attention (1 is a constant mixture) and variance that the patterns add.

    Args:
        users: user vectors [users, D] of each domain; the numbers are means over domains.
    """
    weights = [attention_weights(u, patterns.centroids_KD, patterns.temperature) for u in users]
    shares = [pattern_variance_share(patterns, u) for u in users]
    return {
        "attention_entropy": float(np.mean([normalized_entropy(w) for w in weights])),
        "pattern_variance_share": float(np.mean(shares)),
    }


def _histories(domain: Domain, config: FiguresConfig) -> Ragged:
    """The test histories of a fixed sample of users."""
    history = domain.sequences.holdout("test").history
    rows = np.random.default_rng(config.seed).permutation(len(history))[: config.users]
    return history.take(np.sort(rows))


def _panels(
    method: str,
    text: ItemVectors,
    measured: Mapping[tuple[str, str], ItemVectors],
    domains: np.ndarray,
) -> list[list[Scatter | None]]:
    """A row a backbone, its first place for the text embeddings, which only the first row shows."""

    def panel(name: str, found: ItemVectors) -> Scatter:
        title = f"{name}\nprobe {100 * found.numbers['domain_probe_accuracy']:.0f} %"
        return Scatter(title, found.projections[method], domains)

    rows: dict[str, list[Scatter | None]] = {}
    for (backbone, variant), found in measured.items():
        first = None if rows else panel(TEXT, text)
        rows.setdefault(backbone, [first]).append(panel(f"{backbone}-{variant}", found))
    return list(rows.values()) or [[panel(TEXT, text)]]


def _describe(
    title: str,
    labels: Sequence[str],
    text: ItemVectors,
    measured: Mapping[tuple[str, str], ItemVectors],
) -> Image:
    spaces = {TEXT: text} | {"-".join(name): found for name, found in measured.items()}
    size = len(next(iter(text.projections.values()))) // len(labels)
    chance = 100 / len(labels)
    return Image(
        title=title,
        caption=(
            f"{size} items of each of {', '.join(labels)}: the text embeddings, and each model's "
            f"item vectors. The probe tells the domain from the vector by logistic regression; "
            f"{chance:.0f} % is chance, so the lower, the harder the domains are to tell apart. "
            "Alignment is the squared distance to the most similar text of another domain, "
            "uniformity the log mean of exp(-2 squared distance): lower is better for both. "
            "Centre distance is in units of the spread within a domain. Attention entropy is 1 "
            "for a constant mixture of patterns; pattern variance is the patterns' share of the "
            "variance of fused user vectors. Images show the first seed, numbers are means over "
            "seeds."
        ),
        alt=f"{title}: points of {len(labels)} domains in two dimensions, one panel for "
        f"{', '.join(spaces)}. The table has the numbers.",
        columns=["Item vectors", *COLUMNS.values()],
        rows=[
            [name, *(_rounded(found.numbers.get(column)) for column in COLUMNS)]
            for name, found in spaces.items()
        ],
    )


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)

"""A variant: one row of the paper's tables, as the parts that it has.

A part that a row does not name is absent, and a part brings its own keys alone.
"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class IdItemsConfig:
    """A learned vector for each item of the source; nothing that another domain could use."""

    kind: Literal["id"]


@dataclass(frozen=True)
class TextItemsConfig:
    """Item vectors made of text embeddings."""

    kind: Literal["text"]
    projections: int = 1  # 1 is Eq. 2; 2 merges a second with the first (end of section 3.2)
    center: bool = False  # first subtract a domain's mean embedding, which takes no interactions

    def __post_init__(self) -> None:
        if self.projections not in (1, 2):
            raise ValueError(f"projections must be 1 or 2, not {self.projections}")


@dataclass(frozen=True)
class GeneralizationConfig:
    """Item-level generalization, Eq. 13: alpha times `intra` plus beta times `inter`."""

    intra: dict[str, Any] | None = None  # a reading of intra-domain diversity: its kind and keys
    inter: dict[str, Any] | None = None  # a reading of inter-domain compactness
    alpha: float | None = None  # Eq. 14 also derives beta from it
    beta: float | None = None  # absent: Eq. 14

    def __post_init__(self) -> None:
        if self.intra is None and self.inter is None:
            raise ValueError("names neither intra nor inter: leave it out of the variant")
        if self.beta is not None and self.inter is None:
            raise ValueError("beta has no effect without inter")
        needed = self.intra is not None or self.beta is None
        if needed and self.alpha is None:
            raise ValueError("alpha is missing: it weighs intra, and Eq. 14 makes beta of it")
        if not needed and self.alpha is not None:
            raise ValueError("alpha has no effect without intra where beta is set")
        if any(weight is not None and weight <= 0 for weight in (self.alpha, self.beta)):
            raise ValueError("alpha and beta must be above 0: leave out what is not wanted")


@dataclass(frozen=True)
class PatternsConfig:
    """Sequence-level generalization."""

    clusters: int  # the number of sequential patterns k, Eq. 16
    temperature: float = 1.0  # of the attention over them; 1.0 is Eq. 18

    def __post_init__(self) -> None:
        if self.clusters < 1 or self.temperature <= 0:
            raise ValueError("clusters must be 1 or more and temperature above 0")


@dataclass(frozen=True)
class AnchorConfig:
    """Ranking by similarity to the history, with learned rules; see `recg_core.models.anchor`."""

    counts: bool  # also read how often items occur in the domain's observed histories


@dataclass(frozen=True)
class InContextConfig:
    """Ranking by what texts and observed histories of the domain say; see
    `recg_core.models.in_context`."""

    users: int = 1000  # whose next item teaches the weights, in each of five contexts

    def __post_init__(self) -> None:
        if self.users < 1:
            raise ValueError("users must be 1 or more")


@dataclass(frozen=True)
class VariantConfig:
    """One row of `variants` in the params."""

    items: IdItemsConfig | TextItemsConfig
    loss: dict[str, Any]  # the recommendation loss: its kind and keys
    score: Literal["dot", "cosine"] = "dot"  # Eq. 5, or with a learned scale
    user: Literal["state", "residual"] = "state"  # Eq. 4, or plus the mean of the history's items
    generalization: GeneralizationConfig | None = None
    patterns: PatternsConfig | None = None
    anchor: AnchorConfig | None = None
    in_context: InContextConfig | None = None

    def __post_init__(self) -> None:
        parts = ("generalization", "patterns", "anchor", "in_context")
        used = [name for name in parts if getattr(self, name) is not None]
        if self.by_id and used:
            raise ValueError(f"items of kind id know no other domain, so {used} cannot be used")
        elsewhere = [n for n in ("anchor", "in_context", "patterns") if n in used]
        if len(elsewhere) > 1:
            raise ValueError(
                f"{' and '.join(elsewhere)} each decide what is said in other domains: use one"
            )

    @property
    def by_id(self) -> bool:
        """Whether a model knows the items of its source alone, by their ids."""
        return isinstance(self.items, IdItemsConfig)

    @property
    def centered(self) -> bool:
        """Whether the mean embedding of a domain is subtracted from its items."""
        return isinstance(self.items, TextItemsConfig) and self.items.center

    @property
    def by_similarity(self) -> bool:
        """Whether other domains are ranked by likeness of texts, and not by what was trained of
        the source's products."""
        return self.anchor is not None or self.in_context is not None

    @property
    def reads_histories(self) -> bool:
        """Whether the model reads the observed histories of the domain that it ranks."""
        return self.in_context is not None or (self.anchor is not None and self.anchor.counts)

"""LLM-RecG: zero-shot cross-domain sequential recommendation with LLM item embeddings."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recg_core.serving.recommender import Recommender

__all__ = ["Recommender"]


def __getattr__(name: str) -> Any:
    """`recg_core.Recommender`, loaded when it is asked for: its imports take seconds."""
    if name == "Recommender":
        from recg_core.serving.recommender import Recommender

        return Recommender
    raise AttributeError(f"module 'recg_core' has no attribute {name!r}")

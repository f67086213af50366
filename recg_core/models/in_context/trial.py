"""Asking what a context is worth, on the histories of its own domain.

The question is that of inference: what came last in a history, given what preceded it and what
others did before theirs? Shapes: B users, M candidates, N items.
"""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch

from recg_core.domains.sequences import Ragged
from recg_core.models.in_context.context import Context, Reader, like_texts, read_context
from recg_core.models.in_context.examples import Asked, Examples, asked_for_last, candidates
from recg_core.models.in_context.scorer import InContext, evidence_of
from recg_core.models.near import NearItems

TRIAL_USERS = 1000
_AT_ONCE = 64  # users whose evidence on all items is in memory, or
_SCORES_AT_ONCE = 1 << 24  # as many as have so many scores, if that is less


def read_domain(
    items: NearItems,
    observed: Ragged,
    alike: sp.csr_matrix | None = None,
    users: int = TRIAL_USERS,
) -> Context:
    """`read_context`, with a trial on as many users, always the same.

    Where fewer have two items or more there is none: what a source has taught of domains with few
    histories is surer than what so few say.
    """
    alike = like_texts(items) if alike is None else alike
    # Before the context, so that one is in memory at a time.
    trial = _trial(items, observed, alike, users)
    return replace(read_context(items, observed, alike), trial=trial)


def _trial(items: NearItems, observed: Ragged, alike: sp.csr_matrix, users: int) -> Examples | None:
    asked = asked_for_last(observed)
    if len(asked.next_item) < users:
        return None
    reader = Reader(read_context(items, asked.history, alike), asked.history)
    return examples_of(reader, asked, len(items), users, 0)


def examples_of(
    reader: Reader, asked: Asked, num_items: int, users: int, seed: int | np.random.Generator
) -> Examples:
    """What a context says about some users, their next items and candidates for these."""
    model, random = InContext(), np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(asked.next_item))[:users])
    size = min(_AT_ONCE, max(1, _SCORES_AT_ONCE // num_items))
    parts = []
    for start in range(0, len(chosen), size):
        rows = chosen[start : start + size]
        found_BM, weight_BM = candidates(model.scores(reader, rows), asked, rows, random)
        evidence = evidence_of(reader, rows, found_BM)
        parts.append(Examples(evidence, reader.properties(rows), weight_BM))
    return Examples(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

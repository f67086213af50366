"""A catalogue that a recommender has been shown: who may like what of it."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from tqdm import tqdm

from recg_core.base.errors import UserError
from recg_core.domains.domain import Domain, mean_of
from recg_core.domains.sequences import Ragged
from recg_core.domains.shards import fingerprint_of
from recg_core.encoders import Encoder
from recg_core.models.near import HalfItems, UnitItems, cosine
from recg_core.models.rows import Rows, Scorer
from recg_core.models.trained import Evidence, ItemVectors, TrainedModel
from recg_core.raw.values import canonical_text
from recg_core.serving.checks import checked_ids, checked_k
from recg_core.serving.histories import Histories, left_out, no_histories, one_row
from recg_core.serving.tables import Table, read_catalogue, read_histories
from recg_core.serving.topk import candidates, nearness_to_centres, top_items, top_of_chosen
from recg_core.serving.vectors import as_domain, encode_texts

log = logging.getLogger(__name__)

REREAD_GROWTH = 0.01  # of the events, after which a context is read again
USERS_AT_ONCE = 64  # whose reasons are found together
BECAUSE = 3  # history items that are named as reasons
LEAST_SHARE = 0.01  # of one
QUIET_SECONDS = 2.0  # what is done sooner shows no progress bar
REASON = ("item_id", "share")
BATCH_SCHEMA: dict[str, Any] = {
    "user_id": pl.String,
    "rank": pl.Int64,
    "item_id": pl.String,
    "title": pl.String,
    "score": pl.Float64,
    "because": pl.List(pl.Struct({"item_id": pl.String, "share": pl.Float64})),
    "basis": pl.String,
}
ROUGH_DIM = 128  # of the shorter vectors
ITEMS_OF_CANDIDATE = 100  # one item in so many is scored exactly, or more:
CANDIDATES_OF_K = 20  # for each item asked for
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Recommendation:
    """An item for a user.

    Attributes:
        score: comparable between the items of one user only.
        because: items of the history and their shares in the score, the largest first.
        basis: what it goes by: `history`, or for users without a known one `popularity` or
            `diversity` of the catalogue; `similarity` of texts for `similar_items`.
    """

    rank: int
    item_id: str
    title: str
    score: float
    because: tuple[tuple[str, float], ...] = ()
    basis: str = "history"


@dataclass(frozen=True)
class _Asked:
    """What is asked for beside the history."""

    k: int
    allowed_N: np.ndarray
    seen: bool
    because: bool
    approximate: bool


@dataclass(frozen=True)
class _Read:
    """What a model has read of histories, of so many items.

    Attributes:
        evidence: of as many items as the catalogue has; it knows nothing but the text of others.
    """

    histories: Histories
    num_items: int
    evidence: Evidence


Reasons = list[tuple[tuple[str, float], ...]]  # of each item: items of the history, and shares


class Catalogue:
    """Items that a recommender has been shown, and what users have met of them.

    What is added replaces parts and changes none, so that a shallow copy stays as it is.

    Attributes:
        items: (item_id, title, features, description, …), one row an item.
        users: the ids of the users with histories.
        rereads: whether a question waits while a context that is behind is read again; else
            `read_again` has to be called.
    """

    rereads = True

    def __init__(
        self, trained: TrainedModel, encoder: Encoder, items: pl.DataFrame, cache: Path
    ) -> None:
        self.items = items
        self._trained = trained
        self._encoder = encoder
        self._cache = cache
        self._histories = no_histories()
        # Once, since it may read all of a model's files.
        self._fingerprint = fingerprint_of(encoder.identity())
        text = encode_texts(items, encoder, self._fingerprint, cache, reuse=True)
        # Frozen, so that items that come later do not move the scores of these.
        self._text_mean = mean_of(text)
        self._text = Rows([torch.from_numpy(text)])
        self._vectors = trained.item_vectors(self._as_domain(items, text))
        self._item_ids = items["item_id"].to_list()
        self._place = {item_id: row for row, item_id in enumerate(self._item_ids, start=1)}
        self._rough: tuple[Tensor, UnitItems] | None = None
        self._read: _Read | None = None

    @property
    def users(self) -> list[str]:
        """The ids of the users with histories, in the order of their first event."""
        return self._histories.user_ids

    def add_items(self, items: Table, *, columns: Mapping[str, str] | None = None) -> None:
        """Add items, of which only the new ones are encoded; the scores of others stay.

        Raises:
            UserError: when one is in the catalogue already, or a table cannot be read.
        """
        self.extend_items(read_catalogue(items, columns))

    def add_histories(self, histories: Table, *, columns: Mapping[str, str] | None = None) -> None:
        """Add events after those that are there; unknown items are named in the log.

        Raises:
            UserError: when the table cannot be read.
        """
        self.extend_histories(read_histories(histories, columns))

    def extend_items(self, new: pl.DataFrame) -> None:
        """`add_items` of what `read_catalogue` has read."""
        if missing := sorted(set(self.items.columns) - set(new.columns)):
            raise UserError(f"items: the catalogue's items have {missing}; name their columns")
        new = new.select(self.items.columns)
        there = [item_id for item_id in new["item_id"] if item_id in self._place]
        if there:
            raise UserError(f"items: {there[0]!r} is in the catalogue already")
        text = encode_texts(new, self._encoder, self._fingerprint, self._cache, reuse=False)
        domain = self._as_domain(new, text)
        self._vectors = self._trained.more_items(self._vectors, domain)
        self._text = self._text.with_more(Rows([torch.from_numpy(text)]))
        self.items = pl.concat([self.items, new])
        places = {name: row for row, name in enumerate(domain.item_ids, len(self._item_ids) + 1)}
        self._item_ids = self._item_ids + domain.item_ids
        self._place = self._place | places
        self._histories = self._histories.with_items(self._place)
        if self._read is not None:
            evidence = self._trained.more_evidence(self._read.evidence, self._vectors)
            self._read = replace(self._read, evidence=evidence)

    def extend_histories(self, events: pl.DataFrame) -> None:
        """`add_histories` of what `read_histories` has read."""
        self._histories = self._histories.with_events(events, self._place)
        unknown = self.unknown_items(events["item_id"].unique(maintain_order=True))
        if unknown:
            log.warning("histories: %s", _has_no(unknown))

    def add_user(self, user_id: str, history: Sequence[str]) -> None:
        """Add one user's history, item ids oldest first."""
        ids = checked_ids(history, "history")
        self.add_histories({"user_id": [user_id] * len(ids), "item_id": ids})

    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        *,
        exclude: Sequence[str] = (),
        where: Mapping[str, Any] | pl.Expr | None = None,
        seen: bool = False,
        because: bool = False,
        approximate: bool = False,
    ) -> list[Recommendation]:
        """The `k` best items for someone with this history, fewer where fewer are allowed.

        Args:
            history: item ids, oldest first; it may be empty.
            exclude: item ids that are not wanted.
            where: what items must have: column -> value or list of values, or an expression over
                the columns of `items`.
            seen: whether items of the history may come again.
            because: say which items of the history it goes by.
            approximate: score exactly only some thousand items, which shorter vectors find; it
                changes nothing in a catalogue of less than some 170,000 items.

        Raises:
            UserError: when the catalogue has none of the history's items, or not an excluded one.
        """
        rows, unknown = self._found(checked_ids(history, "history"))
        if unknown:
            said = f"history: {_has_no(unknown)}"
            if not len(rows):
                raise UserError(said)
            log.warning("%s", said)
        allowed_N = self._allowed(where)
        allowed_N[self._rows(exclude, "exclude") - 1] = False
        asked = _Asked(checked_k(k), allowed_N, seen, because, approximate)
        return self._top(one_row(rows), asked)[0]

    def recommend_batch(
        self,
        users: Sequence[str] | None = None,
        k: int = 10,
        *,
        where: Mapping[str, Any] | pl.Expr | None = None,
        seen: bool = False,
        because: bool = False,
        approximate: bool = False,
    ) -> pl.DataFrame:
        """The `k` best items of users with histories, as a frame with a row an item.

        Args:
            users: their ids; None: all of them.
            approximate: see `recommend`.

        Returns:
            (user_id, rank, item_id, title, score, because, basis); see `Recommendation`.

        Raises:
            UserError: naming a user without any history.
        """
        chosen = self.users if users is None else checked_ids(users, "users")
        history = self._histories_of(chosen)
        asked = _Asked(checked_k(k), self._allowed(where), seen, because, approximate)
        found = self._top(history, asked)
        return as_frame(zip(chosen, found, strict=True))

    def history(self, user_id: str) -> list[str]:
        """The items of a user's history that the catalogue has, oldest first.

        Raises:
            UserError: when there is none of that user.
        """
        return [self._item_ids[item - 1] for item in self._histories_of([user_id]).values]

    def titles(self, item_ids: Sequence[str]) -> list[str]:
        """The titles of items.

        Raises:
            UserError: naming an item that the catalogue does not have.
        """
        return self.items["title"].gather((self._rows(item_ids, "items") - 1).tolist()).to_list()

    def unknown_items(self, item_ids: Iterable[str]) -> list[str]:
        """The ids that the catalogue does not have."""
        return [item_id for item_id in item_ids if item_id not in self._place]

    def score(self, history: Sequence[str], items: Sequence[str]) -> list[float]:
        """Scores of items for someone with this history, which must not be empty.

        Raises:
            UserError: naming an item that the catalogue does not have.
        """
        history_row, wanted = self._rows(history, "history"), self._rows(items, "items")
        if not len(history_row):
            raise UserError("history: is empty; scores go by it")
        scorer, first = self._scorer(one_row(history_row)), np.zeros(1, dtype=np.int64)
        return [float(score) for score in scorer(first, wanted.astype(np.int64) - 1)[0]]

    def similar_items(self, item: str, k: int = 10) -> list[Recommendation]:
        """The items whose texts are nearest to that of an item, by cosine.

        Raises:
            UserError: when the catalogue does not have the item.
        """
        k, row = checked_k(k), self._rows([item], "item")
        near = self._vectors.near
        if near is None:
            near = HalfItems(self._text, torch.from_numpy(self._text_mean))

        scorer = Scorer(lambda _: lambda items: cosine(near, row - 1, items))
        found, scores = top_items(scorer, len(near), one_row(row), k)
        return self._named(found[0], scores[0], "similarity")

    def _as_domain(self, items: pl.DataFrame, text: np.ndarray) -> Domain:
        return as_domain(items, text, self._text_mean, self._fingerprint)

    def _scorer(self, history: Ragged, vectors: ItemVectors | None = None) -> Scorer:
        """Of the catalogue's items, by their exact vectors unless others are given."""
        evidence = self._observed()
        return self._trained.scorer_of(vectors or self._vectors, evidence, history)

    def _observed(self) -> Evidence:
        """What the model reads of all histories: of a context what has been read, else all.

        A user's own history is always whole.
        """
        read = self._read
        if read is None or (self.rereads and self.is_behind()) or not self._is_whole(read):
            self.read_again()
        assert self._read is not None
        return self._read.evidence

    def _is_whole(self, read: _Read) -> bool:
        """Whether all has been read that takes no time to read."""
        is_context = self._trained.recommender.in_context is not None
        of_now = read.histories is self._histories and read.num_items == len(self.items)
        return is_context or of_now

    def is_behind(self) -> bool:
        """Whether many events have been added to a context since it was read.

        Reading takes seconds to minutes, and one event in a hundred says little that the others
        do not. New items alone are known by their texts, so that the scores of others stay.
        """
        read = self._read
        if self._trained.recommender.in_context is None or read is None:
            return False
        num_events, num_read = len(self._histories.items.values), len(read.histories.items.values)
        growth = num_events / max(num_read, 1) - 1
        return growth >= REREAD_GROWTH

    def read_again(self) -> None:
        """Read all histories for what the model takes from them."""
        evidence = self._trained.evidence(self._vectors, self._histories.items)
        self._read = _Read(self._histories, len(self.items), evidence)

    def take_evidence(self, other: "Catalogue") -> None:
        """Take over what a catalogue has read that was a copy of this one, or of its past."""
        read = other._read
        if read is not None:
            evidence = self._trained.more_evidence(read.evidence, self._vectors)
            self._read = replace(read, evidence=evidence)

    def _histories_of(self, users: Sequence[str]) -> Ragged:
        """A row for each user, all of whom must have one."""
        row_of = self._histories.row_of
        if unknown := [user for user in users if user not in row_of]:
            raise UserError(f"users: no history of {', '.join(map(repr, unknown[:5]))}")
        return self._histories.items.take(np.array([row_of[u] for u in users], dtype=np.int64))

    def _found(self, item_ids: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """item_idx of the ids that the catalogue has, and the others."""
        ids = [canonical_text(item_id) for item_id in item_ids]
        rows = [self._place[item_id] for item_id in ids if item_id in self._place]
        return np.array(rows, dtype=np.int32), self.unknown_items(ids)

    def _rows(self, item_ids: Sequence[str], label: str) -> np.ndarray:
        """item_idx of ids, all of which the catalogue must have."""
        rows, unknown = self._found(checked_ids(item_ids, label))
        if unknown:
            raise UserError(f"{label}: {_has_no(unknown)}")
        return rows

    def _allowed(self, where: Mapping[str, Any] | pl.Expr | None) -> np.ndarray:
        """Which items are as `where` asks, bool [N]."""
        if where is None:
            return np.ones(len(self.items), dtype=bool)
        try:
            if isinstance(where, pl.Expr):
                return self._chosen(where.fill_null(False))
            if not isinstance(where, Mapping):
                raise UserError(
                    "where: expected columns with their values, or an expression of Polars, got "
                    f"{type(where).__name__}"
                )
            wanted = [
                pl.col(name).is_in(value if isinstance(value, list | tuple | set) else [value])
                for name, value in where.items()
            ]
            return self._chosen(pl.all_horizontal(wanted))
        except pl.exceptions.PolarsError as error:
            raise UserError(
                f"where: {str(error).splitlines()[0]}; the columns are {self.items.columns}"
            ) from error

    def _chosen(self, rule: pl.Expr) -> np.ndarray:
        """Of which items an expression is true, bool [N]."""
        found = self.items.select(rule).to_series()
        if found.dtype != pl.Boolean or len(found) not in (1, len(self.items)):
            raise UserError("where: the expression does not say yes or no of each item")
        return np.resize(found.to_numpy(), len(self.items))

    def _top(self, history: Ragged, asked: "_Asked") -> list[list[Recommendation]]:
        k, allowed_N = asked.k, asked.allowed_N
        excluded = history.take(np.arange(len(history)), 0) if asked.seen else history
        known = np.flatnonzero(history.lengths > 0)
        chosen: dict[int, list[Recommendation]] = {}
        if len(known):
            own = history.take(known)
            found = self._best(own, excluded.take(known), asked)
            # Only reasons take long.
            users = tqdm(
                known.tolist(), "recommend", unit="user", delay=QUIET_SECONDS, disable=None
            )
            why: Iterable[Reasons | None] = repeat(None)
            if asked.because:
                why = self._reasons(own, found[0])
            for row, items, scores, reasons in zip(users, *found, why, strict=False):
                chosen[row] = self._named(items, scores, "history", reasons)
        strangers = [] if len(known) == len(history) else self._for_strangers(k, allowed_N)
        return [chosen.get(row, strangers) for row in range(len(history))]

    def _best(
        self, history: Ragged, excluded: Ragged, asked: "_Asked"
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """See `top_items`."""
        scorer, num_items = self._scorer(history), len(self.items)
        rough = self._rough_vectors() if asked.approximate else None
        if rough is None:
            return top_items(scorer, num_items, excluded, asked.k, asked.allowed_N)
        size = max(CANDIDATES_OF_K * asked.k, num_items // ITEMS_OF_CANDIDATE)
        first = self._scorer(history, rough)
        chosen = candidates(first, num_items, excluded, size, asked.allowed_N)
        return top_of_chosen(scorer, chosen, asked.k)

    def _rough_vectors(self) -> ItemVectors | None:
        """Shorter vectors, which rank nearly as the others do; None where they are not worth it."""
        near = self._vectors.near
        if not isinstance(near, HalfItems):
            return None
        if self._rough is None:
            directions = near.directions(ROUGH_DIM)
            self._rough = directions, near.projected(directions)
        directions, rough = self._rough
        if len(rough) < len(near):
            rough = rough.with_more(near.projected(directions, slice(len(rough), None)))
            self._rough = directions, rough
        return self._vectors._replace(near=rough)

    def _for_strangers(self, k: int, allowed_N: np.ndarray) -> list[Recommendation]:
        """What is popular; without any histories, the items nearest to `k` centres of the texts."""
        nothing = one_row(np.empty(0, dtype=np.int32))
        events = self._histories.items.values
        if len(events):
            scores_N = np.bincount(events, minlength=len(self.items) + 1)[1:].astype(np.float32)
            basis = "popularity"
        else:
            scores_N, basis = nearness_to_centres(self._text, k, allowed_N), "diversity"
        scores_1N = torch.from_numpy(scores_N)[None]

        scorer = Scorer(lambda _: lambda items: scores_1N[:, items])
        (items,), (scores,) = top_items(scorer, len(scores_N), nothing, k, allowed_N)
        return self._named(items, scores, basis)

    def _reasons(self, history: Ragged, items: Sequence[np.ndarray]) -> Iterator[Reasons]:
        """For each user and item the items of the history without which it would score less.

        The shares are of the sum of what it would lose without each of them alone.
        """
        for start in range(0, len(history), USERS_AT_ONCE):
            rows = np.arange(start, min(start + USERS_AT_ONCE, len(history)))
            part, wanted = history.take(rows), items[start : start + USERS_AT_ONCE]
            fewer = left_out(part)
            distinct = np.unique(np.concatenate(wanted)).astype(np.int64)
            if not len(distinct):
                yield from ([] for _ in wanted)
                continue
            scores = self._scorer(fewer)(np.arange(len(fewer)), distinct - 1).cpu().numpy()
            ends = np.cumsum(part.lengths + 1)
            for user, end in enumerate(ends.tolist()):
                own = part.values[part.offsets[user] : part.offsets[user + 1]]
                columns = np.searchsorted(distinct, wanted[user])
                yield self._shares(own, scores[end - len(own) - 1 : end, columns])

    def _shares(self, history: np.ndarray, scores_LK: np.ndarray) -> Reasons:
        """Reasons from the scores of a user's items with the whole history, and without each."""
        if len(history) == 1:
            return [((self._item_ids[history[0] - 1], 1.0),)] * scores_LK.shape[1]
        loss_LK = (scores_LK[0] - scores_LK[1:]).clip(min=0)
        share_LK = loss_LK / loss_LK.sum(axis=0).clip(min=_SMALLEST)
        reasons = []
        for share_L in share_LK.T:
            best = [
                p
                for p in np.argsort(-share_L, kind="stable")[:BECAUSE]
                if share_L[p] >= LEAST_SHARE
            ]
            ids = [self._item_ids[history[position] - 1] for position in best]
            reasons.append(tuple(zip(ids, (float(share_L[p]) for p in best), strict=True)))
        return reasons

    def _named(
        self,
        items: np.ndarray,
        scores: np.ndarray,
        basis: str,
        reasons: Sequence[tuple[tuple[str, float], ...]] | None = None,
    ) -> list[Recommendation]:
        titles = self.items["title"]  # one at a time: Polars' threads would cost more than that
        because = reasons or [()] * len(items)
        return [
            Recommendation(rank, self._item_ids[row], titles[row], float(score), why, basis)
            for rank, (row, score, why) in enumerate(
                zip((items - 1).tolist(), scores, because, strict=True), start=1
            )
        ]


def as_frame(found: Iterable[tuple[str, Sequence[Recommendation]]]) -> pl.DataFrame:
    """Users with their recommendations as a frame, a row an item; see BATCH_SCHEMA."""
    records = [
        {
            "user_id": user,
            **vars(each),
            "because": [dict(zip(REASON, reason, strict=True)) for reason in each.because],
        }
        for user, of_user in found
        for each in of_user
    ]
    return pl.DataFrame(records, schema=BATCH_SCHEMA)


def _has_no(unknown: Sequence[str]) -> str:
    return f"the catalogue has no item {', '.join(map(repr, unknown[:5]))}"

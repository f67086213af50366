"""A catalogue that a recommender has been shown: who may like what of it."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from recg_core.base.errors import UserError
from recg_core.domains.sequences import Ragged
from recg_core.domains.shards import fingerprint_of
from recg_core.encoders import Encoder
from recg_core.models.anchor import anchor_items
from recg_core.models.ranking.full_rank import ScoreBatch
from recg_core.models.trained import TrainedModel
from recg_core.raw.values import canonical_text
from recg_core.serving.checks import checked_ids, checked_k
from recg_core.serving.histories import index_histories, left_out, one_row
from recg_core.serving.tables import Table, read_catalogue, read_histories
from recg_core.serving.topk import nearness_to_centres, top_items
from recg_core.serving.vectors import as_domain, encode_texts

log = logging.getLogger(__name__)

BECAUSE = 3  # history items that are named as reasons
LEAST_SHARE = 0.01  # of one
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


class Catalogue:
    """Items that a recommender has been shown, and what users have met of them.

    Attributes:
        items: (item_id, title, features, description, …), one row an item.
        users: the ids of the users with histories.
    """

    def __init__(
        self, trained: TrainedModel, encoder: Encoder, items: pl.DataFrame, cache: Path
    ) -> None:
        self.items = items
        self._trained = trained
        self._encoder = encoder
        self._cache = cache
        self._events = pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String})
        # Once, since it may read all of a model's files.
        self._fingerprint = fingerprint_of(encoder.identity())
        text = self._encoded(items)
        # Frozen, so that items that come later do not move the scores of these.
        self._text_mean = text.mean(axis=0)
        self._take_items(text)

    @property
    def users(self) -> list[str]:
        """The ids of the users with histories, in the order of their first event."""
        return self._histories.user_ids

    def add_items(self, items: Table, *, columns: Mapping[str, str] | None = None) -> None:
        """Add items, of which only the new ones are encoded; the scores of others stay.

        Raises:
            UserError: when one is in the catalogue already, or a table cannot be read.
        """
        new = read_catalogue(items, columns)
        if missing := sorted(set(self.items.columns) - set(new.columns)):
            raise UserError(f"items: the catalogue's items have {missing}; name their columns")
        new = new.select(self.items.columns)
        there = [item_id for item_id in new["item_id"] if item_id in self._place]
        if there:
            raise UserError(f"items: {there[0]!r} is in the catalogue already")
        text = self._encoded(new)
        self.items = pl.concat([self.items, new])
        self._take_items(np.concatenate([self._domain.text, text]))

    def add_histories(self, histories: Table, *, columns: Mapping[str, str] | None = None) -> None:
        """Add events after those that are there; unknown items are named in the log.

        Raises:
            UserError: when the table cannot be read.
        """
        self._events = pl.concat([self._events, read_histories(histories, columns)])
        self._histories = index_histories(self._events, self._domain.item_ids)
        if unknown := self._histories.unknown:
            names = ", ".join(map(repr, list(unknown)[:3]))
            log.warning(
                "%d of %d events name items that the catalogue does not have, such as %s",
                sum(unknown.values()),
                len(self._events),
                names,
            )

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
    ) -> list[Recommendation]:
        """The `k` best items for someone with this history, fewer where fewer are allowed.

        Args:
            history: item ids, oldest first; it may be empty.
            exclude: item ids that are not wanted.
            where: what items must have: column -> value or list of values, or an expression over
                the columns of `items`.
            seen: whether items of the history may come again.
            because: say which items of the history it goes by.

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
        return self._top(one_row(rows), k, allowed_N, seen=seen, because=because)[0]

    def recommend_batch(
        self,
        users: Sequence[str] | None = None,
        k: int = 10,
        *,
        where: Mapping[str, Any] | pl.Expr | None = None,
        seen: bool = False,
        because: bool = False,
    ) -> pl.DataFrame:
        """The `k` best items of users with histories, as a frame with a row an item.

        Args:
            users: their ids; None: all of them.

        Returns:
            (user_id, rank, item_id, title, score, because, basis); see `Recommendation`.

        Raises:
            UserError: naming a user without any history.
        """
        chosen = self.users if users is None else checked_ids(users, "users")
        place = {user: row for row, user in enumerate(self.users)}
        unknown = [user for user in chosen if user not in place]
        if unknown:
            raise UserError(f"users: no history of {', '.join(map(repr, unknown[:5]))}")
        rows = np.array([place[user] for user in chosen], dtype=np.int64)
        history = self._histories.items.take(rows)
        found = self._top(history, k, self._allowed(where), seen=seen, because=because)
        return as_frame(zip(chosen, found, strict=True))

    def score(self, history: Sequence[str], items: Sequence[str]) -> list[float]:
        """Scores of items for someone with this history, which must not be empty.

        Raises:
            UserError: naming an item that the catalogue does not have.
        """
        history_row, wanted = self._rows(history, "history"), self._rows(items, "items")
        if not len(history_row):
            raise UserError("history: is empty; scores go by it")
        scores_N = self._scorer(one_row(history_row))(np.zeros(1, dtype=np.int64))[0]
        return [float(scores_N[row - 1]) for row in wanted]

    def similar_items(self, item: str, k: int = 10) -> list[Recommendation]:
        """The items whose texts are nearest to that of an item, by cosine.

        Raises:
            UserError: when the catalogue does not have the item.
        """
        k, row = checked_k(k), self._rows([item], "item")
        near_NH = self._vectors.near_NH
        if near_NH is None:
            near_NH = anchor_items(torch.from_numpy(self._domain.text), self._text_mean)
        cosine_N = near_NH @ near_NH[row[0] - 1]
        found, scores = top_items(lambda _: cosine_N[None], len(near_NH), one_row(row), k)
        return self._named(found[0], scores[0], "similarity")

    def _encoded(self, items: pl.DataFrame) -> np.ndarray:
        return encode_texts(items, self._encoder, self._fingerprint, self._cache)

    def _take_items(self, text: np.ndarray) -> None:
        """Make everything that depends on the items alone."""
        self._domain = as_domain(self.items, text, self._text_mean, self._fingerprint)
        self._place = {item_id: row for row, item_id in enumerate(self._domain.item_ids, start=1)}
        self._vectors = self._trained.item_vectors(self._domain)
        self._histories = index_histories(self._events, self._domain.item_ids)

    def _scorer(self, history: Ragged) -> ScoreBatch:
        return self._trained.scorer(
            self._domain, history, self._histories.items, vectors=self._vectors
        )

    def _found(self, item_ids: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """item_idx of the ids that the catalogue has, and the others."""
        ids = [canonical_text(item_id) for item_id in item_ids]
        rows = [self._place[item_id] for item_id in ids if item_id in self._place]
        unknown = [item_id for item_id in ids if item_id not in self._place]
        return np.array(rows, dtype=np.int32), unknown

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

    def _top(
        self, history: Ragged, k: int, allowed_N: np.ndarray, *, seen: bool, because: bool
    ) -> list[list[Recommendation]]:
        k = checked_k(k)
        excluded = history.take(np.arange(len(history)), 0) if seen else history
        known = np.flatnonzero(history.lengths > 0)
        chosen: dict[int, list[Recommendation]] = {}
        if len(known):
            scorer = self._scorer(history.take(known))
            found = top_items(scorer, len(self.items), excluded.take(known), k, allowed_N)
            for row, items, scores in zip(known.tolist(), *found, strict=True):
                reasons = None
                if because:
                    reasons = self._reasons(history.take(np.array([row])).values, items)
                chosen[row] = self._named(items, scores, "history", reasons)
        strangers = [] if len(known) == len(history) else self._for_strangers(k, allowed_N)
        return [chosen.get(row, strangers) for row in range(len(history))]

    def _for_strangers(self, k: int, allowed_N: np.ndarray) -> list[Recommendation]:
        """What is popular; without any histories, the items nearest to `k` centres of the texts."""
        nothing = one_row(np.empty(0, dtype=np.int32))
        events = self._histories.items.values
        if len(events):
            scores_N = np.bincount(events, minlength=len(self.items) + 1)[1:].astype(np.float32)
            basis = "popularity"
        else:
            scores_N, basis = nearness_to_centres(self._domain.text, k, allowed_N), "diversity"
        scores_1N = torch.from_numpy(scores_N)[None]
        (items,), (scores,) = top_items(lambda _: scores_1N, len(scores_N), nothing, k, allowed_N)
        return self._named(items, scores, basis)

    def _reasons(
        self, history: np.ndarray, items: np.ndarray
    ) -> list[tuple[tuple[str, float], ...]]:
        """For each item the items of the history without which it would score less, and how much.

        The shares are of the sum of what it would lose without each of them alone.
        """
        if len(history) == 1:
            return [((self._domain.item_ids[history[0] - 1], 1.0),)] * len(items)
        scores = self._scorer(left_out(history))(np.arange(len(history) + 1))
        chosen_LK = scores[:, torch.from_numpy(items).long() - 1].cpu().numpy()
        loss_LK = (chosen_LK[0] - chosen_LK[1:]).clip(min=0)
        share_LK = loss_LK / loss_LK.sum(axis=0).clip(min=_SMALLEST)
        reasons = []
        for share_L in share_LK.T:
            best = [
                p
                for p in np.argsort(-share_L, kind="stable")[:BECAUSE]
                if share_L[p] >= LEAST_SHARE
            ]
            ids = [self._domain.item_ids[history[position] - 1] for position in best]
            reasons.append(tuple(zip(ids, (float(share_L[p]) for p in best), strict=True)))
        return reasons

    def _named(
        self,
        items: np.ndarray,
        scores: np.ndarray,
        basis: str,
        reasons: Sequence[tuple[tuple[str, float], ...]] | None = None,
    ) -> list[Recommendation]:
        rows = self.items[(items - 1).tolist()].select("item_id", "title").rows()
        because = reasons or [()] * len(rows)
        return [
            Recommendation(rank, item_id, title, float(score), why, basis)
            for rank, ((item_id, title), score, why) in enumerate(
                zip(rows, scores, because, strict=True), start=1
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

"""What a domain's texts and observed histories say about its items, before anyone is asked for.

Shapes: B users, N items, E kinds of evidence, G properties of users, H dimension of the text
embeddings.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recg_core.domains.sequences import Ragged
from recg_core.models.anchor import DECAY, SHARPNESS, count_excess, observed_counts
from recg_core.models.in_context.examples import Examples
from recg_core.models.in_context.ridge import local_ridge
from recg_core.models.in_context.visits import before_each, co_visits, strongest
from recg_core.models.near import NearItems, cosine
from recg_core.models.neighbors import ages, kernel_scorer, weighted_sum
from recg_core.models.rows import Items, Scorer

log = logging.getLogger(__name__)

WINDOW = 5  # steps between two items that count as visited together
VISIT_DECAY = 0.7  # of each further step
BACKWARD = 0.5  # an earlier visit, relative to a later one
SHRINKAGE = 5.0  # observations that a rare history item lacks to be believed
NEIGHBORS = 20  # items of like text that share their co-visits
NEIGHBOR_TEMPERATURE = 0.1
MAX_ALIKE = 131_072  # items whose like texts are looked for: some minutes on two cores
SMOOTHED = 300  # of the smoothed co-visits of an item, the strongest are kept
PAST = 20  # items before an event that its regression sees
PREDICTORS = 200  # of an item
PER_WEIGHT = 100.0  # from where on the logarithm of a regression's outcome says more than itself
RIDGE_DECAY = 0.75  # of each further step back
SEQUENCE_RIDGE = 30.0  # strength of the regression of events on what came before
SET_RIDGE = 150.0  # of items on the other items of their users
_SMALLEST = 1e-20
_ROWS_AT_ONCE = 1024  # of a product that is nearly dense, or
_ENTRIES_AT_ONCE = 1 << 25  # so many entries of it, if that is less


@dataclass(frozen=True)
class Table:
    """One kind of sparse evidence: log(1 + max(0, sum_i decay^age(i) values[i, j])) for item j.

    i runs over the history; age 0 is its latest item, and decay 0 leaves that alone.
    """

    decay: float
    values: sp.csr_matrix  # float32 [N, N]


@dataclass(frozen=True)
class Context:
    """What has been observed in a domain, ready to be asked about users.

    Attributes:
        items: unit vectors of their texts.
        log_counts_N2: log(1 + `observed_counts`).
        tables: by kind of evidence.
        events_per_item: log(1 + mean count).
        trial: users asked for the last of their observed items, by the context of what preceded
            those; None where too few have two.
        worth: of each kind of evidence here, relative to elsewhere, [E]; see `InContext.fitted`.
    """

    items: NearItems
    log_counts_N2: Tensor
    tables: dict[str, Table]
    events_per_item: float
    trial: Examples | None = None
    worth: Tensor | float = 1.0

    def with_items(self, items: NearItems) -> "Context":
        """The same of `items`, the first of which are these; nobody has met the others.

        What is said of these stays as it is.
        """
        new = len(items) - len(self.items)
        if not new:
            return self
        tables = {name: Table(t.decay, _grown(t.values, new)) for name, t in self.tables.items()}
        counts = torch.nn.functional.pad(self.log_counts_N2, (0, 0, 0, new))
        return replace(self, items=items, log_counts_N2=counts, tables=tables)


DENSE = ("text", "latest_text", "count", "recent_count")
SPARSE = ("visits", "smoothed_visits", "sequence_ridge", "set_ridge")
EVIDENCE = DENSE + SPARSE
PROPERTIES = ("excess", "length", "known", "latest_count", "events_per_item")
# About the means of the properties, so that the weights at the start are those of a usual user.
CENTER = (0.0, 1.8, 1.0, 3.0, 2.0)


def read_context(items: NearItems, observed: Ragged, alike: sp.csr_matrix | None = None) -> Context:
    """Read the observed histories of a domain, and try nothing on them; see `read_domain`.

    Args:
        items: unit vectors of their texts.
        observed: histories of all users, one row a user; rows may be empty, and there may be none.
        alike: `like_texts` of the items, where they are at hand.
    """
    num_items = len(items)
    counts_N2 = observed_counts(observed, num_items)
    count_N = counts_N2[:, 0].numpy().astype(np.float64)
    visits = co_visits(observed, num_items, window=WINDOW, decay=VISIT_DECAY, backward=BACKWARD)
    shrunk = sp.diags(1 / (count_N + SHRINKAGE)) @ visits
    alike = like_texts(items) if alike is None else alike
    # Lifts: how much more often than by the item's share of all events.
    per_share = sp.diags((count_N + 1).sum() / (count_N + 1))
    tables = {
        "visits": _table(DECAY, shrunk @ per_share),
        "smoothed_visits": _table(DECAY, _smoothed(shrunk, alike) @ per_share),
    }
    del visits, shrunk, alike
    tables["sequence_ridge"] = _table(
        RIDGE_DECAY, PER_WEIGHT * _sequence_ridge(observed, num_items)
    )
    tables["set_ridge"] = _table(RIDGE_DECAY, PER_WEIGHT * _set_ridge(observed, num_items))
    return Context(
        items,
        torch.log1p(counts_N2).to(items.rows.device),
        tables,
        events_per_item=float(np.log1p(count_N.sum() / num_items)),
    )


def _table(decay: float, values: sp.csr_matrix) -> Table:
    return Table(decay, values.tocsr().astype(np.float32))


def _smoothed(visits: sp.csr_matrix, alike: sp.csr_matrix) -> sp.csr_matrix:
    """The strongest visits of every item, shared among items of like texts: alike visits alike.

    The product is nearly dense, and so is visits alike: few rows of them exist at a time.
    """
    if alike.nnz == len(alike.indptr) - 1:  # each stands alone
        return strongest(visits.tocsr(), SMOOTHED)
    products = (alike[rows] @ visits @ alike for rows in _blocks(visits.shape[0]))
    return sp.vstack([strongest(product.tocsr(), SMOOTHED) for product in products])


def _blocks(num_items: int) -> Iterator[slice]:
    """Rows of a table [N, N] of which a block may be dense."""
    size = min(_ROWS_AT_ONCE, max(1, _ENTRIES_AT_ONCE // num_items))
    return (slice(start, start + size) for start in range(0, num_items, size))


def _grown(table: sp.csr_matrix, new: int) -> sp.csr_matrix:
    """With `new` empty rows and columns."""
    size = table.shape[0] + new
    indptr = np.append(table.indptr, np.full(new, table.indptr[-1], dtype=table.indptr.dtype))
    return sp.csr_matrix((table.data, table.indices, indptr), shape=(size, size))


def _sequence_ridge(observed: Ragged, num_items: int) -> sp.csr_matrix:
    """Regression of every event on what came before it."""
    past = before_each(observed, num_items, window=PAST, decay=RIDGE_DECAY)
    gram = (past.T @ past).tocsr().astype(np.float32)
    del past
    cross = co_visits(observed, num_items, window=PAST, decay=RIDGE_DECAY, backward=0.0)
    return local_ridge(gram, cross, strength=SEQUENCE_RIDGE, predictors=PREDICTORS)


def _set_ridge(observed: Ragged, num_items: int) -> sp.csr_matrix:
    """Regression of every item on the other items of its users, whatever their order."""
    met = item_sets(observed, num_items)
    gram = (met.T @ met).tocsr()
    return local_ridge(gram, gram, strength=SET_RIDGE, predictors=PREDICTORS)


def item_sets(histories: Ragged, num_items: int) -> sp.csr_matrix:
    """1 where a user has met an item, however often, [users, N]."""
    user = histories.rows
    shape = len(histories), num_items
    met = sp.csr_matrix((np.ones(len(user)), (user, histories.values - 1)), shape=shape)
    met.data[:] = 1.0
    return met


def like_texts(items: NearItems) -> sp.csr_matrix:
    """Weights of the items of most similar text, the item itself among them, adding up to 1."""
    num_items = len(items)
    if num_items > MAX_ALIKE:
        log.warning("%d items are too many to look for like texts: each stands alone", num_items)
        return sp.identity(num_items, dtype=np.float32, format="csr")
    k = min(NEIGHBORS, num_items)
    every = np.arange(num_items)
    near = [cosine(items, every[rows]).topk(k, dim=1) for rows in _blocks(num_items)]
    values_NK = torch.cat([found.values for found in near])
    weights_NK = torch.softmax(values_NK / NEIGHBOR_TEMPERATURE, dim=1).cpu().numpy()
    columns_NK = torch.cat([found.indices for found in near]).cpu().numpy()
    rows = np.repeat(np.arange(num_items), k)
    ends = rows, columns_NK.ravel()
    return sp.csr_matrix((weights_NK.ravel(), ends), shape=(num_items, num_items))


class Columns:
    """The columns of sparse tables, of which one part is kept at a time.

    Args:
        tables: by kind of evidence.
        span: items of a part.
    """

    def __init__(self, tables: Mapping[str, Table], span: int) -> None:
        self._by_column = {kind: table.values.tocsc() for kind, table in tables.items()}
        self._span = span
        self._kept: tuple[int, dict[str, sp.csr_matrix]] = (-1, {})

    def of(self, number: int) -> dict[str, sp.csr_matrix]:
        """The columns [N, n] of a part, by kind of evidence."""
        if self._kept[0] != number:
            items = slice(number * self._span, (number + 1) * self._span)
            parts = {kind: table[:, items].tocsr() for kind, table in self._by_column.items()}
            self._kept = number, parts
        return self._kept[1]


class Reader:
    """The evidence about users and items of a context.

    Args:
        history: users' items, oldest first, one row or more, none of them empty.
        likeness: `text_likeness` of the same histories, where it is at hand.
    """

    def __init__(self, context: Context, history: Ragged, likeness: Scorer | None = None) -> None:
        self._context = context
        self._columns: Columns | None = None
        self.span = len(context.items)  # items whose sparse evidence is read at a time
        self.worth = context.worth
        self._history = history
        self._device = context.items.rows.device
        self._near = text_likeness(context.items, history) if likeness is None else likeness

    @property
    def has_work_in_common(self) -> bool:
        """Whether groups of users have work in common; see `Scorer.together`."""
        return self._near.together is not None

    def together(self, rows: np.ndarray) -> "Reader":
        """The same evidence about some users; what is read of `span` items is kept for the next
        group that asks about these."""
        assert self._near.together is not None
        shared = Reader(self._context, self._history, self._near.together(rows))
        shared.span = shared._near.span
        shared._columns = Columns(self._context.tables, shared.span)
        return shared

    def properties(self, rows: np.ndarray) -> Tensor:
        """What is known of users, [B, G], in the order of `PROPERTIES` and about their means."""
        context, chosen = self._context, self._history.take(rows)
        lengths = torch.from_numpy(chosen.lengths).float().to(self._device)
        log_N2 = context.log_counts_N2
        of_items_N2 = torch.stack([count_excess(log_N2), (log_N2[:, 0] > 0).float()], dim=1)
        ones = torch.ones(len(chosen.values), device=self._device)
        excess_B, known_B = (weighted_sum(chosen, of_items_N2, ones) / lengths[:, None]).T
        latest = torch.from_numpy(self._latest(rows)).to(self._device)
        domain = torch.tensor([context.events_per_item], device=self._device)
        of_users = torch.stack([excess_B, lengths.log(), known_B, log_N2[latest, 0]], dim=1)
        both = torch.cat([of_users, domain.expand(len(rows), -1)], dim=1)
        return both - torch.tensor(CENTER, device=self._device)

    def dense(self, rows: np.ndarray) -> Callable[[Items], Iterator[Tensor]]:
        """Evidence of the kinds `DENSE` about items, each [B, n] or, where users do not differ,
        [1, n]."""
        near, items_of = self._near.of(rows), self._context.items
        latest_BH = items_of.units(self._latest(rows))

        def of(items: Items) -> Iterator[Tensor]:
            log_n2 = self._context.log_counts_N2[items]
            yield near(items).clamp(min=_SMALLEST).log_()
            yield items_of.products(latest_BH, items)
            yield log_n2[None, :, 0]
            yield log_n2[None, :, 1]

        return of

    def events(self, rows: np.ndarray, kind: str) -> sp.csr_matrix:
        """How much each item of users' histories counts for a kind of `SPARSE`, [B, N]."""
        chosen, decay = self._history.take(rows), self._context.tables[kind].decay
        shape = (len(rows), len(self._context.items))
        weights = (decay ** ages(chosen)).astype(np.float32)
        found = sp.csr_matrix((weights, chosen.values - 1, chosen.offsets), shape=shape)
        found.sum_duplicates()
        return found

    def tables(self, number: int = 0) -> dict[str, sp.csr_matrix]:
        """What the kinds `SPARSE` say of `span` items, [N, span].

        Args:
            number: of the part: items from `number * span` on.
        """
        if self._columns is not None:
            return self._columns.of(number)
        return {kind: table.values for kind, table in self._context.tables.items()}

    def _latest(self, rows: np.ndarray) -> np.ndarray:
        return self._history.values[self._history.offsets[rows + 1] - 1].astype(np.int64) - 1


def sparse_evidence(events: sp.csr_matrix, table: sp.csr_matrix) -> sp.csr_matrix:
    """Evidence of a kind of `SPARSE`, [B, n] and nowhere below 0.

    Args:
        events: `Reader.events` of the kind.
        table: its columns, [N, n].
    """
    found = (events @ table).tocsr()
    np.log1p(np.maximum(found.data, 0.0, out=found.data), out=found.data)
    return found


def text_likeness(items: NearItems, history: Ragged) -> Scorer:
    """The sums over the history of what the row `knn_lse_centered` takes the logarithm of."""
    weigh = partial(_decayed, decay=DECAY, device=items.rows.device)
    return kernel_scorer(history, items, weigh, SHARPNESS)


def _decayed(age: np.ndarray, decay: float, device: torch.device) -> Tensor:
    return torch.from_numpy((decay**age).astype(np.float32)).to(device)

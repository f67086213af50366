"""What the HTTP service takes and gives, as it stands in its OpenAPI document."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from recg_core.raw.values import canonical_text

MAX_K = 1000
MAX_HISTORY = 200  # items; reasons take time that grows with the square of it
MAX_ITEMS = 1000  # of a request, since each is encoded
MAX_EVENTS = 10_000  # of a request
MAX_QUERY = 200  # characters


def _canonical(text: str) -> str:
    if not (found := canonical_text(text)):
        raise ValueError("expected an id, got white space or invisible characters")
    return found


Id = Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(_canonical)]
Text = Annotated[str, StringConstraints(max_length=100_000)]
K = Annotated[int, Field(ge=1, le=MAX_K, description="How many items, at most.")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RecommendRequest(_Strict):
    """For whom, how many, and of which items."""

    user_id: Id | None = Field(
        default=None, description="Whose history counts, as the server has it."
    )
    history: list[Id] | None = Field(
        default=None, max_length=MAX_HISTORY, description="Item ids, oldest first; it may be empty."
    )
    k: K = 10
    exclude: list[Id] = Field(default=[], max_length=1000, description="Items not wanted.")
    where: dict[Text, Text | list[Text]] = Field(
        default={},
        max_length=16,
        description="Column of the items -> the value, or values, it must have.",
    )
    seen: bool = Field(default=False, description="Whether items of the history may come again.")
    because: bool = Field(default=False, description="Say which items of the history it goes by.")

    @model_validator(mode="after")
    def _one_history(self) -> "RecommendRequest":
        if (self.user_id is None) == (self.history is None):
            raise ValueError("give either user_id or history")
        return self


class NewItem(BaseModel):
    """An item by the columns of the catalogue: item_id, title, features, description, …"""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Text, Text | list[Text] | None]

    item_id: Id
    title: Text


class ItemsRequest(_Strict):
    """Items that the catalogue does not have."""

    items: list[NewItem] = Field(min_length=1, max_length=MAX_ITEMS)


class Event(_Strict):
    """Somebody met an item."""

    user_id: Id
    item_id: Id


class EventsRequest(_Strict):
    """Events after those that are there, those of a user oldest first."""

    events: list[Event] = Field(min_length=1, max_length=MAX_EVENTS)


class Item(BaseModel):
    """An item of the catalogue."""

    item_id: str
    title: str


class Reason(Item):
    """An item of the history, and its share in the score."""

    share: float


class Recommended(Item):
    """An item for somebody; scores compare within one answer alone."""

    rank: int
    score: float
    basis: str = Field(description="`history`, `popularity`, `diversity` or `similarity`.")
    because: list[Reason]


class Recommendations(BaseModel):
    """The best items, the best first."""

    recommendations: list[Recommended]
    unknown: list[str] = Field(default=[], description="Items of the history that nobody knows.")


class Found(BaseModel):
    """Items whose titles match."""

    items: list[Item]


class AddedItems(BaseModel):
    """How many are on disk; items without text, or with the id of another, are left out."""

    added: int


class AddedEvents(AddedItems):
    """How many are on disk, those with unknown items included: they count once the item comes."""

    unknown: list[str] = Field(description="Items that the catalogue does not have.")


class Health(BaseModel):
    """What is served."""

    status: str
    items: int
    users: int


class Failure(BaseModel):
    """What was wrong, in one line."""

    error: str

"""Configuration is strict: a wrong key or type is refused by address, naming what is valid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from recg_core.base.config import build, build_kind, convert
from recg_core.base.errors import UserError
from recg_core.base.params import read_params


@dataclass(frozen=True)
class Pattern:
    clusters: int
    temperature: float = 1.0


@dataclass(frozen=True)
class Model:
    name: str
    alpha: float
    beta: float | None
    inter: Literal["centers", "off"]
    domains: tuple[str, ...]
    pattern: Pattern

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ValueError("alpha must not be negative")


GOOD: dict[str, Any] = {
    "name": "recg",
    "alpha": 0.1,
    "beta": None,
    "inter": "centers",
    "domains": ["IS", "VG"],
    "pattern": {"clusters": 50},
}
KEYS = "['alpha', 'beta', 'domains', 'inter', 'name', 'pattern']"


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


def test_a_good_section_becomes_the_dataclass_with_lists_as_tuples() -> None:
    assert build(Model, GOOD, "variants.recg") == Model(
        "recg", 0.1, None, "centers", ("IS", "VG"), Pattern(50, 1.0)
    )


def test_an_integer_is_taken_for_a_float_and_becomes_one() -> None:
    alpha = build(Model, {**GOOD, "alpha": 1}, "variants.recg").alpha
    assert (alpha, type(alpha)) == (1.0, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {**without("alpha"), "alhpa": 0.1},
            f"variants.recg: unknown key(s) ['alhpa']; valid keys are {KEYS}",
            id="unknown key",
        ),
        pytest.param(
            without("alpha"),
            f"variants.recg: missing key(s) ['alpha']; valid keys are {KEYS}",
            id="missing key",
        ),
        pytest.param(
            {**GOOD, "alpha": "1e-3"},
            "variants.recg.alpha: expected float, got str '1e-3'",
            id="a string that YAML 1.1 makes of a number",
        ),
        pytest.param(
            {**GOOD, "alpha": None},
            "variants.recg.alpha: expected float, got null",
            id="null for a number",
        ),
        pytest.param(
            {**GOOD, "beta": "0.1"},
            "variants.recg.beta: expected float or null, got str '0.1'",
            id="no member of a union",
        ),
        pytest.param(
            {**GOOD, "inter": "center"},
            "variants.recg.inter: expected one of ['centers', 'off'], got str 'center'",
            id="no member of a Literal",
        ),
        pytest.param(
            {**GOOD, "inter": False},
            "variants.recg.inter: expected one of ['centers', 'off'], got bool False",
            id="off without quotes under YAML 1.1",
        ),
        pytest.param(
            {**GOOD, "domains": "IS"},
            "variants.recg.domains: expected a list, got str 'IS'",
            id="a string for a list",
        ),
        pytest.param(
            {**GOOD, "domains": ["IS", 7]},
            "variants.recg.domains[1]: expected str, got int 7",
            id="a wrong element",
        ),
        pytest.param(
            {**GOOD, "pattern": {"clusters": 50, "temprature": 0.1}},
            "variants.recg.pattern: unknown key(s) ['temprature']; "
            "valid keys are ['clusters', 'temperature']",
            id="unknown key of a nested section",
        ),
        pytest.param(
            {**GOOD, "pattern": {"clusters": 50.0}},
            "variants.recg.pattern.clusters: expected int, got float 50.0",
            id="a float for an integer of a nested section",
        ),
        pytest.param(
            {**GOOD, "pattern": 50},
            "variants.recg.pattern: expected a section of keys, got int 50",
            id="a number for a section",
        ),
        pytest.param(
            {**GOOD, "alpha": -0.1},
            "variants.recg: alpha must not be negative",
            id="a value that the dataclass refuses",
        ),
        pytest.param(
            None, "variants.recg: expected a section of keys, got null", id="an empty section"
        ),
    ],
)
def test_a_wrong_section_is_refused(values: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(Model, values, "variants.recg")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "expected", "message"),
    [
        (True, int, "at: expected int, got bool True"),
        (True, float, "at: expected float, got bool True"),
        (1, bool, "at: expected bool, got int 1"),
        (1, str, "at: expected str, got int 1"),
        (1.0, int, "at: expected int, got float 1.0"),
        (True, Literal[1, 2], "at: expected one of [1, 2], got bool True"),
        (True, int | None, "at: expected int or null, got bool True"),
        ({"a": "x"}, dict[str, int], "at.a: expected int, got str 'x'"),
        ([1], dict[str, int], "at: expected a section of keys, got list [1]"),
        ([[1], ["x"]], list[list[int]], "at[1][0]: expected int, got str 'x'"),
    ],
)
def test_nothing_else_is_converted(value: Any, expected: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        convert(value, expected, "at")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "expected", "result"),
    [
        ([1, 2], tuple[float, ...], (1.0, 2.0)),
        ([1, 2], list[int], [1, 2]),
        ((1, 2), list[int], [1, 2]),
        ({"a": [1]}, dict[str, tuple[int, ...]], {"a": (1,)}),
        (None, float | None, None),
        (2, float | None, 2.0),
        ("off", Literal["off", "on"], "off"),
        ({"clusters": 3}, Pattern | None, Pattern(3)),
        ([{"clusters": 3}], list[Pattern], [Pattern(3)]),
        (object, Any, object),
    ],
)
def test_every_kind_of_type_is_understood(value: Any, expected: Any, result: Any) -> None:
    assert convert(value, expected, "at") == result


def test_any_callable_with_annotated_keywords_is_a_schema() -> None:
    def reader(folder: str, *, num_users: int, pattern: float = 0.5) -> tuple[str, int, float]:
        return folder, num_users, pattern

    assert build(reader, {"num_users": 3}, "domains.IS", folder="raw") == ("raw", 3, 0.5)
    with pytest.raises(UserError) as caught:
        build(reader, {"num_users": 3, "folder": "mine"}, "domains.IS", folder="raw")
    assert str(caught.value) == (
        "domains.IS: unknown key(s) ['folder']; valid keys are ['num_users', 'pattern']"
    )


def test_the_message_of_a_user_error_is_passed_on_as_it_is() -> None:
    def refuse(size: int) -> None:
        raise UserError(f"size: expected 1 or more, got {size}")

    with pytest.raises(UserError, match=r"^size: expected 1 or more, got 0$"):
        build(refuse, {"size": 0}, "encoders.lsa")


@dataclass(frozen=True)
class Plain:
    kind: Literal["plain"]


@dataclass(frozen=True)
class Rich:
    kind: Literal["rich"]
    size: int


def test_the_kind_of_a_section_chooses_among_dataclasses() -> None:
    assert convert({"kind": "rich", "size": 2}, Plain | Rich, "at") == Rich("rich", 2)
    assert convert({"kind": "plain"}, Plain | Rich | None, "at") == Plain("plain")
    assert convert(None, Plain | Rich | None, "at") is None


@pytest.mark.parametrize(
    ("value", "expected", "message"),
    [
        (
            {"kind": "odd"},
            Plain | Rich,
            "at.kind: expected one of ['plain', 'rich'], got str 'odd'",
        ),
        ({"size": 2}, Plain | Rich, "at.kind: expected one of ['plain', 'rich'], got null"),
        (
            {"kind": "plain", "size": 2},
            Plain | Rich | None,
            "at: unknown key(s) ['size']; valid keys are ['kind']",
        ),
        ({"kind": "rich", "size": "2"}, Plain | Rich, "at.size: expected int, got str '2'"),
        ({"clusters": "3"}, Pattern | None, "at.clusters: expected int, got str '3'"),
        (
            3,
            Pattern | None,
            "at: expected a section with the keys ['clusters', 'temperature'] or null, got int 3",
        ),
        (
            None,
            Plain | Rich,
            "at: expected a section of kind plain or a section of kind rich, got null",
        ),
        (3, dict[str, int] | None, "at: expected a section of keys or null, got int 3"),
        (3, list[int] | None, "at: expected a list or null, got int 3"),
    ],
)
def test_what_is_wrong_inside_a_section_is_said(value: Any, expected: Any, message: str) -> None:
    """And not that it is neither this nor that."""
    with pytest.raises(UserError) as caught:
        convert(value, expected, "at")
    assert str(caught.value) == message


def test_a_member_of_a_registry_is_built_from_its_row() -> None:
    registry = {"pattern": Pattern}
    assert build_kind(registry, {"kind": "pattern", "clusters": 3}, "at") == Pattern(3)
    assert build_kind(registry, {"is": "pattern", "clusters": 3}, "at", key="is") == Pattern(3)
    for row, message in (
        ({"kind": "odd"}, "at.kind: expected one of ['pattern'], got 'odd'"),
        ({}, "at.kind: expected one of ['pattern'], got None"),
        ([], "at: expected a section of keys, got list []"),
        (
            {"kind": "pattern"},
            "at: missing key(s) ['clusters']; valid keys are ['clusters', 'temperature']",
        ),
    ):
        with pytest.raises(UserError) as caught:
            build_kind(registry, row, "at")  # type: ignore[arg-type]
        assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "row: [https://me:hunter2@host/a?sig=hunter2]",
        "row: 'https://me:hunter2@host/a?sig=hunter2",
        "row: https://me:hunter2/x@host",
        "row: {a: https://host/a#hunter2}",
    ],
)
def test_no_error_about_a_value_repeats_what_is_secret_in_an_address(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        read_params(tmp_path / "params.yaml").get("row", int)
    assert "params.yaml" in str(refused.value)
    assert "hunter2" not in str(refused.value)

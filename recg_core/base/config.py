"""Strict construction of configuration from plain mappings, such as a section of `params.yaml`."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union

from recg_core.base.errors import UserError

T = TypeVar("T")
UNIONS = (Union, types.UnionType)


def build(target: Callable[..., T], values: Mapping[str, Any], address: str, **given: Any) -> T:
    """Call `target` with `values`, whose schema is the signature of `target`.

    Args:
        target: a dataclass or any callable with annotated keyword parameters.
        values: the section; its keys must be parameters of `target` that are not in `given`.
        address: where the section stands (`variants.recg`), named in every error.
        given: arguments that come from elsewhere and are therefore no keys of the section.

    Raises:
        UserError: on an unknown, missing or wrongly typed key, or when `target` itself refuses
            a value with ValueError.
    """
    _require_section(values, address)
    signature = inspect.signature(target).parameters
    parameters = {name: signature[name] for name in signature if name not in given}
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    valid = f"valid keys are {sorted(parameters)}"
    if unknown := sorted(str(key) for key in values if key not in parameters):
        raise UserError(f"{address}: unknown key(s) {unknown}; {valid}")
    required = [name for name, found in parameters.items() if found.default is found.empty]
    if missing := [name for name in required if name not in values]:
        raise UserError(f"{address}: missing key(s) {missing}; {valid}")
    arguments = {
        name: convert(value, hints[name], f"{address}.{name}") for name, value in values.items()
    }
    try:
        return target(**arguments, **given)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{address}: {error}") from error


def build_kind(
    registry: Mapping[str, Callable[..., T]],
    row: Mapping[str, Any],
    address: str,
    key: str = "kind",
) -> T:
    """Build the member of `registry` that a row names by `key` from the row's other keys.

    Raises:
        UserError: on an unknown member, naming the valid ones, and as `build` does.
    """
    _require_section(row, address)
    kind = row.get(key)
    if not isinstance(kind, str) or kind not in registry:
        raise UserError(f"{address}.{key}: expected one of {sorted(registry)}, got {kind!r}")
    return build(registry[kind], {k: v for k, v in row.items() if k != key}, address)


def convert(value: Any, expected: Any, address: str) -> Any:
    """Check `value` against the type `expected` and return it in that type.

    Understands Any, bool, int, float, str, None, `X | Y`, Literal, tuple[X, ...], list[X],
    dict[str, X] and dataclasses. Integers are accepted for floats and lists become tuples; nothing
    else is converted.

    Raises:
        UserError: `address: expected float, got str '1e-3'`.
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return value
    if origin in UNIONS:
        return _convert_union(value, expected, address)
    if origin is Literal and value in arguments and type(value) in map(type, arguments):
        return value
    if origin in (tuple, list) and isinstance(value, list | tuple):
        return origin(
            convert(item, arguments[0], f"{address}[{i}]") for i, item in enumerate(value)
        )
    if origin is dict and isinstance(value, Mapping):
        return {str(k): convert(item, arguments[1], f"{address}.{k}") for k, item in value.items()}
    if expected is float and type(value) is int:
        return float(value)
    mistaken = expected is int and isinstance(value, bool)  # which Python takes for an integer
    if inspect.isclass(expected) and isinstance(value, expected) and not mistaken:
        return value
    if hasattr(expected, "__dataclass_fields__"):
        return build(expected, value, address)
    raise _wrong(value, _in_words(expected), address)


def require_positive(config: Any) -> None:
    """Refuse a dataclass of numbers, all of which must be above 0, with a ValueError."""
    for field in dataclasses.fields(config):
        if getattr(config, field.name) <= 0:
            raise ValueError(f"{field.name} must be above 0")


def _convert_union(value: Any, expected: Any, address: str) -> Any:
    options = typing.get_args(expected)
    sections: list[Any] = [option for option in options if dataclasses.is_dataclass(option)]
    if len(sections) > 1 and isinstance(value, Mapping):
        kinds = {kind: section for section in sections for kind in _kinds(section)}
        if value.get("kind") not in list(kinds):
            raise _wrong(value.get("kind"), f"one of {list(kinds)}", f"{address}.kind")
        sections = [kinds[value["kind"]]]
    if sections and isinstance(value, Mapping):  # the section's own error says what is wrong
        return build(sections[0], value, address)
    for option in options:
        try:
            return convert(value, option, address)
        except UserError:
            continue
    raise _wrong(value, _in_words(expected), address)


def _require_section(value: Any, address: str) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(value, "a section of keys", address)


def _wrong(value: Any, expected: str, address: str) -> UserError:
    found = "null" if value is None else f"{type(value).__name__} {value!r}"
    return UserError(f"{address}: expected {expected}, got {found}")


def _in_words(expected: Any) -> str:
    """What may be written where a value of the type `expected` belongs."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in UNIONS:
        return " or ".join(map(_in_words, arguments))
    if origin is Literal:
        return f"one of {list(arguments)}"
    if dataclasses.is_dataclass(expected):
        kinds = " or ".join(_kinds(expected))
        keys = sorted(field.name for field in dataclasses.fields(expected))
        return f"a section of kind {kinds}" if kinds else f"a section with the keys {keys}"
    names = {type(None): "null", dict: "a section of keys", list: "a list", tuple: "a list"}
    return names.get(origin or expected, getattr(expected, "__name__", str(expected)))


def _kinds(section: Any) -> tuple[str, ...]:
    """The values of a dataclass's literal `kind`; none where it has no such key."""
    return typing.get_args(typing.get_type_hints(section).get("kind"))

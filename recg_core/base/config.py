"""Strict construction of configuration from plain mappings, such as a section of `params.yaml`."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union

from recg_core.base.errors import UserError

T = TypeVar("T")


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
    arguments = check_arguments(target, values, address, given=frozenset(given))
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
    **given: Any,
) -> T:
    """Build the member of `registry` that a row names by `key` from the row's other keys.

    Raises:
        UserError: on an unknown member, naming the valid ones, and as `build` does.
    """
    if not isinstance(row, Mapping):
        raise UserError(f"{address}: expected a section of keys, got {_describe(row)}")
    kind = row.get(key)
    if not isinstance(kind, str) or kind not in registry:
        raise UserError(f"{address}.{key}: expected one of {sorted(registry)}, got {kind!r}")
    return build(registry[kind], {k: v for k, v in row.items() if k != key}, address, **given)


def check_arguments(
    target: Callable[..., Any],
    values: Mapping[str, Any],
    address: str,
    given: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Check `values` against the signature of `target` and return them converted.

    Integers are accepted for floats and lists become tuples; nothing else is converted.

    Raises:
        UserError: on an unknown, missing or wrongly typed key, naming the valid ones.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{address}: expected a section of keys, got {_describe(values)}")
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if name not in given
    }
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    unknown = sorted(str(key) for key in values if key not in parameters)
    if unknown:
        raise UserError(f"{address}: unknown key(s) {unknown}; valid keys are {sorted(parameters)}")
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in values
    ]
    if missing:
        raise UserError(f"{address}: missing key(s) {missing}; valid keys are {sorted(parameters)}")
    return {
        name: convert(value, hints[name], f"{address}.{name}") for name, value in values.items()
    }


def convert(value: Any, expected: Any, address: str) -> Any:
    """Check `value` against the type `expected` and return it in that type.

    Understands Any, bool, int, float, str, None, `X | Y`, Literal, tuple[X, ...], list[X],
    dict[str, X] and dataclasses.

    Raises:
        UserError: `address: expected float, got str '1e-3'`.
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return value
    if origin is Literal:
        if value in arguments and type(value) in {type(option) for option in arguments}:
            return value
        raise UserError(f"{address}: expected one of {list(arguments)}, got {_describe(value)}")
    if origin in (Union, types.UnionType):
        return _convert_union(value, expected, address)
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise UserError(f"{address}: expected a list, got {_describe(value)}")
        return origin(
            convert(item, arguments[0], f"{address}[{i}]") for i, item in enumerate(value)
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{address}: expected a section of keys, got {_describe(value)}")
        return {str(k): convert(item, arguments[1], f"{address}.{k}") for k, item in value.items()}
    if expected is type(None) and value is None:
        return None
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if expected in (int, float) and isinstance(value, bool):
        raise UserError(f"{address}: expected {expected.__name__}, got {_describe(value)}")
    if inspect.isclass(expected) and isinstance(value, expected):
        return value
    if hasattr(expected, "__dataclass_fields__"):
        return build(expected, value, address)
    raise UserError(f"{address}: expected {_name(expected)}, got {_describe(value)}")


def require_positive(config: Any) -> None:
    """Refuse a dataclass of numbers, all of which must be above 0, with a ValueError."""
    for field in dataclasses.fields(config):
        if getattr(config, field.name) <= 0:
            raise ValueError(f"{field.name} must be above 0")


def _convert_union(value: Any, expected: Any, address: str) -> Any:
    options = typing.get_args(expected)
    sections = [option for option in options if dataclasses.is_dataclass(option)]
    if sections and isinstance(value, Mapping):  # the section's own error says what is wrong
        return build(_section_of_kind(sections, value, address), value, address)
    for option in options:
        try:
            return convert(value, option, address)
        except UserError:
            continue
    raise UserError(f"{address}: expected {_name(expected)}, got {_describe(value)}")


def _section_of_kind(sections: list[Any], value: Mapping[str, Any], address: str) -> Any:
    """The dataclass whose literal `kind` the section has; the only one needs none."""
    if len(sections) == 1:
        return sections[0]
    kinds = {
        kind: section
        for section in sections
        for kind in typing.get_args(typing.get_type_hints(section)["kind"])
    }
    found = value.get("kind")
    if found not in kinds:
        raise UserError(f"{address}.kind: expected one of {list(kinds)}, got {_describe(found)}")
    return kinds[found]


def _name(expected: Any) -> str:
    if expected is type(None):
        return "null"
    if typing.get_origin(expected) in (Union, types.UnionType):
        return " or ".join(_name(option) for option in typing.get_args(expected))
    return getattr(expected, "__name__", str(expected))


def _describe(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r}"

"""The name of what a model is trained on: a domain, or several joined by +, `IS+VG`."""

from collections.abc import Iterable

JOIN = "+"  # no domain's name has one


def source_name(domains: Iterable[str]) -> str:
    """The name of the source that these domains make up."""
    return JOIN.join(domains)


def domains_of(source: str) -> tuple[str, ...]:
    """The domains that make up the source of this name."""
    return tuple(source.split(JOIN))


def in_domain(source: str, target: str) -> bool:
    """Whether the target is among the domains of the source: nothing is zero-shot there."""
    return target in domains_of(source)

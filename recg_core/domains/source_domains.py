"""What a model is trained on: one domain, or several, whose items never mix.

Each domain keeps its own table of items, joined to its texts by item id, so that an item is known
by its domain and its id. A list of files with digests stands for a source where a folder would be
the data of one domain: what is trained on a source depends on that list, and on no other domain.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, sha256_file, write_sealed_json
from recg_core.base.sources import domains_of, source_name
from recg_core.domains.domain import Domain, load_domain, require_interactions
from recg_core.domains.shards import MANIFEST_NAME

TABLES = ("items.parquet", "sequences.parquet")


@dataclass(frozen=True)
class SourceDomains:
    """The domains whose interactions a model is trained on, in the order of the source's name.

    Raises:
        UserError: when their embeddings are by different encoders.
    """

    domains: tuple[Domain, ...]

    def __post_init__(self) -> None:
        first, *others = self.domains
        for other in others:
            if other.encoder_fingerprint != first.encoder_fingerprint:
                raise UserError(
                    f"the embeddings of {first.name} and {other.name} are by different encoders; "
                    "run the encode stage again"
                )

    @property
    def name(self) -> str:
        """`IS`, or `IS+VG` of two domains."""
        return source_name(domain.name for domain in self.domains)

    @property
    def encoder_fingerprint(self) -> str:
        """Of the encoder of all its domains."""
        return self.domains[0].encoder_fingerprint

    @property
    def user_ids(self) -> Iterator[str]:
        """The users of all its domains; one who is in several comes as often."""
        return (user for domain in self.domains for user in domain.sequences.user_ids)

    @property
    def item_ids(self) -> Iterator[str]:
        """The items of all its domains."""
        return (item for domain in self.domains for item in domain.item_ids)

    def require_interactions(self) -> None:
        """Refuse to train where one of its domains has no users.

        Raises:
            UserError: naming it.
        """
        for domain in self.domains:
            require_interactions(domain)


def source_of(name: str, domains: Mapping[str, Domain]) -> SourceDomains:
    """The source of this name among loaded domains."""
    return SourceDomains(tuple(domains[domain] for domain in domains_of(name)))


def write_source(name: str, domains_root: Path, embeddings_root: Path, path: Path) -> None:
    """Write the list of the files of a source's domains, each with its SHA-256.

    Args:
        name: of the source.
        domains_root: holds a folder for every domain.
        embeddings_root: holds the embeddings of every domain. Of these the manifest is listed,
            which has the digests of all shards.
        path: the JSON to write.

    Raises:
        UserError: when a file is missing or damaged.
    """
    files = {}
    for domain in domains_of(name):
        load_domain(domains_root / domain, embeddings_root / domain)  # refuses what is damaged
        paths = _files(domain, domains_root, embeddings_root)
        files[domain] = [sha256_file(path) for path in paths]
    write_sealed_json(path, {"name": name, "files": files})


def load_source(path: Path, domains_root: Path, embeddings_root: Path) -> SourceDomains:
    """Read the domains of a source whose files are those of the list at `path`.

    Raises:
        UserError: when a file is missing, damaged or another than the list has.
    """
    content = read_sealed_json(path, "run the sources stage")
    found = []
    for domain in domains_of(content["name"]):
        found.append(load_domain(domains_root / domain, embeddings_root / domain))
        files = _files(domain, domains_root, embeddings_root)
        for file, digest in zip(files, content["files"][domain], strict=True):
            if sha256_file(file) != digest:
                raise UserError(f"{file}: is another file than {path} has; run the sources stage")
    return SourceDomains(tuple(found))


def _files(domain: str, domains_root: Path, embeddings_root: Path) -> list[Path]:
    return [
        *(domains_root / domain / table for table in TABLES),
        embeddings_root / domain / MANIFEST_NAME,
    ]

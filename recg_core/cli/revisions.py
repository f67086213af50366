"""Results of a revision: a commit, a branch, a tag, an experiment, or the workspace as it is."""

import json
from dataclasses import dataclass
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import SCMError, resolve_rev
from dvc_data.index import DataIndexDirError

from recg_core.base.errors import UserError
from recg_core.base.files import parse_sealed_json
from recg_core.models.ranking.ranks import CONTEXTS, SeedRanks, read_ranks

WORKSPACE = "workspace"
RANKS_FOLDER = "results/ranks"


@dataclass(frozen=True)
class Revision:
    """The files of a revision, those in git and those that its `dvc.lock` names."""

    name: str
    repo: Repo

    def cells(self) -> list[str]:
        """The names of all cells: paths of ranks below their folder, without their ending."""
        files = self.repo.dvcfs
        try:
            found = list(files.find(RANKS_FOLDER)) if files.isdir(RANKS_FOLDER) else []
        except DataIndexDirError as error:
            raise UserError(
                f"revision '{self.name}': its ranks are not in DVC's cache or remote; run "
                f"`dvc pull {RANKS_FOLDER}` or `dvc repro` at that revision"
            ) from error
        # The folder is looked for, whatever DVC puts before it.
        paths = [path.partition(f"{RANKS_FOLDER}/")[2] for path in found]
        paths = [path for path in paths if f"/{CONTEXTS}/" not in path]
        names = [path.removesuffix(".parquet") for path in paths if path.endswith(".parquet")]
        if not names:
            raise UserError(
                f"revision '{self.name}' has no ranks below {RANKS_FOLDER}; run `dvc repro` "
                "there and commit dvc.lock"
            )
        return sorted(names)

    def ranks(self, cell: str) -> SeedRanks:
        """A cell's ranks from the workspace, the cache or the remote.

        Raises:
            UserError: when they are in none of them, or written by an incompatible version.
        """
        path = f"{RANKS_FOLDER}/{cell}.parquet"
        return read_ranks(self._read(path), f"{path} of '{self.name}'")

    def json(self, path: str) -> Any:
        """The content of a JSON file that lies in git, which has a digest of its own.

        Raises:
            UserError: when it is nowhere or no JSON.
        """
        try:
            return json.loads(self._read(path))
        except ValueError as error:
            raise UserError(f"{path} of '{self.name}': not valid JSON ({error})") from error

    def sealed_json(self, path: str) -> dict[str, Any]:
        """The content of a JSON file that a stage sealed.

        Raises:
            UserError: when it is nowhere or damaged.
        """
        label, remedy = f"{path} of '{self.name}'", "run `dvc repro` at that revision"
        return parse_sealed_json(self._read(path), label, remedy)

    def _read(self, path: str) -> bytes:
        try:
            content: bytes = self.repo.dvcfs.read_bytes(path)
        except (OSError, DvcException) as error:
            raise UserError(
                f"{path} of '{self.name}': not in git, DVC's cache or remote; run "
                f"`dvc pull {path}` or `dvc repro` at that revision"
            ) from error
        return content


def open_revision(revision: str) -> Revision:
    """Open a revision of the project in the working directory.

    Raises:
        UserError: when there is no such revision, or no project.
    """
    try:
        if revision == WORKSPACE:
            return Revision(revision, Repo())
        with Repo() as project:
            sha = resolve_rev(project.scm, revision)
        return Revision(revision, Repo(rev=sha))
    except (SCMError, DvcException) as error:
        raise UserError(
            f"revision '{revision}': {error}; expected a commit, branch, tag, experiment or "
            f"'{WORKSPACE}'"
        ) from error

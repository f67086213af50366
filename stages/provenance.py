"""Which code and libraries made a result."""

import platform
import subprocess
from importlib.metadata import version

LIBRARIES = ("torch", "transformers", "polars", "numpy", "scipy", "dvc")


def provenance() -> str:
    """The git revision and the versions of what matters, in a sentence."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{_revision()} Python {platform.python_version()}, {versions}."


def _revision() -> str:
    """HEAD, and whether code or settings differ from it; results always do while they are made."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return "Made outside a git checkout."
    code = ("recg_core", "stages", "params.yaml", "dvc.yaml", "requirements.lock")
    changed = _git("status", "--porcelain", "--", *code)
    return f"Made at git revision {head[:12]}{', with uncommitted changes' if changed else ''}."


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

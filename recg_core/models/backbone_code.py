"""The code of a backbone, so that a change of it, and of no other, is noticed.

The module of a backbone bears its name in the registry; what it shares with others it imports from
the same package. The package is read, not imported: that would load torch.
"""

import ast
import hashlib
from pathlib import Path

import recg_core
from recg_core.base.errors import UserError

PACKAGE = "recg_core.backbones"
FOLDER = Path(str(recg_core.__file__)).parent / "backbones"


def backbone_sha256(name: str) -> str:
    """The SHA-256 of a backbone's module and of all modules of its package that it imports.

    Raises:
        UserError: when there is no such module, naming those that there are.
    """
    digest = hashlib.sha256()
    for module in sorted(_modules(name)):
        digest.update(f"{module}\n".encode() + (FOLDER / f"{module}.py").read_bytes())
    return digest.hexdigest()


def _modules(name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        path = FOLDER / f"{module}.py"
        if module in found:
            continue
        if not path.is_file():
            there = sorted(file.stem for file in FOLDER.glob("[!_]*.py"))
            raise UserError(f"backbones.{name}: no module of that name; there are {there}")
        found.add(module)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{PACKAGE}."):
                waiting.append(str(node.module).removeprefix(f"{PACKAGE}."))
    return found

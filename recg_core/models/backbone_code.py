"""The code of a backbone, so that a change of it, and of no other, is noticed.

The module of a backbone bears its name in the registry; what it shares with others it imports from
the same package. The package is read, not imported: that would load torch.
"""

import ast
import hashlib
from pathlib import Path

import recg_core
from recg_core.base.errors import UserError

PACKAGE = "recg_core.backbones."
FOLDER = Path(str(recg_core.__file__)).parent / "backbones"


def backbone_sha256(name: str) -> str:
    """The SHA-256 of a backbone's module and of all modules of its package that it imports.

    Raises:
        UserError: when there is no such module, naming the backbones that there are.
    """
    if not (FOLDER / f"{name}.py").is_file():
        from recg_core.backbones import BACKBONES

        raise UserError(f"backbones.{name}: no module of that name; there are {sorted(BACKBONES)}")
    found: dict[str, bytes] = {}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found[module] = (FOLDER / f"{module}.py").read_bytes()
            for node in ast.walk(ast.parse(found[module])):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE):
                    waiting.append(str(node.module).removeprefix(PACKAGE))
    digest = hashlib.sha256()
    for module, code in sorted(found.items()):
        digest.update(f"{module}\n".encode() + code)
    return digest.hexdigest()

"""The tour: every command and every line of Python gives what is printed below it."""

import contextlib
import doctest
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from recg_core.cli.app import app
from recg_core.cli.running import run_app
from tests.project import ROOT, run_stages, small_params, with_value

TOUR = ROOT / "docs" / "tour.md"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INSTALL = "make install"  # begins what the reader has done before
# Floating-point sums differ in their last digits between processors.
DECIMALS = re.compile(r"-?\d+\.\d{4,}")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tour's folder beside a finished small pipeline."""
    params = with_value(small_params(), "grid.variants", ["anchored"])
    params = with_value(params, "grid.backbones", ["sasrec"])
    run_stages(
        tmp_path, params, "fetch", "preprocess", "encode", "pool", "sources", "backbones",
        "train", "cluster", "evaluate", "baselines",
    )  # fmt: skip
    for path in (ROOT / "docs" / "tour").glob("*.csv"):
        shutil.copy(path, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LC_ALL", "C")  # the order of `ls`
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tour_is_as_it_is_printed(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    for kind, text in BLOCK.findall(TOUR.read_text(encoding="utf-8")):
        if kind == "python":
            run_session(text, names)
            continue
        for command, expected in commands(text):
            if not command.startswith(INSTALL):
                found = run_command(command, monkeypatch)
                assert rounded(found) == rounded(expected), f"after `{command}`"


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a block with what is printed below each."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert parts[0] == ""
    return [(command, output) for command, _, output in (p.partition("\n") for p in parts[1:])]


def run_command(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints; of `recg`, which runs in this process, also why it failed."""
    if not command.startswith("recg "):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        return done.stdout
    monkeypatch.setattr("sys.argv", [word.strip("'") for word in command.split()])
    out, error = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(error),
        pytest.raises(SystemExit),
    ):  # fmt: skip
        run_app(app)
    why = [line for line in error.getvalue().splitlines(True) if line.startswith("error: ")]
    return out.getvalue() + "".join(why)


def run_session(text: str, names: dict[str, Any]) -> None:
    """Run a session of Python; `names` holds what it defines."""
    test = doctest.DocTestParser().get_doctest(text, names, "tour", str(TOUR), 0)
    said = io.StringIO()
    results = doctest.DocTestRunner(verbose=False).run(test, out=said.write, clear_globs=False)
    names.update(test.globs)
    assert results.failed == 0, said.getvalue()


def rounded(text: str) -> str:
    """The text with its long decimals to three places."""
    return DECIMALS.sub(lambda found: f"{float(found[0]):.3f}", text)

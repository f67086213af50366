"""What every encoder of the registry promises to shards, workers and models."""

import inspect
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS
from recg_core.domains.shards import load_embeddings
from recg_core.encoders import ENCODERS, CorpusEncoder, Encoder, build_encoder
from recg_core.encoders.base import TokenEncoder
from tests.fakes import items_frame
from tests.project import ROOT, run_command, write_params
from tests.rows import EncoderRow, encoder_row

TEXTS_OF = {
    "a": ["red wool scarf", "red cotton scarf", "blue wool hat", "blue cotton hat"],
    "b": ["steel frying pan", "iron frying pan", "steel soup pot", "iron soup pot"],
    "c": ["soft grey blanket", "grey wool blanket", "stone garden lamp", "steel garden lamp"],
}
TEXTS = [*TEXTS_OF["a"], "", *TEXTS_OF["b"], " ".join(["word"] * 40), "unheard", "red wool scarf"]


def check_encoder(kind: str, row: EncoderRow) -> None:
    """The whole contract; `kind` is in the registry."""
    check_construction(kind, row)
    check_vectors(fitted(kind, row.keys), fitted(kind, row.keys))
    check_identity(kind, row)


def fitted(kind: str, keys: dict[str, Any]) -> Encoder:
    """The encoder of a row, ready to encode."""
    encoder = build_encoder({"kind": kind, **keys}, "encoders.x")
    if isinstance(encoder, CorpusEncoder):
        encoder.fit([text for domain in encoder.fit_domains for text in TEXTS_OF[domain]])
    return encoder


def check_construction(kind: str, row: EncoderRow) -> None:
    """It loads nothing, and only keys that the constructor has are accepted."""
    started = time.perf_counter()
    encoder = build_encoder({"kind": kind, **row.keys}, "encoders.x")
    assert time.perf_counter() - started < 0.5
    assert isinstance(encoder.template, str)
    assert all(isinstance(name, str) for name in encoder.libraries)
    with pytest.raises(UserError, match=r"^encoders\.x: unknown key\(s\) \['surprise'\]; valid"):
        build_encoder({"kind": kind, **row.keys, "surprise": 1}, "encoders.x")


def check_vectors(encoder: Encoder, other: Encoder) -> None:
    """A vector is that of its text, whatever stands beside it and whoever computes it."""
    done: list[int] = []
    vectors = encoder.encode(TEXTS, done.append)
    assert (vectors.dtype, vectors.shape[0], vectors.ndim) == (np.float32, len(TEXTS), 2)
    assert sum(done) == len(TEXTS)
    assert np.isfinite(vectors).all()
    assert vectors.any(axis=1).all()
    np.testing.assert_array_equal(encoder.encode(TEXTS), vectors)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1])[::-1], vectors, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], vector, atol=1e-5)
    nothing = encoder.encode([])
    assert (nothing.dtype, nothing.shape) == (np.float32, (0, vectors.shape[1]))
    # Workers get a copy of an encoder that has not encoded yet.
    copy = pickle.loads(pickle.dumps(other))
    np.testing.assert_array_equal(copy.encode(TEXTS), vectors)
    if isinstance(encoder, TokenEncoder):
        np.testing.assert_array_equal(encoder.embed(encoder.tokenize(TEXTS)), vectors)


def check_identity(kind: str, row: EncoderRow) -> None:
    """It is JSON, the same for the same row, and another for every key that can matter."""
    identity = fitted(kind, row.keys).identity()
    assert json.loads(json.dumps(identity)) == identity
    assert fitted(kind, row.keys).identity() == identity
    for key, value in row.changes.items():
        assert fitted(kind, row.keys | {key: value}).identity() != identity, key
    for key, value in row.neutral.items():
        assert fitted(kind, row.keys | {key: value}).identity() == identity, key
    parameters = inspect.signature(ENCODERS[kind]).parameters
    known = row.changes.keys() | row.neutral.keys()
    assert known == parameters.keys() if row.covers_all else known < parameters.keys()


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_encoder_keeps_the_contract(kind: str, tmp_path: Path) -> None:
    check_encoder(kind, encoder_row(kind, tmp_path))


class Letters:
    """An encoder that a contributor might add: letters counted by their code modulo `dim`."""

    libraries: tuple[str, ...] = ("numpy",)

    def __init__(self, *, dim: int, template: str) -> None:
        self.template = template
        self._dim = dim

    def identity(self) -> dict[str, Any]:
        return {"kind": "letters", "dim": self._dim, "template": self.template}

    def encode(self, texts: Sequence[str], advance: Any = None) -> np.ndarray:
        vectors = np.ones((len(texts), self._dim), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            np.add.at(vector, [ord(letter) % self._dim for letter in text], 1.0)
        if advance is not None:
            advance(len(texts))
        return vectors


LETTERS = EncoderRow(
    keys={"dim": 5, "template": "{title}"}, changes={"dim": 4, "template": "{title}."}, neutral={}
)


def test_a_new_encoder_is_a_class_a_line_and_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENCODERS, "letters", Letters)
    encode = {"rows_per_shard": 4}
    write_params(
        tmp_path, {"encode": encode, "encoders": {"mine": {"kind": "letters", **LETTERS.keys}}}
    )
    check_encoder("letters", encoder_row("letters", tmp_path, tmp_path / "params.yaml"))
    ids = [f"i{n}" for n in range(len(TEXTS))]
    ITEMS.write(items_frame(ids, TEXTS), tmp_path / "domains" / "a" / "items.parquet")
    command = (
        "python -m stages.encode --domain a --encoder mine --domains domains --out out --work work"
    )
    done = run_command(command.split(), tmp_path)
    assert done.status == 0, done.stderr
    expected = fitted("letters", LETTERS.keys).encode(TEXTS)
    np.testing.assert_array_equal(load_embeddings(tmp_path / "out", ids), expected)


class Forgetful(Letters):
    """A mistake: the identity leaves out what changes the vectors."""

    def identity(self) -> dict[str, Any]:
        return {"kind": "forgetful", "template": self.template}


class Centring(Letters):
    """A mistake: a vector depends on the texts beside it."""

    def encode(self, texts: Sequence[str], advance: Any = None) -> np.ndarray:
        vectors = super().encode(texts, advance)
        return vectors - vectors.mean(axis=0) / 9 if len(texts) else vectors


@pytest.mark.parametrize("wrong", [Forgetful, Centring])
def test_the_contract_catches_mistakes(
    wrong: type[Letters], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENCODERS, "letters", wrong)
    with pytest.raises(AssertionError):
        check_encoder("letters", LETTERS)


def test_the_registry_is_imported_without_the_libraries_of_models() -> None:
    program = (
        "import sys, recg_core.encoders\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'sklearn', 'scipy', 'peft',"
        " 'huggingface_hub', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"

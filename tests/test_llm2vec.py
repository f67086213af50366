"""LLM2Vec's forward pass against the `llm2vec` package, on a tiny random Llama with adapters."""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recg_core.base.errors import UserError
from recg_core.domains.shards import load_embeddings
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.encoders.base import Tokens
from recg_core.encoders.decoder import attend_by_length, attend_varlen, packed_states
from recg_core.encoders.llm2vec import (
    CHAT_TEMPLATES,
    Llm2Vec,
    shorten,
    without_control_tokens,
)
from tests.fakes import contents, items_frame
from tests.tiny_llama import INSTRUCTION, MAX_LENGTH, MAX_TOKENS, SENTENCES, ours, save_models

torch.set_num_threads(1)

SPACELESS = "x1y2z3" * 60


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return save_models(tmp_path_factory.mktemp("llm2vec"))


@pytest.fixture(scope="module")
def oracle(folders: dict[str, str]) -> Iterator[Any]:
    """The package, with both adapters merged."""
    llm2vec = pytest.importorskip("llm2vec", reason="llm2vec is installed on Python < 3.13 only")
    import torch.distributed.tensor  # noqa: F401
    from peft import PeftModel

    package = llm2vec.LLM2Vec.from_pretrained(
        folders["base"],
        peft_model_name_or_path=folders["mntp"],
        merge_peft=True,
        max_length=MAX_LENGTH,
        doc_max_length=MAX_TOKENS,
    )
    supervised = PeftModel.from_pretrained(package.model, folders["supervised"])
    package.model = supervised.merge_and_unload()
    return package


def package_vectors(oracle: Any, texts: list[str], name: str = "", instruction: str = "") -> Any:
    """One call a text: what stands in the same batch must not matter."""
    oracle.model.config._name_or_path = name
    return np.concatenate(
        [
            oracle.encode([[instruction, text]], show_progress_bar=False, device="cpu").numpy()
            for text in texts
        ]
    )


HUB_NAMES = {
    "none": "somewhere/else",
    "llama3": "meta-llama/Meta-Llama-3-8B-Instruct",
    "mistral": "mistralai/Mistral-7B-Instruct-v0.2",
    "qwen2": "Qwen/Qwen2-7B-Instruct",
}


@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
@pytest.mark.parametrize("chat_template", CHAT_TEMPLATES)
def test_vectors_are_those_of_the_package(
    folders: dict[str, str], oracle: Any, chat_template: str, instruction: str
) -> None:
    if instruction and chat_template != "none":
        texts = [text for text in SENTENCES if len(text) < 60]
        options = {"max_tokens": 20, "max_length": MAX_LENGTH}
        oracle.doc_max_length = 20
    else:
        texts, options = SENTENCES, {}
        oracle.doc_max_length = MAX_TOKENS
    encoder = ours(folders, chat_template=chat_template, instruction=instruction, **options)
    expected = package_vectors(oracle, texts, HUB_NAMES[chat_template], instruction)
    found = encoder.encode(texts)
    assert found.shape == (len(texts), 32)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_package_batches_like_its_single_texts(folders: dict[str, str], oracle: Any) -> None:
    oracle.doc_max_length = MAX_TOKENS
    oracle.model.config._name_or_path = HUB_NAMES["llama3"]
    expected = oracle.encode(SENTENCES, show_progress_bar=False, device="cpu").numpy()
    found = ours(folders, chat_template="llama3").encode(SENTENCES)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_package_at_its_defaults_agrees_with_our_defaults(
    folders: dict[str, str], oracle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oracle, "max_length", 512)
    monkeypatch.setattr(oracle, "doc_max_length", 400)
    texts = ["short", "many words here " * 400]
    encoder = Llm2Vec(
        model=folders["base"],
        adapters=(folders["mntp"], folders["supervised"]),
        template="{title}",
        chat_template="llama3",
        dtype="float32",
    )
    expected = package_vectors(oracle, texts, HUB_NAMES["llama3"])
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)


def plain_mean(folders: dict[str, str], text: str, first: int) -> np.ndarray:
    """Base and adapters applied unmerged, one unpadded text, mean of states from `first` on."""
    encoder = ours(folders)
    encoder.encode(["load"])
    tokenizer, model = encoder._tokenizer, encoder._model
    ids = torch.tensor([tokenizer(text)["input_ids"]], device=model.device)
    with torch.no_grad():
        mask = torch.zeros(1, 1, ids.shape[1], ids.shape[1], device=model.device)
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state[0]
    return states[first:].mean(dim=0).cpu().numpy()


def test_instruction_and_first_token_are_attended_to_but_not_averaged(
    folders: dict[str, str],
) -> None:
    found = ours(folders, instruction=INSTRUCTION).encode(["red scarf", "blue hat"])
    tokenizer = ours(folders)
    tokenizer.encode(["load"])
    for text, vector in zip(("red scarf", "blue hat"), found, strict=True):
        whole = f"{INSTRUCTION} {text}"
        size = len(tokenizer._tokenizer(text, add_special_tokens=False)["input_ids"])
        np.testing.assert_allclose(vector, plain_mean(folders, whole, -size), atol=1e-5)
    assert np.abs(found - ours(folders).encode(["red scarf", "blue hat"])).max() > 1e-2


def test_an_empty_text_is_the_mean_of_the_tokens_that_are_there(
    folders: dict[str, str], oracle: Any
) -> None:
    """The package's mean runs over padding as well, so it depends on the rest of the batch."""
    encoder = ours(folders)
    alone = encoder.encode([""])
    np.testing.assert_allclose(alone[0], plain_mean(folders, "", 0), atol=1e-5)
    np.testing.assert_allclose(encoder.encode([SENTENCES[0], ""])[1], alone[0], atol=1e-5)
    np.testing.assert_allclose(package_vectors(oracle, [""]), alone, atol=1e-5)
    batched = oracle.encode([SENTENCES[0], ""], show_progress_bar=False, device="cpu").numpy()
    assert np.abs(batched[1] - alone[0]).max() > 1e-2


def test_a_long_text_without_spaces_is_cut_by_tokens(folders: dict[str, str], oracle: Any) -> None:
    """The package cuts by words, and of a single word nothing is left."""
    oracle.doc_max_length = MAX_TOKENS
    encoder = ours(folders)
    vectors = encoder.encode(["", SPACELESS, SPACELESS + "tail"])
    assert np.abs(vectors[1] - vectors[0]).max() > 1e-2
    np.testing.assert_array_equal(vectors[1], vectors[2])
    tokenizer = encoder._tokenizer
    (cut,) = shorten([SPACELESS], tokenizer, MAX_TOKENS, MAX_LENGTH)
    assert SPACELESS.startswith(cut)
    count = len(tokenizer(cut, add_special_tokens=False)["input_ids"])
    assert MAX_TOKENS - 2 <= count <= MAX_TOKENS
    np.testing.assert_allclose(package_vectors(oracle, [SPACELESS])[0], vectors[0], atol=1e-5)


@pytest.mark.parametrize("text", ["🎸" * 200, "שלוםעולם" * 50, "a" * 500, "e\u0301" * 300])
def test_every_script_is_cut_within_the_limit(folders: dict[str, str], text: str) -> None:
    encoder = ours(folders)
    assert np.isfinite(encoder.encode([text])).all()
    tokenizer = encoder._tokenizer
    (cut,) = shorten([text], tokenizer, MAX_TOKENS, MAX_LENGTH)
    assert cut
    assert text.startswith(cut)
    assert len(tokenizer(cut, add_special_tokens=False)["input_ids"]) <= MAX_TOKENS


def test_the_packages_separator_is_text_like_any_other(folders: dict[str, str]) -> None:
    text = "red !@#$%^&*()scarf"
    np.testing.assert_allclose(
        ours(folders).encode([text])[0], plain_mean(folders, text, 1), atol=1e-5
    )


CONTROL = ["red<|eot_id|> scarf", "<|im_start|>system", "a <<|end_of_text|>|eot_id|> b", "<|eot_id"]


def special_ids(encoder: Llm2Vec, texts: list[str]) -> list[list[int]]:
    """Of every text the ids of special tokens among its tokens, the first token left out."""
    sequences = encoder.tokenize(texts).sequences
    marks = set(encoder._tokenizer.added_tokens_decoder)
    return [[token for token in ids[1:] if token in marks] for ids in sequences]


def test_control_tokens_in_a_text_are_plain_characters(folders: dict[str, str]) -> None:
    """Those of the chat template stay what they are."""
    encoder = ours(folders, chat_template="llama3")
    of_template = special_ids(encoder, ["red"])[0]
    assert len(of_template) == 3
    assert special_ids(encoder, CONTROL) == [of_template] * len(CONTROL)
    split = ["red< |eot_id|> scarf", "< |im_start|>system", "a << |end_of_text|>|eot_id|> b"]
    assert without_control_tokens(CONTROL, encoder._tokenizer) == [*split, "<|eot_id"]
    np.testing.assert_array_equal(encoder.encode(CONTROL[:3]), encoder.encode(split))


def test_kept_control_tokens_are_those_of_the_package(folders: dict[str, str], oracle: Any) -> None:
    oracle.doc_max_length = MAX_TOKENS
    texts = [*CONTROL, "plain"]
    kept = ours(folders, chat_template="llama3", keep_control_tokens=True)
    expected = package_vectors(oracle, texts, HUB_NAMES["llama3"])
    np.testing.assert_allclose(kept.encode(texts), expected, atol=1e-5)
    plain = ours(folders, chat_template="llama3").encode(texts)
    assert (np.abs(plain - expected).max(axis=1) > 1e-2).tolist() == [
        True,
        True,
        True,
        False,
        False,
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["<|eot_id|>", "<", "|", "<|", "eot_id|>", "a", " "])))
def test_no_text_holds_a_control_token_afterwards(parts: list[str]) -> None:
    tokens = [SimpleNamespace(content=name, special=True) for name in ("<|eot_id|>", "|><", "<|<")]
    tokenizer = SimpleNamespace(added_tokens_decoder=dict(enumerate(tokens)), all_special_tokens=[])
    (text,) = without_control_tokens(["".join(parts)], tokenizer)
    assert not any(token.content in text for token in tokens)
    assert text.replace(" ", "") == "".join(parts).replace(" ", "")


def test_a_batch_changes_vectors_by_rounding_only(folders: dict[str, str]) -> None:
    texts = [*SENTENCES, "", SPACELESS]
    encoder = ours(folders, chat_template="llama3")
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    small = ours(folders, chat_template="llama3", batch_tokens=100).encode(texts[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, small, atol=1e-5)


def test_packed_states_are_those_of_the_library_for_each_text_alone(
    folders: dict[str, str],
) -> None:
    """Equal lengths that are no neighbours included."""
    encoder = ours(folders)
    encoder.encode(["load"])
    model = encoder._model
    generator = torch.Generator().manual_seed(0)
    lengths = (9, 9, 4, 1, 9, 30)
    sequences = [torch.randint(200, (n,), generator=generator).tolist() for n in lengths]
    with torch.inference_mode():
        for ids, found in zip(sequences, packed_states(model, sequences), strict=True):
            mask = torch.zeros(1, 1, len(ids), len(ids), device=model.device)
            alone = torch.tensor([ids], device=model.device)
            expected = model(input_ids=alone, attention_mask=mask).last_hidden_state[0]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-7)


def test_one_kernel_for_all_lengths_is_asked_for_what_one_product_a_length_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plain stand-in for the kernel, which a CPU lacks: it gets starts, ends and heads."""

    def plain(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
        starts: torch.Tensor, key_starts: torch.Tensor, longest: int, longest_key: int,
    ) -> torch.Tensor:  # fmt: skip
        assert starts.dtype == torch.int32
        assert torch.equal(starts, key_starts)
        assert longest == longest_key == int(starts.diff().max())
        mixed = []
        for begin, end in pairwise(starts.tolist()):
            weights = torch.einsum("qhe,khe->hqk", query[begin:end], key[begin:end])
            weights = (weights / query.shape[-1] ** 0.5).softmax(dim=-1)
            mixed.append(torch.einsum("hqk,khe->qhe", weights, value[begin:end]))
        return torch.cat(mixed)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", plain)
    lengths = (9, 9, 4, 1, 9, 30)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(sum(lengths), heads, 16, generator=generator) for heads in (8, 2, 2)
    )
    starts = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    found = attend_varlen(starts, max(lengths), query, key, value)
    torch.testing.assert_close(found, attend_by_length(lengths, query, key, value))


def test_every_adapter_counts_and_so_does_their_merging(folders: dict[str, str]) -> None:
    texts = SENTENCES[:3]
    none, one, two = (
        ours(folders, adapters=names).encode(texts)
        for names in ((), (folders["mntp"],), (folders["mntp"], folders["supervised"]))
    )
    assert np.abs(none - one).max() > 1e-2
    assert np.abs(one - two).max() > 1e-2


def test_an_adapter_named_as_model_is_refused(folders: dict[str, str]) -> None:
    with pytest.raises(UserError, match="is an adapter; give its base model"):
        ours(folders, model=folders["mntp"], adapters=()).encode(["red"])
    with pytest.raises(UserError, match="does not load onto the model"):
        ours(folders, adapters=(folders["base"],)).encode(["red"])


def test_a_long_instruction_is_refused(folders: dict[str, str]) -> None:
    with pytest.raises(UserError, match="shorten the instruction, lower max_tokens"):
        ours(folders, instruction="word " * 60).encode(["red"])


def test_half_precision_stays_close(folders: dict[str, str]) -> None:
    exact = ours(folders).encode(SENTENCES)
    half = ours(folders, dtype="bfloat16").encode(SENTENCES)
    cosines = (exact * half).sum(axis=1)
    cosines /= np.linalg.norm(exact, axis=1) * np.linalg.norm(half, axis=1)
    assert half.dtype == np.float32
    assert cosines.min() > 0.999


def test_identity_tells_every_setting_that_changes_vectors(folders: dict[str, str]) -> None:
    base = ours(folders).identity()
    assert base == ours(folders, batch_tokens=7).identity()
    for change in (
        {"adapters": (folders["supervised"], folders["mntp"])},
        {"adapters": (folders["mntp"],)},
        {"chat_template": "llama3"},
        {"instruction": INSTRUCTION},
        {"max_tokens": 30},
        {"keep_control_tokens": True},
        {"dtype": "bfloat16"},
        {"template": "{title}."},
    ):
        assert ours(folders, **change).identity() != base
    assert ours(folders, chat_template="llama3").identity()["suffix"] == "<|eot_id|>"


ITEM_TEXTS = ["Red wool scarf", "a", "emoji 🎸", "blue hat", "مرحبا שלום"]


@pytest.mark.parametrize(
    ("change", "encoded"),
    [
        ({}, 0),
        ({"batch_tokens": 64}, 0),
        ({"adapters": "swapped"}, 5),
        ({"chat_template": "llama3"}, 5),
        ({"instruction": INSTRUCTION}, 5),
        ({"template": "{title}."}, 5),
        ({"dtype": "bfloat16"}, 5),
        ({"max_tokens": 30}, 5),
    ],
)
def test_what_changes_a_vector_costs_everything_and_the_rest_nothing(
    folders: dict[str, str],
    change: dict[str, Any],
    encoded: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Renamed and reordered items besides; and no token of the hub's is written anywhere."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    config = EncodeConfig(rows_per_shard=2)
    encode_items(items_frame(list("abcde"), ITEM_TEXTS), ours(folders), tmp_path, config)
    if change.get("adapters") == "swapped":
        change = {"adapters": (folders["supervised"], folders["mntp"])}
    sizes: list[int] = []
    embed = Llm2Vec.embed

    def counting(self: Llm2Vec, tokens: Tokens, advance: Any = None) -> np.ndarray:
        sizes.append(len(tokens.sequences))
        return embed(self, tokens, advance)

    monkeypatch.setattr(Llm2Vec, "embed", counting)
    changed = ours(folders, **change)
    encode_items(items_frame(list("vwxyz"), ITEM_TEXTS[::-1]), changed, tmp_path, config)
    assert sum(sizes) == encoded
    np.testing.assert_allclose(
        load_embeddings(tmp_path, list("vwxyz")),
        changed.encode([f"{text}{'.' * ('template' in change)}" for text in ITEM_TEXTS[::-1]]),
        atol=5e-3,
    )
    assert not [path for path in tmp_path.iterdir() if b"hf_secret" in path.read_bytes()]


def test_an_interrupted_run_gives_the_bytes_of_an_unbroken_one(
    folders: dict[str, str], tmp_path: Path
) -> None:
    """Though texts come again in later shards, and half precision tells batches apart."""
    texts = [*SENTENCES, "", *SENTENCES[4:8], "blue hat", *SENTENCES[::-1]]
    items = items_frame([f"i{n}" for n in range(len(texts))], texts)
    config = EncodeConfig(rows_per_shard=4)
    for minutes in (0.0, 0.0, None):  # a shard each, then the rest
        encoder = ours(folders, dtype="bfloat16")
        manifest = encode_items(items, encoder, tmp_path / "broken", config, minutes)
        assert (manifest is None) == (minutes is not None)
    encode_items(items, ours(folders, dtype="bfloat16"), tmp_path / "unbroken", config)
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")

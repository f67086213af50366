"""Texts, the encode run over shards (reuse, resume, faults), and LSA."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS
from recg_core.domains.shards import load_embeddings, read_manifest, write_shard
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.encoders import ENCODERS, CorpusEncoder, build_encoder
from recg_core.encoders.lsa import Lsa
from recg_core.encoders.text import render_texts
from tests.fakes import CountingEncoder, contents, items_frame
from tests.project import ROOT
from tests.tiny_bert import CORPUS

CONFIG = EncodeConfig(rows_per_shard=3)


# --- texts ---------------------------------------------------------------------------------------


def test_a_template_is_rendered_with_empty_parts_and_folded_space() -> None:
    items = items_frame(["1", "2"], ["Red\n  cup ", ""]).with_columns(
        features=pl.Series(["", "light"]), description=pl.Series(["For  tea.", ""])
    )
    assert render_texts(items, "{title} {features} {description}") == ["Red cup For tea.", "light"]
    assert render_texts(items, "Title: {title}.\nFeatures: {features}.") == [
        "Title: Red cup.\nFeatures: .",
        "Title: .\nFeatures: light.",
    ]


def test_braces_in_an_item_are_text() -> None:
    assert render_texts(items_frame(["1"], ["{description} {0}"]), "{title}") == [
        "{description} {0}"
    ]


def test_further_texts_of_items_have_placeholders() -> None:
    items = items_frame(["1"], ["Cup"]).with_columns(brand=pl.lit("Acme"))
    assert render_texts(items, "{brand}: {title}") == ["Acme: Cup"]
    with pytest.raises(UserError, match=r"no text \['titel'\]; theirs are \['title', .*'brand'\]"):
        render_texts(items, "{brand} {titel}")


@pytest.mark.parametrize(
    "template", ["{title!r}", "{title:>9}", "{title", "{}", "title", "{title.upper}", ""]
)
def test_a_template_with_anything_else_is_refused(template: str) -> None:
    with pytest.raises(UserError, match=r"placeholders are \{title\}, \{features\}, \{desc"):
        render_texts(items_frame(["1"]), template)


# --- encoding into shards ------------------------------------------------------------------------


def test_every_item_gets_the_vector_of_its_text(tmp_path: Path) -> None:
    ids = [f"i{n}" for n in range(8)]
    encoder = CountingEncoder()
    manifest = encode_items(items_frame(ids), encoder, tmp_path, CONFIG)
    assert [entry.rows for entry in manifest.shards] == [3, 3, 2]
    assert manifest == read_manifest(tmp_path)
    expected = np.array([encoder.vector(i) for i in reversed(ids)], dtype=np.float16)
    np.testing.assert_array_equal(load_embeddings(tmp_path, ids[::-1]), expected)


def test_a_second_run_encodes_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    items = items_frame([f"i{n}" for n in range(8)])
    encode_items(items, CountingEncoder(), tmp_path, CONFIG)
    before = contents(tmp_path)
    again = CountingEncoder()
    encode_items(items, again, tmp_path, CONFIG)
    assert again.calls == 0
    assert contents(tmp_path) == before


def test_a_text_shared_by_items_is_encoded_once(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    titles = ["x", "y", "x", "x", "z", "y"]
    encode_items(items_frame([f"i{n}" for n in range(6)], titles), encoder, tmp_path, CONFIG)
    assert Counter(encoder.texts) == {"x": 1, "y": 1, "z": 1}
    loaded = load_embeddings(tmp_path, ["i0", "i2", "i3"])
    assert (loaded == loaded[0]).all()


def test_one_more_item_encodes_one_text_wherever_it_stands(tmp_path: Path) -> None:
    ids = [f"i{n}" for n in range(8)]
    encode_items(items_frame(ids), CountingEncoder(), tmp_path / "grown", CONFIG)
    for place in (0, 4, 10):
        ids.insert(place, f"new{place}")
        encoder = CountingEncoder()
        encode_items(items_frame(ids), encoder, tmp_path / "grown", CONFIG)
        assert encoder.texts == [f"new{place}"]
    encode_items(items_frame(ids), CountingEncoder(), tmp_path / "fresh", CONFIG)
    assert contents(tmp_path / "grown") == contents(tmp_path / "fresh")


def test_reordering_renaming_removing_and_other_shard_sizes_encode_nothing(tmp_path: Path) -> None:
    titles = [f"t{n}" for n in range(8)]
    encode_items(
        items_frame([f"i{n}" for n in range(8)], titles), CountingEncoder(), tmp_path, CONFIG
    )
    changed = [
        (items_frame([f"i{n}" for n in range(8)][::-1], titles[::-1]), CONFIG),
        (items_frame([f"renamed{n}" for n in range(8)], titles), CONFIG),
        (items_frame(["i5", "i6"], ["t5", "t6"]), CONFIG),
        (items_frame(["i5", "i6"], ["t5", "t6"]), EncodeConfig(1)),
    ]
    for items, config in changed:
        encoder = CountingEncoder()
        encode_items(items, encoder, tmp_path, config)
        assert encoder.calls == 0
        np.testing.assert_array_equal(
            load_embeddings(tmp_path, items["item_id"].to_list()),
            np.array([encoder.vector(t) for t in items["title"]], dtype=np.float16),
        )
    assert len(list(tmp_path.glob("*.parquet"))) == 2


def test_a_changed_text_is_encoded_again(tmp_path: Path) -> None:
    encode_items(items_frame(["a", "b"], ["x", "y"]), CountingEncoder(), tmp_path, CONFIG)
    encoder = CountingEncoder()
    encode_items(items_frame(["a", "b"], ["x", "changed"]), encoder, tmp_path, CONFIG)
    assert encoder.texts == ["changed"]


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_a_killed_run_resumes_at_its_last_finished_shard(tmp_path: Path, stop_at: int) -> None:
    items = items_frame([f"i{n}" for n in range(11)])
    killed = CountingEncoder(stop_at=stop_at)
    with pytest.raises(KeyboardInterrupt):
        encode_items(items, killed, tmp_path / "killed", CONFIG)
    assert len(list((tmp_path / "killed").glob("*"))) == stop_at - 1  # nor the folder, when none
    resumed = CountingEncoder()
    encode_items(items, resumed, tmp_path / "killed", CONFIG)
    assert len(resumed.texts) == 11 - 3 * (stop_at - 1)
    encode_items(items, CountingEncoder(), tmp_path / "unbroken", CONFIG)
    assert contents(tmp_path / "killed") == contents(tmp_path / "unbroken")


def test_a_run_killed_while_a_catalogue_grows_loses_no_old_vector(tmp_path: Path) -> None:
    old = [f"i{n}" for n in range(9)]
    new = [f"n{n}" for n in range(6)]
    encode_items(items_frame(old), CountingEncoder(), tmp_path, CONFIG)
    mixed = [item for pair in zip(new, old, strict=False) for item in pair] + old[6:]
    with pytest.raises(KeyboardInterrupt):
        encode_items(items_frame(mixed), CountingEncoder(stop_at=3), tmp_path, CONFIG)
    assert load_embeddings(tmp_path, old).shape == (9, 4)  # the old folder still stands
    resumed = CountingEncoder()
    encode_items(items_frame(mixed), resumed, tmp_path, CONFIG)
    assert set(resumed.texts) < set(new)
    assert load_embeddings(tmp_path, mixed).shape == (15, 4)


def test_shards_of_other_settings_never_mix(tmp_path: Path) -> None:
    items = items_frame([f"i{n}" for n in range(8)])
    encode_items(items, CountingEncoder(version=1), tmp_path, CONFIG)
    with pytest.raises(KeyboardInterrupt):
        encode_items(items, CountingEncoder(version=2, stop_at=2), tmp_path, CONFIG)
    with pytest.raises(UserError, match="incomplete"):
        read_manifest(tmp_path)
    back = CountingEncoder(version=1)
    encode_items(items, back, tmp_path, CONFIG)
    assert len(back.texts) == 8
    assert len(list(tmp_path.glob("*.parquet"))) == 3
    np.testing.assert_array_equal(
        load_embeddings(tmp_path, ["i3"]), np.array([back.vector("i3")], dtype=np.float16)
    )


def test_a_damaged_shard_and_leftovers_are_dropped_and_repaired(tmp_path: Path) -> None:
    items = items_frame([f"i{n}" for n in range(8)])
    encode_items(items, CountingEncoder(), tmp_path, CONFIG)
    before = contents(tmp_path)
    damaged = sorted(tmp_path.glob("*.parquet"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (tmp_path / ".00000.parquet.77.tmp").write_bytes(b"half")
    encoder = CountingEncoder()
    encode_items(items, encoder, tmp_path, CONFIG)
    assert encoder.texts == ["i3", "i4", "i5"]
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.nan, "NaN or infinite"),
        (np.inf, "NaN or infinite"),
        (1e30, "NaN or infinite"),
        (0, "zero"),
    ],
)
def test_unusable_vectors_are_refused_before_they_are_written(
    tmp_path: Path, value: float, problem: str
) -> None:
    class Broken(CountingEncoder):
        def vector(self, text: str) -> list[float]:
            return [value] * 4 if text == "i4" else super().vector(text)

    items = items_frame([f"i{n}" for n in range(8)])
    with pytest.raises(UserError, match=rf"encoder's output: .*{problem}.* 1 item\(s\): i4"):
        encode_items(items, Broken(), tmp_path, CONFIG)
    assert len(list(tmp_path.iterdir())) == 1  # the shard before, and no manifest


def test_vectors_of_another_shape_are_refused(tmp_path: Path) -> None:
    class Ragged(CountingEncoder):
        def encode(self, texts: Sequence[str], advance: object = None) -> np.ndarray:
            return super().encode(texts)[:, : 4 - self.calls // 2]

    with pytest.raises(UserError, match=r"returned \(2, 3\) for 2 texts of dim 4"):
        encode_items(items_frame(["a", "b", "c", "d", "e"]), Ragged(), tmp_path, CONFIG)


def test_a_full_disk_keeps_the_finished_shards_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = items_frame([f"i{n}" for n in range(8)])
    written: list[Path] = []

    def write_two(path: Path, *rest: Any) -> None:
        if len(written) == 2:
            raise UserError(f"{path}: could not be written (No space left on device)")
        written.append(path)
        write_shard(path, *rest)

    monkeypatch.setattr("recg_core.embeddings.encode.write_shard", write_two)
    with pytest.raises(UserError, match="No space left"):
        encode_items(items, CountingEncoder(), tmp_path, CONFIG)
    monkeypatch.undo()
    resumed = CountingEncoder()
    encode_items(items, resumed, tmp_path, CONFIG)
    assert resumed.texts == ["i6", "i7"]


class SlowEncoder(CountingEncoder):
    """A minute of the clock a call."""

    clock = 0.0

    def encode(self, texts: Sequence[str], advance: object = None) -> np.ndarray:
        SlowEncoder.clock += 60
        return super().encode(texts)


@pytest.mark.parametrize(("max_minutes", "shards"), [(0.0, 1), (1.9, 1), (2.0, 2), (3.5, 3)])
def test_a_run_ends_at_the_shard_that_time_allows_and_goes_on(
    tmp_path: Path, max_minutes: float, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recg_core.embeddings.encode.time.monotonic", lambda: SlowEncoder.clock)
    items = items_frame([f"i{n}" for n in range(11)])
    assert encode_items(items, SlowEncoder(), tmp_path / "short", CONFIG, max_minutes) is None
    assert len(list((tmp_path / "short").iterdir())) == shards
    assert encode_items(items, SlowEncoder(), tmp_path / "short", CONFIG, 99) is not None
    encode_items(items, CountingEncoder(), tmp_path / "long", CONFIG)
    assert contents(tmp_path / "short") == contents(tmp_path / "long")
    few = items_frame(["i0"])
    assert encode_items(few, SlowEncoder(2), tmp_path / "few", CONFIG, 0.0) is not None


def test_a_resumed_run_encodes_the_same_texts_together(tmp_path: Path) -> None:
    class Noting(CountingEncoder):
        def encode(self, texts: Sequence[str], advance: object = None) -> np.ndarray:
            lists.append(list(texts))
            return super().encode(texts)

    titles = list("abcadbefaghg")
    items = items_frame([f"i{n}" for n in range(12)], titles)
    lists: list[list[str]] = []
    encode_items(items, Noting(), tmp_path / "unbroken", CONFIG)
    unbroken, lists = lists, []
    for stop_at in (2, 3, None):
        with contextlib.suppress(KeyboardInterrupt):
            encode_items(items, Noting(stop_at=stop_at), tmp_path / "broken", CONFIG)
    assert [texts for n, texts in enumerate(lists) if texts not in lists[:n]] == unbroken
    assert unbroken == [["a", "b", "c"], ["d"], ["e", "f"], ["g", "h"]]
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")


def test_a_process_killed_outright_loses_the_shard_in_flight_alone(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom tests.fakes import *\n"
        "from recg_core.embeddings.encode import *\n"
        "class Slow(CountingEncoder):\n"
        "    def encode(self, texts, advance=None):\n"
        "        time.sleep(0.2)\n"
        "        return super().encode(texts)\n"
        "encode_items(items_frame([f'i{n}' for n in range(60)]), Slow(), Path(sys.argv[1]),"
        " EncodeConfig(3))"
    )
    killed, root = tmp_path / "killed", Path(__file__).parents[1]
    process = subprocess.Popen([sys.executable, "-c", program, str(killed)], cwd=root)
    while len(list(killed.glob("*.parquet"))) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    finished = len(list(killed.glob("*.parquet")))
    items, resumed = items_frame([f"i{n}" for n in range(60)]), CountingEncoder()
    encode_items(items, resumed, killed, CONFIG)
    assert len(resumed.texts) == 60 - 3 * finished
    encode_items(items, CountingEncoder(), tmp_path / "unbroken", CONFIG)
    assert contents(killed) == contents(tmp_path / "unbroken")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9)))
def test_any_change_of_a_catalogue_encodes_the_new_texts_alone(
    old: list[int], new: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = [
            items_frame([f"{key}{n}" for n in range(len(texts))], [str(t) for t in texts])
            for key, texts in (("o", old), ("n", new or old))
        ]
        encode_items(frames[0], CountingEncoder(), folder, CONFIG)
        encoder = CountingEncoder()
        encode_items(frames[1], encoder, folder, CONFIG)
        assert sorted(encoder.texts) == sorted({str(t) for t in new} - {str(t) for t in old})
        np.testing.assert_array_equal(
            load_embeddings(folder, frames[1]["item_id"].to_list()),
            np.array([encoder.vector(t) for t in frames[1]["title"]], dtype=np.float16),
        )


def test_an_empty_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no items"):
        encode_items(items_frame([]), CountingEncoder(), tmp_path / "new", CONFIG)
    assert not (tmp_path / "new").exists()


# --- rows of params ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"kind": "lda"},
            rf"encoders\.x\.kind: expected one of {re.escape(str(sorted(ENCODERS)))}, got 'lda'",
        ),
        ({}, r"encoders\.x\.kind"),
        ({"kind": "lsa", "dim": 3, "template": "{title}"}, r"missing key.*fit_domains"),
        (
            {"kind": "sentence_transformer", "model": "a/b", "templat": "{title}"},
            "unknown key.*templat",
        ),
        (
            {
                "kind": "sentence_transformer",
                "model": "a/b",
                "template": "{title}",
                "dtype": "int8",
            },
            r"encoders\.x\.dtype: expected one of",
        ),
        ({"kind": "lsa", "dim": 0, "template": "{title}", "fit_domains": ["a"]}, "dim: expected 1"),
    ],
)
def test_a_bad_row_is_refused_with_its_address(row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_encoder(row, "encoders.x")


def test_only_lsa_asks_for_a_corpus() -> None:
    lsa = build_encoder(
        {"kind": "lsa", "dim": 2, "template": "{title}", "fit_domains": ["a"]}, "encoders.x"
    )
    other = build_encoder(
        {"kind": "sentence_transformer", "model": "a/b", "template": "{title}"}, "x"
    )
    assert isinstance(lsa, CorpusEncoder)
    assert not isinstance(other, CorpusEncoder)


# --- lsa -----------------------------------------------------------------------------------------


def fitted(texts: Sequence[str], dim: int = 3) -> Lsa:
    encoder = Lsa(dim=dim, template="{title}", fit_domains=("a",))
    encoder.fit(texts)
    return encoder


def test_lsa_is_the_projection_on_leading_singular_directions() -> None:
    """Against a plain dense computation: counts, idf, unit rows, numpy SVD."""
    corpus = sorted({*CORPUS, "pan pan pan lid"})
    words = sorted({word for text in corpus for word in text.split()})
    counts = np.array([[text.split().count(word) for word in words] for text in corpus], float)
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0)
    weights *= np.log((1 + len(corpus)) / (1 + (counts > 0).sum(axis=0))) + 1
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    _, _, directions = np.linalg.svd(weights, full_matrices=False)
    expected = weights @ directions[:4].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    ours = fitted(corpus, dim=4).encode(corpus)
    # Directions are unique up to sign and rotation in equal singular values: compare cosines.
    np.testing.assert_allclose(ours @ ours.T, expected @ expected.T, atol=1e-5)


def test_lsa_vectors_are_unit_and_group_what_shares_words() -> None:
    vectors = fitted(CORPUS).encode(["red hat", "blue scarf", "steel pan"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > 0.8 > 0.5 > abs(vectors[0] @ vectors[2])


def test_lsa_depends_on_the_set_of_texts_alone() -> None:
    one, two = fitted(CORPUS), fitted([*CORPUS[::-1], *CORPUS[:3], ""])
    assert one.identity() == two.identity()
    assert one.encode(CORPUS).tobytes() == two.encode(CORPUS).tobytes()
    assert fitted(CORPUS[:-1]).identity() != one.identity()
    assert fitted(CORPUS, dim=2).identity() != one.identity()


def test_lsa_encodes_each_text_on_its_own() -> None:
    encoder = fitted(CORPUS)
    alone = np.concatenate([encoder.encode([text]) for text in CORPUS])
    np.testing.assert_array_equal(alone, encoder.encode(CORPUS))


def test_a_text_without_a_known_word_gets_the_mean_direction() -> None:
    encoder = fitted(CORPUS)
    mean = encoder.encode(CORPUS).mean(axis=0)
    for text in ("", "zzz", "!!!"):
        np.testing.assert_allclose(
            encoder.encode([text])[0], mean / np.linalg.norm(mean), atol=1e-6
        )


def test_the_log_counts_the_texts_without_a_known_word(caplog: pytest.LogCaptureFixture) -> None:
    encoder = fitted(CORPUS)
    encoder.encode(CORPUS)
    assert not caplog.records
    encoder.encode(["red", "", "zzz", "pan"])
    assert "lsa: 2 of 4 texts hold no word of the texts of a;" in caplog.text


SPACELESS = {
    "Chinese": ["无线蓝牙耳机降噪黑色", "无线蓝牙耳机降噪白色", "不锈钢平底煎锅", "不锈钢平底汤锅"],
    "Japanese": [
        "ワイヤレスイヤホン黒",
        "ワイヤレスイヤホン白",
        "鉄フライパン小",
        "鉄フライパン大",
    ],
    "Thai": ["หูฟังไร้สายสีดำ", "หูฟังไร้สายสีขาว", "กระทะเหล็กใหญ่", "กระทะเหล็กเล็ก"],
}


@pytest.mark.parametrize("script", SPACELESS)
def test_titles_without_spaces_are_near_where_they_share_characters(script: str) -> None:
    titles = SPACELESS[script]
    likeness = (lambda vectors: vectors @ vectors.T)(fitted([*CORPUS, *titles], 6).encode(titles))
    assert min(likeness[0, 1], likeness[2, 3]) > 0.9
    assert np.abs(likeness[:2, 2:]).max() < 0.2


def test_runs_without_spaces_count_as_their_pairs_and_triples() -> None:
    """The words of the fitted space, by hand: a lone character and other scripts stay whole."""
    (_, header) = fitted(["USB充电器 2个", "red ヘッド・フォン"], dim=2).state()
    latin, chinese = ["usb", "2", "red"], ["充电", "电器", "充电器", "个"]
    japanese = ["ヘッ", "ッド", "ヘッド", "フォ", "ォン", "フォン"]
    assert header["words"] == sorted([*latin, *chinese, *japanese])


def test_only_a_corpus_with_such_scripts_is_read_by_characters() -> None:
    latin, mixed = fitted(CORPUS), fitted([*CORPUS, "红色围巾"])
    assert "ngrams" not in latin.identity()
    assert mixed.identity()["ngrams"] == [2, 3]
    restored = Lsa(dim=3, template="{title}", fit_domains=("a",))
    restored.restore(*mixed.state())
    assert restored.identity() == mixed.identity()
    texts = [*CORPUS, "蓝色围巾"]
    np.testing.assert_array_equal(restored.encode(texts), mixed.encode(texts))


def test_lsa_with_too_small_a_corpus_says_so() -> None:
    with pytest.raises(UserError, match="dim 9 is more than the 8 texts"):
        fitted(CORPUS, dim=9).encode(["pan"])
    with pytest.raises(UserError, match="hold no word"):
        fitted(["!!!"]).encode(["pan"])


def test_the_encode_stage_shares_one_space_and_imports_no_model_library(tmp_path: Path) -> None:
    row = "{kind: lsa, dim: 3, template: '{title}', fit_domains: [a, b]}"
    (tmp_path / "params.yaml").write_text(
        f"encoders:\n  words: {row}\nencode: {{rows_per_shard: 2}}\n"
    )
    for domain, titles in (("a", CORPUS[:4]), ("b", CORPUS[4:])):
        frame = items_frame([f"{domain}{n}" for n in range(4)], titles)
        ITEMS.write(frame, tmp_path / "domains" / domain / "items.parquet")
    program = (
        "import sys\nfrom pathlib import Path\nfrom stages.encode import main\n"
        "out, work = (Path(name) / sys.argv[1] for name in ('out', 'work'))\n"
        "main(sys.argv[1], 'words', Path('domains'), out, work=work)\n"
        "print(sorted({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    imported = []
    for domain in ("a", "b", "b"):
        done = subprocess.run(
            [sys.executable, "-c", program, domain], cwd=tmp_path, capture_output=True, text=True,
            check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        imported.append(done.stdout.strip())
    assert imported == ["['sklearn']", "['sklearn']", "[]"]
    one, two = (read_manifest(tmp_path / "out" / domain) for domain in "ab")
    assert one.fingerprint == two.fingerprint
    loaded = load_embeddings(tmp_path / "out" / "b", [f"b{n}" for n in range(4)])
    np.testing.assert_allclose(loaded, fitted(CORPUS).encode(CORPUS[4:]), atol=1e-3)

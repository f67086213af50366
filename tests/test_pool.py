"""The pool: a seeded choice of item vectors that outlives reordering and growth."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from recg_core.base.config import build
from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS
from recg_core.domains.pool import PoolConfig, build_pool, choose_items, load_pool, write_pool
from recg_core.embeddings.encode import EncodeConfig, encode_items
from tests.fakes import CountingEncoder, items_frame


def embed_domains(root: Path, domains: dict[str, list[str]], version: int = 1) -> tuple[Path, Path]:
    """Write items and embeddings of the domains; the folders of both."""
    domains_root, embeddings_root = root / "domains", root / "embeddings"
    for domain, ids in domains.items():
        items, encoder = items_frame(ids), CountingEncoder(version=version)
        ITEMS.write(items, domains_root / domain / "items.parquet")
        encode_items(items, encoder, embeddings_root / domain, EncodeConfig(4))
    return domains_root, embeddings_root


DOMAINS = {name: [f"{name}{i}" for i in range(9)] for name in ("alpha", "beta", "gamma")}


def test_a_small_domain_is_taken_whole(tmp_path: Path) -> None:
    roots = embed_domains(tmp_path, DOMAINS)
    config = PoolConfig(domains=("alpha", "beta"), max_items=100, seed=0)
    pool = build_pool(config, *roots)
    assert list(pool.vectors) == ["alpha", "beta"]
    expected = CountingEncoder().encode(sorted(DOMAINS["alpha"]))
    np.testing.assert_array_equal(pool.vectors["alpha"], expected.astype(np.float16))


def test_the_file_brings_back_vectors_and_encoder(tmp_path: Path) -> None:
    roots = embed_domains(tmp_path, DOMAINS)
    config = PoolConfig(domains=("beta", "alpha", "gamma"), max_items=5, seed=0)
    pool = build_pool(config, *roots)
    write_pool(tmp_path / "pool.safetensors", pool)
    back = load_pool(tmp_path / "pool.safetensors")
    assert back.fingerprint == pool.fingerprint
    assert list(back.vectors) == ["beta", "alpha", "gamma"]
    for domain, vectors in pool.vectors.items():
        assert back.vectors[domain].dtype == np.float32
        np.testing.assert_array_equal(back.vectors[domain], vectors)


def test_the_order_of_a_catalogue_and_of_files_leaves_the_bytes_alone(tmp_path: Path) -> None:
    config = PoolConfig(domains=("alpha", "beta"), max_items=4, seed=3)
    contents = []
    for run, step in (("one", 1), ("two", -1)):
        domains = {name: ids[::step] for name, ids in DOMAINS.items()}
        roots = embed_domains(tmp_path / run, domains)
        path = tmp_path / f"{run}.safetensors"
        write_pool(path, build_pool(config, *roots))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_a_new_domain_leaves_the_bytes_alone(tmp_path: Path) -> None:
    config = PoolConfig(domains=("alpha", "beta"), max_items=4, seed=3)
    known = {name: DOMAINS[name] for name in config.domains}
    for name, domains in (("all", DOMAINS), ("known", known)):
        roots = embed_domains(tmp_path / f"{name}-domains", domains)
        write_pool(tmp_path / name, build_pool(config, *roots))
    assert (tmp_path / "all").read_bytes() == (tmp_path / "known").read_bytes()


def test_the_choice_has_no_repeats_follows_the_seed_and_survives_growth() -> None:
    ids = [f"item{i}" for i in range(500)]
    chosen = choose_items(ids, 100, "0/alpha")
    assert len(set(chosen)) == 100
    assert set(chosen) <= set(ids)
    assert chosen != choose_items(ids, 100, "1/alpha")
    grown = choose_items([*ids, "new1", "new2"], 100, "0/alpha")
    assert len(set(chosen) - set(grown)) <= 2


def test_every_item_is_equally_likely() -> None:
    counts = np.zeros(20)
    for seed in range(2000):
        for item in choose_items([str(i) for i in range(20)], 5, f"{seed}/d"):
            counts[int(item)] += 1
    expected, deviation = 2000 * 5 / 20, np.sqrt(2000 * 0.25 * 0.75)
    assert np.abs(counts - expected).max() < 5 * deviation


def test_domains_by_different_encoders_are_refused(tmp_path: Path) -> None:
    embed_domains(tmp_path, {"alpha": DOMAINS["alpha"]})
    roots = embed_domains(tmp_path, {"beta": DOMAINS["beta"]}, version=2)
    config = PoolConfig(domains=("alpha", "beta"), max_items=5, seed=0)
    with pytest.raises(UserError, match=r"made by different encoders \(alpha .* beta"):
        build_pool(config, *roots)


def test_an_incomplete_domain_is_refused(tmp_path: Path) -> None:
    roots = embed_domains(tmp_path, DOMAINS)
    config = PoolConfig(domains=("alpha",), max_items=50, seed=0)
    grown = items_frame([*DOMAINS["alpha"], "extra"])
    ITEMS.write(grown, tmp_path / "domains" / "alpha" / "items.parquet")
    with pytest.raises(UserError, match=r"no embedding for 1 item\(s\): extra"):
        build_pool(config, *roots)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"domains": [], "max_items": 1, "seed": 0}, "at least one domain"),
        ({"domains": ["a", "a"], "max_items": 1, "seed": 0}, "twice"),
        ({"domains": ["a"], "max_items": 0, "seed": 0}, "max_items"),
        ({"domains": ["a"], "max_item": 1, "seed": 0}, "unknown key"),
    ],
)
def test_a_bad_section_is_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"pool: .*{message}"):
        build(PoolConfig, section, "pool")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run the pool stage"):
        load_pool(tmp_path / "missing")
    (tmp_path / "text").write_text("not safetensors")
    with pytest.raises(UserError, match="is damaged"):
        load_pool(tmp_path / "text")
    save_file({"x": np.zeros(2, dtype=np.float32)}, tmp_path / "other")
    with pytest.raises(UserError, match="not of this version of the project"):
        load_pool(tmp_path / "other")


def test_the_stage_writes_the_pool_of_its_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.pool import main

    embed_domains(tmp_path, DOMAINS)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("pool: {domains: [gamma, beta], max_items: 3, seed: 1}\n")
    main(tmp_path / "domains", tmp_path / "embeddings", tmp_path / "out" / "pool.safetensors")
    pool = load_pool(tmp_path / "out" / "pool.safetensors")
    assert {domain: rows.shape for domain, rows in pool.vectors.items()} == {
        "gamma": (3, 4),
        "beta": (3, 4),
    }

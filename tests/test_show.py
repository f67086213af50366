"""`recg show`: the metrics of every cell in terminals of any width."""

import subprocess
import sys
from pathlib import Path

import pytest

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, write_json, write_sealed_json
from recg_core.cli.app import main
from recg_core.report.cells import metrics_digest
from recg_core.report.show import show_results

# NDCG@10 in percent by model, source and target; a row without a source is training-free.
VALUES = {
    ("sasrec-sem", "garden", "office"): 4.0,
    ("sasrec-sem", "garden", "garden"): 20.0,
    ("sasrec-recg", "garden", "office"): 8.126,
    ("sasrec-recg", "garden", "garden"): 15.0,
    ("sasrec-id", "garden", "garden"): 30.0,
    ("random", None, "garden"): 1.0,
    ("random", None, "office"): 2.0,
    ("popularity", None, "garden"): 35.0,
    ("popularity", None, "office"): 60.0,
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What the report stage writes for one source and two domains; `popularity` counts."""
    summary: dict[str, dict[str, object]] = {}
    for (model, source, target), value in VALUES.items():
        place = f"{source}-{target}" if source else target
        for protocol, factor in (("full", 1), ("sampled", 0.5)):
            metrics = {"ndcg@10": factor * value / 100, "recall@5": 0.5}
            write_json(tmp_path / protocol / place / f"{model}.json", metrics)
        key = f"{source}_to_{target}" if source else f"to_{target}"
        used = source == target or model == "popularity"
        summary.setdefault(model, {})[key] = {"target_interactions_used": used}
    write_sealed_json(tmp_path / "summary.json", summary | digests_of(tmp_path))
    return tmp_path


def digests_of(results: Path) -> dict[str, dict[str, str]]:
    """What the summary says of the metrics files beside it."""
    digests = {}
    for protocol in ("full", "sampled"):
        files = (results / protocol).rglob("*.json")
        texts = {str(path.relative_to(results / protocol)): path.read_text() for path in files}
        digests[protocol] = metrics_digest(texts)
    return {"metrics_sha256": digests}


def table_of(text: str) -> list[list[str]]:
    """The words of every line below the first block."""
    return [line.split() for line in text.split("\n\n", 1)[1].splitlines()]


def test_a_wide_terminal_has_one_table_zero_shot_first_and_training_free_rows_last(
    results: Path,
) -> None:
    """The best of those that compete has a star: in zero-shot columns who uses no interactions."""
    text = show_results(results, "full", "ndcg@10", 120)
    assert text.startswith("ndcg@10, full ranking, in %.")
    assert table_of(text) == [
        ["from", "garden", "garden"],
        ["to", "office", "garden"],
        ["sasrec-id", "-", "30.00"],
        ["sasrec-recg", "8.13*", "15.00"],
        ["sasrec-sem", "4.00", "20.00"],
        ["popularity", "60.00+", "35.00*"],
        ["random", "2.00", "1.00"],
    ]


def test_numbers_and_heads_of_a_column_end_at_one_place(results: Path) -> None:
    _, heads, *rows = show_results(results, "full", "ndcg@10", 120).split("\n\n")[1].splitlines()
    end = heads.index("office") + len("office")
    for row in rows:
        assert row[end - 1] in "0123456789-"
        assert row[end : end + 1] in ("", " ", "*", "+")


def test_a_narrow_terminal_has_blocks_that_each_name_the_models(results: Path) -> None:
    wide, narrow = (show_results(results, "full", "ndcg@10", width) for width in (120, 24))
    assert max(map(len, narrow.splitlines())) <= 24
    _, first, second = narrow.split("\n\n")
    joined = [
        [*left.split(), *right.split()[1:]]
        for left, right in zip(first.splitlines(), second.splitlines(), strict=True)
    ]
    assert joined == table_of(wide)


def test_metric_and_protocol_are_chosen_by_name(results: Path) -> None:
    sampled = show_results(results, "sampled", "ndcg@10", 120)
    assert ["random", "1.00", "0.50"] in table_of(sampled)
    recall = show_results(results, "full", "recall@5", 120)
    assert ["sasrec-sem", "50.00*", "50.00*"] in table_of(recall)


def test_what_is_not_there_is_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing.full: no metrics there; run `dvc repro`"):
        show_results(tmp_path / "nothing", "full", "ndcg@10", 80)
    with pytest.raises(UserError, match=r"no metric 'ndcg@7'; there are \['ndcg@10', 'recall@5'\]"):
        show_results(results, "full", "ndcg@7", 80)
    with pytest.raises(UserError, match=r"protocol 'drawn': expected one of"):
        show_results(results, "drawn", "ndcg@10", 80)
    write_sealed_json(results / "summary.json", digests_of(results))
    with pytest.raises(UserError, match=r"no garden_to_office of sasrec-recg; run the report"):
        show_results(results, "full", "ndcg@10", 80)


@pytest.mark.parametrize("name", ["garden-office/sasrec-sem.json", "office/random.json"])
def test_metrics_that_the_report_did_not_write_are_refused(results: Path, name: str) -> None:
    path = results / "full" / name
    before = path.read_bytes()
    for damaged in (before.replace(b"0.5", b"0.7"), before[:-4], b"\xff" + before):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"full: holds other files .*run the report stage"):
            show_results(results, "full", "ndcg@10", 80)
    assert show_results(results, "sampled", "ndcg@10", 80)
    path.unlink()
    with pytest.raises(UserError, match="full: holds other files than the report wrote"):
        show_results(results, "full", "ndcg@10", 80)
    path.write_bytes(before)
    summary = results / "summary.json"
    summary.write_bytes(summary.read_bytes().replace(b"false", b"true "))
    with pytest.raises(UserError, match=r"summary\.json: is damaged, .*run the report stage"):
        show_results(results, "full", "ndcg@10", 80)


def test_the_command_fits_its_terminal(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(sys, "argv", ["recg", "show", "--folder", str(results)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == show_results(results, "full", "ndcg@10", 30) + "\n"


def test_the_command_needs_neither_a_model_nor_dvc(results: Path) -> None:
    code = (
        "import sys\n"
        "from recg_core.cli.app import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    assert not {'torch', 'dvc', 'scipy', 'matplotlib'} & sys.modules.keys()\n"
    )
    command = [sys.executable, "-c", code, "show", "--folder", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_target_that_is_too_small_has_a_sign_and_no_best(results: Path) -> None:
    summary = read_sealed_json(results / "summary.json", "x")
    for cells in summary.values():
        for key, cell in cells.items():
            if key.endswith("to_office"):
                cell["too_small"] = True
    write_sealed_json(results / "summary.json", summary)
    text = show_results(results, "full", "ndcg@10", 120)
    assert "§ fewer than 30 test users" in " ".join(text.split())
    columns = list(zip(*table_of(text), strict=True))
    assert columns[1][1] == "office§"
    assert not any("*" in cell or "+" in cell for cell in columns[1])
    assert any("*" in cell for cell in columns[2])

"""How models share the GPUs of a machine; no GPU is needed, torch's answers about one are set."""

from pathlib import Path

import pytest
import torch

from recg_core.domains.domain import Domain
from recg_core.training.cards import PROCESS_BYTES, TEXT_COPIES, share_cards
from recg_core.training.plan import Plan, plan_runs
from tests.conftest import alone
from tests.test_training import SHORT, pool_of, spec


def plan(domain: Domain, folder: Path, device: str | None) -> Plan:
    models, seeds = [spec("sasrec", domain)], [0, 1, 2, 3, 4]
    return plan_runs(alone(domain), pool_of(), models, SHORT, seeds, work=folder, device=device)


@pytest.fixture
def two_cards(cycle: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has room for three models of `cycle`, the second for one."""
    model = PROCESS_BYTES + TEXT_COPIES * cycle.text.nbytes
    free = {0: 3 * model + 1, 1: 2 * model - 1}
    device = "recg_core.training.cards.choose_device"
    monkeypatch.setattr(device, lambda name: torch.device(name or "cuda"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda card: (free[card], 80 << 30))


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize("device", [None, "cuda"])
def test_a_model_goes_to_the_card_with_most_room_as_many_at_once_as_memory_takes(
    device: str | None, cycle: Domain, tmp_path: Path
) -> None:
    runs = plan(cycle, tmp_path, device).runs
    placed, at_once = share_cards(runs, alone(cycle), most=16)
    assert [run.device for run in placed] == ["cuda:0", "cuda:0", "cuda:1", "cuda:0", "cuda:0"]
    assert at_once == 4
    assert [run.digest() for run in placed] == [run.digest() for run in runs]


@pytest.mark.usefixtures("two_cards")
def test_cores_and_a_named_card_are_limits_too(cycle: Domain, tmp_path: Path) -> None:
    runs = plan(cycle, tmp_path, None).runs
    assert share_cards(runs, alone(cycle), most=2)[1] == 2
    assert share_cards(runs, alone(cycle), most=0)[1] == 1
    placed, at_once = share_cards(plan(cycle, tmp_path, "cuda:1").runs, alone(cycle), most=16)
    assert {run.device for run in placed} == {"cuda:1"}
    assert at_once == 1


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize("free", [{0: 50 << 30, 1: 0}, {0: 1 << 20, 1: 0}])
def test_a_full_card_gets_no_model(
    free: dict[int, int], cycle: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where neither has room: there is one model at a time then, on the less full one."""
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda card: (free[card], 80 << 30))
    placed, _ = share_cards(plan(cycle, tmp_path, None).runs, alone(cycle), most=16)
    assert {run.device for run in placed} == {"cuda:0"}


def test_any_other_device_trains_one_model_at_a_time(cycle: Domain, tmp_path: Path) -> None:
    runs = plan(cycle, tmp_path, "meta").runs
    assert share_cards(runs, alone(cycle), most=16) == (runs, 1)

"""The contract of every registered backbone, checked with its row of `params.yaml`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recg_core.backbones import BACKBONES, Backbone
from recg_core.backbones.base import MASK, CausalBackbone
from recg_core.backbones.sasrec import Block, SASRec
from recg_core.base.errors import UserError
from recg_core.models import backbone_code
from recg_core.models.backbone_code import backbone_sha256
from tests.project import read_yaml

DIM, LENGTH, MAX_LENGTH = 16, 7, 12
CAUSAL = [name for name, kind in BACKBONES.items() if issubclass(kind, CausalBackbone)]


def row_of(name: str, **changes: Any) -> dict[str, Any]:
    """A backbone's row, small and without dropout where it has some."""
    row: dict[str, Any] = dict(read_yaml("params.yaml")["backbones"][name])
    row |= {"dim": DIM, "max_length": MAX_LENGTH}
    return row | {key: value for key, value in {"dropout": 0.0, **changes}.items() if key in row}


def make(name: str, *, seed: int = 0, **changes: Any) -> Backbone:
    torch.manual_seed(seed)
    return BACKBONES[name](**row_of(name, **changes)).eval()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_items(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Item vectors and inputs of three users of lengths 7, 4 and 1."""
    inputs = torch.zeros((3, LENGTH), dtype=torch.long)
    for row, length in enumerate((7, 4, 1)):
        inputs[row, :length] = torch.arange(1, length + 1)
    items = torch.randn((3, LENGTH, DIM), generator=generator(seed))
    return items * (inputs > 0)[:, :, None], inputs


Make = Callable[..., Backbone]


def check_shape(make: Make) -> None:
    """States have the shape of the items."""
    items, inputs = some_items()
    assert make()(items, inputs).shape == items.shape


def check_padding(make: Make) -> None:
    """More padding changes no state, in training neither."""
    items, inputs = some_items()
    wide = nn.functional.pad(items, (0, 0, 0, 3)), nn.functional.pad(inputs, (0, 3))
    real = inputs > 0
    for model in (make(), make().train()):
        expected = model(items, inputs)[real]
        torch.testing.assert_close(model(*wide)[:, :LENGTH][real], expected)


def check_other_users(make: Make) -> None:
    """The other users of a batch change no state, in training neither."""
    items, inputs = some_items()
    for model in (make(), make().train()):
        expected = model(items, inputs)[1, :4]
        torch.testing.assert_close(model(items[1:2, :4], inputs[1:2, :4])[0], expected)


def check_future(make: Make) -> None:
    """A causal model cannot see the future, and every later state sees the change."""
    model = make()
    if not isinstance(model, CausalBackbone):
        return
    items, inputs = some_items()
    changed = items.clone()
    changed[0, 4:] += torch.randn((3, DIM), generator=generator(5))
    before, after = model(items, inputs)[0], model(changed, inputs)[0]
    assert torch.equal(before[:4], after[:4])
    assert ((before[4:] - after[4:]).abs().amax(dim=1) > 1e-4).all()


def check_gradients(make: Make) -> None:
    """Gradients are finite with padding and reach every parameter."""
    model = make(dropout=0.1).train()
    sequences = torch.tensor([[3, 1, 2, 5, 4], [4, 6, 0, 0, 0], [1, 2, 3, 0, 0]])
    views = model.training_views(sequences, generator())
    table = torch.randn((7, DIM), generator=generator(2))
    items = table[views.inputs_BL.clamp(min=0)] * (views.inputs_BL > 0)[:, :, None]
    states = model(items, views.inputs_BL)[views.targets_BL > 0]
    states.pow(3).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def check_views(make: Make) -> None:
    """Training asks for items of the sequence alone; inference reads the whole history."""
    model = make()
    sequences = torch.tensor([[3, 1, 2, 5], [4, 6, 0, 0]])
    inputs, targets = model.training_views(sequences, generator())
    assert inputs.shape == targets.shape
    assert (targets > 0).any(dim=1).all()
    for row, sequence in zip(targets, sequences, strict=True):
        assert set(row[row > 0].tolist()) <= set(sequence.tolist())
    inputs, last = model.inference_views(sequences)
    for row, place, sequence in zip(inputs, last, sequences, strict=True):
        assert row[row > 0].tolist() == sequence[sequence > 0].tolist()
        assert row[place] != 0


def check_sizes_and_seed(make: Make) -> None:
    """A size of zero is refused; the same seed gives the same states."""
    items, inputs = some_items()
    assert torch.equal(make(seed=3)(items, inputs), make(seed=3)(items, inputs))
    assert not torch.equal(make(seed=3)(items, inputs), make(seed=4)(items, inputs))
    for size in ("dim", "max_length", "num_layers"):
        with pytest.raises(ValueError, match="or more"):
            make(**{size: 0})


CONTRACT = (
    check_shape, check_padding, check_other_users, check_future, check_gradients, check_views,
    check_sizes_and_seed,
)  # fmt: skip


@pytest.mark.parametrize("check", CONTRACT)
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_keeps_the_contract(name: str, check: Callable[[Make], None]) -> None:
    check(lambda **changes: make(name, **changes))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_module_of_a_backbone_bears_its_name(name: str) -> None:
    """By which a change of its code is noticed."""
    assert BACKBONES[name].__module__ == f"recg_core.backbones.{name}"
    assert len(backbone_sha256(name)) == 64


def test_the_digest_of_a_backbone_is_that_of_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        backbone_code, "FOLDER", shutil.copytree(backbone_code.FOLDER, tmp_path / "b")
    )
    before = {name: backbone_sha256(name) for name in BACKBONES}

    def changed_by(module: str) -> set[str]:
        path = tmp_path / "b" / f"{module}.py"
        path.write_text((path.read_text() if path.exists() else "") + "# another\n")
        now = {name: backbone_sha256(name) for name in BACKBONES}
        found = {name for name in BACKBONES if now[name] != before[name]}
        before.update(now)
        return found

    assert changed_by("throwaway") == set()
    assert changed_by("__init__") == set()
    assert changed_by("gru4rec") == {"gru4rec"}
    assert changed_by("transformer") == {"sasrec", "bert4rec"}
    assert changed_by("base") == set(BACKBONES)
    with pytest.raises(UserError, match=r"backbones\.nothing: no module of that name; there"):
        backbone_sha256("nothing")


class Normalized(CausalBackbone):
    """Reads padding and the other users of a batch, but in training alone."""

    def __init__(self, *, dim: int, max_length: int, num_layers: int = 1, dropout: float = 0.0):
        super().__init__(dim, max_length)
        if num_layers < 1:
            raise ValueError("num_layers must be 1 or more")
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, items_BLD: Tensor, inputs_BL: Tensor) -> Tensor:
        return self.norm(items_BLD.transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize("check", [check_padding, check_other_users])
def test_the_contract_refuses_batch_normalisation(check: Callable[[Make], None]) -> None:
    with pytest.raises(AssertionError):
        check(lambda **changes: Normalized(dim=DIM, max_length=MAX_LENGTH).eval())


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_state_predicts_the_next_item(name: str) -> None:
    sequences = torch.tensor([[3, 1, 2, 5], [4, 6, 0, 0]])
    inputs, targets = make(name).training_views(sequences, generator())
    assert inputs.tolist() == [[3, 1, 2], [4, 6, 0]]
    assert targets.tolist() == [[1, 2, 5], [6, 0, 0]]


@pytest.mark.parametrize("name", CAUSAL)
def test_the_user_vector_of_a_causal_model_is_the_last_state(name: str) -> None:
    histories = torch.tensor([[3, 1, 2], [4, 0, 0]])
    inputs, last = make(name).inference_views(histories)
    assert torch.equal(inputs, histories)
    assert last.tolist() == [2, 0]


def plain_norm(vector: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer normalisation of one vector."""
    spread = ((vector - vector.mean()) ** 2).mean() + norm.eps
    return (vector - vector.mean()) / spread.sqrt() * norm.weight + norm.bias


def plain_sasrec(model: SASRec, items: Tensor) -> Tensor:
    """The equations of the paper and its code for one user, position by position."""
    length, dim = items.shape
    states = [items[i] + model.positions.table[length - 1 - i] for i in range(length)]
    for block in model.blocks:
        assert isinstance(block, Block)
        width = dim // block.num_heads
        of_key, of_value = block.key_value.weight.split(dim)
        key_bias, value_bias = block.key_value.bias.split(dim)
        new = []
        for i in range(length):
            asked = plain_norm(states[i], block.query_norm)
            query = block.query(asked)
            heads = []
            for head in range(block.num_heads):
                part = slice(head * width, (head + 1) * width)
                keys = [(of_key @ states[j] + key_bias)[part] for j in range(i + 1)]
                values = [(of_value @ states[j] + value_bias)[part] for j in range(i + 1)]
                weights = [(query[part] @ key / width**0.5).exp() for key in keys]
                mixed = [w * value for w, value in zip(weights, values, strict=True)]
                heads.append(torch.stack(mixed).sum(0) / torch.stack(weights).sum())
            kept = plain_norm(
                asked + block.attention_output(torch.cat(heads)), block.feed_forward_norm
            )
            first, second = block.feed_forward[0], block.feed_forward[3]
            new.append(kept + second(first(kept).clamp(min=0)))
        states = new
    return torch.stack([plain_norm(state, model.norm) for state in states])


def test_sasrec_is_that_of_its_paper() -> None:
    model = make("sasrec", num_layers=2, num_heads=2)
    assert isinstance(model, SASRec)
    items, inputs = some_items()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator(3))
        for row, length in enumerate((7, 4, 1)):
            expected = plain_sasrec(model, items[row, :length])
            torch.testing.assert_close(model(items, inputs)[row, :length], expected)


def test_bert4rec_reads_in_both_directions() -> None:
    items, inputs = some_items()
    model = make("bert4rec")
    changed = items.clone()
    changed[0, -1] += torch.randn(DIM, generator=generator(5))
    difference = (model(items, inputs)[0] - model(changed, inputs)[0]).abs().amax(dim=1)
    assert (difference > 1e-5).all()


def test_bert4rec_never_reads_the_item_that_it_hides() -> None:
    items, inputs = some_items()
    inputs[0, 2] = MASK
    model = make("bert4rec")
    changed = items.clone()
    changed[0, 2] += torch.randn(DIM, generator=generator(5))
    assert torch.equal(model(items, inputs), model(changed, inputs))


def test_bert4rec_appends_the_mask_after_the_history() -> None:
    inputs, last = make("bert4rec").inference_views(torch.tensor([[3, 1, 2], [4, 0, 0]]))
    assert inputs.tolist() == [[3, 1, 2, MASK], [4, MASK, 0, 0]]
    assert last.tolist() == [3, 1]


def test_bert4rec_hides_items_at_its_rate_and_always_one() -> None:
    lengths = torch.arange(2000) % 11 + 1
    sequences = (torch.arange(11) < lengths[:, None]).long() * 7
    model = make("bert4rec", mask_probability=0.3)
    inputs, targets = model.training_views(sequences, generator())
    hidden = inputs == MASK
    assert torch.equal(hidden, targets > 0)
    assert (targets[hidden] == 7).all()
    assert (inputs[~hidden] == sequences[~hidden]).all()
    assert hidden.any(dim=1).all()
    # With probability .3 the last item alone; otherwise each with .3, the last where none fell.
    length = 11
    rate = 0.3 / length + 0.7 * (0.3 + 0.7**length / length)
    assert hidden[lengths == length].float().mean().item() == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_a_sequence_longer_than_the_model_reads_is_refused(name: str) -> None:
    items = torch.randn((1, 13, DIM), generator=generator())
    with pytest.raises(ValueError, match="13 positions, the model reads 12"):
        make(name)(items, torch.ones((1, 13), dtype=torch.long))

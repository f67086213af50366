"""The contract of every registered backbone."""

from typing import Any

import pytest
import torch
from torch import Tensor

from recg_core.backbones import BACKBONES, Backbone
from recg_core.backbones.base import MASK, CausalBackbone

DIM, LENGTH = 16, 7
ARGS: dict[str, dict[str, Any]] = {
    "gru4rec": {"num_layers": 2},
    "sasrec": {"num_layers": 2, "num_heads": 2},
    "bert4rec": {"num_layers": 2, "num_heads": 2, "mask_probability": 0.3},
}
CAUSAL = [name for name, kind in BACKBONES.items() if issubclass(kind, CausalBackbone)]


def make(name: str, *, dropout: float = 0.0, seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    model = BACKBONES[name](dim=DIM, max_length=12, dropout=dropout, **ARGS[name])
    return model.eval()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_items(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Item vectors and inputs of three users of lengths 7, 4 and 1."""
    inputs = torch.zeros((3, LENGTH), dtype=torch.long)
    for row, length in enumerate((7, 4, 1)):
        inputs[row, :length] = torch.arange(1, length + 1)
    items = torch.randn((3, LENGTH, DIM), generator=generator(seed))
    return items * (inputs > 0)[:, :, None], inputs


@pytest.mark.parametrize("name", BACKBONES)
def test_states_have_the_shape_of_the_items(name: str) -> None:
    items, inputs = some_items()
    assert make(name)(items, inputs).shape == items.shape


@pytest.mark.parametrize("name", BACKBONES)
def test_more_padding_changes_no_state(name: str) -> None:
    items, inputs = some_items()
    model = make(name)
    wide = model(
        torch.nn.functional.pad(items, (0, 0, 0, 3)), torch.nn.functional.pad(inputs, (0, 3))
    )
    real = inputs > 0
    torch.testing.assert_close(wide[:, :LENGTH][real], model(items, inputs)[real])


@pytest.mark.parametrize("name", BACKBONES)
def test_other_users_of_the_batch_change_no_state(name: str) -> None:
    items, inputs = some_items()
    model = make(name)
    alone = model(items[1:2, :4], inputs[1:2, :4])
    torch.testing.assert_close(alone[0], model(items, inputs)[1, :4])


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_model_cannot_see_the_future(name: str) -> None:
    items, inputs = some_items()
    model = make(name)
    changed = items.clone()
    changed[0, 4:] += torch.randn((3, DIM), generator=generator(5))
    before, after = model(items, inputs)[0], model(changed, inputs)[0]
    assert torch.equal(before[:4], after[:4])
    assert ((before[4:] - after[4:]).abs().amax(dim=1) > 1e-4).all()


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
    inputs, targets = make("bert4rec").training_views(sequences, generator())
    hidden = inputs == MASK
    assert torch.equal(hidden, targets > 0)
    assert (targets[hidden] == 7).all()
    assert (inputs[~hidden] == sequences[~hidden]).all()
    assert hidden.any(dim=1).all()
    # With probability .3 the last item alone; otherwise each with .3, the last where none fell.
    length = 11
    rate = 0.3 / length + 0.7 * (0.3 + 0.7**length / length)
    assert hidden[lengths == length].float().mean().item() == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize("name", BACKBONES)
def test_gradients_are_finite_with_padding_and_reach_every_parameter(name: str) -> None:
    model = make(name, dropout=0.1).train()
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


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", ["dim", "max_length", "num_layers"])
def test_a_size_of_zero_is_refused(name: str, size: str) -> None:
    args = {"dim": DIM, "max_length": 12, "dropout": 0.0, **ARGS[name], size: 0}
    with pytest.raises(ValueError, match="or more"):
        BACKBONES[name](**args)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_same_seed_gives_the_same_bytes(name: str) -> None:
    items, inputs = some_items()
    assert torch.equal(make(name, seed=3)(items, inputs), make(name, seed=3)(items, inputs))
    assert not torch.equal(make(name, seed=3)(items, inputs), make(name, seed=4)(items, inputs))


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_a_sequence_longer_than_the_model_reads_is_refused(name: str) -> None:
    items = torch.randn((1, 13, DIM), generator=generator())
    with pytest.raises(ValueError, match="13 positions, the model reads 12"):
        make(name)(items, torch.ones((1, 13), dtype=torch.long))

"""The losses against slow plain versions of the equations, hand-worked values and their theory."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recg_core.base.config import build, build_kind
from recg_core.base.errors import UserError
from recg_core.domains.domain import Domain
from recg_core.models.variant import VariantConfig
from recg_core.training.generalization import balanced_beta, create_generalization
from recg_core.training.generalization.base import Reading
from recg_core.training.generalization.inter import INTER
from recg_core.training.generalization.inter.centers import Centers
from recg_core.training.generalization.inter.entropy_max import EntropyMax
from recg_core.training.generalization.inter.entropy_min import EntropyMin
from recg_core.training.generalization.intra import INTRA
from recg_core.training.generalization.intra.entropy import Entropy
from recg_core.training.generalization.intra.isometry import Isometry
from recg_core.training.generalization.intra.uniformity import Uniformity
from recg_core.training.losses import LOSSES, Loss
from recg_core.training.losses.bpr import BPR
from recg_core.training.losses.gbce import GBCE
from recg_core.training.losses.softmax import SampledSoftmax
from tests.conftest import alone, leave_one_out
from tests.project import read_yaml


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def plain_inter(items: list[list[list[float]]], tau: float) -> float:
    """L_inter of Eqs. 8-10 word for word: sum over items and other domains of Q log Q."""
    centers = [
        [sum(column) / len(domain) for column in zip(*domain, strict=True)] for domain in items
    ]
    terms = []
    for own, domain in enumerate(items):
        for item in domain:
            weights = {
                d: math.exp(cosine(item, center) / tau)
                for d, center in enumerate(centers)
                if d != own
            }
            total = sum(weights.values())
            terms.append(sum(w / total * math.log(w / total) for w in weights.values()))
    return sum(terms)


def plain_intra(items: list[list[list[float]]], tau: float) -> float:
    """L_intra of Eqs. 11-12 word for word."""
    total = 0.0
    for domain in items:
        for item in domain:
            weights = [math.exp(cosine(item, other) / tau) for other in domain]
            total -= sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights) / len(
                domain
            )
    return total


def plain_uniformity(items: list[list[list[float]]]) -> float:
    """Wang & Isola 2020 over ordered pairs of distinct items, t = 2, mean over domains."""
    values = []
    for domain in items:
        pairs = [
            math.exp(-2 * (2 - 2 * cosine(a, b)))
            for i, a in enumerate(domain)
            for j, b in enumerate(domain)
            if i != j
        ]
        values.append(math.log(sum(pairs) / len(pairs)))
    return sum(values) / len(values)


@pytest.fixture
def items() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn((3, 5, 4), generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("tau", [0.1, 1.0, 3.0])
def test_inter_readings_equal_the_equations(items: Tensor, tau: float) -> None:
    expected = plain_inter(items.tolist(), tau)
    assert EntropyMax(tau)(items, items).item() == pytest.approx(expected, abs=1e-9)
    mean = expected / (items.shape[0] * items.shape[1])  # the text says nothing of a sum
    assert EntropyMin(tau)(items, items).item() == pytest.approx(-mean, abs=1e-9)


@pytest.mark.parametrize("tau", [0.1, 1.0, 3.0])
def test_intra_entropy_equals_the_equations(items: Tensor, tau: float) -> None:
    expected = -plain_intra(items.tolist(), tau)
    assert Entropy(tau)(items, items).item() == pytest.approx(expected, abs=1e-9)


def test_recg_printed_is_the_printed_equations_on_a_sample(items: Tensor) -> None:
    """Eqs. 8-14 word for word, with the sampled items for the V_d and for N: sums stay sums."""
    row = read_yaml("params.yaml")["variants"]["recg_printed"]
    variant = build(VariantConfig, row, "variants.recg_printed")
    texts = {name: np.float32(part) for name, part in zip("abc", items, strict=True)}
    source = Domain(
        "a", leave_one_out([[1, 2, 3]]), ["1", "2", "3", "4", "5"], texts.pop("a"), "encoder"
    )
    loss = create_generalization(
        variant, alone(source), texts, 5, torch.device("cpu"), "variants.x"
    )
    assert loss is not None
    inter, intra = loss.terms(items.flatten(0, 1), items.flatten(0, 1))
    alpha, tau = row["generalization"]["alpha"], 1.0
    beta = alpha * 15 / 3**3
    expected = -alpha * plain_intra(items.tolist(), tau) + beta * plain_inter(items.tolist(), tau)
    found = loss.alpha * intra + loss.beta * inter
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_the_printed_loss_of_items_that_are_all_alike_by_hand() -> None:
    """64 items in each of three domains, all the same: P is even over 64, Q over 2.

    L_intra is 3 log 64, L_inter 192 log 1/2, beta 192 alpha / 27.
    """
    same = torch.ones(3, 64, 2, dtype=torch.float64)
    assert Entropy(1.0)(same, same).item() == pytest.approx(-3 * math.log(64))
    assert EntropyMax(1.0)(same, same).item() == pytest.approx(-192 * math.log(2))
    assert balanced_beta(0.001, num_items=192, num_domains=3) == pytest.approx(0.192 / 27)


def test_uniformity_equals_the_double_loop(items: Tensor) -> None:
    expected = plain_uniformity(items.tolist())
    assert Uniformity()(items, items).item() == pytest.approx(expected, abs=1e-9)


def test_centers_by_hand() -> None:
    # Centres: (1, 0), (0, 1), (-1, 0); the items of a domain equal its centre.
    items = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]], [[-3.0, 0.0]]]).repeat(1, 2, 1)
    # 1 - cos to the two others: domain 0: 1 and 2, domain 1: 1 and 1, domain 2: 2 and 1.
    assert Centers()(items, items).item() == pytest.approx((1.5 + 1 + 1.5) / 3)


@pytest.mark.parametrize("reading", [EntropyMax(1.0), EntropyMin(1.0)])
def test_two_domains_leave_nothing_to_learn_from_the_entropy_of_eq_10(
    items: Tensor, reading: Reading
) -> None:
    pair = items[:2].clone().requires_grad_()
    loss = reading(pair, pair)
    assert reading.min_domains == 3
    loss.backward()
    assert loss.item() == 0
    assert pair.grad is not None
    assert pair.grad.abs().max().item() < 1e-15


def test_collapse_is_the_optimum_of_eq_11_and_the_worst_of_uniformity(items: Tensor) -> None:
    collapsed = items[:, :1].expand_as(items)
    # Eq. 13 minimises -L_intra; no distribution over 5 items exceeds the entropy log 5.
    assert Entropy(1.0)(collapsed, collapsed).item() == pytest.approx(-3 * math.log(5))
    assert Entropy(1.0)(items, items) > Entropy(1.0)(collapsed, collapsed)
    assert Uniformity()(collapsed, collapsed).item() == pytest.approx(0)
    assert Uniformity()(items, items).item() < 0


def row_of(part: str, kind: str) -> dict[str, Any]:
    """The first row of that kind in a part of some variant of `params.yaml`."""
    for variant in read_yaml("params.yaml")["variants"].values():
        row: dict[str, Any] = (
            variant["loss"] if part == "loss" else variant.get("generalization", {}).get(part, {})
        )
        if row.get("kind") == kind:
            return row
    raise AssertionError(f"params.yaml has no variant with the {part} {kind}")


READINGS = [("inter", kind) for kind in INTER] + [("intra", kind) for kind in INTRA]


def build_reading(part: str, row: dict[str, Any]) -> Reading:
    return build_kind({"inter": INTER, "intra": INTRA}[part], row, "x")


def check_reading(reading: Reading, items: Tensor) -> None:
    """The contract of a reading of the generalization loss."""
    texts = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=items.dtype)
    loss = reading(items, texts)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    # Neither the length of a vector nor the order of domains and items matters.
    torch.testing.assert_close(reading(3 * items, texts), loss)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(reading(items[order], texts[order]), loss)
    torch.testing.assert_close(reading(items.flip(1), texts.flip(1)), loss)
    assert torch.autograd.gradcheck(
        lambda x: reading(x, texts), items.clone().requires_grad_(), atol=1e-4
    )
    few = reading(items[: reading.min_domains], texts[: reading.min_domains])
    assert torch.isfinite(few)


@pytest.mark.parametrize(("part", "kind"), READINGS)
def test_every_reading_keeps_the_contract(part: str, kind: str, items: Tensor) -> None:
    check_reading(build_reading(part, row_of(part, kind)), items)


@pytest.mark.parametrize(("part", "kind"), READINGS)
def test_a_key_that_a_reading_does_not_have_is_refused(part: str, kind: str) -> None:
    with pytest.raises(UserError, match=r"x: unknown key\(s\) \['surprise'\]"):
        build_reading(part, {**row_of(part, kind), "surprise": 1})


@pytest.mark.parametrize("reading", [EntropyMax, EntropyMin, Entropy])
def test_a_temperature_of_zero_is_refused(reading: Callable[[float], Reading]) -> None:
    with pytest.raises(ValueError, match="tau must be above 0"):
        reading(0.0)


def check_loss(loss: Loss) -> None:
    """The contract of a recommendation loss."""
    generator = torch.Generator().manual_seed(0)
    positives = torch.randn(6, generator=generator, dtype=torch.float64)
    negatives = torch.randn(6, 9, generator=generator, dtype=torch.float64)
    valid = torch.ones(6, 9, dtype=torch.bool)
    valid[2, 3] = valid[5, 0] = False

    def of(up: float = 0.0, down: float = 0.0) -> float:
        return loss(positives + up, negatives + down, valid, 50).item()

    assert math.isfinite(of())
    assert of(up=1.0) < of() < of(down=1.0)
    assert loss(positives, negatives, valid, 50).shape == ()
    # What the item itself scores as its own negative does not count.
    other = negatives.clone()
    other[2, 3] = other[5, 0] = 50.0
    assert loss(positives, other, valid, 50).item() == pytest.approx(of())
    order = torch.randperm(6, generator=generator)
    again = loss(positives[order], negatives[order], valid[order], 50)
    assert again.item() == pytest.approx(of())
    # A position without a valid pair counts as if it were not there.
    longer = (torch.cat([each, each[:2]]) for each in (positives, negatives))
    no_pair = torch.cat([valid, torch.zeros_like(valid[:2])])
    assert loss(*longer, no_pair, 50).item() == pytest.approx(of())
    assert torch.autograd.gradcheck(
        lambda p, n: loss(p, n, valid, 50),
        (positives.requires_grad_(), negatives.requires_grad_()),
    )


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_keeps_the_contract(kind: str) -> None:
    check_loss(build_kind(LOSSES, row_of("loss", kind), "x"))


def test_bpr_by_hand_ignores_pairs_of_an_item_with_itself() -> None:
    positives = torch.tensor([1.0, 0.0])
    negatives = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    valid = torch.tensor([[True, False], [True, True]])
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2)) + math.log(2)) / 3
    assert BPR()(positives, negatives, valid, 9).item() == pytest.approx(expected)


def test_sampled_softmax_by_hand_ignores_pairs_of_an_item_with_itself() -> None:
    positives = torch.tensor([1.0, 0.0])
    negatives = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    valid = torch.tensor([[True, False], [True, True]])
    first = math.log((math.e + 1) / math.e)
    second = math.log(1 + math.exp(2) + 1)
    loss = SampledSoftmax()(positives, negatives, valid, 9)
    assert loss.item() == pytest.approx((first + second) / 2)


def plain_gbce(
    positives: list[float], negatives: list[list[float]], valid: list[list[bool]],
    num_items: int, t: float,
) -> float:  # fmt: skip
    """Petrov & Macdonald 2023, word for word: beta of the sampling rate alpha, and the loss. Scores
    are logits from that of one item among all others on."""
    chance = math.log(1 / (num_items - 1))
    alpha = len(negatives[0]) / (num_items - 1)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    means = []
    for positive, others, counts in zip(positives, negatives, valid, strict=True):
        probability = (1 / (1 + math.exp(-positive - chance))) ** beta
        terms = [math.log(probability)]
        terms += [
            math.log(1 - 1 / (1 + math.exp(-other - chance)))
            for other, count in zip(others, counts, strict=True)
            if count
        ]
        means.append(-sum(terms) / len(terms))
    return sum(means) / len(means)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.75, 1.0])
def test_gbce_equals_the_equation(t: float) -> None:
    generator = torch.Generator().manual_seed(0)
    positives = torch.randn(6, generator=generator, dtype=torch.float64)
    negatives = torch.randn(6, 9, generator=generator, dtype=torch.float64)
    valid = torch.rand(6, 9, generator=generator) < 0.8
    expected = plain_gbce(positives.tolist(), negatives.tolist(), valid.tolist(), 40, t)
    assert GBCE(t)(positives, negatives, valid, 40).item() == pytest.approx(expected, abs=1e-9)


def test_gbce_is_plain_where_the_whole_catalogue_is_sampled() -> None:
    """And where more is drawn than there is, with replacement."""
    scores = torch.tensor([1.0]), torch.tensor([[0.0, 2.0]]), torch.tensor([[True, True]])
    for num_items, odds in ((3, 0.5), (2, 1.0), (1, 1.0)):
        terms = [math.log(1 + math.exp(-1) / odds)]
        terms += [math.log(1 + odds), math.log(1 + odds * math.exp(2))]
        assert GBCE(0.9)(*scores, num_items).item() == pytest.approx(sum(terms) / 3)


def test_gbce_of_t_1_makes_the_score_a_calibrated_probability() -> None:
    """Where the best score of an item that follows with probability p is the logit of p, counted
    from that of chance, although one of 9 others alone is sampled: that is what beta is for."""
    p, num_items = 0.2, 10
    score = torch.tensor([0.0], dtype=torch.float64, requires_grad=True)
    yes = torch.ones((1, 1), dtype=torch.bool)
    other = torch.tensor([[-50.0]], dtype=torch.float64)
    loss = GBCE(1.0)
    for _ in range(300):
        # The item follows with probability p; where it does not, it is the one that is sampled
        # with probability 1/9.
        seen = loss(score, other, yes, num_items)
        unseen = loss(-other[0], score[None], yes, num_items)
        value = p * seen + (1 - p) / (num_items - 1) * unseen
        (gradient,) = torch.autograd.grad(value, score)
        score = (score - 50 * gradient).detach().requires_grad_()
    assert torch.sigmoid(score - math.log(num_items - 1)).item() == pytest.approx(p, abs=1e-4)


@pytest.mark.parametrize("t", [-0.1, 1.1])
def test_gbce_refuses_t_outside_0_and_1(t: float) -> None:
    with pytest.raises(ValueError, match="t must lie between 0 and 1"):
        GBCE(t)


def test_beta_of_eq_14() -> None:
    assert balanced_beta(0.001, num_items=270, num_domains=3) == pytest.approx(0.01)


def test_isometry_equals_the_double_loop(items: Tensor) -> None:
    texts = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=items.dtype)
    texts = texts[: items.shape[0], : items.shape[1]]
    expected = [
        (
            cosine(items[k, i].tolist(), items[k, j].tolist())
            - cosine(texts[k, i].tolist(), texts[k, j].tolist())
        )
        ** 2
        for k in range(items.shape[0])
        for i in range(items.shape[1])
        for j in range(items.shape[1])
    ]
    found = Isometry()(items, texts)
    assert float(found) == pytest.approx(sum(expected) / len(expected), abs=1e-9)


def test_isometry_is_zero_for_a_rotation_and_large_for_a_collapse(items: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    rotation, _ = torch.linalg.qr(
        torch.randn(items.shape[-1], items.shape[-1], generator=generator, dtype=items.dtype)
    )
    collapsed = items[:, :1].expand_as(items)
    assert float(Isometry()(3 * items @ rotation, items)) < 1e-12
    assert float(Isometry()(collapsed, items)) > 0.1

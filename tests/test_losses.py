"""The losses against slow plain versions of the equations, hand-worked values and their theory."""

import math

import pytest
import torch
from torch import Tensor

from recg_core.training.losses import (
    balanced_beta,
    bpr_loss,
    inter_domain_loss,
    intra_domain_loss,
    sampled_softmax_loss,
)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def plain_inter(items: list[list[list[float]]], tau: float) -> float:
    """Eqs. 8-10 word for word: mean over items of sum over other domains of Q log Q."""
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
    return sum(terms) / len(terms)


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
    assert inter_domain_loss(items, "entropy_max", tau).item() == pytest.approx(expected, abs=1e-9)
    assert inter_domain_loss(items, "entropy_min", tau).item() == pytest.approx(-expected, abs=1e-9)


@pytest.mark.parametrize("tau", [0.1, 1.0, 3.0])
def test_intra_entropy_equals_the_equations(items: Tensor, tau: float) -> None:
    expected = -plain_intra(items.tolist(), tau)
    assert intra_domain_loss(items, "entropy", tau).item() == pytest.approx(expected, abs=1e-9)


def test_uniformity_equals_the_double_loop(items: Tensor) -> None:
    expected = plain_uniformity(items.tolist())
    assert intra_domain_loss(items, "uniformity", 1.0).item() == pytest.approx(expected, abs=1e-9)


def test_centers_by_hand() -> None:
    # Centres: (1, 0), (0, 1), (-1, 0); the items of a domain equal its centre.
    items = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]], [[-3.0, 0.0]]]).repeat(1, 2, 1)
    # 1 - cos to the two others: domain 0: 1 and 2, domain 1: 1 and 1, domain 2: 2 and 1.
    assert inter_domain_loss(items, "centers", 1.0).item() == pytest.approx((1.5 + 1 + 1.5) / 3)


def test_off_is_zero(items: Tensor) -> None:
    assert inter_domain_loss(items, "off", 1.0).item() == 0
    assert intra_domain_loss(items, "off", 1.0).item() == 0


@pytest.mark.parametrize("reading", ["entropy_max", "entropy_min"])
def test_two_domains_leave_nothing_to_learn_from_the_entropy_of_eq_10(
    items: Tensor, reading: str
) -> None:
    pair = items[:2].clone().requires_grad_()
    loss = inter_domain_loss(pair, reading, 1.0)  # type: ignore[arg-type]
    loss.backward()
    assert loss.item() == 0
    assert pair.grad is not None
    assert pair.grad.abs().max().item() < 1e-15


def test_collapse_is_the_optimum_of_eq_11_and_the_worst_of_uniformity(items: Tensor) -> None:
    collapsed = items[:, :1].expand_as(items)
    # Eq. 13 minimises -L_intra; no distribution over 5 items exceeds the entropy log 5.
    assert intra_domain_loss(collapsed, "entropy", 1.0).item() == pytest.approx(-3 * math.log(5))
    assert intra_domain_loss(items, "entropy", 1.0) > intra_domain_loss(collapsed, "entropy", 1.0)
    assert intra_domain_loss(collapsed, "uniformity", 1.0).item() == pytest.approx(0)
    assert intra_domain_loss(items, "uniformity", 1.0).item() < 0


@pytest.mark.parametrize("reading", ["entropy_max", "entropy_min", "centers"])
def test_inter_gradient_by_finite_differences(items: Tensor, reading: str) -> None:
    assert torch.autograd.gradcheck(
        lambda x: inter_domain_loss(x, reading, 0.5),
        items.requires_grad_(),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("reading", ["entropy", "uniformity"])
def test_intra_gradient_by_finite_differences(items: Tensor, reading: str) -> None:
    assert torch.autograd.gradcheck(
        lambda x: intra_domain_loss(x, reading, 0.5),
        items.requires_grad_(),  # type: ignore[arg-type]
    )


def test_bpr_by_hand_ignores_pairs_of_an_item_with_itself() -> None:
    positives = torch.tensor([1.0, 0.0])
    negatives = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    valid = torch.tensor([[True, False], [True, True]])
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2)) + math.log(2)) / 3
    assert bpr_loss(positives, negatives, valid).item() == pytest.approx(expected)


def test_sampled_softmax_by_hand_ignores_pairs_of_an_item_with_itself() -> None:
    positives = torch.tensor([1.0, 0.0])
    negatives = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    valid = torch.tensor([[True, False], [True, True]])
    first = math.log((math.e + 1) / math.e)
    second = math.log(1 + math.exp(2) + 1)
    loss = sampled_softmax_loss(positives, negatives, valid)
    assert loss.item() == pytest.approx((first + second) / 2)


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
    found = intra_domain_loss(items, "isometry", 1.0, texts)
    assert float(found) == pytest.approx(sum(expected) / len(expected), abs=1e-9)


def test_isometry_is_zero_for_a_rotation_and_large_for_a_collapse(items: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    rotation, _ = torch.linalg.qr(
        torch.randn(items.shape[-1], items.shape[-1], generator=generator, dtype=items.dtype)
    )
    collapsed = items[:, :1].expand_as(items)
    assert float(intra_domain_loss(3 * items @ rotation, "isometry", 1.0, items)) < 1e-12
    assert float(intra_domain_loss(collapsed, "isometry", 1.0, items)) > 0.1

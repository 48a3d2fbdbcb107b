"""Products in bfloat16: which are rounded, how, and that engines and populations agree about them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from offlinekit.algos import SAC, MLPEncoder, Population, TD3PlusBC
from offlinekit.testing import small_dataset
from offlinekit.training.engines import rounded_products
from offlinekit.training.engines.replay import RecordedUpdates
from offlinekit.training.engines.rounded_products import RoundedProducts

QUIET: dict[str, Any] = {"out": None, "progress": False}
TINY: dict[str, Any] = {"encoder": MLPEncoder((8, 8)), "batch_size": 8, "device": "cpu"}


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> list[RoundedProducts]:
    """Has every product of a run in bfloat16 rounded, on any processor, and lists the blocks."""
    made: list[RoundedProducts] = []

    class Watched(RoundedProducts):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(rounded_products, "WORTH", 1)
    monkeypatch.setattr(rounded_products, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(rounded_products, "RoundedProducts", Watched)
    return made


def by_hand(a: Tensor, b: Tensor) -> Tensor:
    """Returns the product of rounded numbers, summed exactly enough and rounded once."""
    exact = a.bfloat16().double() @ b.bfloat16().double()
    return exact.float().bfloat16().float()


@pytest.mark.parametrize("lead", [(), (3,)])
def test_values_and_gradients_are_those_of_rounded_matrices(lead: tuple[int, ...], monkeypatch: Any) -> None:
    monkeypatch.setattr(rounded_products, "WORTH", 1)
    torch.manual_seed(0)
    x, w, bias = torch.randn(*lead, 5, 7), torch.randn(*lead, 7, 4), torch.randn(*lead, 1, 4)
    gradient = torch.randn(*lead, 5, 4)
    for tensor in (x, w, bias):
        tensor.requires_grad_()
    with RoundedProducts() as mode:
        y = torch.baddbmm(bias, x, w) if lead else torch.addmm(bias, x, w)
        found = torch.autograd.grad(y, (x, w, bias), gradient)
    assert y.dtype == torch.float32
    # The last bit of a rounded sum may differ, by the order in which a processor adds.
    torch.testing.assert_close(y - bias, by_hand(x, w), rtol=2**-7, atol=1e-5)
    torch.testing.assert_close(found[0], by_hand(gradient, w.mT), rtol=2**-7, atol=1e-5)
    torch.testing.assert_close(found[1], by_hand(x.mT, gradient), rtol=2**-7, atol=1e-5)
    torch.testing.assert_close(found[2], gradient.sum(-2, keepdim=True), rtol=0, atol=1e-6)
    assert len(mode.rounded) == 3  # x, w and the gradient, each of them used twice, once transposed.


def test_square_matrices_are_told_from_their_transposes(monkeypatch: Any) -> None:
    monkeypatch.setattr(rounded_products, "WORTH", 1)
    torch.manual_seed(0)
    a, b = torch.randn(6, 6), torch.randn(6, 6)
    with RoundedProducts():
        products = [a @ b, a.T @ b, a @ b.T, a.T @ b.T]
    for product, (left, right) in zip(products, [(a, b), (a.T, b), (a, b.T), (a.T, b.T)], strict=True):
        torch.testing.assert_close(product, by_hand(left, right), rtol=2**-7, atol=1e-5)


def test_a_matrix_that_changes_in_between_is_rounded_anew(monkeypatch: Any) -> None:
    monkeypatch.setattr(rounded_products, "WORTH", 1)
    a, b = torch.ones(2, 2), torch.ones(2, 2)
    with RoundedProducts():
        before = a @ b
        a.mul_(3.0)
        after = a @ b
    assert (before == 2.0).all()
    assert (after == 6.0).all()


def test_small_products_and_other_dtypes_are_left_alone() -> None:
    torch.manual_seed(0)
    small, large = torch.randn(64, 64), torch.randn(256, 256)
    double = large.double()
    with RoundedProducts() as mode:
        found = small @ small, double @ double
        assert not mode.rounded
        rounded = large @ large
    assert torch.equal(found[0], small @ small)
    assert torch.equal(found[1], double @ double)
    assert 0 < float((rounded - large @ large).abs().max()) < 1.0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_runs_in_bfloat16_round(precision: Any, rounding: list[RoundedProducts]) -> None:
    TD3PlusBC(**TINY).fit(small_dataset("continuous"), 3, precision=precision, **QUIET)
    assert bool(rounding) == (precision == "bfloat16")
    assert all(mode.rounded for mode in rounding)


def test_processors_that_torch_rounds_for_are_left_to_it(
    monkeypatch: pytest.MonkeyPatch, rounding: list[RoundedProducts]
) -> None:
    monkeypatch.setattr(rounded_products, "multiplies_bfloat16", lambda: False)
    TD3PlusBC(**TINY).fit(small_dataset("continuous"), 3, precision="bfloat16", **QUIET)
    assert not rounding


@pytest.mark.parametrize(
    ("name", "has_instructions", "expected"),
    [
        ("AMD EPYC 9454 48-Core Processor", True, True),
        ("AMD EPYC 7763 64-Core Processor", False, False),
        ("Intel(R) Xeon(R) Processor", True, False),  # Half of float32's rate; its tiles may be hidden.
        ("", True, False),
    ],
)
def test_products_are_rounded_where_that_is_faster(
    name: str, has_instructions: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounded_products, "processor_name", lambda: name)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    assert rounded_products.multiplies_bfloat16.__wrapped__() == expected


@pytest.mark.parametrize("front", [TD3PlusBC, SAC])
def test_recorded_updates_round_as_eager_ones(front: Any, rounding: list[RoundedProducts]) -> None:
    recorded, eager = front(seed=0, **TINY), front(seed=0, **TINY)
    data = small_dataset("continuous")
    run = recorded.fitter(data, 30, precision="bfloat16", **QUIET)
    for _ in run:
        pass
    eager.fit(data, 30, precision="bfloat16", engine="eager", **QUIET)
    exact = front(seed=0, **TINY).fit(data, 30, **QUIET)
    ours, theirs = recorded.impl.state_tensors(), eager.impl.state_tensors()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not all(torch.equal(ours[name], value) for name, value in exact.impl.state_tensors().items())


def test_a_rounded_objective_is_replayed(monkeypatch: Any, rounding: list[RoundedProducts]) -> None:
    engines: list[RecordedUpdates] = []
    start = RecordedUpdates.start

    def started(self: RecordedUpdates) -> None:
        engines.append(self)
        start(self)

    monkeypatch.setattr(RecordedUpdates, "start", started)
    SAC(seed=0, **TINY).fit(small_dataset("continuous"), 20, precision="bfloat16", **QUIET)
    assert [replayed.checked for replayed in engines[-1].replayed] == [True, True, True]
    assert len(rounding) == 11 * 3  # Ten evaluations and the check; no block is entered for a replay.


def test_a_population_rounds_as_each_fit_asks(rounding: list[RoundedProducts]) -> None:
    data = small_dataset("continuous")
    population = Population([TD3PlusBC(seed=seed, **TINY) for seed in range(2)])
    population.fit(data, 5, **QUIET)
    assert not rounding
    population.fit(data, 5, precision="bfloat16", **QUIET)
    assert rounding


def test_members_round_as_alone(rounding: list[RoundedProducts]) -> None:
    data, settings = small_dataset("continuous"), {"precision": "bfloat16", **QUIET}
    members = Population([TD3PlusBC(seed=seed, **TINY) for seed in range(2)]).fit(data, 5, **settings)
    assert members.stacks == [[0, 1]]
    assert rounding
    exact = Population([TD3PlusBC(seed=seed, **TINY) for seed in range(2)]).fit(data, 5, **QUIET)
    for seed, (member, other) in enumerate(zip(members, exact, strict=True)):
        alone = TD3PlusBC(seed=seed, **TINY).fit(data, 5, **settings)
        for name, value in alone.impl.state_tensors().items():
            torch.testing.assert_close(member.impl.state_tensors()[name], value, rtol=1e-3, atol=1e-5)
        assert not all(
            torch.equal(a, b) for a, b in zip(member.impl.parameters(), other.impl.parameters(), strict=True)
        )

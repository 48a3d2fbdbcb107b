"""Draws in proportion to numbers: sums at each level, probabilities and writing, by hand."""

from __future__ import annotations

import pytest
import torch

from offlinekit.sampling.priorities import FAN, SumTree


def test_draws_by_hand():
    tree = SumTree(torch.tensor([1.0, 0.0, 3.0, 4.0]))
    # Of the sum 8: [0, 1/8) is place 0, [1/8, 1/2) place 2, [1/2, 1) place 3, nothing place 1.
    uniform = torch.tensor([0.0, 0.124, 0.125, 0.499, 0.5, 0.999])
    assert tree.draw(uniform).tolist() == [0, 0, 2, 2, 3, 3]
    assert float(tree.total) == 8.0


@pytest.mark.parametrize("n", [1, FAN, FAN + 1, FAN**2, FAN**2 + 7])
def test_all_levels_lead_to_the_place(n: int):
    numbers = torch.arange(n) % 5 + (1.0 if n < 5 else 0.0)
    tree = SumTree(numbers)
    sums = numbers.double().cumsum(0)
    # In the middle of each place's share of the whole.
    middles = (sums - numbers / 2) / sums[-1]
    places = torch.nonzero(numbers).flatten()
    assert torch.equal(tree.draw(middles[places]), places)


@pytest.mark.parametrize("n", [3, FAN + 3, FAN**2 + 3])
def test_written_numbers_are_summed_at_every_level(n: int):
    generator = torch.Generator().manual_seed(0)
    tree, numbers = SumTree(torch.ones(n)), torch.ones(n, dtype=torch.float64)
    for _ in range(20):
        index = torch.randint(n, (8,), generator=generator)
        values = torch.rand(8, generator=generator)
        tree.write(index, values)
        numbers[index] = 0.0
        for place, value in zip(index.tolist(), values.tolist(), strict=True):
            numbers[place] = max(float(numbers[place]), value)
    assert torch.equal(tree.numbers, numbers)
    whole = SumTree(numbers)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(tree.levels, whole.levels, strict=True))
    tree.replace(torch.ones(n))
    whole = SumTree(torch.ones(n))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(tree.levels, whole.levels, strict=True))


def test_frequencies_tend_to_shares():
    numbers = torch.arange(200.0)
    drawn = SumTree(numbers).draw(torch.rand(200_000, generator=torch.Generator().manual_seed(0)))
    shares = torch.bincount(drawn, minlength=200) / 200_000
    assert float((shares - numbers / numbers.sum()).abs().max()) < 1e-3
    assert not shares[0]


def test_rounding_at_the_end_never_leads_to_a_number_of_zero():
    numbers = torch.zeros(FAN**2)
    numbers[:100] = torch.rand(100, generator=torch.Generator().manual_seed(0))
    assert int(SumTree(numbers).draw(torch.full((5,), 1.0)).max()) == 99


def test_memory_stays_in_place():
    tree = SumTree(torch.ones(300))
    before = [level.data_ptr() for level in tree.levels]
    tree.write(torch.tensor([7]), torch.tensor([2.0]))
    tree.replace(torch.rand(300))
    assert before == [level.data_ptr() for level in tree.levels]

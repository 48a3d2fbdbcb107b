"""Sums whose gradients are taken block by block equal those taken at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from offlinekit.nn.block_sums import sum_in_blocks


def setting():
    torch.manual_seed(0)
    layer = nn.Linear(3, 1)
    frozen = torch.randn(7, 1)
    rows, weights = torch.randn(7, 3), torch.randn(7, 1)
    seen = []

    def part(some):
        seen.append(len(rows[some]))
        return (weights[some] * (layer(rows[some]) - frozen[some]).square()).sum()

    return part, layer, seen


@pytest.fixture(autouse=True)
def _global_random():
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize("size", [1, 3, 7])
def test_value_and_gradients_are_those_of_all_rows(size):
    part, layer, seen = setting()
    expected = part(slice(None))
    wanted = torch.autograd.grad(2.0 * expected, list(layer.parameters()))
    seen.clear()
    found = sum_in_blocks(part, 7, size, [*layer.parameters(), torch.zeros(2)])
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad(2.0 * found, list(layer.parameters()))
    torch.testing.assert_close(gradients, wanted)
    assert seen == {1: [1] * 7, 3: [3, 3, 1], 7: [7]}[size]


def test_without_gradients_the_value_alone_is_summed():
    part, layer, seen = setting()
    with torch.no_grad():
        expected = part(slice(None))
        seen.clear()
        torch.testing.assert_close(sum_in_blocks(part, 7, 4, list(layer.parameters())), expected)
    assert seen == [4, 3]


def test_a_population_takes_all_rows_at_once():
    seen = []

    def one(weight):
        def part(some):
            seen.append(some)
            return (weight * torch.ones(7)[some]).sum()

        return sum_in_blocks(part, 7, 2, [weight])

    torch.testing.assert_close(torch.vmap(one)(torch.tensor([1.0, 2.0])), torch.tensor([7.0, 14.0]))
    assert seen == [slice(None)]

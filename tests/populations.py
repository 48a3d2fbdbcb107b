"""Populations of tiny algorithms, and what makes a member equal to an algorithm trained alone."""

from __future__ import annotations

import pytest
import torch

from offlinekit.algos import Population

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8}
QUIET = {"out": None, "progress": False}
LOG_OFTEN = {**QUIET, "log_interval": 5}


def same(alone, member):
    """Asserts that two algorithms are in one state, up to rounding, with equal random states and history."""
    expected, found = alone.impl.state_tensors(), member.impl.state_tensors()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        if name.startswith("random."):
            assert torch.equal(value, found[name]), name
        else:
            torch.testing.assert_close(
                found[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
    assert (alone.sampler is None) == (member.sampler is None)
    assert alone.sampler is None or torch.equal(alone.sampler.state(), member.sampler.state())
    assert alone.grad_step == member.grad_step
    assert [row.keys() for row in alone.history] == [row.keys() for row in member.history]
    for row, other in zip(alone.history, member.history, strict=True):
        for name in row.keys() - {"time"}:
            assert other[name] == pytest.approx(row[name], rel=1e-3, abs=1e-4), (row["step"], name)


def check_members(make, settings, data, n_steps=9, **fit):
    """Trains members stacked and alone and asserts that they end alike; returns the population.

    A stack is recorded at its first update, an algorithm alone at its tenth: the default compares it as it is written.
    """
    fit = {**LOG_OFTEN, **fit}
    population = Population([make(**own) for own in settings]).fit(data, n_steps, **fit)
    numbers = list(range(len(settings)))
    assert population.stacks == ([numbers] if population[0].impl.stackable else [[n] for n in numbers])
    for member, own in zip(population, settings, strict=True):
        same(make(**own).fit(data, n_steps, **fit), member)
    return population

"""Foundations of the comparison with d3rlpy: equal weights, gradients and draws, without d3rlpy itself."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from offlinekit.algos import MLPEncoder
from offlinekit.nn.networks import Network
from offlinekit.nn.random import Random


@pytest.fixture
def parity(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks" / "parity"))
    import draws
    import run
    import weights

    yield draws, weights, run
    for name in ("draws", "weights", "run"):
        del sys.modules[name]


def network(members=None, outputs=2):
    space = gymnasium.spaces.Box(-np.inf, np.inf, (3,))
    random = Random(0, torch.device("cpu"))
    return Network(MLPEncoder((5, 4)), space, outputs, random, members=members)


def plain(outputs=2):
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, outputs))


@pytest.mark.parametrize("members", [None, 2])
def test_copied_networks_give_equal_values_and_gradients(parity, members):
    _, weights, _ = parity
    torch.manual_seed(0)
    ours, peers = network(members), nn.ModuleList(plain() for _ in range(members or 1))
    weights.copy(ours, peers)
    inputs = torch.randn(7, 3)
    mine = ours(inputs)
    theirs = torch.stack([peer(inputs) for peer in peers]) if members else peers[0](inputs)
    torch.testing.assert_close(mine, theirs)
    gradients = [
        weights.gradient(values.square().sum(), module) for values, module in ((mine, ours), (theirs, peers))
    ]
    torch.testing.assert_close(*gradients)


def test_one_layer_of_ours_is_copied_into_two_heads(parity):
    _, weights, _ = parity
    ours, trunk, heads = network(outputs=4), plain()[:4], [nn.Linear(4, 2), nn.Linear(4, 2)]
    peers = nn.ModuleList([trunk, *heads])
    weights.copy(ours, peers, heads=2)
    inputs = torch.randn(7, 3)
    means, log_stds = (head(trunk(inputs)) for head in heads)
    torch.testing.assert_close(ours(inputs), torch.cat([means, log_stds], -1))
    loss, peers_loss = ours(inputs).square().sum(), (means.square() + log_stds.square()).sum()
    torch.testing.assert_close(weights.gradient(loss, ours, heads=2), weights.gradient(peers_loss, peers))


def test_the_peer_draws_what_ours_drew(parity):
    draws, _, _ = parity
    normal = torch.distributions.Normal(torch.ones(4, 2), 3.0 * torch.ones(4, 2))

    def ours():
        return torch.randn(5, 4, 2), torch.rand(3)

    def peers():
        drawn = (normal.rsample((5,)) - 1.0) / 3.0
        return drawn, (torch.zeros(3).uniform_(-1.0, 1.0) + 1.0) / 2.0

    mine, theirs = draws.both(ours, peers)
    torch.testing.assert_close(mine, theirs)
    _, turned = draws.both(
        lambda: torch.randn(2, 5), lambda: torch.randn(5, 2), arrange=lambda numbers: numbers.T
    )
    assert turned.shape == (5, 2)


@pytest.mark.parametrize(
    ("peers", "message"),
    [
        (lambda: torch.randn(3), "shape"),
        (lambda: torch.zeros(2), "fewer"),
        (lambda: torch.randn(2) + torch.randn(2), "more"),
    ],
    ids=["shape", "fewer", "more"],
)
def test_other_draws_of_the_peer_are_refused(parity, peers, message):
    draws, _, _ = parity
    with pytest.raises(ValueError, match=message):
        draws.both(lambda: torch.randn(2), peers)


@pytest.mark.parametrize(
    ("difference", "reason", "verdict"),
    [
        (9e-6, None, "equal"),
        (2e-5, None, "WRONG"),
        (2e-5, "they round", "declared"),
        (9e-6, "they round", "WRONG"),
    ],
)
def test_a_difference_is_declared_or_wrong(parity, monkeypatch, difference, reason, verdict):
    _, _, run = parity
    ones = torch.ones(2)
    row = SimpleNamespace(what="loss", ours=ones, peers=ones, reason=reason, difference=lambda: difference)
    monkeypatch.setitem(sys.modules, "case", SimpleNamespace(compare=lambda: [row]))
    assert [found["verdict"] for found in run.table("case")] == [verdict]

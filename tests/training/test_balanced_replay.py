"""Balanced replay: the density ratio, the share of the first new rows, and priorities, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from loss_checks import close
from walk_env import Walk, recorded_walk

from offlinekit.algos import QC, SAC, DoubleDQN, MLPEncoder
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.nn.random import Random
from offlinekit.training.online.balanced_replay import BalancedReplay, first_priority
from offlinekit.training.online.density_ratio import DensityRatio, density_ratio_loss
from offlinekit.training.optimizers import make_optimizer

LINE = spaces.Box(-10, 10, (1,), np.float32)
QUICK = {"progress": False, "out": None}


def test_loss_of_rows_whose_ratio_is_two():
    two = torch.full((3,), 2.0)
    # -log(2 / 3) = 0.405465; -log(4 / 3) = -0.287682.
    close(density_ratio_loss(two, two), 0.405465 - 0.287682)
    close(density_ratio_loss(torch.tensor([2.0, 1.0]), torch.ones(1)), 0.405465 / 2)
    close(density_ratio_loss(torch.ones(1), torch.tensor([2.0, 1.0])), -0.287682 / 2)


def test_the_least_loss_lies_at_the_ratio_of_densities():
    # Of ten recorded rows two, and of ten new ones six are at this place: w = 3.
    w = torch.tensor(3.0, requires_grad=True)
    other = torch.tensor(0.7)
    recorded = torch.stack([w] * 2 + [other] * 8)
    new = torch.stack([w] * 6 + [other] * 4)
    (slope,) = torch.autograd.grad(density_ratio_loss(recorded, new), w)
    # 0.2 / (1 + w) - 0.6 (1 / w - 1 / (1 + w)) = 0.05 - 0.05
    close(slope, 0.0)


def test_a_fresh_ratio_is_about_one():
    ratio = DensityRatio(LINE, LINE, Random(0, torch.device("cpu")))
    seen = torch.linspace(-1, 1, 9)[:, None]
    assert (ratio(seen, seen) - 1.0).abs().max() < 0.02
    torch.nn.init.constant_(ratio.network.mlp.layers[-1].bias, -1.0)
    close(ratio(seen, seen), [0.0] * 9)
    chosen = DensityRatio(LINE, spaces.Discrete(3), Random(0, torch.device("cpu")))
    assert chosen(seen, torch.arange(9) % 3).shape == (9,)


def test_learns_the_ratio_of_two_gaussians():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    ratio = DensityRatio(LINE, LINE, Random(0, torch.device("cpu")))
    parameters = list(ratio.parameters())
    optimizer = make_optimizer("adam", [(parameters, 0.0)], 1e-3)
    zeros = torch.zeros(512, 1)
    for _ in range(600):
        recorded, new = torch.randn(2, 512, 1, generator=generator)
        loss = density_ratio_loss(ratio(recorded, zeros), ratio(new + 1.0, zeros))
        optimizer.step(torch.autograd.grad(loss, parameters))
    # N(1, 1) over N(0, 1) is exp(x - 1/2).
    at = torch.tensor([[-1.0], [-0.5], [0.0], [0.5], [1.0], [1.5]])
    found = ratio(at, torch.zeros(6, 1)).detach()
    assert (found.log() - (at[:, 0] - 0.5)).abs().max() < 0.25, found


def test_first_priorities():
    assert first_priority(1_000_000, 0.5) == pytest.approx(1_000)
    assert first_priority(1_000_000, 0.75) == pytest.approx(3_000)


def recorded(n: int) -> MDPDataset:
    rng, ends = np.random.default_rng(0), np.arange(n) == n - 1
    seen = rng.normal(size=(n, 1)).astype(np.float32)
    return MDPDataset(seen, rng.uniform(-1, 1, (n, 1)), np.zeros(n), ends, action_space=LINE)


def replay(n_recorded=500, capacity=2_000, share=0.5, batch_size=256):
    algo = SAC(encoder=MLPEncoder((8,)), batch_size=batch_size, seed=0, device="cpu").build(
        recorded(n_recorded)
    )
    memory = algo.make_sampler(recorded(n_recorded), capacity=capacity, keep=True)
    return BalancedReplay(memory, LINE, LINE, share, 0, torch.device("cpu"))


def play(balanced, n, at=0.0):
    """Adds steps with reward 1, which recorded rows have not."""
    for i in range(n):
        observation = np.array([at + 0.01 * (i % 10)], np.float32)
        balanced.memory.add(0, observation, np.zeros(1, np.float32), 1.0, observation, False)


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_the_first_thousand_new_rows_have_their_share(share, monkeypatch):
    balanced = replay(share=share)
    monkeypatch.setattr(balanced, "_learn", lambda batch, drawn: None)
    play(balanced, 1_000)
    found = torch.cat([balanced.sample().rewards for _ in range(100)]).mean().item()
    assert abs(found - share) < 4 * math.sqrt(share * (1 - share) / 25_600)
    # 2,000 of them have twice the odds.
    play(balanced, 1_000)
    found = torch.cat([balanced.sample().rewards for _ in range(100)]).mean().item()
    odds = 2 * share / (1 - share)
    assert abs(found - odds / (1 + odds)) < 4 * math.sqrt(share * (1 - share) / 25_600)


def test_rows_that_were_drawn_have_the_priority_of_their_ratio(monkeypatch):
    balanced = replay(n_recorded=50, batch_size=4)
    play(balanced, 3)
    monkeypatch.setattr(
        balanced, "_uniform", lambda n, first: balanced.memory.gather(torch.arange(4) + first % 50)
    )
    ratios = iter([
        torch.tensor([1024.0, 32.0, 32.0, 0.0], requires_grad=True),  # Of recorded rows: fifth roots 4, 2, 2, 0.
        torch.ones(4, requires_grad=True),
        torch.tensor([32.0, 243.0, 0.0, 1.0]),  # Of the minibatch: 2, 3, 0, 1.
    ])  # fmt: skip
    monkeypatch.setattr(balanced, "ratio", lambda seen, actions: next(ratios))
    monkeypatch.setattr(torch.autograd, "grad", lambda loss, parameters: [None] * len(parameters))
    balanced._admit()
    balanced._learn(balanced.memory.gather(torch.tensor([7, 50, 9, 51])), torch.tensor([7, 50, 9, 51]))
    # Over the mean (4 + 2 + 2 + 0) / 4 = 2; at least 1e-3.
    numbers = balanced.tree.numbers
    close(numbers[[7, 50, 9, 51]].float(), [1.0, 1.5, 1e-3, 0.5])
    close(numbers[[0, 52]].float(), [1.0, first_priority(50, 0.5)])


def test_places_that_are_used_again_begin_with_the_first_priority():
    balanced = replay(n_recorded=50, capacity=4)
    play(balanced, 4)
    balanced._admit()
    balanced.tree.write(torch.arange(50, 54), torch.full((4,), 7.0))
    play(balanced, 2)  # Places 50 and 51 again.
    balanced._admit()
    close(balanced.tree.numbers[50:54].float(), [0.05, 0.05, 7.0, 7.0])
    play(balanced, 9)
    balanced._admit()
    close(balanced.tree.numbers[50:54].float(), [0.05] * 4)


def test_recorded_rows_that_look_like_new_ones_come_more_often():
    balanced = replay(n_recorded=1_000)
    play(balanced, 500, at=1.0)
    near = []
    for _ in range(150):
        batch = balanced.sample()
        near.append(batch.observations[(batch.rewards == 0)][:, 0])
    before, after = torch.cat(near[:20]), torch.cat(near[-40:])
    assert after.mean() > before.mean() + 0.1


def test_a_state_gives_the_same_minibatches_again():
    first, second = replay(), replay()
    for balanced in (first, second):
        play(balanced, 20)
    for _ in range(5):
        first.sample()
    state = first.state()
    second.set_state(state)
    for _ in range(5):
        one, other = first.sample(), second.sample()
        assert torch.equal(one.observations, other.observations)
    assert torch.equal(first.state(), second.state())
    with pytest.warns(UserWarning, match="."):
        second.set_state(state[:-8])


def test_goes_online_with_it(tmp_path):
    data, options = (
        recorded_walk(),
        {"encoder": MLPEncoder((8,)), "batch_size": 8, "seed": 0, "device": "cpu"},
    )
    settings = {"dataset": data, "mixing": "balanced", "first_share": 0.75, "progress": False}
    algo = SAC(**options).fit_online(Walk(), 30, out=tmp_path, **settings)
    assert algo.grad_step == 30
    with pytest.raises(ValueError, match=r"mixing='balanced' weighs recorded rows .* give dataset="):
        SAC(**options).fit_online(Walk(), 10, mixing="balanced", **QUICK)
    with pytest.raises(UnsupportedError, match="mixing='balanced' compares rows one by one"):
        QC(**options).fit_online(Walk(), 10, dataset=data, mixing="balanced", **QUICK)
    with pytest.raises(ValueError, match="first_share"):
        SAC(**options).fit_online(Walk(), 10, dataset=data, first_share=1.0, **QUICK)


def test_discrete_actions_are_balanced_too():
    n = 40
    data = MDPDataset(
        np.random.default_rng(0).normal(size=(n, 2)), np.arange(n) % 3, np.zeros(n), np.zeros(n),
        np.arange(n) % 10 == 9, action_space=spaces.Discrete(3),
    )  # fmt: skip
    algo = DoubleDQN(encoder=MLPEncoder((8,)), batch_size=8, seed=0, device="cpu")
    algo.fit_online(Walk(discrete=True), 20, dataset=data, mixing="balanced", **QUICK)
    assert algo.grad_step == 20

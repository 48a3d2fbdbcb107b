"""Percent BC: which episodes are cloned, and by what loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from table_networks import TABLE, one_hot, set_constant

from offlinekit.algos import BC, MLPEncoder, PercentBC, Population
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.testing import small_dataset


def episodes(returns, length=2):
    """Makes an episode of each return: its number is the observation, its return over 10 the action."""
    n = len(returns) * length
    numbers = np.repeat(np.arange(len(returns), dtype=np.float32), length)[:, None]
    paid = np.repeat(np.asarray(returns, np.float32) / length, length)
    actions = np.repeat(np.asarray(returns, np.float32) / 10, length)[:, None]
    return MDPDataset(numbers, actions, paid, np.arange(n) % length == length - 1)


def numbers(dataset):
    return sorted({int(x) for x in dataset.observations[:, 0]})


@pytest.mark.parametrize(
    ("fraction", "kept"), [(0.2, [2]), (0.4, [0, 2]), (0.5, [0, 2]), (0.6, [0, 2, 4]), (1.0, [0, 1, 2, 3, 4])]
)
def test_the_episodes_of_the_highest_return_are_kept(fraction, kept):
    data = episodes([3.0, -5.0, 4.0, 0.0, 1.0])
    found = PercentBC(fraction=fraction, seed=0).best_episodes(data)
    assert numbers(found) == kept
    assert found.n_episodes == len(kept)
    assert found.observations[:, 0].tolist() == sorted(found.observations[:, 0].tolist())


def test_one_episode_stays_and_the_earlier_of_equals():
    assert numbers(PercentBC(fraction=0.01, seed=0).best_episodes(episodes([1.0, 2.0, 2.0]))) == [1]
    assert PercentBC(seed=0).fraction == 0.1


def test_pieces_are_ranked_over_timeouts_as_published():
    """Goals of maze2d end episodes by timeouts alone, over which CORL's pieces of 1,000 rows go on."""
    n = 12
    data = MDPDataset(
        np.arange(n, dtype=np.float32)[:, None],
        np.zeros((n, 1), np.float32),
        np.array([0, 0, 5, 0, 1, 2, 1, 2, 0, 0, 0, 4], np.float32),
        np.zeros(n, bool),
        timeouts=np.arange(n) % 3 == 2,
    )  # Episodes return 5, 3, 3 and 4; pieces of four rows 5, 6 and 4.
    assert numbers(PercentBC(fraction=0.34, piece_length=4, seed=0).best_episodes(data)) == [4, 5, 6, 7]
    assert numbers(PercentBC(fraction=0.34, seed=0).best_episodes(data)) == [0, 1, 2]
    assert PercentBC.preset("maze2d-umaze-v1").piece_length == 1000
    assert PercentBC(seed=0).piece_length is None


def test_returns_are_sums_and_not_means():
    short, long = episodes([3.0], 1), episodes([4.0], 4)
    assert len(PercentBC(fraction=0.5, seed=0).best_episodes(short.concat(long)).rewards) == 4


def test_batches_and_scalers_see_the_kept_episodes_alone():
    data = episodes([3.0, -5.0, 4.0, 0.0, 1.0])
    algo = PercentBC(fraction=0.4, seed=0, batch_size=64, observation_scaler="standard", action_scaler=None)
    batch = algo.sample_batch(data)
    assert {round(float(a), 3) for a in batch.actions[:, 0]} == {0.3, 0.4}
    # Episodes 0 and 2: mean 1, deviation 1.
    assert {round(float(o), 2) for o in batch.observations[:, 0]} == {-1.0, 1.0}


@pytest.mark.parametrize("policy", ["deterministic", "gaussian"])
def test_loss_and_gradient_are_those_of_cloning(policy):
    impl = PercentBC(encoder=TABLE, policy=policy, seed=0, device="cpu").build(continuous_dataset()).impl
    set_constant(impl.policy, [0.0])
    returned = impl.compute_actor_loss(make_batch(one_hot([0, 1], 2), [[0.4], [-0.2]]))
    loss = total(returned)
    # (0.16 + 0.04) / 2, or half of it and log(2 pi) / 2; d / d bias = mean(-2 a) or mean(-a)
    squared = policy == "deterministic"
    close(loss, 0.1 if squared else 0.05 + 0.5 * np.log(2 * np.pi))
    close(
        row_losses(returned),
        [0.16, 0.04] if squared else 0.5 * np.array([0.16, 0.04]) + 0.5 * np.log(2 * np.pi),
    )
    close(head_gradients(loss, impl.policy)[1], [-0.2 if squared else -0.1])


def test_all_episodes_are_behaviour_cloning():
    data = small_dataset("continuous")
    options = {"encoder": MLPEncoder((8,)), "batch_size": 8, "seed": 0, "device": "cpu"}
    whole, plain = (
        algo.fit(data, 5, out=None, progress=False)
        for algo in (PercentBC(fraction=1.0, **options), BC(**options))
    )
    for mine, theirs in zip(whole.impl.parameters(), plain.impl.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_members_of_a_population_keep_their_own_share():
    data = episodes([3.0, -5.0, 4.0, 0.0, 1.0])
    members = [PercentBC(fraction=f, seed=0, batch_size=32, action_scaler=None) for f in (0.2, 1.0)]
    population = Population(members).fit(data, 2, out=None, progress=False)
    first, second = (set(member.sampler.sample().actions[:, 0].tolist()) for member in population)
    assert len(first) == 1
    assert len(second) == 5


def test_other_data_are_refused():
    with pytest.raises(UnsupportedError, match="continuous"):
        PercentBC(seed=0).fit(small_dataset("discrete"), 1, out=None)
    with pytest.raises(TypeError, match="takes an MDPDataset"):
        PercentBC(seed=0).fit("hopper-medium-v2", 1, out=None)


def test_clones_the_good_where_cloning_takes_the_mean():
    rng = np.random.default_rng(0)
    states = rng.uniform(-1.0, 1.0, (400, 1)).astype(np.float32)
    good = np.arange(400) % 5 == 0
    actions = np.where(good[:, None], states / 2, -states / 2)
    data = MDPDataset(states, actions, good.astype(np.float32), np.ones(400, bool))
    errors = []
    for algo in (PercentBC, BC):
        options = {"fraction": 0.2} if algo is PercentBC else {}
        front = algo(encoder=MLPEncoder((32,)), learning_rate=1e-2, batch_size=64, seed=0, **options)
        front.fit(data, 200, out=None, progress=False)
        errors.append(float(np.abs(front.predict(states) - states / 2).mean()))
    assert errors[0] < 0.03
    assert errors[1] > 0.2

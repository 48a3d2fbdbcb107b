"""Transitions by hand: n steps, ends of episodes, returns, what may not be sampled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from offlinekit.algos import ReBRAC
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError
from offlinekit.sampling.sampler import TransitionSampler, n_step_transitions, returns_to_go
from offlinekit.sampling.scalers import Affine, Scaling


def two_episodes(**options):
    """Rows 0-2 end in a terminal, rows 3-5 in a timeout; observations count 10, 20, ... 60."""
    return MDPDataset(
        np.arange(10.0, 70.0, 10.0)[:, None],
        np.array([0, 1, 0, 1, 0, 1]),
        np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
        np.array([0, 0, 1, 0, 0, 0]),
        timeouts=np.array([0, 0, 0, 0, 0, 1]),
        **options,
    )


NEEDS = ("next_observations", "next_actions", "returns", "masks")


def sampler_of(dataset, **options):
    settings = {"batch_size": 4, "gamma": 0.5, "n_step": 1, "seed": 0, "scaling": Scaling(), "needs": NEEDS}
    return TransitionSampler(dataset, device=torch.device("cpu"), **{**settings, **options})


def test_one_step_with_unknown_final_observation():
    steps = n_step_transitions(two_episodes(), np.array([1.0, 2, 4, 8, 16, 32]), 0.5, 1)
    # The last row of the timeout was recorded without what follows: it takes no step.
    np.testing.assert_array_equal(steps.steps, [1, 1, 1, 1, 1, 0])
    np.testing.assert_array_equal(steps.rewards, [1, 2, 4, 8, 16, 0])
    np.testing.assert_array_equal(steps.discounts[:5], [0.5, 0.5, 0.0, 0.5, 0.5])
    # Row 2 ends episode 0: its next is the final observation 6 + 0.
    np.testing.assert_array_equal(steps.next_rows[:5], [1, 2, 6, 4, 5])


def test_three_steps_never_cross_an_episode():
    steps = n_step_transitions(two_episodes(), np.array([1.0, 2, 4, 8, 16, 32]), 0.5, 3)
    # 1 + 2/2 + 4/4 = 3; 2 + 4/2 = 4; 4.  Second episode, up to its last observation: 8 + 16/2 = 16; 16.
    np.testing.assert_array_equal(steps.rewards, [3, 4, 4, 16, 16, 0])
    # Terminal within reach: 0.  Row 3 looks two steps ahead, row 4 one.
    np.testing.assert_array_equal(steps.discounts[:5], [0, 0, 0, 0.25, 0.5])
    np.testing.assert_array_equal(steps.next_rows[:5], [6, 6, 6, 5, 5])


def test_known_final_observation_is_bootstrapped_from():
    dataset = two_episodes(final_observations=np.array([[0.0], [70.0]]), final_known=np.array([False, True]))
    steps = n_step_transitions(dataset, dataset.rewards, 0.5, 2)
    # Second episode: 8 + 16/2 = 16 at 0.25, 16 + 32/2 = 32 at 0.25, 32 at 0.5.
    np.testing.assert_array_equal(steps.rewards[3:], [16, 32, 32])
    np.testing.assert_array_equal(steps.discounts[3:], [0.25, 0.25, 0.5])
    np.testing.assert_array_equal(steps.next_rows[3:], [5, 7, 7])
    batch = sampler_of(dataset).gather(torch.tensor([5, 2]))
    np.testing.assert_array_equal(batch.next_observations, [[70.0], [0.0]])
    np.testing.assert_array_equal(batch.discounts, [0.5, 0.0])


def test_returns_to_go():
    # 4; 2 + 4/2 = 4; 1 + 4/2 = 3.  32; 16 + 32/2 = 32; 8 + 32/2 = 24.
    returns = returns_to_go(two_episodes(), np.array([1.0, 2, 4, 8, 16, 32]), 0.5)
    np.testing.assert_array_equal(returns, [3, 4, 4, 24, 32, 32])


def test_returns_to_go_of_long_episodes_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    ends = np.zeros(300)
    ends[[0, 6, 133, 299]] = 1
    rewards = rng.normal(size=300)
    dataset = MDPDataset(np.zeros((300, 1)), np.zeros(300, np.int64), rewards, np.zeros(300), ends)
    expected, total = np.empty(300), 0.0
    for row in reversed(range(300)):
        total = rewards[row] + (0.0 if ends[row] else 0.9 * total)
        expected[row] = total
    np.testing.assert_allclose(returns_to_go(dataset, rewards, 0.9), expected, rtol=1e-12)


def test_batch_fields():
    batch = sampler_of(two_episodes()).gather(torch.tensor([0, 1, 2, 4]))
    np.testing.assert_array_equal(batch.observations, [[10], [20], [30], [50]])
    np.testing.assert_array_equal(batch.next_observations[[0, 1, 3]], [[20], [30], [60]])
    np.testing.assert_array_equal(batch.actions, [0, 1, 0, 0])
    # The action after row 2 is none of its episode, so 0 and not row 3's 1.
    np.testing.assert_array_equal(batch.next_actions, [1, 0, 0, 1])
    assert batch.rewards.shape == batch.discounts.shape == batch.returns.shape == (4,)
    assert batch.masks is None


def test_rows_without_next_are_never_drawn_unless_asked_for():
    drawn = torch.cat([sampler_of(two_episodes(), seed=s).sample().observations for s in range(100)])
    assert set(drawn.flatten().tolist()) == {10.0, 20.0, 30.0, 40.0, 50.0}
    imitation = [sampler_of(two_episodes(), seed=s, needs=()).sample() for s in range(100)]
    assert 60.0 in torch.cat([batch.observations for batch in imitation])


def test_masks_lie_beside_their_rows():
    dataset = two_episodes(create_mask=True, mask_size=3)
    batch = sampler_of(dataset).gather(torch.tensor([3, 1]))
    assert batch.masks.shape == (3, 2)
    np.testing.assert_array_equal(batch.masks.numpy(), dataset.masks[[3, 1]].T)


def test_scaling_is_applied_before_n_steps_and_returns():
    halves = Affine(np.asarray(0.0), np.asarray(2.0))
    scaling = Scaling(observation=Affine(np.array([10.0]), np.array([10.0])), reward=halves)
    batch = sampler_of(two_episodes(), n_step=2, scaling=scaling).gather(torch.tensor([0]))
    # Rewards 0.5 and 1: 0.5 + 1/2 = 1; return 0.5 + 1/2 + 2/4 = 1.5; observation (10 - 10) / 10, (30 - 10) / 10.
    assert float(batch.rewards) == 1.0
    assert float(batch.returns) == 1.5
    np.testing.assert_array_equal(batch.observations, [[0.0]])
    np.testing.assert_array_equal(batch.next_observations, [[2.0]])


def test_continuous_actions_are_scaled_and_the_missing_next_stays_zero():
    data = MDPDataset(
        np.zeros((2, 1)),
        np.array([[1.0], [3.0]], np.float32),
        np.zeros(2),
        np.array([0, 1]),
        action_space=spaces.Box(0.0, 4.0, (1,)),
    )
    scaling = Scaling(action=Affine(np.array([2.0]), np.array([2.0])))
    batch = sampler_of(data, scaling=scaling).gather(torch.tensor([0, 1]))
    np.testing.assert_array_equal(batch.actions, [[-0.5], [0.5]])
    np.testing.assert_array_equal(batch.next_actions, [[0.5], [0.0]])


def test_dict_and_tuple_observations():
    tree = {"a": np.arange(4.0)[:, None], "b": (np.arange(101, 105, dtype=np.uint8)[:, None],)}
    data = MDPDataset(tree, np.zeros(4, np.int64), np.zeros(4), np.array([0, 0, 0, 1]))
    batch = sampler_of(data).gather(torch.tensor([1, 2]))
    np.testing.assert_array_equal(batch.next_observations["a"], [[2.0], [3.0]])
    np.testing.assert_array_equal(batch.observations["b"][0], [[102], [103]])
    assert batch.observations["b"][0].dtype == torch.uint8


def test_unordered_transitions_keep_their_next_observations_and_refuse_n_steps():
    rows = np.array([[1.0], [5.0], [9.0]])
    data = MDPDataset(
        rows, np.zeros(3, np.int64), np.ones(3), np.array([0, 1, 0]), next_observations=rows + 1
    )
    batch = sampler_of(data, needs=("next_observations",)).gather(torch.tensor([0, 1]))
    np.testing.assert_array_equal(batch.next_observations, [[2.0], [6.0]])
    np.testing.assert_array_equal(batch.discounts, [0.5, 0.0])
    with pytest.raises(DatasetError, match="n_step=2 needs rows in temporal order"):
        sampler_of(data, needs=("next_observations",), n_step=2)


def test_rewards_of_unordered_transitions_are_scaled():
    rows = np.array([[1.0], [5.0]])
    data = MDPDataset(
        rows, np.zeros(2, np.int64), np.array([4.0, 6.0]), np.array([0, 1]), next_observations=rows + 1
    )
    scaling = Scaling(reward=Affine(np.asarray(2.0), np.asarray(2.0)))
    batch = sampler_of(data, needs=("next_observations", "returns"), scaling=scaling).gather(
        torch.tensor([0, 1])
    )
    np.testing.assert_array_equal(batch.rewards, [1.0, 2.0])
    np.testing.assert_array_equal(batch.returns, [1.0 + 0.5 * 2.0, 2.0])


def test_nothing_to_bootstrap_from():
    data = MDPDataset(np.zeros((1, 1)), np.zeros(1, np.int64), np.zeros(1), np.zeros(1))
    with pytest.raises(DatasetError, match="no row has a next observation"):
        sampler_of(data)


def test_what_is_lacking_is_named_where_nothing_can_be_drawn():
    ones = np.ones((4, 1), np.float32)
    timeouts = np.ones(4, bool)
    data = MDPDataset(ones, ones[:, 0], ones[:, 0], ~timeouts, timeouts=timeouts, next_observations=2 * ones)
    assert sampler_of(data, needs=("next_observations",)).n_usable == 4
    lacks_action = "^no row has a next action to learn from.*give episodes of several rows, or terminals"
    with pytest.raises(DatasetError, match=lacks_action):
        sampler_of(data)
    with pytest.raises(DatasetError, match=r"^no row of weight above 0 has a next observation to learn from"):
        sampler_of(two_episodes(), columns={"weights": np.float32([0, 0, 0, 0, 0, 1])})
    with pytest.raises(DatasetError, match=lacks_action):
        ReBRAC(batch_size=4, seed=0).fit(
            MDPDataset(ones, ones / 2, ones[:, 0], ~timeouts, timeouts=timeouts, next_observations=2 * ones),
            1,
            out=None,
            progress=False,
        )


def test_state_brings_back_the_same_batches():
    sampler = sampler_of(two_episodes())
    sampler.sample()
    state = sampler.state()
    expected = sampler.sample().observations
    sampler.set_state(state)
    assert torch.equal(sampler.sample().observations, expected)


@pytest.mark.parametrize("options", [{}, {"create_mask": True, "mask_size": 2}, {"discrete": True}])
def test_a_refilled_minibatch_is_the_next_one_at_the_same_place(options):
    data = toy_rows(**options)
    first, second = (sampler_of(data, batch_size=6) for _ in range(2))
    batch = first.sample()
    second.sample()
    places = [leaf.data_ptr() for leaf in batch if leaf is not None]
    for _ in range(70):  # Beyond a block of row numbers.
        assert first.refill(batch)
        for mine, other in zip(batch, second.sample(), strict=True):
            assert (mine is None and other is None) or torch.equal(mine, other)
    assert places == [leaf.data_ptr() for leaf in batch if leaf is not None]
    assert torch.equal(first.state(), second.state())


def test_several_steps_are_not_refilled():
    sampler = sampler_of(toy_rows(), n_step=2)
    batch, state = sampler.sample(), sampler.state()
    assert not sampler.refill(batch)
    assert torch.equal(sampler.state(), state)


def toy_rows(discrete=False, **options):
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 3, 40) if discrete else rng.uniform(-1, 1, (40, 2)).astype(np.float32)
    return MDPDataset(
        rng.normal(size=(40, 3)), actions, rng.normal(size=40), np.arange(40) % 8 == 7, **options
    )

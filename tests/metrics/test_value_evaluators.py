"""Evaluators that need values, by hand: Q(s, a) = s + 10 a, V(s) = s + 10, gamma 1/2."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from known import Known, KnownImpl, two_episodes, unfinished

from offlinekit.algos import BC, DiscreteBC, DiscreteCQL
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.metrics import (
    batches,
    discounted_advantage_sum,
    initial_value,
    log_likelihood,
    out_of_distribution_distance,
    overestimation_gap,
    soft_opc,
    td_error,
    validation_losses,
    value,
)


@pytest.fixture(params=["at once", "in pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in pieces":
        monkeypatch.setattr(batches, "ROWS_AT_ONCE", 2)
        monkeypatch.setattr(batches, "BYTES_AT_ONCE", 1)


def known(**hyperparameters: Any) -> Known:
    return Known(**hyperparameters).build(two_episodes())


@pytest.mark.usefixtures("pieces")
def test_td_error_of_single_steps() -> None:
    # Q - (r + V(s') / 2): 1 - (1 + 6) = -6, 12 - (2 + 6.5) = 3.5, 3 - 4 = -1 (terminal), 15 - (8 + 8) = -1,
    # 6 - (16 + 8.5) = -18.5; squares 36 + 12.25 + 1 + 1 + 342.25 = 392.5, over 5.
    assert td_error(known(), two_episodes()) == pytest.approx(78.5)
    # Without the state behind the timeout the last row has no target: 50.25 / 4.
    assert td_error(known(), unfinished()) == pytest.approx(12.5625)


@pytest.mark.usefixtures("pieces")
def test_td_error_of_several_steps() -> None:
    # Two steps: 1 - (1 + 2/2 + V(3)/4) = 1 - 5.25 = -4.25; 12 - (2 + 4/2) = 8; 3 - 4 = -1;
    # 15 - (8 + 16/2 + V(7)/4) = 15 - 20.25 = -5.25; 6 - (16 + V(7)/2) = -18.5.
    # 18.0625 + 64 + 1 + 27.5625 + 342.25 = 452.875, over 5.
    assert td_error(known(n_step=2), two_episodes()) == pytest.approx(90.575)


def test_td_error_scales_rewards_as_training_does() -> None:
    # Rewards doubled: 1 - 8 = -7, 12 - 10.5 = 1.5, 3 - 8 = -5, 15 - 24 = -9, 6 - 40.5 = -34.5;
    # 49 + 2.25 + 25 + 81 + 1190.25 = 1347.5, over 5.
    algo = known(reward_scaler={"type": "multiply", "multiplier": 2.0})
    assert td_error(algo, two_episodes()) == pytest.approx(269.5)


def test_td_error_of_quantiles_is_that_of_their_mean() -> None:
    algo = DiscreteCQL(
        q_function="qr", n_quantiles=7, gamma=0.5, encoder={"type": "mlp", "hidden_sizes": [4]}
    )
    data = two_episodes()
    algo.build(data)
    q = algo.predict_value(data.observations, data.actions)
    after = algo.predict_value(np.array([[2.0], [3.0], [0.0], [6.0], [7.0]], np.float32))
    expected = q - data.rewards - np.array([0.5, 0.5, 0.0, 0.5, 0.5]) * after
    assert td_error(algo, data) == pytest.approx(np.mean(expected**2), rel=1e-5)


def test_td_error_of_unordered_transitions_looks_at_their_own_next_observations() -> None:
    # 1 - (1 + V(9)/2) = 1 - 10.5 = -9.5 and 2 - (2 + V(3)/2) = -6.5: (90.25 + 42.25) / 2.
    data = two_episodes(
        observations=np.array([[1.0], [2.0]], np.float32),
        actions=np.array([0, 0]),
        rewards=np.array([1.0, 2.0]),
        terminals=np.zeros(2, bool),
        timeouts=None,
        final_observations=None,
        next_observations=np.array([[9.0], [3.0]], np.float32),
    )
    assert td_error(known(), data) == pytest.approx(66.25)
    for evaluator in (discounted_advantage_sum, overestimation_gap):
        with pytest.raises(UnsupportedError, match=f"{evaluator.__name__} sums over the steps of episodes"):
            evaluator(known(), data)


def test_td_error_needs_a_next_observation() -> None:
    alone = two_episodes()[1:]
    columns = alone.observations[:1], alone.actions[:1], alone.rewards[:1], np.zeros(1)
    alone = MDPDataset(*columns, action_space=alone.action_space)
    with pytest.raises(UnsupportedError, match="no row has one; give next_observations or terminals"):
        td_error(known(), alone)


@pytest.mark.usefixtures("pieces")
def test_value_is_the_mean_over_rows() -> None:
    # (1 + 2 + 3 + 5 + 6) / 5 + 10.
    assert value(known(), two_episodes()) == pytest.approx(13.4)
    assert initial_value(known(), two_episodes()) == pytest.approx(13.0)  # (1 + 5) / 2 + 10


@pytest.mark.usefixtures("pieces")
def test_advantages_are_summed_within_their_episode() -> None:
    # A = 10 a - 10 = -10, 0, -10 | 0, -10; sums from the back -12.5, -5, -10 | -5, -10; mean -42.5 / 5.
    assert discounted_advantage_sum(known(), two_episodes()) == pytest.approx(-8.5)


@pytest.mark.usefixtures("pieces")
def test_soft_opc_sets_successful_rows_against_all() -> None:
    # Q = 1, 12, 3 | 15, 6, returns 7 and 24: (15 + 6) / 2 - 37 / 5.
    for threshold in (20.0, 24.0, None):  # The median is 15.5.
        assert soft_opc(known(), two_episodes(), return_threshold=threshold) == pytest.approx(3.1)
    assert soft_opc(known(), two_episodes(), return_threshold=7.0) == 0.0
    with pytest.raises(ValueError, match="must be reached by an episode, got 25; the best has 24"):
        soft_opc(known(), two_episodes(), return_threshold=25.0)


@pytest.mark.usefixtures("pieces")
def test_overestimation_is_measured_against_the_returns_of_the_data() -> None:
    # Returns 3, 4, 4 under estimates 11, 12, 13: 8 + 8 + 9 = 25. Behind the timeout V(7) = 17 stands:
    # 16 + 8.5 = 24.5 (weight 1/2) and 8 + 12.25 = 20.25 (1/4) over 16 and 15: -8.5 - 5.25.
    # 11.25 / (3 + 1/2 + 3/4).
    assert overestimation_gap(known(), two_episodes()) == pytest.approx(11.25 / 4.25)
    # Without the state behind it V(6) = 16 stands in the last row (weight 1): 0, and 15 - (8 + 8) = -1
    # (weight 1/2): 24 / 3.5.
    assert overestimation_gap(known(), unfinished()) == pytest.approx(24 / 3.5)
    # Rewards doubled: 11 - 6, 12 - 8, 13 - 8, and 16 - 40.5, 15 - 36.25: 14 - 45.75.
    algo = known(reward_scaler={"type": "multiply", "multiplier": 2.0})
    assert overestimation_gap(algo, two_episodes()) == pytest.approx(-31.75 / 4.25)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_constant_overestimate_is_found_however_short_episodes_are(length: int) -> None:
    # A reward of 6.5 for ever is worth 6.5 / (1 - 1/2) = 13; the estimate is 5 + 10 = 15.
    data = MDPDataset(
        np.full((7, 1), 5.0, np.float32),
        np.array([0, 1, 0, 1, 0, 1, 0]),
        np.full(7, 6.5),
        np.zeros(7),
        timeouts=(np.arange(7) % length == length - 1) | (np.arange(7) == 6),
        final_observations=np.full((-(-7 // length), 1), 5.0, np.float32),
    )
    assert overestimation_gap(known(), data) == pytest.approx(2.0)


class Three(gymnasium.Env[Any, Any]):
    """Begins at 4 and pays 1, 2, 4."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, **_: Any) -> Any:
        self.paid = 1.0
        return np.array([4.0], np.float32), {}

    def step(self, action: Any) -> Any:
        reward, self.paid = self.paid, 2 * self.paid
        return np.array([4.0], np.float32), reward, reward == 4.0, False, {}


def test_overestimation_is_measured_against_the_policy_in_an_environment() -> None:
    # V(4) = 14 against 1 + 2/2 + 4/4 = 3, or 6 with doubled rewards.
    measure = partial(overestimation_gap, env=Three(), n_episodes=3)
    assert measure(known(), two_episodes()) == pytest.approx(11.0)
    algo = known(reward_scaler={"type": "multiply", "multiplier": 2.0})
    assert measure(algo, two_episodes()) == pytest.approx(8.0)


def test_log_likelihood_of_discrete_actions() -> None:
    # Three times 1/4 and twice 3/4.
    expected = (3 * np.log(0.25) + 2 * np.log(0.75)) / 5
    assert log_likelihood(known(), two_episodes()) == pytest.approx(expected)


def test_log_likelihood_is_a_density_in_units_of_the_data() -> None:
    data = two_episodes(
        actions=np.array([[0.0], [2.0], [0.0], [2.0], [0.0]], np.float32),
        action_space=gymnasium.spaces.Box(-2.0, 2.0, (1,)),
    )
    algo = BC(policy="gaussian", encoder={"type": "mlp", "hidden_sizes": []}).build(data)
    with torch.no_grad():
        for parameter in algo.impl.parameters():
            parameter.zero_()
    # Scaled actions 0 and 1 under N(0, 1), of which 2 units of the data make 1: three times log N(0) - log 2,
    # twice log N(1) - log 2.
    expected = -0.5 * np.log(2 * np.pi) - 0.5 * 2 / 5 - np.log(2)
    assert log_likelihood(algo, data) == pytest.approx(expected, rel=1e-5)


def test_what_has_no_values_or_no_probabilities_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    algo = DiscreteBC().build(two_episodes())
    for evaluator in (td_error, value, initial_value, discounted_advantage_sum, soft_opc, overestimation_gap):
        with pytest.raises(UnsupportedError, match=f"estimates no values, so {evaluator.__name__}"):
            evaluator(algo, two_episodes())
    with pytest.raises(UnsupportedError, match="that of DiscreteCQL has none; use action_match"):
        log_likelihood(DiscreteCQL().build(two_episodes()), two_episodes())
    monkeypatch.setattr(Known, "is_stateful", True, raising=False)
    for evaluator in (td_error, value, initial_value, discounted_advantage_sum, soft_opc, overestimation_gap):
        with pytest.raises(UnsupportedError, match="Known depends on the steps before"):
            evaluator(known(), two_episodes())
    with pytest.raises(UnsupportedError, match="log_likelihood needs"):
        log_likelihood(known(), two_episodes())


def test_distance_is_to_the_nearest_state_and_action_in_standard_deviations() -> None:
    # States 0, 10, 100 have deviation sqrt(6066.7 / 3) = 44.97; the policy does 1. At 0 the nearest row is that of
    # state 10, where the data do 1: 10 / 44.97. At 10 it is itself. At 100 the data do 0: distance 1, nearer
    # than 90 / 44.97.
    data = two_episodes()[:1]
    data = MDPDataset(np.array([[0.0], [10.0], [100.0]], np.float32), [0, 1, 0], data.rewards, data.terminals)
    deviation = np.sqrt((36.6667**2 + 26.6667**2 + 63.3333**2) / 3)
    expected = (10 / deviation + 0 + 1) / 3
    assert out_of_distribution_distance(known(), data) == pytest.approx(expected, rel=1e-4)
    # A single row is its own neighbour: 0 at state 10, 1 at the others.
    alone = [out_of_distribution_distance(known(), data, n_rows=1, seed=seed) for seed in range(8)]
    assert {round(distance, 6) for distance in alone} == {0.0, 1.0}
    asked = [out_of_distribution_distance(known(), data, n_queries=1, seed=seed) for seed in range(8)]
    assert {round(distance, 4) for distance in asked} == {0.0, 0.2224, 1.0}
    # In one state for all rows, action 1 is among the data.
    same = MDPDataset(np.full((3, 1), 40.0, np.float32), [0, 0, 1], data.rewards, data.terminals)
    assert out_of_distribution_distance(known(), same) == 0.0


def test_distance_of_continuous_actions() -> None:
    data = MDPDataset(
        np.array([[0.0], [2.0]], np.float32),
        np.array([[-0.5], [0.5]], np.float32),
        [0.0, 0.0],
        [0, 1],
        action_space=gymnasium.spaces.Box(-1.0, 1.0, (1,)),
    )
    algo = BC(encoder={"type": "mlp", "hidden_sizes": []}).build(data)
    with torch.no_grad():
        for parameter in algo.impl.parameters():
            parameter.fill_(0.0)
    # Deviations 1 of states and 1/2 of actions. The policy does 0, that is 0.5 / 0.5 = 1 away in each state.
    assert out_of_distribution_distance(algo, data) == pytest.approx(1.0)


def test_validation_losses_are_those_of_the_objectives_and_change_nothing() -> None:
    data = two_episodes(rewards=np.full(5, 3.0))
    algo = Known(batch_size=2).build(data)
    before = {name: tensor.clone() for name, tensor in algo.impl.state_tensors().items()}
    found = validation_losses(algo, data)
    assert set(found) == {"critic", "noise"}
    assert found["critic"] == 3.0  # The weight is 1 and each reward 3.
    assert validation_losses(algo, data) == found
    after = algo.impl.state_tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in algo.impl.parameters())


def test_validation_takes_no_more_minibatches_than_there_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(KnownImpl, "compute_noise", lambda self, batch: calls.append(1) or self.weight * 0)
    for given, expected in ((50, 3), (2, 2)):  # Five rows are three minibatches of two.
        calls.clear()
        algo = Known(batch_size=2).build(two_episodes())
        validation_losses(algo, two_episodes(), n_batches=given)
        assert len(calls) == expected


def test_observations_may_be_dicts() -> None:
    seen = two_episodes().observations
    tree = {"x": seen, "y": np.zeros((5, 3), np.float32)}
    final = {"x": np.array([[0.0], [7.0]], np.float32), "y": np.zeros((2, 3), np.float32)}
    data = two_episodes(observations=tree, final_observations=final)
    algo = Known().build(data)
    assert td_error(algo, data) == pytest.approx(78.5)
    assert overestimation_gap(algo, data) == pytest.approx(11.25 / 4.25)
    assert out_of_distribution_distance(algo, data) >= 0.0


@pytest.mark.usefixtures("pieces")
def test_observations_may_be_stacks_of_images() -> None:
    images = np.zeros((5, 1, 8, 8), np.uint8)
    images[:, 0, 0, 0] = [1, 2, 3, 5, 6]
    final = np.zeros((2, 1, 8, 8), np.uint8)
    final[1, 0, 0, 0] = 7
    data = two_episodes(observations=images, final_observations=final)
    algo = Known(frame_stack=2, encoder={"type": "mlp", "hidden_sizes": []}).build(data)
    # A state is its newest image plus 100 times the one before: 1, 102, 203 | 5, 506 and behind 607.
    assert value(algo, data) == pytest.approx((1 + 102 + 203 + 5 + 506) / 5 + 10)
    # 1 - (1 + 56) = -56, 112 - (2 + 106.5) = 3.5, 203 - 4 = 199, 15 - (8 + 258) = -251, 506 - (16 + 308.5).
    errors = np.array([-56.0, 3.5, 199.0, -251.0, 181.5])
    assert td_error(algo, data) == pytest.approx(np.mean(errors**2))
    # The last weighs 1/2, the one before 1/4: 16 + 308.5 = 324.5 under 516, 8 + 162.25 under 15.
    gap = (11 - 3 + 112 - 4 + 213 - 4 + 516 - 324.5 + 15 - 170.25) / 4.25
    assert overestimation_gap(algo, data) == pytest.approx(gap)
    assert out_of_distribution_distance(algo, data) >= 0.0  # 128 numbers, projected.

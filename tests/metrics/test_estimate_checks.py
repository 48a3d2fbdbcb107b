"""Limits of an estimate are named: weights off 1, missing support, tails, estimands, estimators left out."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import ope_worlds
import pytest
from scipy import stats

from offlinekit.algos import DiscreteDecisionTransformer, DiscreteFQE
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.envs.stateful_policies import StatefulPolicy
from offlinekit.errors import UnanswerableError, UnsupportedError
from offlinekit.metrics.ope import Logged, estimate
from offlinekit.metrics.ope.estimands import Cuts
from offlinekit.metrics.ope.selection import select
from offlinekit.metrics.ope.support import Support, support_of
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.metrics.ope.weight_checks import MeanWeight, mean_ratio, mean_weight
from offlinekit.testing import small_dataset

TWO = gym.spaces.Discrete(2)
HALF = np.log(0.5)


def table(rows: Any) -> Any:
    rows = np.asarray(rows, np.float64)
    return lambda observations: rows[np.asarray(observations).reshape(-1).astype(int)]


def episodes(states: Any, actions: Any, **columns: Any) -> MDPDataset:
    """Episodes [E, T] of equal length that all end, reward 1 a step."""
    states, actions = np.asarray(states), np.asarray(actions)
    ends = np.zeros(states.shape)
    ends[:, -1] = 1
    return MDPDataset(
        states.reshape(-1, 1).astype(np.float32), actions.reshape(-1), np.ones(states.size), ends.reshape(-1),
        **{"behavior_log_probs": np.full(states.size, HALF), "action_space": TWO, **columns},
    )  # fmt: skip


# The mean weight.


def logged(ratios: Any) -> Logged:
    ratios = np.asarray(ratios, np.float64)
    with np.errstate(divide="ignore"):
        return Logged(
            np.zeros(ratios.shape), np.ones(ratios.shape, bool), np.log(ratios), np.zeros(ratios.shape)
        )


def test_mean_weight_by_hand():
    # Products 2, 2; 0, 0; 2, 6: means 4 / 3 and 8 / 3. Deviations of step 2: -2/3, -8/3, 10/3; their squares sum to
    # 168 / 9, over 2 and 3 the squared error 28 / 9: 1.764, so it is (5 / 3) / 1.764 = 0.945 errors off. Step 1:
    # squares 8 / 3, error sqrt(4 / 9) = 2 / 3: 0.5 errors. Single ratios: excesses 1, -1, 3 over 2: mean 0.5,
    # error (1 / sqrt 3) = 0.577: 0.866 errors.
    found = mean_weight(logged([[2, 1], [0, 1], [2, 3]]))
    assert (found.value, found.step) == (pytest.approx(8 / 3), 2)
    assert found.standard_error == pytest.approx(np.sqrt(28 / 9))
    assert found.errors == pytest.approx(5 / 3 / np.sqrt(28 / 9))
    single = mean_ratio(logged([[2, 1], [0, 1], [2, 3]]))
    assert (single.value, single.standard_error) == (pytest.approx(1.5), pytest.approx(1 / np.sqrt(3)))


@pytest.mark.parametrize(("value", "off"), [(1.29, False), (1.31, True), (0.71, False), (0.69, True)])
def test_a_mean_weight_is_off_above_and_below(value: float, off: bool):
    assert MeanWeight(value, 0.1, 3).is_off == off


def test_the_furthest_of_many_means_is_off_later_than_one():
    # 3 errors are exceeded above with 0.00135; one of 27 with 0.00135 / 27 = 5e-5, which is 3.8906 errors.
    assert not MeanWeight(1.388, 0.1, 3, n_means=27).is_off
    assert MeanWeight(1.390, 0.1, 3, n_means=27).is_off
    assert mean_weight(logged([[2, 1], [0, 1], [2, 3]])).n_means == 3


def test_a_mean_that_no_episode_varies_is_off_unless_it_is_one():
    assert MeanWeight(0.0, 0.0, 3).errors == -np.inf
    assert not MeanWeight(1.0, 0.0, 3).is_off


def test_wrong_propensities_are_warned_of_at_every_weighted_estimate():
    # The behaviour tossed a coin; the propensities given say 0.4, so each of 2 steps has a mean ratio of 1.25.
    random = np.random.default_rng(0)
    actions = random.integers(0, 2, (400, 2))
    data = episodes(np.zeros((400, 2)), actions, behavior_log_probs=np.full(800, np.log(0.4)))
    names = ["is", "pdis", "wis", "wdr", "direct"]  # The last has its interval from the weights.
    report = estimate(table([[0.5, 0.5]]), data, names, gamma=0.9)
    for name in names:
        assert any("where 1 is due" in warning for warning in report[name].warnings), name
    alone = estimate(table([[0.5, 0.5]]), data, ["direct"], gamma=0.9)
    assert alone.mean_weight is None
    assert report.mean_weight is not None
    assert report.mean_weight.is_off


# Support.


def test_support_of_states_by_hand():
    # State 0 leads to state 1, where only action 0 was recorded; the target takes action 1 there with 0.6.
    # It gets there with certainty one step later: 0.9 * 0.6 of its episodes leave the data.
    data = episodes(np.tile([0, 1], (20, 1)), np.stack([np.arange(20) % 2, np.zeros(20, int)], 1))
    found = support_of(TargetPolicy(table([[0.5, 0.5], [0.4, 0.6]]), TWO), data, 0.9)
    assert (found.outside, found.how) == (pytest.approx(0.54), "states")
    assert found.fails
    held = support_of(TargetPolicy(table([[0.5, 0.5], [1.0, 0.0]]), TWO), data, 0.9)
    assert (held.outside, held.fails) == (0.0, False)


def test_a_policy_that_leaves_the_data_is_not_followed_further():
    # The target takes the unseen action in state 0 with 0.5; of the other half 0.9 * 1 leaves in state 1.
    data = episodes(np.tile([0, 1], (20, 1)), np.zeros((20, 2), int))
    found = support_of(TargetPolicy(table([[0.5, 0.5], [0.0, 1.0]]), TWO), data, 0.9)
    assert found.outside == pytest.approx(0.5 + 0.9 * 0.5)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_support_of_vectors(noise: float):
    """Vectors around four corners, where the behaviour never takes action 1 in the first."""
    random = np.random.default_rng(0)
    corners = random.integers(0, 4, 4_000)
    places = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])[corners] + noise * random.normal(size=(4_000, 2))
    actions = np.where(corners == 0, 0, random.integers(0, 2, 4_000))
    data = MDPDataset(places.astype(np.float32), actions, np.ones(4_000), np.arange(4_000) % 4 == 3)
    unseen = lambda o: np.where((o.round() == 0).all(1)[:, None], [[0.0, 1.0]], [[0.5, 0.5]])  # noqa: E731
    same = lambda o: np.where((o.round() == 0).all(1)[:, None], [[1.0, 0.0]], [[0.5, 0.5]])  # noqa: E731
    leaving, staying = (support_of(TargetPolicy(policy, TWO), data, 0.9) for policy in (unseen, same))
    # It starts in the corner one time in four, and comes there later: 1/4 (1 + 3/4 (0.9 + ...)), at most 4 steps.
    assert 0.25 < leaving.outside < 0.7
    assert leaving.how == ("regions of states" if noise else "states")
    assert staying.outside < 0.02


def test_support_of_continuous_actions():
    random = np.random.default_rng(0)
    states = random.normal(size=(2_000, 2)).astype(np.float32)
    actions = (states[:, :1] + 0.1 * random.normal(size=(2_000, 1))).astype(np.float32)
    data = MDPDataset(states, actions, np.ones(2_000), np.arange(2_000) % 4 == 3)
    shares = [
        support_of(TargetPolicy(lambda o, by=by: o[:, :1] + by, data.action_space), data, 0.9).outside
        for by in (0.0, 2.0)
    ]
    assert shares[0] < 0.02
    assert shares[1] > 0.8


def test_support_of_images_is_unknown():
    data = MDPDataset(np.zeros((6, 1, 8, 8), np.uint8), np.arange(6) % 2, np.ones(6), np.ones(6, bool))
    found = support_of(TargetPolicy(RandomPolicy(TWO), TWO), data, 0.9)
    assert np.isnan(found.outside)
    assert not Support(np.nan, 0.02, "nothing").fails


def test_every_estimator_says_that_support_is_missing():
    world = ope_worlds.chain()
    world.behaviour[0] = [1, 0]
    world.target = np.array([[0.2, 0.8], [0.7, 0.3], [0.5, 0.5]])
    names = ["is", "wis", "dr", "wdr", "direct", "magic", "switch", "retrace", "marginalised", "dual_dice"]
    report = estimate(world.probabilities, world.dataset(300, 0), names, gamma=0.9)
    assert report.support.outside > 0.5
    for name in names:
        assert any("has no rows" in warning for warning in report[name].warnings), name


def test_marginalised_estimates_keep_the_mass_of_unseen_actions():
    # Four states in a row, reward 1 a step: 4 whatever is done; the target's action has no row in state 2.
    actions = np.random.default_rng(0).integers(0, 2, (100, 4))
    actions[:, 2] = 0
    chances = np.full((100, 4), HALF)
    chances[:, 2] = 0.0
    data = episodes(np.tile(np.arange(4), (100, 1)), actions, behavior_log_probs=chances.ravel())
    for target in ([0.0, 1.0], [0.3, 0.7]):
        report = estimate(
            table([target] * 4), data, ["marginalised", "dual_dice", "gen_dice", "best_dice"], gamma=1.0
        )
        for name, found in report.estimates.items():
            assert found.value == pytest.approx(4, abs=1e-3), name


# Estimands.


def cut_data(known: bool = True) -> MDPDataset:
    """Episodes of two steps in one state, reward 1, all cut off."""
    cuts = np.tile([0, 1], 60)
    finals = {"final_observations": np.zeros((60, 1)), "final_known": np.full(60, known)}
    return MDPDataset(
        np.zeros((120, 1), np.float32), np.random.default_rng(0).integers(0, 2, 120), np.ones(120), np.zeros(120),
        timeouts=cuts, behavior_log_probs=np.full(120, HALF), action_space=TWO, **finals,
    )  # fmt: skip


def test_estimands_stand_beside_the_numbers():
    policy = table([[0.4, 0.6]])
    names = ["is", "wis", "dr", "wdr", "direct", "retrace", "dual_dice"]
    report = estimate(policy, cut_data(), names, gamma=0.5)
    aims = {name: found.estimand for name, found in report.estimates.items()}
    assert {aims[name] for name in ("is", "wis", "dr", "wdr")} == {"to the cut"}
    assert {aims[name] for name in ("direct", "dual_dice")} == {"beyond the cut"}
    assert aims["retrace"] == "between both"
    # To the cut 1 + 0.5; beyond it 1 / (1 - 0.5).
    assert report["wdr"].value == pytest.approx(1.5)
    assert report["direct"].value == pytest.approx(2.0)
    assert any("aim at different returns" in warning for warning in report.warnings)
    assert any("bootstrap_timeouts=True aims beyond" in warning for warning in report["retrace"].warnings)
    beyond = estimate(policy, cut_data(), ["dr", "retrace", "direct"], gamma=0.5, bootstrap_timeouts=True)
    assert {found.estimand for found in beyond.estimates.values()} == {"beyond the cut"}
    assert beyond.warnings == ()
    for found in beyond.estimates.values():
        assert found.value == pytest.approx(2.0, abs=1e-6)


def test_unknown_final_observations_are_said():
    cuts = Cuts(n_cut=10, n_unknown=4, bootstrapped=True, clipped=False)
    assert cuts.estimand("corrected") == "between both"
    assert cuts.warning("between both") == (
        "4 of 10 cut episodes have no final observation, and count to the cut"
    )
    assert Cuts(10, 0, False, True).estimand("corrected") == "between both"
    assert {Cuts(10, 0, True, True).estimand(reach) for reach in ("rows", "rollout")} == {"to the cut"}
    assert Cuts(0, 0, False, True).estimand("mixed") == "whole episodes"


def test_an_estimator_without_an_answer_leaves_the_others():
    # Under the target state 1 leads to itself for ever; the data leave it by action 0.
    states = np.tile([0, 1, 1, 1], (50, 1))
    actions = np.tile([0, 1, 1, 0], (50, 1))
    data = episodes(states, actions)
    report = estimate(table([[1.0, 0.0], [0.0, 1.0]]), data, ["is", "direct", "dual_dice"], gamma=1.0)
    assert set(report.estimates) == {"is"}
    assert "needs every state to reach an end" in report.left_out["direct"]
    assert "the policy stays among some states for ever" in report.left_out["dual_dice"]
    assert any(warning.startswith("direct is left out: gamma=1") for warning in report.warnings)
    with pytest.raises(KeyError, match="direct has no value"):
        report["direct"]
    with pytest.raises(UnanswerableError, match="needs every state"):
        estimate(table([[1.0, 0.0], [0.0, 1.0]]), data, ["direct"], gamma=1.0)


# Tails, clips, few episodes.


def test_heavy_rewards_have_a_heavy_tail_though_no_weight_has():
    random = np.random.default_rng(0)
    data = episodes(np.zeros((500, 1)), random.integers(0, 2, (500, 1)))
    heavy = MDPDataset(
        data.observations, data.actions, stats.pareto(0.9).rvs(500, random_state=1), data.terminals,
        behavior_log_probs=data.behavior_log_probs, action_space=TWO,
    )  # fmt: skip
    policy = table([[0.4, 0.6]])
    assert estimate(policy, data, ["is"])["is"].warnings == ()
    warnings = estimate(policy, heavy, ["is"])["is"].warnings
    assert any("heavy tail of returns" in warning for warning in warnings)
    assert any("heavy tail of what episodes contribute" in warning for warning in warnings)


def test_clipping_hides_no_tail():
    random = np.random.default_rng(0)
    actions = (random.random((400, 12)) < 0.1).astype(int)
    chances = np.log(np.where(actions == 1, 0.1, 0.9)).ravel()
    data = episodes(np.zeros((400, 12)), actions, behavior_log_probs=chances)
    found = estimate(table([[0.5, 0.5]]), data, ["is"], clip=2.0)["is"]
    assert any("heavy tail of weights" in warning for warning in found.warnings)
    assert any("clip takes" in warning for warning in found.warnings)


def test_three_episodes_are_judged_in_three_folds_and_called_few():
    data = episodes([[0, 1]] * 3, [[0, 1], [1, 1], [0, 0]])
    report = estimate(table([[0.5, 0.5]] * 2), data, ["wis", "direct"], behaviour="fit", gamma=0.9)
    assert report["direct"].value == pytest.approx(1.9)
    assert "3 episodes" in report["direct"].warnings
    with pytest.raises(ValueError, match="2 episodes, got n_folds=5 and 1 episode"):
        estimate(table([[0.5, 0.5]] * 2), data[:1], ["wis"], behaviour="fit")


def test_log_probabilities_above_zero_are_refused_at_every_door():
    data = episodes(np.zeros((30, 1)), np.arange(30)[:, None] % 2)
    policy = RandomPolicy(TWO)
    with pytest.raises(ValueError, match=r"behaviour must be at most 0, got 0\.5"):
        estimate(policy, data, ["is"], behaviour=np.full(30, 0.5))
    policy.log_prob = lambda o, a: np.full(len(a), 0.7)
    with pytest.raises(ValueError, match="log_prob of the policy must be at most 0"):
        estimate(policy, data, ["is"])
    box = small_dataset("continuous")
    dense = RandomPolicy(box.action_space)
    dense.log_prob = lambda o, a: np.full(len(a), 0.7)  # A density may be above 1.
    assert estimate(dense, box, ["wis"], behaviour=np.full(len(box), 0.7))["wis"].value


@pytest.mark.parametrize("how", ["q_function", "bound", "fit_q"])
def test_values_of_another_gamma_are_refused(how: str):
    data = small_dataset("discrete")
    algo = DiscreteFQE(policy=RandomPolicy(data.action_space), gamma=0.9, seed=0).build(data)
    given: dict[str, Any] = {
        "q_function": {"q_function": algo},
        "bound": {"q_function": algo.predict_value},
        "fit_q": {"fit_q": lambda _: algo.predict_value},
    }[how]
    with pytest.raises(ValueError, match=r"discounted by gamma=0\.9, the estimate by gamma=0\.99"):
        estimate(RandomPolicy(data.action_space), data, ["direct"], gamma=0.99, **given)
    assert estimate(RandomPolicy(data.action_space), data, ["direct"], gamma=0.9, **given)["direct"]


class Counting(StatefulPolicy):
    """Remembers how many steps it took."""

    def begin(self) -> int:
        return 0


def test_policies_that_remember_are_refused_at_every_door():
    data = small_dataset("discrete")
    sequence = DiscreteDecisionTransformer(seed=0).build(data)
    for policy in (sequence, SampledPolicy(sequence), Counting()):
        with pytest.raises(UnsupportedError, match="acts by what came before in its episode"):
            estimate(policy, data, ["is"], gamma=0.9)
        with pytest.raises(UnsupportedError, match="acts by what came before in its episode"):
            select({"a": policy}, data, n_steps=2, n_resamples=2)


def test_products_of_ratios_beyond_numbers_leave_their_estimators_out():
    # 600 ratios of 2: e^416. By a clip they are weights again; estimators without products stay.
    data = episodes(np.zeros((30, 600)), np.ones((30, 600), int))
    report = estimate(table([[0.0, 1.0]]), data, ["is", "wis", "dr", "direct", "marginalised"], gamma=0.9)
    assert set(report.left_out) == {"is", "wis", "dr"}
    assert "beyond e^300; give clip" in report.left_out["wis"]
    # One of 600 rows ends: v = 1 + 0.9 * 599 / 600 v. Its interval comes from weights of 1e130, its value does not.
    assert report["direct"].value == pytest.approx(1 / (1 - 0.9 * 599 / 600), abs=1e-6)
    clipped = estimate(table([[0.0, 1.0]]), data, ["wis"], gamma=0.9, clip=100.0)
    assert clipped["wis"].value == pytest.approx(10.0, abs=1e-6)
    with pytest.raises(UnanswerableError, match="beyond e"):
        estimate(table([[0.0, 1.0]]), data, ["is"], gamma=0.9)


def test_weights_stay_numbers():
    wide = Logged(np.zeros((1, 2)), np.ones((1, 2), bool), np.full((1, 2), -1.0), np.full((1, 2), -400.0))
    assert wide.overflows
    assert wide.weights()[0, -1] == pytest.approx(np.exp(300.0))
    assert not logged([[2, 1], [0, 1]]).overflows


def test_unordered_transitions_have_no_episodes_to_weight():
    random = np.random.default_rng(0)
    data = MDPDataset(
        random.normal(size=(20, 1)).astype(np.float32), np.arange(20) % 2, np.ones(20), np.arange(20) % 5 == 4,
        next_observations=random.normal(size=(20, 1)).astype(np.float32), behavior_log_probs=np.full(20, HALF),
    )  # fmt: skip
    with pytest.raises(
        UnsupportedError, match="in order of time, but this dataset holds unordered transitions"
    ):
        estimate(lambda o: np.full((len(o), 2), 0.5), data, ["is"])


def test_support_of_images_is_not_known_and_that_is_said():
    images = MDPDataset(
        np.zeros((20, 3, 8, 8), np.uint8), np.arange(20) % 2, np.ones(20), np.arange(20) % 5 == 4,
        behavior_log_probs=np.full(20, HALF),
    )  # fmt: skip
    report = estimate(lambda o: np.full((len(o), 2), 0.5), images, ["is"])
    assert report.warnings == (
        "how much of what the policy does has rows is not known (observations are images)",
    )


def test_one_episode_leaves_fits_out_and_keeps_weights():
    report = estimate(table([[0.5, 0.5]]), episodes([[0, 0]], [[0, 1]]), ["wis", "dr"], gamma=1.0)
    assert report["wis"].value == pytest.approx(2.0)
    assert "needs at least 2, got 1" in report.left_out["dr"]

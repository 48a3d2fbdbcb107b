"""estimate(): gathering, fitted behaviour and models, features, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import ope_worlds
import pytest
from gymnasium import spaces
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression

from offlinekit.algos import BC, CRR, DQN, SAC
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.envs.callable_policies import GreedyPolicy, RandomPolicy
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.ope import ESTIMATORS, FittedBehaviour, estimate, fit_behaviour
from offlinekit.metrics.ope.calibration import reliability, reliability_of_quantiles
from offlinekit.metrics.ope.gathering import cross_fitted_values
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.testing import small_dataset

CHAIN = ope_worlds.chain()


@pytest.fixture(scope="module")
def chain_data() -> MDPDataset:
    return CHAIN.dataset(2_000, seed=1)


def test_every_estimator_finds_the_value_of_a_chain(chain_data: MDPDataset) -> None:
    names = [name for name, estimator in ESTIMATORS.items() if not estimator.needs_dynamics]
    report = estimate(CHAIN.probabilities, chain_data, names, gamma=CHAIN.gamma)
    for name, found in report.estimates.items():
        low, high = found.interval
        assert abs(found.value - CHAIN.truth()) < 0.08, name
        assert low < found.value < high, name
        assert high - low < 0.3, name
    assert report.behaviour_value == pytest.approx(CHAIN.truth(CHAIN.behaviour), abs=0.08)
    assert report.calibration is None
    assert report["wis"].value == pytest.approx(report.distribution().mean)
    assert report["direct"].warnings == ()
    alone = estimate(CHAIN.probabilities, chain_data, ["dual_dice"], gamma=CHAIN.gamma)
    assert alone["dual_dice"].warnings == ("the interval takes the fit as given",)
    assert alone["dual_dice"].value == report["dual_dice"].value
    spans = {name: np.diff(report[name].interval)[0] for name in ("direct", "retrace", "dr")}
    assert spans["direct"] == pytest.approx(spans["dr"]) == pytest.approx(spans["retrace"])
    given = estimate(CHAIN.probabilities, chain_data, ["direct"], q_function=lambda o, a: o[:, 0] + a)
    assert "the interval takes the fit as given" in given["direct"].warnings
    assert report["wdr"].warnings == ()


def test_logged_arrays_are_those_of_the_rows() -> None:
    # Episodes of 2 and 1 rows; the target takes action 1 with probability 0.75 in state 0, with 0.5 in state 1.
    data = MDPDataset(
        np.array([[0.0], [1.0], [0.0]]),
        np.array([1, 0, 0]),
        np.array([1.0, 2.0, 3.0]),
        np.array([0, 1, 1]),
        behavior_log_probs=np.log([0.5, 0.5, 0.25]),
    )
    table = np.array([[0.25, 0.75], [0.5, 0.5]])
    q = np.array([[1.0, 2.0], [3.0, 5.0]])
    report = estimate(
        lambda o: table[o[:, 0].astype(int)],
        data,
        ["is", "dr"],
        gamma=1.0,
        q_function=lambda o, a: q[o[:, 0].astype(int), a],
        interval="t",
    )
    np.testing.assert_allclose(report.logged.ratios, [[1.5, 1.0], [1.0, 1.0]], rtol=1e-6)
    np.testing.assert_array_equal(report.logged.rewards, [[1.0, 2.0], [3.0, 0.0]])
    np.testing.assert_array_equal(report.logged.q, [[2.0, 3.0], [1.0, 0.0]])
    np.testing.assert_allclose(report.logged.v, [[1.75, 4.0], [1.75, 0.0]])
    # IS: (1.5 * 3 + 1 * 3) / 2. DR: 1.75 + 1.5 * (1 + 4 - 2) + 1.5 * (2 - 3) = 4.75 and 1.75 + (3 - 1) = 3.75.
    assert report["is"].value == pytest.approx(3.75, rel=1e-6)
    assert report["dr"].value == pytest.approx(4.25, rel=1e-6)


def test_ratios_of_a_state_are_divided_by_their_mean() -> None:
    # Two episodes of one row in state 0: ratios 2 and 1 become 4 / 3 and 2 / 3, so (4 / 3 * 3 + 0) / 2 = 2.
    data = MDPDataset(
        np.zeros((2, 1)),
        np.array([0, 1]),
        np.array([3.0, 0.0]),
        np.ones(2),
        behavior_log_probs=np.log([0.25, 0.5]),
    )
    report = estimate(lambda o: np.full((len(o), 2), 0.5), data, ["marginalised"], gamma=1.0, interval="t")
    assert report["marginalised"].value == pytest.approx(2.0, rel=1e-5)


def test_timeouts_are_ends_unless_they_are_bootstrapped() -> None:
    data = MDPDataset(
        np.zeros((2, 1)),
        np.zeros(2, int),
        np.ones(2),
        np.array([0, 1]),
        timeouts=np.array([1, 0]),
        final_observations=np.zeros((2, 1)),
        action_space=spaces.Discrete(2),
        behavior_log_probs=np.log([0.5, 0.5]),
    )
    settings: dict[str, Any] = {
        "gamma": 0.5,
        "q_function": lambda o, a: np.full(len(a), 3.0),
        "interval": "t",
    }
    half = lambda o: np.full((len(o), 2), 0.5)  # noqa: E731  # One line says it.
    # 3 + (1 - 3) = 1 in both; with the value 3 behind the timeout 3 + (1 + 1.5 - 3) = 2.5 in the first.
    assert estimate(half, data, ["dr"], **settings)["dr"].value == pytest.approx(1.0)
    assert estimate(half, data, ["dr"], bootstrap_timeouts=True, **settings)["dr"].value == pytest.approx(
        1.75
    )
    with pytest.raises(ValueError, match="looks beyond timeouts, so gamma must be below 1"):
        estimate(half, data, ["marginalised"], gamma=1.0)


def test_models_are_fitted_without_the_episodes_they_judge(chain_data: MDPDataset) -> None:
    data, seen = chain_data[:10], []

    def fit(part: MDPDataset) -> Any:
        seen.append(part.n_episodes)
        total = float(part.rewards.sum())
        return lambda o, a: np.full(len(a), total)

    target = TargetPolicy(CHAIN.probabilities, data.action_space)
    q, v, final = cross_fitted_values(target, data, fit, 5, 0, 0.9)
    assert seen == [8] * 5
    rewards = np.array([float(part.rewards.sum()) for part in data])
    missing = rewards.sum() - q[data.episode_starts]  # What the model of an episode's fold did not see.
    for left_out in np.unique(missing.round(3)):
        fold = np.abs(missing - left_out) < 0.01
        assert fold.sum() == 2
        assert rewards[fold].sum() == pytest.approx(left_out, abs=0.01)
    np.testing.assert_allclose(q, v)
    assert final.shape == (10,)


def test_clipping_and_thin_overlap_are_told(chain_data: MDPDataset) -> None:
    never = np.tile([0.0, 1.0], (3, 1))
    report = estimate(lambda o: never[o[:, 0].astype(int)], chain_data[:60], ["wis"], gamma=0.9)
    assert report["wis"].effective_sample_size < 25
    assert any("effective episodes" in warning for warning in report["wis"].warnings)
    clipped = estimate(CHAIN.probabilities, chain_data, ["is"], gamma=0.9, clip=0.5)
    assert clipped["is"].value < 0.7 * CHAIN.truth()


# Behaviour.


def test_fitted_behaviour_of_states_is_close_and_calibrated(chain_data: MDPDataset) -> None:
    fitted = fit_behaviour(chain_data)
    assert np.abs(fitted.log_probs - chain_data.behavior_log_probs).max() < 0.15
    assert fitted.calibration.error < 0.02
    report = estimate(CHAIN.probabilities, chain_data, ["wis"], gamma=CHAIN.gamma, behaviour="fit")
    assert report.calibration is not None
    assert report["wis"].value == pytest.approx(CHAIN.truth(), abs=0.08)
    given = estimate(CHAIN.probabilities, chain_data, ["wis"], gamma=CHAIN.gamma, behaviour=fitted.log_probs)
    assert given["wis"].value == pytest.approx(report["wis"].value)


def test_counted_behaviour_by_hand() -> None:
    # Four episodes of one row in state 0, actions 0, 0, 1, 1; two folds of two. A fold that saw (0, 1) says
    # (1 + 0.5) / 3 = 0.5; one that saw (0, 0) says (2 + 1) / 3 = 1 and 0, mixed with 1% of a coin.
    data = MDPDataset(np.zeros((4, 1)), np.array([0, 0, 1, 1]), np.zeros(4), np.ones(4))
    for seed in range(6):
        found = np.exp(fit_behaviour(data, n_folds=2, seed=seed).log_probs)
        fold = np.random.default_rng(seed).permutation(4) % 2
        even = fold[0] != fold[1]
        np.testing.assert_allclose(found, 0.5 if even else 0.005)


def test_classifier_and_regressor_of_vectors() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(1_200, 2)).astype(np.float32)
    ends = np.arange(1_200) % 4 == 3
    right = 1 / (1 + np.exp(-2 * states[:, 0]))
    actions = (rng.random(1_200) < right).astype(int)
    discrete = MDPDataset(states, actions, np.zeros(1_200), ends)
    fitted = fit_behaviour(discrete)
    truth = np.log(np.where(actions == 1, right, 1 - right))
    assert np.corrcoef(fitted.log_probs, truth)[0, 1] > 0.7
    constant = fit_behaviour(discrete, model=DummyClassifier(strategy="prior"))
    assert constant.calibration.log_likelihood < fitted.calibration.log_likelihood < truth.mean() + 0.05
    means = np.stack([states[:, 0], -states[:, 1]], 1)
    moved = (means + rng.normal(0, [0.5, 0.2], (1_200, 2))).astype(np.float32)
    continuous = MDPDataset(states, moved, np.zeros(1_200), ends)
    density = fit_behaviour(continuous, model=LinearRegression())
    # The entropy of the noise: -sum log(sigma sqrt(2 pi e)).
    expected = -np.log(np.array([0.5, 0.2]) * np.sqrt(2 * np.pi * np.e)).sum()
    assert density.calibration.log_likelihood == pytest.approx(expected, abs=0.1)
    assert density.calibration.error < 0.02


def test_calibration_by_hand() -> None:
    # Bins 0.1 (2 cases, none true) and 0.8 (2 cases, one true): error 0.5 * 0.1 + 0.5 * 0.3.
    found = reliability(
        np.array([0.1, 0.1, 0.85, 0.85]), np.array([False, False, True, False]), -1.0, n_bins=4
    )
    np.testing.assert_allclose(found.predicted, [0.1, 0.85])
    np.testing.assert_allclose(found.observed, [0.0, 0.5])
    assert found.error == pytest.approx(0.5 * 0.1 + 0.5 * 0.35)
    # All at quantile 0.5: none lies below 0.25, all at or below 0.5 and 0.75.
    skewed = reliability_of_quantiles(np.full(5, 0.5), 0.0, n_bins=4)
    assert skewed.error == pytest.approx((0.25 + 0.5 + 0.25) / 3)


# Policies.


def test_algorithms_are_judged_by_what_they_do() -> None:
    data = small_dataset("discrete")
    algo = DQN(seed=0).build(data)
    report = estimate(algo, data, ["wis"], behaviour=np.full(len(data), np.log(0.5)))
    greedy = GreedyPolicy(algo.predict).log_prob(data.observations, data.actions)
    np.testing.assert_array_equal(report.logged.target_log_probs[report.logged.mask], greedy)
    with_critic = estimate(algo, data, ["dr"], behaviour=np.full(len(data), np.log(0.5)), q_function=algo)
    np.testing.assert_allclose(
        with_critic.logged.q[with_critic.logged.mask],
        algo.predict_value(data.observations, data.actions),
        rtol=1e-5,
    )
    scaled = DQN(seed=0, reward_scaler="standard").build(data)
    with pytest.raises(UnsupportedError, match="of scaled rewards"):
        estimate(algo, data, ["dr"], q_function=scaled)


def test_continuous_policies() -> None:
    data = small_dataset("continuous")
    policy = SampledPolicy(SAC(seed=0).build(data))
    report = estimate(policy, data, ["wpdis", "dual_dice"], gamma=0.9, n_samples=2)
    assert np.isfinite(report["dual_dice"].value)
    logged = report.logged
    np.testing.assert_allclose(
        logged.target_log_probs[logged.mask], policy.log_prob(data.observations, data.actions), rtol=1e-4
    )
    cloned = BC(seed=0).build(data)
    with pytest.raises(UnsupportedError, match="needs densities"):
        estimate(cloned, data, ["wis"])
    empty = estimate(cloned, data)
    assert empty.estimates == {}
    assert any("no estimator applies" in warning and "--q fqe" in warning for warning in empty.warnings)
    with pytest.raises(UnsupportedError, match="drawn actions of CRR have no known density"):
        estimate(SampledPolicy(CRR(seed=0).build(data)), data, ["wis"])
    direct = estimate(cloned, data, ["direct"], q_function=lambda o, a: np.asarray(a).sum(1))
    expected = cloned.predict(data.observations)[data.episode_starts].sum(1)
    np.testing.assert_allclose(direct.logged.v[:, 0], expected, rtol=1e-5)


def test_a_random_policy_on_its_own_data() -> None:
    rng = np.random.default_rng(0)
    states, ends = rng.normal(size=(6_000, 3)).astype(np.float32), np.arange(6_000) % 6 == 5
    data = MDPDataset(
        states,
        rng.integers(0, 2, 6_000),
        rng.random(6_000),
        ends,
        behavior_log_probs=np.full(6_000, np.log(0.5)),
    )
    report = estimate(RandomPolicy(data.action_space), data, ["wis", "marginalised", "dual_dice"], gamma=1.0)
    returns = data.episode_returns().mean()
    assert report["wis"].value == pytest.approx(returns)
    assert report["marginalised"].value == pytest.approx(returns, abs=0.1)
    assert report["dual_dice"].value == pytest.approx(returns, abs=0.2)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"estimators": ["wiz"]}, ValueError, "Unrecognized estimator: 'wiz'; did you mean"),
        ({"behaviour": "guess"}, ValueError, "behaviour must be 'fit', 'logged'"),
        ({"behaviour": np.zeros(3)}, ValueError, "one log-probability a row"),
        (
            {"behaviour": FittedBehaviour(np.zeros(3), None)},
            ValueError,
            "fit it to the dataset that is evaluated",
        ),
        ({"fit_q": lambda d: None}, TypeError, "as q_function or from fit_q, got NoneType"),
        ({"interval": "wald"}, ValueError, "interval must be one of"),
        ({"gamma": 2.0}, ValueError, "gamma must be in"),
        ({"q_function": lambda o, a: np.zeros((len(a), 1))}, ValueError, "expected finite values of shape"),
        ({"q_function": lambda o, a: a, "fit_q": lambda d: None}, ValueError, "give one of them"),
        ({"estimators": []}, ValueError, "names none; give some of ESTIMATORS"),
        ({"estimators": "is"}, TypeError, r"a list of names such as \['is'\]"),
        ({"clip": 0.0}, ValueError, "clip must be above 0, or None"),
        ({"clip": float("nan")}, ValueError, "clip must be above 0, or None"),
        ({"switch_threshold": float("nan")}, ValueError, "switch_threshold must be at least 0"),
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1"),
        ({"behaviour": "fit", "n_folds": 1}, ValueError, "at least 2 folds and 2 episodes, got n_folds=1"),
    ],
)
def test_what_cannot_be(chain_data: MDPDataset, settings: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        estimate(CHAIN.probabilities, chain_data[:20], **{"gamma": 0.9, **settings})


@pytest.mark.parametrize("floor", [-0.1, 1.1, float("nan")])
def test_a_floor_is_a_share(chain_data: MDPDataset, floor: float) -> None:
    with pytest.raises(ValueError, match=r"floor must be in \[0, 1\]"):
        fit_behaviour(chain_data[:20], floor=floor)


def test_policies_that_are_none(chain_data: MDPDataset) -> None:
    data = chain_data[:20]
    with pytest.raises(ValueError, match="expected probabilities of shape"):
        estimate(lambda o: np.zeros(len(o), int), data, ["wis"])
    nan = RandomPolicy(data.action_space)
    nan.log_prob = lambda o, a: np.full(len(a), np.nan)
    with pytest.raises(ValueError, match="without NaN"):
        estimate(nan, data, ["wis"])
    vectors = small_dataset("discrete")
    with pytest.raises(UnsupportedError, match="dr needs a model"):
        estimate(RandomPolicy(vectors.action_space), vectors, ["dr"])
    with pytest.raises(UnsupportedError, match="has no behavior_log_probs"):
        estimate(RandomPolicy(vectors.action_space), vectors, ["wis"], behaviour="logged")


def test_no_weight_at_all_is_no_estimate() -> None:
    """0 / 0 of weighted estimators is NaN, and a draw without weight may lie anywhere."""
    data = MDPDataset(
        np.zeros((40, 1)),
        [0] * 39 + [1],
        np.ones(40),
        np.ones(40),
        action_space=spaces.Discrete(3),
        behavior_log_probs=np.log(np.full(40, 0.5)),
    )
    only = lambda action: lambda o: np.eye(3)[np.full(len(o), action)]  # noqa: E731
    for name in ("wis", "wpdis"):
        never = estimate(only(2), data, [name])[name]
        assert np.isnan([never.value, *never.interval]).all()
        assert never.warnings[0] == "no logged episode is possible under the target: 0 / 0"
        assert never.warnings[1].startswith("100.0% of what the policy does has no rows")
        # One of 40 episodes has weight; (1 - 1 / 40)**40 = 36% of the draws are without it, more than each tail.
        single = estimate(only(1), data, [name])[name]
        assert (single.value, single.interval) == (1.0, (-np.inf, np.inf))


def test_probabilities_are_not_taken_for_their_logarithms(chain_data: MDPDataset) -> None:
    with pytest.raises(ValueError, match=r"behaviour must be at most 0, got 0\.5 at row 0 .* np\.log"):
        estimate(CHAIN.probabilities, chain_data, ["is"], behaviour=np.full(len(chain_data), 0.5))

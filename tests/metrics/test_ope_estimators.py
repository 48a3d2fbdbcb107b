"""Each estimator by hand on two short episodes.

Episode A: rewards 1, 2; ratios 0.8 / 0.4 = 2 and 0.25 / 0.5 = 0.5, so weights 2, 1.
Episode B: reward 4; ratio 0.25 / 0.5 = 0.5, so weights 0.5, 0.5. gamma = 0.5: returns 1 + 0.5 * 2 = 2 and 4.
Model: q = (2, 1) and (3), v = (1.5, 3) and (2). TD errors: A 1 + 0.5 * 3 - 2 = 0.5 and 2 + 0 - 1 = 1; B 4 - 3 = 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from offlinekit.metrics.ope import doubly_robust as dr
from offlinekit.metrics.ope import importance, traces
from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.diagnostics import effective_sample_size, pareto_k, tail_of
from offlinekit.metrics.ope.distribution import ReturnDistribution
from offlinekit.metrics.ope.logged import Logged
from offlinekit.metrics.ope.magic import least_error_shares, magic


@pytest.fixture
def logged() -> Logged:
    junk = 99.0  # Behind B's end: must not be read.
    return Logged(
        rewards=np.array([[1.0, 2.0], [4.0, junk]]),
        mask=np.array([[True, True], [True, False]]),
        target_log_probs=np.log([[0.8, 0.25], [0.25, junk]]),
        behavior_log_probs=np.log([[0.4, 0.5], [0.5, 0.3]]),
        gamma=0.5,
        q=np.array([[2.0, 1.0], [3.0, junk]]),
        v=np.array([[1.5, 3.0], [2.0, junk]]),
    )


def test_weights_and_returns(logged: Logged) -> None:
    np.testing.assert_allclose(logged.ratios, [[2.0, 0.5], [0.5, 1.0]])
    np.testing.assert_allclose(logged.weights(), [[2.0, 1.0], [0.5, 0.5]])
    np.testing.assert_allclose(logged.weights(clip=1.5), [[1.5, 1.0], [0.5, 0.5]])
    np.testing.assert_allclose(logged.returns, [2.0, 4.0])
    np.testing.assert_allclose(logged.td_errors, [[0.5, 1.0], [1.0, 0.0]])


def test_importance_sampling(logged: Logged) -> None:
    # (1 * 2 + 0.5 * 4) / 2
    assert importance.importance_sampling(logged).value == pytest.approx(2.0)
    # A: 2 * 1 + 0.5 * 1 * 2 = 3; B: 0.5 * 4 = 2.
    pdis = importance.per_decision_importance_sampling(logged)
    np.testing.assert_allclose(pdis.per_episode, [3.0, 2.0])
    assert pdis.value == pytest.approx(2.5)
    # Clipped at 1.5: A: 1.5 + 1 = 2.5.
    assert importance.per_decision_importance_sampling(logged, 1.5).value == pytest.approx(2.25)


def test_weighted_importance_sampling(logged: Logged) -> None:
    # (1 * 2 + 0.5 * 4) / 1.5
    wis = importance.weighted_importance_sampling(logged)
    assert wis.value == pytest.approx(8 / 3)
    # Influence: (2 - 8 / 3) / 0.75 = -8 / 9 and (2 - 4 / 3) / 0.75 = 8 / 9.
    np.testing.assert_allclose(wis.per_episode, [8 / 3 - 8 / 9, 8 / 3 + 8 / 9])
    # Twice A alone is its return, twice B its own.
    np.testing.assert_allclose(wis.resampled(np.array([[2.0, 0.0], [0.0, 2.0]])), [2.0, 4.0])
    # Step 0: (2 * 1 + 0.5 * 4) / 2.5 = 1.6; step 1: 0.5 * (1 * 2 + 0.5 * 0) / 1.5 = 2 / 3.
    found = importance.weighted_per_decision_importance_sampling(logged)
    assert found.value == pytest.approx(1.6 + 2 / 3)
    assert found.per_episode.mean() == pytest.approx(found.value)


def test_weights_that_are_all_zero_leave_the_model_or_nothing(logged: Logged) -> None:
    never = replace(logged, target_log_probs=np.full((2, 2), -np.inf))
    assert np.isnan(importance.weighted_importance_sampling(never).value)  # 0 / 0.
    assert np.isnan(importance.weighted_per_decision_importance_sampling(never).value)
    assert dr.weighted_doubly_robust(never).value == pytest.approx(1.75)
    assert effective_sample_size(never.weights()[:, -1]) == 0.0


def test_model_corrected(logged: Logged) -> None:
    assert dr.direct_method(logged).value == pytest.approx((1.5 + 2) / 2)
    # A: 1.5 + 2 * 0.5 + 0.5 * 1 * 1 = 3; B: 2 + 0.5 * 1 = 2.5.
    np.testing.assert_allclose(dr.doubly_robust(logged).per_episode, [3.0, 2.5])
    # 1.75 + (2 * 0.5 + 0.5 * 1) / 2.5 + 0.5 * (1 * 1) / 1.5
    assert dr.weighted_doubly_robust(logged).value == pytest.approx(1.75 + 0.6 + 1 / 3)
    assert dr.blended(logged, np.array([1.0, 0.0])).value == pytest.approx(1.75 + 0.6)
    # Weight 2 of A's first step is above 1: 1.5 + 0.5 * 1 * 1 = 2.
    np.testing.assert_allclose(dr.switch(logged, 1.0).per_episode, [2.0, 2.5])
    assert dr.switch(logged, 0.0).value == dr.direct_method(logged).value
    assert dr.switch(logged, np.inf).value == dr.doubly_robust(logged).value


def test_values_behind_timeouts(logged: Logged) -> None:
    # A's last TD error becomes 2 + 0.5 * 1 - 1 = 1.5, so DR 1.5 + 1 + 0.5 * 1.5 = 3.25; B's 4 + 0.5 * 2 - 3 = 2.
    cut = replace(logged, final_v=np.array([1.0, 2.0]))
    np.testing.assert_allclose(dr.doubly_robust(cut).per_episode, [3.25, 3.0])


@pytest.mark.parametrize(
    ("name", "decay", "expected"),
    [
        # Traces A (1, 0.5), B (0.5): 1.5 + 0.5 + 0.5 * 0.5 and 2 + 0.5.
        ("retrace", 1.0, [2.25, 2.5]),
        # Traces A (0.5, 0.125), B (0.25): 1.5 + 0.25 + 0.0625 and 2 + 0.25.
        ("retrace", 0.5, [1.8125, 2.25]),
        # Traces A (0.8, 0.2), B (0.25): 1.5 + 0.4 + 0.1 and 2 + 0.25.
        ("tree_backup", 1.0, [2.0, 2.25]),
        # Traces A (0.5, 0.25), B (0.5): 1.5 + 0.25 + 0.125 and 2 + 0.5.
        ("q_lambda", 0.5, [1.875, 2.5]),
        ("importance", 1.0, [3.0, 2.5]),  # Doubly robust.
        ("retrace", 0.0, [1.5, 2.0]),  # The model alone.
    ],
)
def test_traces(logged: Logged, name: str, decay: float, expected: list[float]) -> None:
    np.testing.assert_allclose(traces.traced(logged, name, decay).per_episode, expected)


def test_tree_backup_refuses_densities(logged: Logged) -> None:
    dense = replace(logged, target_log_probs=logged.target_log_probs + 2.0)
    with pytest.raises(ValueError, match="needs probabilities of discrete actions"):
        traces.traced(dense, "tree_backup")
    with pytest.raises(ValueError, match="a trace must be retrace"):
        traces.traced(logged, "peng")
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got 1.5"):
        traces.traced(logged, "retrace", 1.5)


def test_magic_shares() -> None:
    # M = diag(1, 1) + diag(0, 1): shares go as 1 / 1 to 1 / 2.
    shares = least_error_shares(np.eye(2), np.array([0.0, 1.0]))
    np.testing.assert_allclose(shares, [2 / 3, 1 / 3], atol=1e-6)
    # M = [[1, 2], [2, 5]]: the free minimiser has a negative share, so the corner is best.
    np.testing.assert_allclose(
        least_error_shares(np.array([[1.0, 2.0], [2.0, 5.0]]), np.zeros(2)), [1.0, 0.0]
    )
    np.testing.assert_array_equal(least_error_shares(np.zeros((2, 2)), np.zeros(2)), [0.0, 1.0])


def test_magic_trusts_a_model_that_is_right_and_not_one_that_is_wrong() -> None:
    rng = np.random.default_rng(0)
    n = 400
    chosen = rng.random(n) < 0.5  # The behaviour tosses a coin; the target takes the good action in 9 of 10.
    rewards = np.where(chosen, 1.0, 0.0)[:, None]
    target = np.log(np.where(chosen, 0.9, 0.1))[:, None]
    half = np.full((n, 1), np.log(0.5))
    right = Logged(rewards, np.ones((n, 1), bool), target, half, q=rewards, v=np.full((n, 1), 0.9))
    assert magic(right).value == pytest.approx(0.9, abs=1e-9)
    wrong = replace(right, q=np.full((n, 1), 5.0), v=np.full((n, 1), 5.0))
    assert magic(wrong).value == pytest.approx(dr.weighted_doubly_robust(wrong).value, abs=0.02)
    noisy = replace(right, q=rewards + rng.normal(0, 3, (n, 1)))
    assert abs(magic(noisy).value - 0.9) < abs(dr.doubly_robust(noisy).value - 0.9)


def test_a_model_is_asked_for(logged: Logged) -> None:
    bare = replace(logged, q=None, v=None)
    for estimator in (dr.direct_method, dr.doubly_robust, magic):
        with pytest.raises(ValueError, match="give a q_function"):
            estimator(bare)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rewards": np.zeros((2, 3))}, r"rewards must have the shape \[2, 2\] of the mask, got \[2, 3\]"),
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\]"),
        ({"mask": np.array([[False, True], [True, False]])}, "in front"),
        ({"behavior_log_probs": np.full((2, 2), -np.inf)}, "behavior_log_probs must be finite"),
        ({"final_v": np.zeros(3)}, r"final_v must have shape \[2\], got \[3\]"),
    ],
)
def test_what_cannot_be(logged: Logged, changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(logged, **changed)


# Diagnostics and distributions.


def test_effective_sample_size_by_hand() -> None:
    assert effective_sample_size(np.array([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective_sample_size(np.full(7, 3.0)) == pytest.approx(7.0)
    assert effective_sample_size(np.array([1e300, 1e300])) == pytest.approx(2.0)


@pytest.mark.parametrize("shape", [0.3, 0.6, 1.2])
def test_pareto_k_finds_the_shape(shape: float) -> None:
    draws = np.random.default_rng(1).random(40_000) ** -shape
    assert pareto_k(draws) == pytest.approx(shape, abs=0.12)


def test_a_large_spread_leaves_the_value_as_it_is() -> None:
    # The mean of 10 + 1e30 and 10 - 1e30 is 0 in floating point.
    found = Contributions.plain(np.array([10.0, 10.0])).spread_as(
        Contributions.plain(np.array([1e30, -1e30]))
    )
    assert found.value == 10.0
    assert found.per_episode == pytest.approx([1e30, -1e30])


def test_few_values_are_drawn_to_the_prior() -> None:
    # 25 values have a tail of 5: a shape k by these alone is (5 k + 10 prior) / 15.
    draws = np.random.default_rng(0).pareto(2.0, 25)
    alone = (15 * pareto_k(draws, 0.5) - 5) / 5
    assert pareto_k(draws, 0.2) == pytest.approx((5 * alone + 2) / 15)
    assert tail_of(np.concatenate([draws, -draws]), prior=0.2) < tail_of(np.concatenate([draws, -draws]))


def test_pareto_k_of_few_and_of_equal_weights() -> None:
    assert np.isnan(pareto_k(np.ones(10)))
    assert pareto_k(np.ones(500)) == -np.inf
    # One of 100 is 3, the others 1 but for rounding, which is no tail: by excesses of 1e-8 k would be 1.5.
    nearly = 1 + 1e-7 * np.arange(100) / 100
    nearly[-1] = 3.0
    assert pareto_k(nearly) == -np.inf


def test_distribution_by_hand() -> None:
    # Shares 0.4, 0.3, 0.2, 0.1 of returns 1, 2, 3, 4, given out of order.
    found = ReturnDistribution(np.array([3.0, 1.0, 4.0, 2.0]), np.array([2.0, 4.0, 1.0, 3.0]))
    assert found.mean == pytest.approx(2.0)
    assert found.variance == pytest.approx(0.4 + 0.2 + 0.4)
    assert found.cdf(2.0) == pytest.approx(0.7)
    assert found.cdf(0.0) == 0.0
    assert [found.quantile(level) for level in (0.4, 0.5, 0.75, 1.0)] == [1.0, 2.0, 3.0, 4.0]
    assert found.interquartile_range == 2.0
    # The worst half: 0.4 of 1 and 0.1 of 2.
    assert found.cvar(0.5) == pytest.approx(0.6 / 0.5)
    assert found.cvar(1.0) == pytest.approx(found.mean)
    with pytest.raises(ValueError, match="level must be in"):
        found.cvar(0.0)


def test_distribution_of_logged_episodes(logged: Logged) -> None:
    found = ReturnDistribution.of(logged)
    assert found.mean == pytest.approx(importance.weighted_importance_sampling(logged).value)
    low, high = found.interval(lambda d: d.mean)
    assert (low, high) == (2.0, 4.0)
    with pytest.raises(ValueError, match="no logged episode is possible"):
        ReturnDistribution(np.ones(2), np.zeros(2))
    for values in ([1.0, np.nan], [1.0, np.inf]):
        with pytest.raises(ValueError, match="must be finite"):
            ReturnDistribution(np.array(values), np.ones(2))
        with pytest.raises(ValueError, match="must be finite"):
            ReturnDistribution(np.ones(2), np.array(values))
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\), got 2"):
        ReturnDistribution(np.ones(2), np.ones(2)).interval(lambda d: d.mean, confidence=2.0)

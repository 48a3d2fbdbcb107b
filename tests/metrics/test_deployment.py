"""The best of k policies, and the bandit that deploys."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from offlinekit.metrics.statistics.deployment import deployment_curve, expected_online_performance


def test_the_best_of_k_by_hand() -> None:
    # Of 1, 2, 4: singles mean 7 / 3; pairs have the maxima 2, 4, 4; all three 4.
    np.testing.assert_allclose(expected_online_performance([4.0, 1.0, 2.0]), [7 / 3, 10 / 3, 4])


def test_the_best_of_k_is_the_mean_over_all_subsets() -> None:
    scores = np.random.default_rng(0).normal(size=9)
    expected = [np.mean([max(subset) for subset in combinations(scores, k)]) for k in range(1, 10)]
    np.testing.assert_allclose(expected_online_performance(scores), expected)


def test_a_thousand_policies_stay_finite_and_rise() -> None:
    values = expected_online_performance(np.random.default_rng(0).normal(size=1_000))
    assert np.isfinite(values).all()
    assert (np.diff(values) >= -1e-12).all()


def test_a_bandit_without_luck_tries_each_policy_once_and_keeps_the_best() -> None:
    # Policies that always return 0, 5, 10. The best is first met at trial 1, 2 or 3, a third each, in random order;
    # after one trial any policy leads: mean 5. After two: the best of two of 0, 5, 10: (5 + 10 + 10) / 3.
    returns = np.repeat([[[0.0], [5.0], [10.0]]], 2, axis=0)
    curves = deployment_curve(returns, 6, n_repeats=3_000)
    assert curves.shape == (2, 6)
    np.testing.assert_allclose(curves[0], [5, 25 / 3, 10, 10, 10, 10], atol=0.3)
    assert (curves[:, 2:] == 10).all()


def test_the_bandit_counts_the_mean_of_what_it_leads_with_not_what_it_drew() -> None:
    # One policy with returns 0 and 100: it always leads, and is worth 50 whatever was drawn.
    np.testing.assert_array_equal(deployment_curve([[[0.0, 100.0]]], 4), [[50.0] * 4])


def test_exploration_finds_a_good_policy_that_began_badly() -> None:
    # The better policy (mean 70) returns 0 in 3 of 10 episodes, below the other's constant 40: without exploration a
    # bad first episode is never mended, so at most 70% of plays end with it: 0.7 * 70 + 0.3 * 40 = 61.
    returns = [[[0.0] * 3 + [100.0] * 7, [40.0] * 10]]
    stuck = deployment_curve(returns, 60, exploration=0.0, n_repeats=2_000)
    free = deployment_curve(returns, 60, n_repeats=2_000)
    assert 55 < stuck[0, -1] < 62
    assert free[0, -1] > 68


def test_the_bound_follows_ucb1() -> None:
    # Two policies of returns 1 and 0: after one pull each, at t trials made, policy 1 is pulled again once
    # sqrt(2 ln t / 1) > 1 + sqrt(2 ln t / n_0). By hand: t = 2: 1.177 < 2.177, policy 0; t = 3: 1.482 < 2.048,
    # policy 0; t = 4: 1.665 < 1.961, policy 0; t = 5: 1.794 < 1.897, policy 0; t = 6: 1.893 > 1.847, policy 1.
    from offlinekit.metrics.statistics import deployment

    pool, random = np.array([[[1.0], [0.0]]]), np.random.default_rng(0)
    seen = []

    class Watched(np.ndarray):
        def __getitem__(self, key: object) -> object:
            seen.append(key)
            return super().__getitem__(key)  # type: ignore[index]

    deployment._play(pool.view(Watched), 7, 1.0, random)
    arms = [int(key[1][0]) for key in seen if isinstance(key, tuple)]  # type: ignore[index]
    assert sorted(arms[:2]) == [0, 1]
    assert arms[2:] == [0, 0, 0, 0, 1]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"\[seeds, policies, episodes\], got shape \(2, 2\)"):
        deployment_curve([[1.0, 2.0], [3.0, 4.0]], 3)
    with pytest.raises(ValueError, match="n_pulls must be at least 1, got 0"):
        deployment_curve([[[1.0]]], 0)
    with pytest.raises(ValueError, match="exploration must be at least 0, got -1"):
        deployment_curve([[[1.0]]], 1, exploration=-1)
    with pytest.raises(ValueError, match="at least one policy"):
        expected_online_performance([])

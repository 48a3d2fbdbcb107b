"""Expected returns of a deployment: the best of k policies tried, and a bandit over them, one episode at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.statistics.aggregates import Floats


def expected_online_performance(scores: npt.ArrayLike) -> Floats:
    """Returns the expected score of the best of k policies, for every k that the scores allow.

    Policies (hyperparameters, seeds) are drawn at random, k of them are tried online, and the best one is kept.
    The result averages the maximum over all subsets of size k: with scores in ascending order x_1 <= ... <= x_n it
    is sum_i x_i C(i - 1, k - 1) / C(n, k), which has no bias.
    Sources: Kurenkov & Kolesnikov 2022, "Showing Your Offline Reinforcement Learning Work: Online Evaluation Budget
    Matters", arXiv:2110.04156; the estimator without bias: Tang et al. 2020, "Showing Your Work Doesn't Always Work",
    arXiv:2004.13705.

    Args:
        scores: [n], of one policy each.

    Returns:
        [n]; entry k - 1 is the expectation of the best of k. The first is the mean, the last the maximum.

    Raises:
        ValueError: For no scores.
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    if ordered.ndim != 1 or len(ordered) == 0:
        raise ValueError(f"expected scores [n] of at least one policy, got shape {ordered.shape}")
    n = len(ordered)
    values = np.empty(n)
    rank = np.arange(n, 1, -1)
    for k in range(1, n + 1):
        # From the top: C(n-1, k-1) / C(n, k) = k / n, and C(i-2, k-1) / C(i-1, k-1) = (i-k) / (i-1).
        ratios = np.maximum(rank - k, 0) / (rank - 1)
        weights = k / n * np.concatenate([[1.0], np.cumprod(ratios)])
        values[k - 1] = weights @ ordered[::-1]
    return values


@answers_guesses
def deployment_curve(
    returns: npt.ArrayLike,
    n_pulls: int,
    *,
    exploration: float = 1.0,
    n_repeats: int = 100,
    seed: int = 0,
) -> Floats:
    """Returns how good the policy is that one would deploy after each online episode, one curve a training seed.

    A bandit (UCB1) chooses which policy to try next; each trial is an episode drawn from those recorded of it. After
    each trial the policy with the highest mean so far is taken, and its mean over all its recorded episodes counts.
    Rewards are scaled to [0, 1] by the range of all returns, as UCB1 assumes. Put a band around the mean of the
    curves by `stratified_band(lambda x: x.mean(axis=0), curves)`, which draws training seeds again.
    Source: Auer, Cesa-Bianchi & Fischer 2002, "Finite-time Analysis of the Multiarmed Bandit Problem", UCB1.

    Args:
        returns: [seeds, policies, episodes], such as of one policy for each hyperparameter, trained with each seed.
        n_pulls: Episodes spent, at least 1.
        exploration: Factor of the bound sqrt(2 ln t / pulls); 0 always tries the best so far.
        n_repeats: How often the bandit plays for each seed; the curve is the mean over them.
        seed: Of the draws.

    Returns:
        [seeds, n_pulls], in units of the returns.

    Raises:
        ValueError: For other shapes, or numbers out of range.
    """
    pool = np.asarray(returns, np.float64)
    if pool.ndim != 3 or pool.size == 0:
        raise ValueError(f"expected returns [seeds, policies, episodes], got shape {pool.shape}")
    for name, number, least in (
        ("n_pulls", n_pulls, 1),
        ("n_repeats", n_repeats, 1),
        ("exploration", exploration, 0),
    ):
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}")
    span = np.ptp(pool) or 1.0
    players = np.repeat((pool - pool.min()) / span, n_repeats, axis=0)
    chosen = _play(players, n_pulls, exploration, np.random.default_rng(seed))
    deployed = np.take_along_axis(np.repeat(pool.mean(axis=2), n_repeats, axis=0), chosen, axis=1)
    return np.asarray(deployed.reshape(len(pool), n_repeats, n_pulls).mean(axis=1))


def _play(
    pool: Floats, n_pulls: int, exploration: float, random: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Plays UCB1 for each player on pool [players, policies, episodes]; returns the leader [players, n_pulls]."""
    n_players, n_policies, n_episodes = pool.shape
    everyone = np.arange(n_players)
    order = random.permuted(np.tile(np.arange(n_policies), (n_players, 1)), axis=1)
    sums, counts = np.zeros((2, n_players, n_policies))
    leaders = np.empty((n_players, n_pulls), np.intp)
    for t in range(n_pulls):
        if t < n_policies:
            arm = order[:, t]
        else:
            arm = np.argmax(sums / counts + exploration * np.sqrt(2 * np.log(t) / counts), axis=1)
        sums[everyone, arm] += pool[everyone, arm, random.integers(n_episodes, size=n_players)]
        counts[everyone, arm] += 1
        means = np.divide(sums, counts, out=np.full_like(sums, -np.inf), where=counts > 0)
        leaders[:, t] = np.argmax(means, axis=1)
    return leaders

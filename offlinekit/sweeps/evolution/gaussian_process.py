"""A Gaussian process over settings and time, and the point whose upper bound is highest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NOISE = 0.1
"""Variance of the noise of an improvement, whose own variance is 1 after scaling."""
CANDIDATES = 1_000


class Observed(NamedTuple):
    """Improvements seen so far."""

    places: Floats  # [N, D], each coordinate in [0, 1].
    times: npt.NDArray[np.int64]  # [N], generations.
    gains: Floats  # [N].


def kernel(
    one: Floats, one_times: Floats, other: Floats, other_times: Floats, length: float, forgetting: float
) -> Floats:
    """Returns the covariances [N, M]: Gaussian in settings, times (1 - forgetting)^(|t - t'| / 2).

    Source: Bogunovic, Scarlett and Cevher 2016, arXiv:1601.06650, section 2.
    """
    squares = ((one[:, None] - other[None]) ** 2).sum(-1)
    apart = np.abs(one_times[:, None] - other_times[None])
    covariances: Floats = np.exp(-squares / (2 * length**2)) * (1 - forgetting) ** (apart / 2)
    return covariances


def posterior(
    seen: Observed, places: Floats, time: float, length: float, forgetting: float
) -> tuple[Floats, Floats]:
    """Returns mean and standard deviation [M] of scaled improvements at places [M, D] and a time."""
    scale = seen.gains.std() or 1.0
    wanted, times = (seen.gains - seen.gains.mean()) / scale, seen.times.astype(np.float64)
    now = np.full(len(places), float(time))
    own = kernel(seen.places, times, seen.places, times, length, forgetting) + NOISE * np.eye(len(wanted))
    across = kernel(places, now, seen.places, times, length, forgetting)
    solved = np.linalg.solve(own, np.column_stack([wanted, across.T]))
    means = across @ solved[:, 0]
    variances = 1.0 - (across * solved[:, 1:].T).sum(1)
    return means, np.sqrt(np.maximum(variances, 0.0))


def most_promising(
    seen: Observed,
    taken: Floats,
    time: int,
    rng: np.random.Generator,
    *,
    kappa: float = 2.0,
    length: float = 0.3,
    forgetting: float = 0.1,
) -> Floats:
    """Returns the place [D] of the highest mean plus kappa standard deviations, of random candidates.

    Args:
        seen: Improvements so far.
        taken: Places [T, D] chosen already for the same time, which count as seen with their mean.
        time: The generation to choose for.
        rng: Of the candidates.
        kappa: Standard deviations above the mean.
        length: Scale of the settings.
        forgetting: Share of what is known that a generation makes stale.
    """
    if len(taken):
        means, _ = posterior(seen, taken, time, length, forgetting)
        believed = means * (seen.gains.std() or 1.0) + seen.gains.mean()
        seen = Observed(
            np.concatenate([seen.places, taken]),
            np.concatenate([seen.times, np.full(len(taken), time)]),
            np.concatenate([seen.gains, believed]),
        )
    candidates = rng.random((CANDIDATES, seen.places.shape[1]))
    means, deviations = posterior(seen, candidates, time, length, forgetting)
    best: Floats = candidates[int(np.argmax(means + kappa * deviations))]
    return best

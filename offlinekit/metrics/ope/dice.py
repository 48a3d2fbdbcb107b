"""Marginalised importance sampling: how often the target policy visits what the data hold, by one Lagrangian.

With occupancies not normalised (they sum to the expected discounted length), features phi and a ratio
zeta = theta' phi over the data, the estimators of this family are saddle points of

    L(q, zeta, l) = E_start[q] + E_data[zeta (reward_weight r + gamma q' - q - l)] + l mass
                    + q_penalty / 2 E_data[q^2] - ratio_penalty / 2 E_data[zeta^2],

minimised over q and the multiplier l, maximised over zeta. Source: Yang et al. 2020, arXiv:2007.03438, eq. (10),
with f(x) = x^2 / 2. Linear features make it one linear system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from scipy.sparse.linalg import splu

from offlinekit.errors import UnanswerableError
from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.logged import Floats

MOST_VISITS = 1e6  # Of one row; more come from dividing by a balance that is 0 but for the ridge.
RIDGE = 1e-8  # Times the mean square of the features: for features that the data do not show.


@dataclass(frozen=True)
class Regularisers:
    """Member of the family.

    Attributes:
        q_penalty: Of the values; above 0 the balance of visits holds in a norm, not exactly.
        ratio_penalty: Of the ratio; above 0 ratios are drawn to 0 where nothing holds them.
        reward_weight: 1 where q shall be the value of the target policy, 0 where it is a mere multiplier.
        normalise: Whether the ratios must sum to the expected length, 1 / (1 - gamma), that of a task that never ends.
    """

    q_penalty: float = 0.0
    ratio_penalty: float = 1.0
    reward_weight: float = 0.0
    normalise: bool = False


FAMILY = {
    "dual_dice": Regularisers(),  # Nachum et al. 2019, arXiv:1906.04733.
    "gen_dice": Regularisers(1.0, 0.0, 0.0, True),  # Zhang et al. 2020, arXiv:2002.09072.
    "best_dice": Regularisers(0.0, 1.0, 1.0, True),  # Yang et al. 2020, section 5.
}
"""Name to regularisers. Ratios may be negative here: the papers' bound zeta >= 0 is no linear system."""


Features: TypeAlias = "Floats | sparse.csr_array"
"""[N, d], dense or sparse."""


@dataclass(frozen=True)
class Flow:
    """Transitions of N rows, in features, under the target policy.

    Attributes:
        features: [N, d], dense or sparse, of each row's state and action.
        next_features: [N, d], expected over the target policy's next action; zeros where the MDP ended.
        start_features: [E, d], of the episodes' first states, expected over the target policy's action.
        rewards: [N].
        episodes: int64 [N], which of the E episodes a row is of.
    """

    features: Features
    next_features: Features
    start_features: Features
    rewards: Floats
    episodes: npt.NDArray[np.int64]

    @classmethod
    def of_states(
        cls,
        features: Features,
        next_features: Features,
        starts: Features,
        rewards: Floats,
        ratios: Floats,
        episodes: npt.NDArray[np.int64],
    ) -> Flow:
        """Returns the flow over states: actions are corrected by their ratios [N], next features and rewards
        weighted by them. Source: Liu et al. 2018, arXiv:1810.12429.
        """
        scale = sparse.diags_array(ratios)
        return cls(features, scale @ next_features, starts, ratios * rewards, episodes)


def occupancy_ratios(flow: Flow, gamma: float, regularisers: Regularisers) -> Floats:
    """Returns zeta [N], the target policy's discounted visits over the data's share of rows.

    Raises:
        ValueError: For normalisation with gamma 1.
    """
    return _ratios(flow, gamma, regularisers, Moments.of(flow, gamma))


def marginalised(flow: Flow, gamma: float, regularisers: Regularisers) -> Contributions:
    """Returns E_data[zeta r], the dual estimate, as a mean over episodes.

    The contribution of an episode is q(start) + E / N sum zeta (r + gamma q' - q) with the q that the data
    give by least squares: errors of zeta and q enter it as a product (Kallus & Uehara 2019,
    arXiv:1908.08526), so its spread is the estimate's. The mean is moved to the dual estimate.
    """
    moments = Moments.of(flow, gamma)
    ratios = _ratios(flow, gamma, regularisers, moments)
    values = moments.solve(-moments.rewards)
    if not (np.isfinite(values).all() and np.abs(ratios).max() < MOST_VISITS):
        raise UnanswerableError(
            f"with gamma={gamma:g} visits do not balance: the policy stays among some states for ever; use gamma < 1"
        )
    n_rows, n_episodes = flow.features.shape[0], flow.start_features.shape[0]
    errors = flow.rewards + gamma * (flow.next_features @ values) - flow.features @ values
    sums = np.bincount(flow.episodes, ratios * errors, n_episodes)
    each = flow.start_features @ values + sums * n_episodes / n_rows
    return Contributions.plain(np.asarray(each - each.mean() + (ratios * flow.rewards).mean()))


@dataclass(frozen=True)
class Moments:
    """Statistics of the data that a flow is estimated from.

    Attributes:
        second: E[phi phi'], sparse [d, d].
        flux: E[phi (gamma phi_next - phi)'], sparse [d, d].
        rewards: E[phi r], [d].
        solve: (right, transposed=False) -> [d], by one factorisation of the flux less a small ridge.
    """

    second: sparse.csr_array
    flux: sparse.csr_array
    rewards: Floats
    solve: Callable[..., Floats]

    @classmethod
    def of(cls, flow: Flow, gamma: float) -> Moments:
        """Returns the moments of a flow."""
        n_rows = flow.features.shape[0]
        transposed = flow.features.T
        second = sparse.csr_array(transposed @ flow.features) / n_rows
        flux = gamma * sparse.csr_array(transposed @ flow.next_features) / n_rows - second
        rewards = np.asarray(transposed @ flow.rewards / n_rows)
        return cls(second, flux, rewards, _solver(flux - _ridge(second)))


def _ratios(flow: Flow, gamma: float, regularisers: Regularisers, moments: Moments) -> Floats:
    starts = _mean(flow.start_features)
    if regularisers.q_penalty == 0 and not regularisers.normalise:  # Then visits balance exactly.
        return np.asarray(flow.features @ moments.solve(-starts, transposed=True))
    d, ridge = len(starts), _ridge(moments.second)
    upper = [regularisers.q_penalty * moments.second + ridge, moments.flux.T]
    lower = [moments.flux, -regularisers.ratio_penalty * moments.second - ridge]
    right = np.concatenate([-starts, -regularisers.reward_weight * moments.rewards])
    system = [upper, lower]
    if regularisers.normalise:
        if gamma >= 1:
            raise ValueError(
                "ratios can be normalised with gamma < 1 only; choose another member of the family"
            )
        edge = sparse.csr_array(_mean(flow.features)[:, None])
        system = [[*upper, None], [*lower, -edge], [None, -edge.T, None]]
        right = np.append(right, -1 / (1 - gamma))
    solution = _solver(sparse.block_array(system), "COLAMD")(right)
    return np.asarray(flow.features @ solution[d : 2 * d])


def _ridge(second: sparse.csr_array) -> sparse.csr_array:
    """Returns the multiple of the identity that stands in for features without data."""
    d = second.shape[0]
    return RIDGE * max(second.trace() / d, 1e-12) * sparse.eye_array(d, format="csr")


def _solver(matrix: sparse.csr_array, order: str = "MMD_AT_PLUS_A") -> Callable[..., Floats]:
    """Factorises a matrix once, for solutions of it and of its transpose; `order` is what splu takes."""
    if matrix.nnz > 0.1 * matrix.shape[0] ** 2:
        factors = linalg.lu_factor(matrix.toarray())
        return lambda right, transposed=False: linalg.lu_solve(factors, right, trans=int(transposed))
    sparse_factors = splu(matrix.tocsc(), permc_spec=order)
    return lambda right, transposed=False: sparse_factors.solve(right, "T" if transposed else "N")


def _mean(features: Features) -> Floats:
    return np.asarray(np.asarray(features.sum(0)).reshape(-1) / features.shape[0])

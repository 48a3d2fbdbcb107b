"""The behaviour policy, fitted to the data if no propensities were logged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from scipy import stats

from offlinekit.envs.legal_actions import legal_of
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import check_countable, numbers_from_0
from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.ope.calibration import Calibration, reliability, reliability_of_quantiles
from offlinekit.metrics.ope.logged import Floats
from offlinekit.metrics.ope.tabular import state_numbers
from offlinekit.types import Array, leaves

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from offlinekit.datasets import MDPDataset
    from offlinekit.types import ArrayTree


@dataclass(frozen=True)
class FittedBehaviour:
    """Propensities of a fitted behaviour policy, each by a fit that did not see its episode.

    Attributes:
        log_probs: [N], of the logged actions.
        calibration: Of the probabilities, on the episodes that the fits did not see.
    """

    log_probs: Floats
    calibration: Calibration


Behaviour: TypeAlias = "FittedBehaviour | ArrayLike | None"
"""Log-probabilities [N] of the logged actions, fitted ones, the name of a way to find them, or None for a default."""


@answers_guesses
def fit_behaviour(
    dataset: MDPDataset,
    *,
    model: BaseEstimator | None = None,
    n_folds: int = 5,
    floor: float = 0.01,
    seed: int = 0,
) -> FittedBehaviour:
    """Fits the policy that took the actions of a dataset, in folds of whole episodes.

    Discrete actions: counts of each state if observations are whole numbers, else a classifier. Continuous
    ones: a normal density around a regression of each dimension, as wide as its errors on other episodes; an action
    at a bound of its space has the mass that lies beyond, as clipping gives it.

    Args:
        dataset: Vector observations, at least 2 episodes.
        model: A scikit-learn classifier, or regressor of several outputs, that is cloned for each fold; None
            takes gradient-boosted trees.
        n_folds: Number of folds, at least 2; at most one an episode is made.
        floor: Share of a uniform policy mixed into discrete probabilities, so that none is 0.
        seed: Of the folds.

    Raises:
        UnsupportedError: For images, and for actions that are neither discrete nor continuous vectors.
        ValueError: For fewer than 2 folds or episodes, and a floor outside [0, 1].
    """
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be in [0, 1], the share of a uniform policy, got {floor}")
    folds = list(episode_folds(dataset, n_folds, seed))
    if isinstance(dataset.action_space, spaces.Discrete):
        return _fit_discrete(dataset, model, folds, floor)
    return _fit_continuous(dataset, model, folds)


def episode_folds(dataset: MDPDataset, n_folds: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Yields (learned, held out), bool [E] each: every episode is held out once, in at most E folds.

    Raises:
        ValueError: For fewer than 2 folds or episodes.
    """
    if n_folds < 2 or dataset.n_episodes < 2:
        raise ValueError(
            "a fit that is tested on other episodes needs at least 2 folds and 2 episodes, got "
            f"n_folds={n_folds} and {dataset.n_episodes} episode{'' if dataset.n_episodes == 1 else 's'}"
        )
    n_folds = min(n_folds, dataset.n_episodes)
    fold = np.random.default_rng(seed).permutation(dataset.n_episodes) % n_folds
    for number in range(n_folds):
        yield fold != number, fold == number


def vectors(observations: ArrayTree, with_history: bool = False) -> Floats:
    """Returns observations as one row of numbers each, [N, D].

    Args:
        observations: [N, ...].
        with_history: Whether they have an axis of time, [N, K, ...].

    Raises:
        UnsupportedError: For images.
    """
    parts = leaves(observations)
    if any(part.ndim > 2 + with_history for part in parts):
        raise UnsupportedError(
            f"expected vector observations, got {[list(part.shape[1:]) for part in parts]}; record propensities "
            "(behavior_log_probs), or give features of your own"
        )
    return np.concatenate([part.reshape(len(part), -1).astype(np.float64) for part in parts], axis=1)


def row_mask(dataset: MDPDataset, episodes: Array) -> npt.NDArray[np.bool_]:
    """Returns which rows [N] are of chosen episodes, bool [E]."""
    return np.repeat(episodes, dataset.episode_lengths())


def _fit_discrete(
    dataset: MDPDataset, model: BaseEstimator | None, folds: list[tuple[Array, Array]], floor: float
) -> FittedBehaviour:
    space = cast("spaces.Discrete", dataset.action_space)
    check_countable(space, "a fitted behaviour counts")
    actions = numbers_from_0(dataset.actions, space)
    n_actions = int(space.n)
    states = state_numbers(dataset.observations) if model is None else None
    inputs: Array = vectors(dataset.observations) if states is None else states
    probabilities = np.empty((len(actions), n_actions))
    for learned, held_out in folds:
        here, there = row_mask(dataset, learned), row_mask(dataset, held_out)
        fit = partial(_classified, model) if states is None else _counted
        probabilities[there] = fit(inputs[here], actions[here], inputs[there], n_actions)
    legal = legal_of(dataset.observations)
    probabilities = _mixed(probabilities, np.ones_like(probabilities) if legal is None else legal, floor)
    taken = np.eye(probabilities.shape[1], dtype=np.bool_)[actions]
    log_probs = np.log(probabilities[taken])
    return FittedBehaviour(
        log_probs, reliability(probabilities.ravel(), taken.ravel(), float(log_probs.mean()))
    )


def _mixed(probabilities: Floats, legal: Array, floor: float) -> Floats:
    """Returns probabilities [N, A] of legal actions alone, mixed with `floor` of uniform ones; uniform if all are 0."""
    uniform = legal / legal.sum(1, keepdims=True)
    allowed = probabilities * legal
    totals = allowed.sum(1, keepdims=True)
    shares = np.where(totals > 0, allowed / np.where(totals > 0, totals, 1.0), uniform)
    return np.asarray((1 - floor) * shares + floor * uniform)


def _counted(states: Array, actions: Array, asked: Array, n_actions: int) -> Floats:
    """Returns the shares of actions in each state that is evaluated; of all states together if it was not seen."""
    overall = np.bincount(actions, minlength=n_actions) / len(actions)
    counts = np.zeros((max(states.max(), asked.max()) + 1, n_actions))
    np.add.at(counts, (states, actions), 1.0)
    return np.asarray((counts + overall)[asked] / (counts.sum(1, keepdims=True) + 1)[asked])


def _classified(
    model: BaseEstimator | None, inputs: Floats, actions: Array, asked: Floats, n_actions: int
) -> Floats:
    from sklearn.base import clone
    from sklearn.ensemble import HistGradientBoostingClassifier

    probabilities = np.zeros((len(asked), n_actions))
    if len(known := np.unique(actions)) == 1:
        probabilities[:, known] = 1.0
        return probabilities
    fitted = HistGradientBoostingClassifier(random_state=0) if model is None else clone(model)
    fitted.fit(inputs, actions)
    probabilities[:, fitted.classes_] = fitted.predict_proba(asked)
    return probabilities


def _fit_continuous(
    dataset: MDPDataset, model: BaseEstimator | None, folds: list[tuple[Array, Array]]
) -> FittedBehaviour:
    from sklearn.base import clone
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputRegressor

    template = MultiOutputRegressor(HistGradientBoostingRegressor(random_state=0)) if model is None else model
    inputs, actions = vectors(dataset.observations), vectors(dataset.actions)
    errors, widths = np.empty_like(actions), np.empty_like(actions)
    for learned, held_out in folds:
        here, there = row_mask(dataset, learned), row_mask(dataset, held_out)
        fitted = clone(template).fit(inputs[here], actions[here])
        errors[there] = actions[there] - fitted.predict(inputs[there]).reshape(-1, actions.shape[1])
    for learned, held_out in folds:
        spread = np.sqrt((errors[row_mask(dataset, learned)] ** 2).mean(0))
        widths[row_mask(dataset, held_out)] = np.maximum(spread, 1e-6)
    log_probs = _clipped_log_probs(dataset, actions, errors, widths).sum(1)
    quantiles = stats.norm.cdf(errors, scale=widths).ravel()
    return FittedBehaviour(log_probs, reliability_of_quantiles(quantiles, float(log_probs.mean())))


def _clipped_log_probs(dataset: MDPDataset, actions: Floats, errors: Floats, widths: Floats) -> Floats:
    """Returns log-densities [N, A] of normals around actions less errors, and log-masses at bounds of the space."""
    space = cast("spaces.Box", dataset.action_space)
    low, high = (np.broadcast_to(bound, space.shape).reshape(1, -1) for bound in (space.low, space.high))
    means = actions - errors
    inside = stats.norm.logpdf(errors, scale=widths)
    below = np.where(actions <= low, stats.norm.logcdf((low - means) / widths), inside)
    return np.asarray(np.where(actions >= high, stats.norm.logsf((high - means) / widths), below))

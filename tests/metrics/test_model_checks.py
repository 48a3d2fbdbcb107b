"""Values of a model are doubted if their one-step errors do not average 0, or their fits took too few updates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete
from table_networks import TABLE

from offlinekit.algos.fqe import fitted_by
from offlinekit.datasets import MDPDataset
from offlinekit.metrics.ope import Logged, estimate
from offlinekit.metrics.ope.model_checks import ModelError, model_error


def logged(q: list[list[float]], mask: list[list[bool]], final: list[float]) -> Logged:
    zeros = np.zeros((2, 2))
    return Logged(
        np.array([[1.0, 3.0], [2.0, 9.0]]),
        np.array(mask),
        zeros,
        zeros,
        0.5,
        np.array(q),
        zeros,
        np.array(final),
    )


def test_mean_of_one_step_errors_by_hand():
    # Rewards 1, 3 and 2; q 0, 1 and 4; values after the ends 0 and 2: errors 1, 2 and 2 + 0.5 * 2 - 4 = -1.
    # Sums over episodes 3 and -1, over 1.5 rows each: 2 and -2/3, mean 2/3, deviation 1.8856, error 1.3333.
    # Discounted rows 1.5 and 1, mean 1.25. Returns 1 + 0.5 * 3 = 2.5 and 2: deviation 0.35355, error 0.25.
    mask = [[True, True], [True, False]]
    data = logged([[0.0, 1.0], [4.0, 7.0]], mask, [0.0, 2.0])
    found = model_error(data, data.mask)
    assert (found.value, found.standard_error) == pytest.approx((2 / 3, 4 / 3))
    assert (found.n_steps, found.return_error, found.bias) == pytest.approx((1.25, 0.25, -0.8333), abs=1e-4)
    known = np.array([[True, True], [False, False]])  # Errors 1 and 2 alone, over 1 row an episode: 3 and 0.
    assert model_error(data, known).value == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("value", "standard_error", "return_error", "is_off"),
    [
        (0.31, 0.1, 1.0, True),
        (-0.31, 0.1, 1.0, True),
        (0.29, 0.1, 1.0, False),  # Within 3 standard errors.
        (0.31, 0.1, 3.2, False),  # Moves values by 3.1, less than chance moves returns.
    ],
)
def test_only_what_is_no_accident_and_matters_is_said(
    value: float, standard_error: float, return_error: float, is_off: bool
):
    assert ModelError(value, standard_error, 10.0, return_error).is_off == is_off


def chain(n: int = 200) -> MDPDataset:
    """Episodes of ten steps, seen one-hot; a step earns about its action, both as often."""
    random = np.random.default_rng(0)
    steps, actions = np.arange(10 * n) % 10, random.integers(0, 2, 10 * n)
    return MDPDataset(
        np.eye(10, dtype=np.float32)[steps], actions, actions + random.normal(0, 0.1, 10 * n), steps == 9,
        behavior_log_probs=np.full(10 * n, np.log(0.5)), action_space=Discrete(2),
    )  # fmt: skip


def always(probability: float) -> Any:
    return lambda observations: np.tile([1 - probability, probability], (len(observations), 1))


class Drawn:
    """Takes action 1 with probability 0.6."""

    def log_prob(self, observations: Any, actions: Any) -> Any:
        return np.log(np.where(actions == 1, 0.6, 0.4))

    def predict(self, observations: Any) -> Any:
        return np.ones(len(observations), np.int64)


def exact(probability: float) -> Any:
    """Returns q of a policy that takes action 1 with a probability: what is left earns it a step, gamma 1."""
    return lambda o, a: a + probability * (9 - o.argmax(1))


NAMES = ["direct", "dr", "retrace", "tree_backup", "wpdis"]
DOUBT = "one-step errors of the model average"


def test_values_of_another_policy_and_half_values_are_doubted():
    for wrong in (exact(0.1), lambda o, a: 0.5 * exact(0.6)(o, a)):
        report = estimate(always(0.6), chain(), NAMES, gamma=1.0, q_function=wrong)
        doubted = [name for name in NAMES if any(w.startswith(DOUBT) for w in report[name].warnings)]
        assert doubted == ["direct", "retrace", "tree_backup"]
        assert report["dr"].value == pytest.approx(6.0, abs=0.3)  # Corrected by weights.
    right = estimate(always(0.6), chain(), NAMES, gamma=1.0, q_function=exact(0.6))
    assert not any(DOUBT in warning for name in NAMES for warning in right[name].warnings)
    assert right["direct"].value == pytest.approx(6.0)


def test_the_last_rows_of_cut_episodes_are_no_errors():
    # Cut after ten steps of an endless task that earns 1 a step: q = 10 with gamma 0.9. Without the observations
    # behind the cuts the last errors would be 1 - 10.
    n = 500
    cut = np.arange(n) % 10 == 9
    data = MDPDataset(
        np.ones((n, 1), np.float32) * np.pi, np.arange(n) % 2, np.ones(n), np.zeros(n), timeouts=cut,
        behavior_log_probs=np.full(n, np.log(0.5)), action_space=Discrete(2),
    )  # fmt: skip
    report = estimate(always(0.5), data, ["direct"], gamma=0.9, q_function=lambda o, a: np.full(len(a), 10.0))
    assert not any(DOUBT in warning for warning in report["direct"].warnings)


def test_estimates_by_fits_of_too_few_updates_say_so():
    settings: dict[str, Any] = {"encoder": TABLE, "gamma": 0.9, "device": "cpu", "learning_rate": 0.05}
    short = fitted_by(Drawn(), n_steps=20, **settings)
    report = estimate(Drawn(), chain(40), ["direct", "dr"], gamma=0.9, fit_q=short, n_folds=2)
    said = "the fit took 20 updates of the 600 that gamma=0.9"
    assert any(warning.startswith(said) for warning in report["direct"].warnings)
    assert not any("updates" in warning for warning in report["dr"].warnings)
    enough = estimate(
        Drawn(), chain(40), ["direct"], gamma=0.9, fit_q=fitted_by(Drawn(), **settings), n_folds=2
    )
    assert enough["direct"].warnings == ("the interval takes the fit as given",)

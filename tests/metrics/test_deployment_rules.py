"""Both judges and the rules that hold a policy back, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from offlinekit.algos import DiscreteBC
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.metrics.ope import selection, weighted_estimate
from offlinekit.metrics.ope.deployment_rules import Candidate, Rules, decide
from offlinekit.metrics.ope.model_gain import ModelGain
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.metrics.ope.weight_checks import MeanWeight
from offlinekit.metrics.ope.weighted_estimate import (
    WeightedEstimate,
    baseline_of,
    fitted_target,
    unseen_by,
    weighted_estimate_of,
)
from offlinekit.sampling.scalers import Scaling


def always_one(observations: Any) -> Any:
    return np.ones(len(observations), np.int64)


def test_bounds_by_hand():
    behaviour = np.array([2.0, 1.0, 2.0, 3.0])
    # Gains of a: 3, then 3, 4, 5 (deviation 1); of b: 1, then 2, 1, 0 (1). t of 2 degrees at 0.95: 2.9200
    rules = Rules(0.95, 25.0, 3.0)
    first = rules.candidate("a", np.array([5.0, 4.0, 6.0, 8.0]), behaviour, None)
    assert (first.name, first.gain, first.value) == ("a", 3.0, 5.0)
    assert first.lower_bound == pytest.approx(3 - 2.91999, abs=1e-4)
    assert first.standard_error == 2.0
    assert (first.weighted_gain, first.effective_sample, first.held_back) == (None, None, "")
    second = rules.candidate("b", np.array([3.0] * 4), behaviour, None)
    assert second.lower_bound == pytest.approx(1 - 2.91999, abs=1e-4)


RIGHT = MeanWeight(1.0, 0.1, 0)


def test_bounds_by_dynamics_by_hand():
    rules, behaviour = Rules(0.95, 25.0, 3.0), np.array([2.0, 1.0, 2.0, 3.0])
    own = np.array([5.0, 4.0, 6.0, 8.0])  # A gain of 3 with error 1, bounded by 3 - 2.92.
    # t of 4 degrees at 0.95: 2.1318. 2 - 2.1318 * 0.5 is no lower, 2 - 2.1318 * 2 is.
    near = rules.candidate("a", own, behaviour, None, in_model=ModelGain(2.0, 0.5, 4))
    assert near.lower_bound == pytest.approx(3 - 2.91999, abs=1e-4)
    assert (near.model_gain, near.held_back) == (2.0, "")
    wide = rules.candidate("a", own, behaviour, None, in_model=ModelGain(2.0, 2.0, 4))
    assert wide.lower_bound == pytest.approx(2 - 2 * 2.13185, abs=1e-4)
    # (3 + 1.5) / sqrt(1 + 0.5^2) = 4.02 standard errors.
    far = rules.candidate("a", own, behaviour, None, in_model=ModelGain(-1.5, 0.5, 4))
    assert far.held_back == (
        "the estimates disagree: a gain of 3 by fitted Q, of -1.5 by the dynamics, 4.0 standard errors apart "
        "(max_disagreement=3)"
    )
    doubtful = rules.candidate("a", own, behaviour, None, ("doubt",), in_model=ModelGain(-1.5, 0.5, 4))
    assert doubtful.held_back == "doubt"
    # Of both further estimates the lowest bound counts.
    weighted = WeightedEstimate(np.array([1.0, 1.0, 3.0, 3.0]), 50.0, 40.0, RIGHT, RIGHT)
    both = rules.candidate("a", own, behaviour, weighted, in_model=ModelGain(2.0, 2.0, 4))
    assert both.lower_bound == wide.lower_bound
    assert decide([near], 0.0, 0.95)[1].endswith("by both estimates")
    assert decide([replace(near, weighted_gain=2.0)], 0.0, 0.95)[1].endswith("by all three estimates")


def candidate(
    gains: Any,
    effective_sample: float = 50.0,
    max_disagreement: float = 3.0,
    weight: MeanWeight = RIGHT,
    doubts: tuple[str, ...] = (),
) -> Candidate:
    given = gains if gains is None else np.asarray(gains)
    weighted = WeightedEstimate(given, effective_sample, 40.0, weight, RIGHT)
    own, behaviour = np.array([5.0, 4.0, 6.0, 8.0]), np.array([2.0, 1.0, 2.0, 3.0])
    return Rules(0.95, 25.0, max_disagreement).candidate("a", own, behaviour, weighted, doubts)


def test_the_lower_bound_of_both_estimates_counts():
    # Fitted Q: 3 - 2.92 = 0.08. Weighted: mean 2, deviation 1, 4 episodes; t of 3 degrees 2.3534: 2 - 1.1767 * 1.1547
    found = candidate([1.0, 1.0, 3.0, 3.0])
    assert found.weighted_gain == 2.0
    assert found.lower_bound == pytest.approx(3 - 2.91999, abs=1e-4)
    low = candidate([-1.0, -1.0, 3.0, 3.0])  # Mean 1, standard error sqrt(16 / 3) / 2 = 1.1547
    assert low.lower_bound == pytest.approx(1 - 2.35336 * 1.1547, abs=1e-3)
    assert (found.held_back, low.held_back, found.effective_sample) == ("", "", 50.0)


def test_estimates_that_disagree_hold_a_policy_back():
    # Standard errors 1 and 0.57735 (deviation 1.1547 of 4 episodes): hypot 1.1547. Gains 3 and 7: 3.46 apart.
    gains = [6.0, 6.0, 8.0, 8.0]
    assert candidate(gains).held_back == (
        "the estimates disagree: a gain of 3 by fitted Q, of 7 by weighted episodes, 3.5 standard errors apart "
        "(max_disagreement=3)"
    )
    assert candidate(gains, max_disagreement=3.5).held_back == ""


def test_a_small_effective_sample_holds_a_policy_back():
    for gains in (None, [1.0, 1.0, 3.0, 3.0]):
        found = candidate(gains, effective_sample=24.9)
        assert found.held_back == (
            "the data show 24.9 effective episodes of what it does (min_effective_sample=25)"
        )


def test_weights_off_their_mean_and_doubts_hold_a_policy_back():
    off = candidate([1.0, 1.0, 3.0, 3.0], weight=MeanWeight(1.4, 0.1, 0))
    assert off.held_back == "ratios of one step average 1.4 +- 0.1 where 1 is due"
    assert candidate([1.0, 1.0, 3.0, 3.0], weight=MeanWeight(1.29, 0.1, 0)).held_back == ""
    assert candidate(None, 24.9, doubts=("", "no rows")).held_back == "no rows"
    assert candidate([1.0, 1.0, 3.0, 3.0], doubts=("", "")).held_back == ""


def test_nothing_bounds_the_gain_of_a_policy_without_rows():
    own, behaviour = np.array([5.0, 4.0, 6.0, 8.0]), np.array([2.0, 1.0, 2.0, 3.0])
    found = Rules(0.95, 25.0, 3.0).candidate("a", own, behaviour, None, ("unsettled",), "no rows")
    assert (found.lower_bound, found.held_back) == (-np.inf, "no rows")
    assert decide([found, replace(found, name="b", held_back="few")], 0.0, 0.95) == (
        None,
        "keep the behaviour: nothing bounds the gain of any policy from below (a: no rows; b: few)",
    )


def test_a_fit_without_a_number_bounds_nothing():
    own, behaviour = np.array([5.0, np.nan, 6.0, 8.0]), np.array([2.0, 1.0, 2.0, 3.0])
    found = Rules(0.95, 25.0, 3.0).candidate("a", own, behaviour, None, ("the fit says nan",))
    assert (found.lower_bound, found.held_back) == (-np.inf, "the fit says nan")


def test_decisions():
    good, doubtful = Candidate("a", 0, 0, 0, 2.0), Candidate("b", 0, 0, 0, 3.0, held_back="few")
    assert decide([doubtful, good], 1.0, 0.9)[0] == "a"
    assert decide([doubtful, good], 2.0, 0.9) == (
        None, "keep the behaviour: b gains at least 3 over the behaviour at confidence 0.9 by its bounds, but few",
    )  # fmt: skip
    assert decide([doubtful, good], 3.0, 0.9)[1].startswith(
        "keep the behaviour: no policy surely gains more than 3"
    )
    assert decide([good], 1.0, 0.9)[1].endswith("by fitted Q evaluation alone")
    both = Candidate("a", 0, 0, 0, 2.0, weighted_gain=4.0)
    assert (
        decide([both], 1.0, 0.9)[1]
        == "a gains at least 2 over the behaviour at confidence 0.9, by both estimates"
    )


class Fit:
    """Stands for a fit: Q(s, a) = slope * s + a, and the episodes it drew."""

    gamma, n_draws, scaling = 0.5, 1, Scaling()

    def __init__(self, slope: float, counts: list[int]) -> None:
        self.slope, self.counts = slope, np.array(counts)

    def episode_counts(self, dataset: MDPDataset) -> Any:
        return self.counts

    def predict_value(self, observations: Any, actions: Any) -> Any:
        return self.slope * observations[:, 0] + actions


FITS: Any = [Fit(9.0, [1, 1, 1]), Fit(1.0, [0, 1, 2]), Fit(2.0, [0, 0, 1])]


def three_episodes() -> MDPDataset:
    """Episode 0 of two steps and cut off, 1 and 2 of one step and ended."""
    return MDPDataset(
        np.array([[1.0], [2.0], [1.0], [3.0]], np.float32), np.array([0, 1, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0]),
        np.array([0, 0, 1, 1]), timeouts=np.array([0, 1, 0, 0]), final_observations=np.array([[5.0], [0.0], [0.0]]),
        behavior_log_probs=np.log([0.5, 0.25, 0.5, 0.5]),
    )  # fmt: skip


def test_each_episode_is_judged_by_a_fit_that_did_not_draw_it():
    parts = [(fit.slope, mask.tolist()) for fit, mask in unseen_by(FITS, three_episodes())]
    assert parts == [(1.0, [True, False, False]), (2.0, [False, True, False]), (9.0, [False, False, True])]


def test_what_the_behaviour_is_worth_by_hand():
    # Episode 0: 1 + 0.5 * Q_1(2, 1) = 1 + 0.5 * 3 in place of its last reward, since it was cut; then 3 and 4.
    np.testing.assert_allclose(baseline_of(FITS, three_episodes()), [2.5, 3.0, 4.0])


def test_the_weighted_estimate_by_hand(monkeypatch):
    monkeypatch.setattr(weighted_estimate, "FEW", 1.0)
    data = three_episodes()
    target, baseline = fitted_target(always_one, FITS[0], data), np.array([2.5, 3.0, 4.0])
    found = weighted_estimate_of(target, FITS, baseline, data, data.behavior_log_probs)
    # Always action 1: ratios 0, 4; 2; 0. Rows: 3 * (0 + 4 + 2)^2 / (4 * (16 + 4)) = 1.35. Episodes: products 0, 2, 0.
    assert found.effective_sample == pytest.approx(1.35)
    assert found.effective_episodes == pytest.approx(1.0)
    # Weights of step 0: 0, 2, 0, normalised 0, 3, 0; of step 1: 0 * 4 = 0, then 2 and 0 go on: the same.
    # v by the fits 1, 2, 9: 2; 3; 28. Episode 1: 3 + 3 * (3 - Q_2(1, 1) = 3) = 3. Estimate (2 + 3 + 28) / 3 = 11.
    assert found.gains.mean() == pytest.approx(11.0 - 9.5 / 3)
    target = TargetPolicy(Table([[0.5, 0.5]] * 4), data.action_space)
    whole = weighted_estimate_of(target, FITS, np.zeros(3), data, data.behavior_log_probs)
    # Ratios 1, 2; 1; 1. v: 1.5, 2.5 and 5.5 behind the cut; 2.5; 27.5. Step 0 errors: 1 + 0.5 * 2.5 - 1 = 1.25;
    # 3 - 3 = 0; 4 - 27 = -23. Step 1: 2 + 0.5 * 5.5 - 3 = 1.75, weight 2 of mean (2 + 1 + 1) / 3.
    # (1.5 + 2.5 + 27.5 + 1.25 - 23) / 3 + 0.5 * 2 * 1.75 / 4
    assert whole.gains.mean() == pytest.approx(9.75 / 3 + 1.75 / 4)
    assert whole.effective_episodes == pytest.approx(16 / 6)  # Of the products 2, 1, 1.
    monkeypatch.undo()
    assert (
        weighted_estimate_of(target, FITS, np.zeros(3), data, data.behavior_log_probs).gains is None
    )  # 25 are asked for.


class Table:
    """A policy with probabilities [S, A] over states that are whole numbers."""

    def __init__(self, probabilities: Any) -> None:
        self.table = np.asarray(probabilities)

    def predict(self, observations: Any) -> Any:
        return self.table[observations[:, 0].astype(int)].argmax(-1)

    def log_prob(self, observations: Any, actions: Any) -> Any:
        with np.errstate(divide="ignore"):
            return np.log(self.table[np.minimum(observations[:, 0].astype(int), 3), actions])


def test_drawn_actions_without_probabilities_have_no_opinion(monkeypatch):
    data = three_episodes()
    drawn = SampledPolicy(DiscreteBC(seed=0, device="cpu").build(data))
    policies = {"drawn": drawn, "recorded": "behaviour"}
    monkeypatch.setattr(selection, "propensities_of", None)  # No behaviour is fitted for them.
    found = selection._weighted_estimates(policies, dict.fromkeys(policies, FITS), FITS, data, None)
    assert found == dict.fromkeys(policies, "it has no probabilities or densities (log_prob)")

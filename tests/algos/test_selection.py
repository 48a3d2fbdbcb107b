"""Which policy to deploy: the better one where the data are sure of it, else none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers import TABLE
from scipy import stats

from offlinekit.algos import second_judge
from offlinekit.algos.deciding import Candidate, Rules, decided
from offlinekit.algos.second_judge import Opinion, baseline_of, opinion_of, propensities_of, unseen_by
from offlinekit.algos.selection import fitted_values, select
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.normalizers import Scaling
from offlinekit.errors import UnsupportedError

QUICK: dict[str, Any] = {
    "encoder": TABLE,
    "n_steps": 300,
    "batch_size": 64,
    "learning_rate": 0.02,
    "device": "cpu",
}


def constant(action: int) -> Any:
    return lambda observations: np.full(len(observations), action)


def arms(n_episodes: int, noise: float) -> MDPDataset:
    """One-step episodes of three actions that pay 0, 1 and 2 plus noise; the behaviour takes each equally often."""
    rng = np.random.default_rng(0)
    actions = np.arange(n_episodes) % 3
    rewards = actions + noise * rng.normal(size=n_episodes)
    return MDPDataset(np.ones((n_episodes, 1), np.float32), actions, rewards, np.ones(n_episodes, bool))


def test_bounds_by_hand():
    behaviour = np.array([2.0, 1.0, 2.0, 3.0])
    # Gains of a: 3, then 3, 4, 5 (deviation 1); of b: 1, then 2, 1, 0 (1). t of 2 degrees at 0.95: 2.9200
    rules = Rules(0.95, 25.0, 3.0)
    first = rules.judged("a", np.array([5.0, 4.0, 6.0, 8.0]), behaviour, None)
    assert (first.name, first.gain, first.value) == ("a", 3.0, 5.0)
    assert first.lower_bound == pytest.approx(3 - 2.91999, abs=1e-4)
    assert first.standard_error == 2.0
    assert (first.weighted_gain, first.effective_sample, first.held_back) == (None, None, "")
    second = rules.judged("b", np.array([3.0] * 4), behaviour, None)
    assert second.lower_bound == pytest.approx(1 - 2.91999, abs=1e-4)


def judged(gains: Any, effective_sample: float = 50.0, max_disagreement: float = 3.0) -> Candidate:
    opinion = Opinion(gains if gains is None else np.asarray(gains), effective_sample, 40.0)
    own, behaviour = np.array([5.0, 4.0, 6.0, 8.0]), np.array([2.0, 1.0, 2.0, 3.0])
    return Rules(0.95, 25.0, max_disagreement).judged("a", own, behaviour, opinion)


def test_the_lower_bound_of_both_judges_counts():
    # Fitted Q: 3 - 2.92 = 0.08. Weighted: mean 2, deviation 1, 4 episodes; t of 3 degrees 2.3534: 2 - 1.1767 * 1.1547
    found = judged([1.0, 1.0, 3.0, 3.0])
    assert found.weighted_gain == 2.0
    assert found.lower_bound == pytest.approx(3 - 2.91999, abs=1e-4)
    low = judged([-1.0, -1.0, 3.0, 3.0])  # Mean 1, standard error sqrt(16 / 3) / 2 = 1.1547
    assert low.lower_bound == pytest.approx(1 - 2.35336 * 1.1547, abs=1e-3)
    assert (found.held_back, low.held_back, found.effective_sample) == ("", "", 50.0)


def test_judges_that_disagree_hold_a_policy_back():
    # Standard errors 1 and 0.57735 (deviation 1.1547 of 4 episodes): hypot 1.1547. Gains 3 and 7: 3.46 apart.
    gains = [6.0, 6.0, 8.0, 8.0]
    assert judged(gains).held_back == (
        "the judges disagree: a gain of 3 by fitted Q, of 7 by weighted episodes, 3.5 standard errors apart "
        "(max_disagreement=3)"
    )
    assert judged(gains, max_disagreement=3.5).held_back == ""


def test_a_small_effective_sample_holds_a_policy_back():
    for gains in (None, [1.0, 1.0, 3.0, 3.0]):
        found = judged(gains, effective_sample=24.9)
        assert found.held_back == (
            "the data show 24.9 effective episodes of what it does (min_effective_sample=25)"
        )


def test_decisions():
    good, doubtful = Candidate("a", 0, 0, 0, 2.0), Candidate("b", 0, 0, 0, 3.0, held_back="few")
    assert decided([doubtful, good], 1.0, 0.9)[0] == "a"
    assert decided([doubtful, good], 2.0, 0.9) == (
        None, "keep the behaviour: b gains at least 3 over the behaviour at confidence 0.9 by its bounds, but few",
    )  # fmt: skip
    assert decided([doubtful, good], 3.0, 0.9)[1].startswith(
        "keep the behaviour: no policy surely gains more than 3"
    )
    assert decided([good], 1.0, 0.9)[1].endswith("by fitted Q evaluation alone")
    both = Candidate("a", 0, 0, 0, 2.0, weighted_gain=4.0)
    assert (
        decided([both], 1.0, 0.9)[1]
        == "a gains at least 2 over the behaviour at confidence 0.9, by both judges"
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


def test_opinion_by_hand(monkeypatch):
    monkeypatch.setattr(second_judge, "FEW", 1.0)
    data = three_episodes()
    found = opinion_of(constant(1), FITS, np.array([2.5, 3.0, 4.0]), data, data.behavior_log_probs)
    # Always action 1: ratios 0, 4; 2; 0. Rows: 3 * (0 + 4 + 2)^2 / (4 * (16 + 4)) = 1.35. Episodes: products 0, 2, 0.
    assert found.effective_sample == pytest.approx(1.35)
    assert found.effective_episodes == pytest.approx(1.0)
    # Weights of step 0: 0, 2, 0, normalised 0, 3, 0; of step 1: 0 * 4 = 0, then 2 and 0 go on: the same.
    # v by the fits 1, 2, 9: 2; 3; 28. Episode 1: 3 + 3 * (3 - Q_2(1, 1) = 3) = 3. Estimate (2 + 3 + 28) / 3 = 11.
    assert found.gains.mean() == pytest.approx(11.0 - 9.5 / 3)
    policy = Table([[0.5, 0.5]] * 4)
    whole = opinion_of(policy, FITS, np.zeros(3), data, data.behavior_log_probs)
    # Ratios 1, 2; 1; 1. v: 1.5, 2.5 and 5.5 behind the cut; 2.5; 27.5. Step 0 errors: 1 + 0.5 * 2.5 - 1 = 1.25;
    # 3 - 3 = 0; 4 - 27 = -23. Step 1: 2 + 0.5 * 5.5 - 3 = 1.75, weight 2 of mean (2 + 1 + 1) / 3.
    # (1.5 + 2.5 + 27.5 + 1.25 - 23) / 3 + 0.5 * 2 * 1.75 / 4
    assert whole.gains.mean() == pytest.approx(9.75 / 3 + 1.75 / 4)


class Table:
    """A policy with probabilities [S, A] over states that are whole numbers."""

    def __init__(self, probabilities: Any) -> None:
        self.table = np.asarray(probabilities)

    def predict(self, observations: Any) -> Any:
        return self.table[observations[:, 0].astype(int)].argmax(-1)

    def log_prob(self, observations: Any, actions: Any) -> Any:
        with np.errstate(divide="ignore"):
            return np.log(self.table[np.minimum(observations[:, 0].astype(int), 3), actions])


def test_the_best_policy_is_chosen_where_the_data_are_sure():
    found = select({str(a): constant(a) for a in range(3)}, arms(300, 0.1), n_resamples=6, **QUICK)
    assert found.chosen == "2"
    assert [candidate.name for candidate in found.candidates] == ["2", "1", "0"]
    assert [round(candidate.value) for candidate in found.candidates] == [2, 1, 0]
    assert found.reason.endswith("by both judges")
    assert found.warnings == ()
    assert found.candidates[0].effective_sample == pytest.approx(100.0, rel=1e-2)
    assert found.behaviour == pytest.approx(1.0, abs=0.1)
    assert found.candidates[0].gain == pytest.approx(1.0, abs=0.1)
    assert all(candidate.lower_bound < candidate.gain for candidate in found.candidates)


def test_none_is_chosen_where_the_margin_is_too_high_or_the_data_too_few():
    policies = {str(a): constant(a) for a in range(3)}
    assert select(policies, arms(300, 0.1), margin=1.5, n_resamples=4, **QUICK).chosen is None
    unsure = select(policies, arms(9, 20.0), n_resamples=4, **QUICK)
    assert unsure.chosen is None
    assert unsure.reason.startswith("keep the behaviour: no policy surely gains more than 0")


def rare_arms() -> MDPDataset:
    """One-step episodes: the behaviour takes the action that pays 2 in 15 of 300, that which pays 1 in the others."""
    actions = (np.arange(300) % 20 == 0).astype(int)
    rewards = 1.0 + actions + 0.1 * np.random.default_rng(0).normal(size=300)
    return MDPDataset(np.ones((300, 1), np.float32), actions, rewards, np.ones(300, bool))


def test_selection_abstains_where_the_effective_sample_is_small():
    found = select({"rare": constant(1)}, rare_arms(), n_resamples=4, **QUICK)
    # Ratios are about 1 / 0.05 in 15 rows of 300: 15 effective ones, a little fewer by a fit in folds.
    assert found.chosen is None
    assert found.candidates[0].effective_sample == pytest.approx(15.0, rel=0.02)
    assert "by its bounds, but the data show 14.9 effective episodes of what it does" in found.reason
    assert (
        "fitted Q alone judges rare (14.9): the weights of whole episodes leave fewer than 25"
        in found.warnings[0]
    )
    daring = select({"rare": constant(1)}, rare_arms(), n_resamples=4, min_effective_sample=0, **QUICK)
    assert daring.chosen == "rare"
    assert daring.reason.endswith("by fitted Q evaluation alone")


def test_selection_abstains_where_the_judges_disagree():
    # Fits of one update have learned nothing: fitted Q says a gain of about 0, weighted episodes say 1.
    blind = {**QUICK, "n_steps": 1, "learning_rate": 1e-6}
    found = select(
        {"2": constant(2)}, arms(300, 0.1), margin=-9.0, n_resamples=6, max_disagreement=0.5, **blind
    )
    assert found.chosen is None
    assert found.candidates[0].weighted_gain == pytest.approx(1.0, abs=0.1)
    assert "but the judges disagree: a gain of" in found.reason
    assert select(
        {"2": constant(2)}, arms(300, 0.1), margin=-9.0, n_resamples=6, max_disagreement=99, **blind
    ).chosen


def test_what_is_judged_by_fitted_q_alone_is_said():
    data = arms(300, 0.1)
    found = select({"2": constant(2), "1": constant(1)}, data, n_resamples=4, behaviour="none", **QUICK)
    assert found.chosen == "2"
    assert found.reason.endswith("by fitted Q evaluation alone")
    assert found.warnings == (
        "fitted Q alone judges 2, 1: propensities were not asked for; its effective sample is unknown",
    )
    assert found.candidates[0].effective_sample is None
    with pytest.raises(UnsupportedError, match="has no behavior_log_probs"):
        select({"2": constant(2)}, data, n_resamples=2, behaviour="logged", **QUICK)
    images = MDPDataset(np.zeros((6, 1, 8, 8), np.uint8), np.arange(6) % 2, np.ones(6), np.ones(6, bool))
    assert "there are no propensities (expected vector observations" in propensities_of(images, None, 0)
    single = MDPDataset(np.zeros((1, 1), np.float32), np.zeros(1, int), np.ones(1), np.ones(1))
    assert propensities_of(single, None, 0) == "weights need at least two episodes in order of time"


class Normal:
    """Actions around a mean, with their density."""

    def __init__(self, mean: float) -> None:
        self.mean, self.rng = mean, np.random.default_rng(0)

    def predict(self, observations: Any) -> Any:
        return (self.mean + 0.5 * self.rng.normal(size=(len(observations), 1))).clip(-2, 2).astype(np.float32)

    def log_prob(self, observations: Any, actions: Any) -> Any:
        return stats.norm.logpdf(actions[:, 0], self.mean, 0.5)


def test_continuous_policies_need_densities_for_the_second_judge():
    rng = np.random.default_rng(0)
    actions = rng.normal(size=(400, 1)).clip(-2, 2).astype(np.float32)
    data = MDPDataset(
        np.ones((400, 1), np.float32), actions, actions[:, 0] + 0.1 * rng.normal(size=400), np.ones(400, bool),
        behavior_log_probs=stats.norm.logpdf(actions[:, 0]), action_space=Box(-2, 2, (1,)),
    )  # fmt: skip
    policies = {"drawn": Normal(0.5), "certain": lambda o: np.full((len(o), 1), 0.5, np.float32)}
    chosen = select(policies, data, n_resamples=4, **QUICK)
    found = {c.name: c for c in chosen.candidates}
    assert found["drawn"].weighted_gain == pytest.approx(0.5, abs=0.15)
    assert found["certain"].weighted_gain is None
    assert found["certain"].gain == pytest.approx(0.5, abs=0.15)
    assert chosen.warnings == (
        "fitted Q alone judges certain: it has no probabilities or densities (log_prob); its effective sample is "
        "unknown",
    )


def test_bootstraps_draw_the_same_episodes_for_each_policy():
    values = fitted_values({"a": constant(2), "b": constant(2)}, arms(30, 1.0), n_resamples=3, **QUICK)
    np.testing.assert_allclose(values["a"], values["b"], rtol=1e-4)
    assert np.ptp(values["a"]) > 0.05


def test_bad_input():
    for policies, settings in (
        ({}, {}),
        ({"a": constant(0)}, {"n_resamples": 1}),
        ({"a": constant(0)}, {"confidence": 1}),
    ):
        with pytest.raises(ValueError, match="at least one policy, a confidence"):
            select(policies, arms(9, 0.0), **settings)
    for settings in ({"min_effective_sample": -1}, {"max_disagreement": 0}):
        with pytest.raises(ValueError, match="min_effective_sample must be at least 0 and max_disagreement"):
            select({"a": constant(0)}, arms(9, 0.0), **settings)

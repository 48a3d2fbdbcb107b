"""Which policy to deploy: the better one where the data are sure of it, else none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium.spaces import Box
from scipy import stats
from table_networks import TABLE

from offlinekit.algos import DiscreteFQE
from offlinekit.datasets import MDPDataset
from offlinekit.envs.callable_policies import GreedyPolicy
from offlinekit.errors import DatasetWarning, UnsupportedError
from offlinekit.metrics.ope import held_data, selection
from offlinekit.metrics.ope.model_gain import model_gain_of
from offlinekit.metrics.ope.selection import fitted_values, select
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.metrics.ope.weighted_estimate import propensities_of

QUICK: dict[str, Any] = {
    "encoder": TABLE,
    "n_steps": 1_000,
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


class Values:
    """Stands for trained fits whose values have settled."""

    earlier: ClassVar[dict[str, float]] = {}
    diverged: ClassVar[set[str]] = set()

    def __init__(self, values: dict[str, Any], dataset: MDPDataset) -> None:
        self.dataset, self._values = dataset, {name: np.array(own) for name, own in values.items()}
        self.members = {name: [SimpleNamespace(seed=0)] for name in values}

    def train_until(self, enough: Any, n_steps: Any) -> None:
        assert enough()

    def values(self, name: str) -> Any:
        return self._values[name]


def test_bounds_are_corrected_for_the_number_of_policies(monkeypatch):
    values = {"a": [5.0, 4.0, 6.0, 8.0], "b": [3.0] * 4, "behaviour": [2.0, 1.0, 2.0, 3.0]}
    made = SimpleNamespace(of=lambda *_, **__: Values(values, arms(3, 0.0)))
    monkeypatch.setattr(selection, "FittedPolicies", made)
    monkeypatch.setattr(selection, "_unsettled", lambda _: dict.fromkeys(values, ""))
    monkeypatch.setattr(selection, "_without_rows", lambda *_: "")
    settings: dict[str, Any] = {"confidence": 0.9, "behaviour": "none", "min_effective_sample": 0}
    found = select({"a": None, "b": None}, arms(3, 0.0), **settings)
    # Gains of a: 3, then 3, 4, 5 (deviation 1); of b: 1, then 2, 1, 0 (1). t of 2 degrees at 1 - 0.1 / 2: 2.9200
    assert [c.name for c in found.candidates] == ["a", "b"]
    assert found.candidates[0].lower_bound == pytest.approx(3 - 2.91999, abs=1e-4)
    assert found.candidates[1].lower_bound == pytest.approx(1 - 2.91999, abs=1e-4)
    assert (found.chosen, found.behaviour) == ("a", 2.0)


def test_no_policy_waits_for_the_fits_of_one_that_has_diverged(monkeypatch):
    fitted: Any = Values({"a": [], "b": [], "behaviour": []}, arms(3, 0.0))
    unsettled = {"a": "beyond", "b": "", "behaviour": ""}
    monkeypatch.setattr(selection, "_unsettled", lambda _: unsettled)
    assert not selection._enough(fitted)
    fitted.diverged = {"a"}
    assert selection._enough(fitted)
    unsettled["b"] = "still moves"
    assert not selection._enough(fitted)
    fitted.diverged = {"behaviour"}  # Nothing is compared with it, whatever the others become.
    assert selection._enough(fitted)


def test_the_best_policy_is_chosen_where_the_data_are_sure():
    found = select({str(a): constant(a) for a in range(3)}, arms(300, 0.1), n_resamples=6, **QUICK)
    assert found.chosen == "2"
    assert [candidate.name for candidate in found.candidates] == ["2", "1", "0"]
    assert [round(candidate.value) for candidate in found.candidates] == [2, 1, 0]
    assert found.reason.endswith("by both estimates")
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
        "fitted Q alone for rare (14.9): the weights of whole episodes leave fewer than 25"
        in found.warnings[0]
    )
    daring = select({"rare": constant(1)}, rare_arms(), n_resamples=4, min_effective_sample=0, **QUICK)
    assert daring.chosen == "rare"
    assert daring.reason.endswith("by fitted Q evaluation alone")


def test_selection_abstains_where_the_judges_disagree(monkeypatch):
    # Fits that learn nothing: fitted Q says a gain of about 0, weighted episodes say 1.
    monkeypatch.setattr(selection, "_unsettled", lambda fitted: dict.fromkeys(fitted.members, ""))
    blind = {**QUICK, "n_steps": 1, "learning_rate": 1e-6}
    found = select(
        {"2": constant(2)}, arms(300, 0.1), margin=-9.0, n_resamples=6, max_disagreement=0.5, **blind
    )
    assert found.chosen is None
    assert found.candidates[0].weighted_gain == pytest.approx(1.0, abs=0.1)
    assert "but the estimates disagree: a gain of" in found.reason
    assert select(
        {"2": constant(2)}, arms(300, 0.1), margin=-9.0, n_resamples=6, max_disagreement=99, **blind
    ).chosen


def test_what_is_judged_by_fitted_q_alone_is_said():
    data = arms(300, 0.1)
    found = select({"2": constant(2), "1": constant(1)}, data, n_resamples=4, behaviour="none", **QUICK)
    assert found.chosen == "2"
    assert found.reason.endswith("by fitted Q evaluation alone")
    assert found.warnings == (
        "fitted Q alone for 2, 1: propensities are left out; its effective sample is unknown",
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
        "fitted Q alone for certain: it has no probabilities or densities (log_prob); its effective sample is "
        "unknown",
    )


@pytest.mark.parametrize(
    ("policies", "settings", "error", "message"),
    [
        ([constant(0)], {}, TypeError, r'policies must be a mapping such as \{"bc": algo\}, got list'),
        ({"behaviour": constant(0)}, {}, ValueError, "'behaviour' stands for what recorded the data"),
        ({"a": "behaviour"}, {}, ValueError, "leave it out, or give the policy another name"),
        ({"a": constant(0)}, {"margin": float("nan")}, ValueError, "margin must be a finite number"),
        ({"a": constant(0)}, {"margin": float("inf")}, ValueError, "margin must be a finite number"),
    ],
)
def test_what_no_selection_can_be_made_of(policies: Any, settings: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        select(policies, arms(30, 0.1), **settings)


def test_too_few_episodes_deploy_nothing_though_propensities_are_not_known():
    found = select({"a": constant(2)}, arms(24, 0.1), n_resamples=2, behaviour="none", **QUICK)
    assert found.chosen is None
    assert "the data have 24 episodes (min_effective_sample=25)" in found.reason
    enough = select({"a": constant(2)}, arms(27, 0.1), n_resamples=2, behaviour="none", **QUICK)
    assert "episodes (min_effective_sample" not in enough.reason


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


def test_data_in_a_file_are_judged_by_as_many_episodes_as_memory_holds(tmp_path, monkeypatch):
    whole = MDPDataset.open(arms(300, 0.1).save(tmp_path / "arms.h5", compress=False))
    monkeypatch.setattr(
        held_data, "POOL_BYTES", 90 * 12
    )  # Of 12 bytes a row: 4 of the observation, 8 of the action.
    policies = {str(a): constant(a) for a in range(3)}
    with pytest.warns(DatasetWarning, match="90 of 300 episodes, drawn at random, are estimated from"):
        found = select(policies, whole, n_resamples=2, **QUICK)
    assert [candidate.name for candidate in found.candidates] == ["2", "1", "0"]
    with pytest.raises(ValueError, match="save the dataset with its behavior_log_probs"):
        select(policies, whole, behaviour=np.zeros(300), **QUICK)


class Arms:
    """Four models in which every episode ends with its first step, and pays the action and what the model adds."""

    n_members = 4
    bootstrap = "episodes"

    def __init__(self, *added: float) -> None:
        self.added = np.array(added, np.float32)[:, None]

    def sample_steps(self, observations: Any, actions: Any, rng: Any) -> Any:
        return observations, actions + self.added, np.ones(actions.shape, bool)


def test_all_policies_are_rolled_out_in_the_same_dynamics():
    policies = {str(a): constant(a) for a in range(3)}
    data, settings = arms(300, 0.1), {"n_resamples": 4, **QUICK}
    found = select(policies, data, dynamics=Arms(0.1, -0.1, 0.1, -0.1), **settings)
    # Every model pays the action and +-0.1, the data 1 on average.
    assert {c.name: round(c.model_gain, 1) for c in found.candidates} == {"2": 1.0, "1": 0.0, "0": -1.0}
    assert (found.chosen, found.reason.endswith("by all three estimates")) == ("2", True)
    worse = select(policies, data, dynamics=Arms(-1.0, -1.1, -1.2, -1.1), **settings)
    assert worse.chosen is None
    assert "by the dynamics" in worse.candidates[0].held_back
    alone = select({"2": constant(2)}, data, dynamics=Arms(0.1, 0.0, 0.0, 0.1), behaviour="none", **settings)
    assert alone.warnings[0].startswith("fitted Q and dynamics alone for 2")


def test_returns_in_dynamics_have_the_units_of_the_fits():
    data, scaler = arms(300, 0.0), {"type": "multiply", "multiplier": 10.0}
    fit = DiscreteFQE(policy=constant(2), reward_scaler=scaler, encoder=TABLE, seed=0, device="cpu").build(
        data
    )
    baseline = 10.0 * np.asarray(data.rewards, np.float64)
    target = TargetPolicy(GreedyPolicy(constant(2)), data.action_space)
    found = model_gain_of(Arms(0.1, -0.1, 0.1, -0.1), target, [fit], baseline, data)
    # 10 (2 - 1). Models deviate by 10 sqrt(4 * 0.01 / 3), episodes of 0, 10 and 20 by 8.165 / sqrt(300) or so.
    assert found.gain == pytest.approx(10.0, abs=1e-3)
    error = np.hypot(10 * np.sqrt(0.04 / 3), baseline.std(ddof=1) / np.sqrt(300))
    assert found.error == pytest.approx(error, rel=1e-4)
    assert found.degrees == 3


def test_what_learned_no_dynamics_is_refused():
    with pytest.raises(UnsupportedError, match="learned no dynamics; give a run of Dynamics or of MOPO"):
        select({"2": constant(2)}, arms(9, 0.0), dynamics=constant(1), **QUICK)

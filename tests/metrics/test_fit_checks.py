"""Fits are believed once they have settled: bounds, the behaviour's own return, enough updates, no trend."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from table_networks import TABLE

from offlinekit.algos import DiscreteFQE
from offlinekit.core.populations import Population
from offlinekit.datasets import MDPDataset
from offlinekit.errors import Preempted, TrainingWarning
from offlinekit.metrics.ope import fitted_policies
from offlinekit.metrics.ope.fit_checks import behaviour_missed, impossible, possible_values
from offlinekit.metrics.ope.fitted_policies import SMALL_BATCH, FittedPolicies, constant_value
from offlinekit.metrics.ope.selection import select
from offlinekit.training.value_alarm import still_moving

ALWAYS_ONE: Any = lambda o: np.ones(len(o), np.int64)  # noqa: E731


def losses() -> MDPDataset:
    """A hundred episodes of eight steps, seen one-hot; a step costs 1 by action 0 and 2 by action 1."""
    steps, actions = np.arange(800) % 8, np.random.default_rng(0).integers(0, 2, 800)
    return MDPDataset(
        np.eye(8, dtype=np.float32)[steps], actions, -1.0 - actions, steps == 7, action_space=Discrete(2)
    )


@pytest.mark.parametrize(
    ("rewards", "gamma", "bounds"),
    [
        ([-1.0, 2.0], 0.9, (-10.0, 20.0)),
        ([-3.0, -1.0], 0.9, (-30.0, -1.0)),  # One step at least costs 1.
        ([1.0, 3.0], 0.9, (1.0, 30.0)),
        ([-3.0, -1.0], 1.0, (-np.inf, -1.0)),
    ],
)
def test_bounds_of_any_value(rewards: Any, gamma: float, bounds: tuple[float, float]):
    assert possible_values(np.array(rewards), gamma) == pytest.approx(bounds)


def test_values_that_no_rewards_add_up_to():
    fit = DiscreteFQE(policy=ALWAYS_ONE, gamma=0.9, seed=0)
    assert impossible([-19.0, -1.0], fit, losses()) == ""
    assert "the fit says 0.5, where the rewards of the data allow -20 to -1" in impossible(
        [-2.0, 0.5], fit, losses()
    )
    assert "train the fits longer" in impossible([-21.0], fit, losses())
    assert "nan" in impossible([float("nan")], fit, losses())
    scaled = DiscreteFQE(policy=ALWAYS_ONE, gamma=0.9, reward_scaler={"type": "multiply", "multiplier": 0.1})
    assert "allow -2 to -0.1" in impossible([-3.0], scaled.build(losses()), losses())


def test_the_fit_of_the_behaviour_is_held_against_its_episodes():
    # Returns 1, 3: mean 2, error 1. Values 5, 7, 6, 8: deviation 1 of the last three; hypot sqrt 2, three of it 4.24.
    values, returns = np.array([6.2, 7.0, 6.0, 8.0]), np.array([1.0, 3.0])
    assert behaviour_missed(values, returns) == ""
    values[0] = 6.3
    assert behaviour_missed(values, returns).startswith(
        "the fit of the behaviour says 6.3 where its episodes return 2 +- 1.4: train the fits longer"
    )


def test_trends():
    assert still_moving(1.0, 1.9, 1.0) == ""
    assert still_moving(1.0, 2.1, 1.0).startswith("the fit still moves, from 1 to 2.1")
    assert still_moving(100.0, 100.9, 0.1) == ""  # Less than 1% of the value.


def test_a_fit_of_too_few_updates_says_so():
    fit = DiscreteFQE(policy=ALWAYS_ONE, gamma=0.9, tau=0.01, seed=0, device="cpu", encoder=TABLE)
    # All episodes end after 8 steps: 3 * 8 / 0.01.
    with pytest.warns(
        TrainingWarning, match=r"DiscreteFQE: the fit took 10 updates of the 2,400 that gamma=0\.9 and"
    ):
        fit.fit(losses(), 10, out=None, progress=False)
    assert "took 10 updates of the 2,400 that gamma=0.9 and tau=0.01 need" in fit.too_few_updates(losses())


def test_members_that_took_too_few_updates_say_so_once():
    fit = DiscreteFQE(policy=ALWAYS_ONE, gamma=0.9, tau=0.01, encoder=TABLE, device="cpu", seed=0)
    with pytest.warns(TrainingWarning) as caught:
        fit.fit(losses(), 10, seeds=2, out=None, progress=False)
    assert ["the fit took 10 updates of the 2,400" in str(each.message) for each in caught] == [True]


def test_a_fit_whose_values_still_move_says_so():
    # Enough updates for tau = 1 of 8 steps, 24; at a rate of 1e-4 the values hardly leave 0.
    settings: dict[str, Any] = {
        "policy": ALWAYS_ONE,
        "gamma": 0.9,
        "tau": 1.0,
        "encoder": TABLE,
        "device": "cpu",
    }
    run: dict[str, Any] = {"out": None, "progress": False, "log_interval": 10}
    with pytest.warns(TrainingWarning, match="the fit still moves, from"):
        DiscreteFQE(learning_rate=1e-3, seed=0, **settings).fit(losses(), 100, **run)
    settled = DiscreteFQE(learning_rate=0.1, lr_schedule="cosine", seed=0, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        settled.fit(losses(), 1_000, **run)
    assert settled.start_value(losses()) == pytest.approx(-2 * (1 - 0.9**8) / 0.1, rel=0.05)


def test_fits_train_in_rounds_until_a_rule_says_enough(monkeypatch: pytest.MonkeyPatch):
    rounds: list[int] = []
    monkeypatch.setattr(FittedPolicies, "train", lambda self, n: rounds.append(n))
    fitted = FittedPolicies.of({"behaviour": "behaviour"}, losses(), gamma=0.9, tau=0.01)
    fitted.train_until(lambda: len(rounds) == 2, None)
    # All episodes end after 8 steps: 4 * 8 / 0.01, then half as many.
    assert rounds == [3_200, 1_600]
    rounds.clear()
    fitted.train_until(lambda: False, None)
    assert rounds == [3_200, 1_600, 1_600, 1_600]
    rounds.clear()
    fitted.train_until(lambda: False, 7)
    assert rounds == [7]


def test_fits_that_have_diverged_take_no_further_round(monkeypatch: pytest.MonkeyPatch):
    policies = {"one": ALWAYS_ONE, "behaviour": "behaviour"}
    fitted = FittedPolicies.of(policies, losses(), n_resamples=2, gamma=0.9, encoder=TABLE, device="cpu")
    low, high = possible_values(losses().rewards, 0.9)
    beyond, within = high + 0.021 * (high - low), high + 0.019 * (high - low)
    said = {"one": np.array([-2.0, beyond, -2.0]), "behaviour": np.array([-2.0, within, -2.0])}
    monkeypatch.setattr(FittedPolicies, "values", lambda self, name: said[name])
    fitted.train_until(lambda: fitted.members["behaviour"][0].grad_step > 3, 3)
    assert fitted.diverged == {"one"}
    fitted.train(5)
    taken = {name: [fit.grad_step for fit in own] for name, own in fitted.members.items()}
    assert taken == {"one": [3, 3, 3], "behaviour": [8, 8, 8]}
    assert fitted.earlier.keys() == {"behaviour"}


def walk(n_steps: int = 4, *, ends: bool) -> MDPDataset:
    """Two episodes that pay 1 a step and 3 a step; both end the MDP, or are cut off where the next state is known."""
    last = np.arange(2 * n_steps) % n_steps == n_steps - 1
    seen = np.ones((2 * n_steps, 1), np.float32)
    final = (
        {} if ends else {"timeouts": last, "final_observations": seen[:2], "final_known": np.ones(2, bool)}
    )
    rewards = np.repeat([1.0, 3.0], n_steps)
    return MDPDataset(seen, np.zeros(len(seen), int), rewards, last & ends, action_space=Discrete(2), **final)


def test_values_begin_where_a_constant_fits_best():
    fit = DiscreteFQE(policy=ALWAYS_ONE, gamma=0.9, seed=0, device="cpu", encoder=TABLE)
    # Rewards 16 in 8 rows. Cut off: 16 / (8 * 0.1); ended, 2 rows lose all: 16 / (6 * 0.1 + 2 * 1).
    assert constant_value(fit, walk(ends=False)) == pytest.approx(20.0)
    assert constant_value(fit, walk(ends=True)) == pytest.approx(16 / 2.6)
    drawn = DiscreteFQE(policy=ALWAYS_ONE, gamma=0.9, seed=0, resample=True)
    often = drawn.episode_counts(walk(ends=True))  # 4 + 12 as often as each was drawn, 4 * 0.1 * counts.
    assert often.sum() == 2
    assert constant_value(drawn, walk(ends=False)) == pytest.approx((4 * often[0] + 12 * often[1]) / 0.8)
    endless = DiscreteFQE(policy=ALWAYS_ONE, gamma=1.0, seed=0)
    assert constant_value(endless, walk(ends=True)) == pytest.approx(8.0)
    assert constant_value(endless, walk(ends=False)) == 0.0


def test_rows_without_a_known_next_state_do_not_count_where_values_begin():
    data = walk(ends=False)
    rewards = np.where(data.timeouts, 100.0, data.rewards)
    cut = MDPDataset(
        data.observations, data.actions, rewards, data.terminals, timeouts=data.timeouts, action_space=Discrete(2)
    )  # fmt: skip
    fit = DiscreteFQE(policy=ALWAYS_ONE, gamma=0.9, seed=0)
    # Three rows of each are left: (3 + 9) / (6 * 0.1), without the 100.
    assert constant_value(fit, cut) == pytest.approx(20.0)


def test_new_fits_begin_at_the_constant():
    made: dict[str, Any] = {"gamma": 0.9, "encoder": TABLE, "device": "cpu"}
    fits = FittedPolicies.of({"one": ALWAYS_ONE}, walk(ends=False), n_resamples=2, **made).members["one"]
    plain = DiscreteFQE(policy=ALWAYS_ONE, seed=0, **made).build(walk(ends=False))
    for network in (fits[0].impl.q, fits[0].impl.target_q):
        moved = network(torch.ones(1, 1)) - plain.impl.q(torch.ones(1, 1))
        np.testing.assert_allclose(moved.detach().numpy(), 20.0, rtol=1e-5)
    assert [fit.resample for fit in fits] == [False, True, True]


def test_small_data_are_learned_in_small_minibatches(monkeypatch: pytest.MonkeyPatch):
    def sizes(**given: Any) -> list[int]:
        made = FittedPolicies.of({"one": ALWAYS_ONE}, losses(), n_resamples=1, encoder=TABLE, **given)
        return [fit.batch_size for fit in made.members["one"]]

    assert sizes() == [SMALL_BATCH] * 2
    assert sizes(batch_size=16) == [16, 16]
    monkeypatch.setattr(fitted_policies, "LARGE", 800)
    assert sizes() == [DiscreteFQE().batch_size] * 2


def test_all_fits_are_one_stack():
    fitted = FittedPolicies.of(
        {"one": ALWAYS_ONE, "behaviour": "behaviour"}, losses(), n_resamples=2, encoder=TABLE, device="cpu"
    )
    everyone = [fit for own in fitted.members.values() for fit in own]
    population = Population(everyone).fit(losses(), 3, out=None, progress=False)
    assert population.stacks == [[0, 1, 2, 3, 4, 5]]


def test_values_are_noted_on_the_way():
    fitted = FittedPolicies.of(
        {"one": ALWAYS_ONE},
        losses(),
        n_resamples=2,
        gamma=0.9,
        encoder=TABLE,
        device="cpu",
        learning_rate=0.1,
    )
    fitted.train(20)
    early = fitted.earlier["one"]
    assert early != fitted.values("one")[0]
    fitted.train(20)
    assert fitted.earlier["one"] != early


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Preempted])
def test_an_interrupt_says_what_it_stopped(monkeypatch: pytest.MonkeyPatch, kind: type[KeyboardInterrupt]):
    def fitter(self: Any, *_: Any, **__: Any) -> Any:
        yield 3, {}
        raise kind

    monkeypatch.setattr(Population, "fitter", fitter)
    stopped = r"of 1,000 updates of 9 fits \(one\); no policy was compared"
    with pytest.raises(KeyboardInterrupt, match=stopped) as raised:
        FittedPolicies.of({"one": ALWAYS_ONE}, losses()).train(1_000)
    assert raised.type is kind


def test_selection_believes_no_fit_that_was_cut_short():
    # The candidate saves 1 a step; after 5 updates nothing of it is learned, after enough all.
    settings: dict[str, Any] = {
        "encoder": TABLE, "gamma": 0.9, "learning_rate": 0.02, "batch_size": 64, "device": "cpu", "n_resamples": 4,
    }  # fmt: skip
    data = losses()
    zero = lambda o: np.zeros(len(o), np.int64)  # noqa: E731
    short = select({"zero": zero}, data, n_steps=5, margin=-50.0, **settings)
    assert short.chosen is None
    assert "train the fits longer" in short.reason
    assert any(warning.startswith("behaviour: ") for warning in short.warnings)
    whole = select({"zero": zero}, data, **settings)
    assert whole.chosen == "zero", whole.reason
    assert not any("train the fits longer" in warning for warning in whole.warnings)

"""PEX by hand: who acts, what the new policy learns from, and when the policy is expanded."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, one_hot, set_constant, set_gaussian, set_table
from walk_env import Walk, recorded_walk

from offlinekit.algos import IQL, PEX, MLPEncoder

FROZEN, OWN = 0.5, -0.5
BATCH = make_batch(STATES, [[0.9], [0.9]])


def build(expanded=True, **options):
    """The frozen policy has mode 1/2, the new one is all but certain of -1/2; of critics a and 3/2 a + s the lowest."""
    impl = PEX(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_gaussian(impl.frozen_policy, [FROZEN, FROZEN], 1.0)
    set_gaussian(impl.policy, [OWN, OWN], -20.0)
    impl.policy.log_std_range = (-20.0, 2.0)
    set_table(impl.q, [[[0.0], [0.0], [1.0]], [[0.0], [1.0], [1.5]]])
    set_constant(impl.target_q, [[100.0], [100.0]])
    impl.expanded.fill_(float(expanded))
    return impl


def test_logits_are_the_lowest_values_over_the_temperature():
    impl = build(inverse_temperature=2.0)
    logits = impl.logits(STATES, torch.full((2, 1), FROZEN), torch.full((2, 1), OWN))
    # State 0: min(1/2, 3/4) = 1/2 and min(-1/2, -3/4) = -3/4; state 1: min(1/2, 7/4) and min(-1/2, 1/4) = -1/2.
    close(logits, [[1.0, -1.5], [1.0, -1.0]])


@pytest.mark.parametrize("inverse_temperature", [0.0, 0.4, 2.0])
def test_choices_come_as_often_as_the_softmax_says(inverse_temperature):
    impl = build(inverse_temperature=inverse_temperature)
    n = 20_000
    actions = impl.sample_action(one_hot([0] * n, 2))
    # Values 1/2 and -3/4: the frozen policy acts with probability 1 / (1 + exp(-1.25 / T)).
    expected = 1 / (1 + math.exp(-1.25 * inverse_temperature))
    share = (actions > 0).float().mean().item()
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / n)
    close(actions[actions > 0].unique(), [FROZEN], atol=1e-4)
    close(actions[actions < 0].mean(), OWN, atol=1e-4)


def test_the_greedy_action_is_the_mode_that_is_worth_more():
    impl = build()
    close(impl.predict_best_action(STATES), [[FROZEN], [FROZEN]])
    set_table(impl.q, [[[0.0], [0.0], [-1.0]]] * 2)
    close(impl.predict_best_action(STATES), [[OWN], [OWN]])
    close(impl.predict_value(STATES, None), [0.5, 0.5])


def test_before_it_is_expanded_the_policy_acts_alone():
    impl = build(expanded=False)
    close(impl.predict_best_action(STATES), [[OWN], [OWN]])
    close(impl.sample_action(one_hot([0] * 50, 2)), [[OWN]] * 50)


def test_online_the_policy_learns_from_what_both_choose(monkeypatch):
    impl = build(beta=0.5)
    impl.enter_phase(online=True)
    monkeypatch.setattr(impl, "sample_action", lambda seen: torch.tensor([[0.25], [-0.5]]))
    set_gaussian(impl.policy, [0.0, 0.0], 0.0)
    set_table(impl.target_q, [[[2.0], [8.0], [4.0]], [[5.0], [1.0], [2.0]]])
    set_table(impl.value, [[1.0], [2.0]])
    returned = impl.compute_actor_loss(BATCH)
    loss, metrics = total(returned)
    # Q_target of the chosen: min(3, 5.5) = 3 and min(6, 0) = 0; advantages 2 and -2; weights e and 1/e.
    weights = [math.e, 1 / math.e]
    close(metrics["advantage"], 0.0)
    densities = [-0.5 * action**2 - 0.5 * math.log(2 * math.pi) for action in (0.25, -0.5)]
    rows = [-weight * density for weight, density in zip(weights, densities, strict=True)]
    close(row_losses(returned), rows)
    # d / d mean of each state = -w (a - mean) / 2 rows; tanh has slope 1 at 0.
    close(head_gradients(loss, impl.policy)[0], [[-weights[0] * 0.25 / 2, weights[1] * 0.5 / 2]])
    assert head_gradients(loss, impl.value) == (None, None)


def test_weights_are_bounded(monkeypatch):
    impl = build(beta=10.0, max_weight=7.0)
    impl.enter_phase(online=True)
    set_table(impl.value, [[0.0], [0.0]])
    assert total(impl.compute_actor_loss(BATCH))[1]["weight"] == 7.0


def test_offline_and_from_nothing_the_loss_is_that_of_iql():
    for online, expanded in ((False, False), (False, True), (True, False)):
        impl = build(expanded=expanded)
        impl.enter_phase(online)
        set_table(impl.value, [[99.0], [99.9]])
        parent = IQL(encoder=TABLE, seed=0, device="cpu", expectile=0.9, beta=10.0)
        parent = parent.build(continuous_dataset()).impl
        parent.load_state_dict({k: v for k, v in impl.state_dict().items() if k in parent.state_dict()})
        parent.policy.log_std_range = (-20.0, 2.0)
        close(row_losses(impl.compute_actor_loss(BATCH)), row_losses(parent.compute_actor_loss(BATCH)))


def trained(**options):
    algo = PEX(encoder=MLPEncoder((8,)), batch_size=8, seed=0, device="cpu", **options)
    return algo.fit(recorded_walk(), 10, out=None, progress=False, value_alarm="off")


ONLINE = {"dataset": recorded_walk(), "out": None, "progress": False, "warmup_steps": 5}


def test_the_first_online_run_expands_the_policy_once():
    algo = trained()
    learned = {name: value.clone() for name, value in algo.impl.policy.state_dict().items()}
    fresh = (
        PEX(encoder=MLPEncoder((8,)), seed=0, device="cpu").build(recorded_walk()).impl.policy.state_dict()
    )
    algo.fit_online(Walk(), 5, **ONLINE)  # No update yet.
    impl = algo.impl
    assert all(torch.equal(learned[name], value) for name, value in impl.frozen_policy.state_dict().items())
    assert all(torch.equal(fresh[name], value) for name, value in impl.policy.state_dict().items())
    actor = next(one for one in impl.objectives if one.name == "actor")
    assert all(not value.any() for value in actor.state_tensors().values())
    algo.fit_online(Walk(), 20, **ONLINE)
    assert all(torch.equal(learned[name], value) for name, value in impl.frozen_policy.state_dict().items())
    assert not all(torch.equal(fresh[name], value) for name, value in impl.policy.state_dict().items())
    assert impl.expanded == 1


def test_nothing_learned_is_no_policy_to_keep():
    algo = PEX(encoder=MLPEncoder((8,)), batch_size=8, seed=0, device="cpu")
    algo.fit_online(Walk(), 10, **ONLINE)
    assert algo.impl.expanded == 0


@pytest.mark.parametrize("learned", [False, True])
def test_a_run_that_goes_on_is_expanded_as_it_began(tmp_path, learned):
    how = {**ONLINE, "out": tmp_path, "log_interval": 6, "checkpoint_interval": 6}

    def front():
        return trained() if learned else PEX(encoder=MLPEncoder((8,)), batch_size=8, seed=0, device="cpu")

    broken = front()
    for step, _ in broken.fitter_online(Walk(), 24, **how):
        if step >= 12:
            break
    assert broken.grad_step > 0
    resumed = front().fit_online(Walk(), 24, resume=broken.run_dir, **how)
    whole = front().fit_online(Walk(), 24, **how)
    assert bool(resumed.impl.expanded) is learned
    for name, value in whole.impl.state_dict().items():
        assert torch.equal(value, resumed.impl.state_dict()[name]), name


def test_the_rate_falls_offline_and_stays_online():
    algo = trained()
    actor = next(one for one in algo.impl.objectives if one.name == "actor")
    assert actor.schedule == "cosine"
    for _ in algo.fitter_online(Walk(), 20, log_interval=5, **ONLINE):
        assert actor.schedule == "constant"
    assert actor.optimizer.learning_rate == algo.actor_learning_rate
    assert actor.schedule == "cosine"


def test_a_saved_policy_keeps_both(tmp_path):
    algo = trained().fit_online(Walk(), 20, **ONLINE)
    loaded = PEX.load(algo.save(tmp_path / "policy.okt"), device="cpu")
    seen = recorded_walk().observations
    assert (loaded.predict(seen) == algo.predict(seen)).all()
    assert loaded.impl.expanded == 1


def test_defaults_are_the_authors():
    front = PEX(seed=0)
    assert (front.expectile, front.beta, front.inverse_temperature) == (0.9, 10.0, 10.0)
    assert PEX.online_settings == {"mixing": "symmetric", "warmup_steps": 5_000}


def test_learns_a_bandit_better_than_cloning():
    assert bandit_error(PEX(**BANDIT), 500) < 0.12

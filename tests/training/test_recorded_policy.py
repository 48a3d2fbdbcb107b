"""A policy is recorded for the steps between updates, and acts with the same bits."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from walk_env import Walk

from offlinekit.algos import SAC, TD3, DoubleDQN, MLPEncoder
from offlinekit.nn.random import Random
from offlinekit.training.engines.recorded_policy import RecordedPolicy
from offlinekit.training.engines.replay import RECORD_AT


class Noisy(nn.Module):
    """A policy as an impl has it: networks, random numbers, hyperparameters and a count of updates."""

    def __init__(self):
        super().__init__()
        self.layer, self.random = nn.Linear(3, 2), Random(0, torch.device("cpu"))
        self.config, self.grad_step, self.horizon = {"gamma": 0.9}, 0, 0

    @torch.no_grad()
    def act(self, observations):
        means = self.layer(observations)
        draws = self.random.normal(*means.shape)
        self.random.normal(2)
        (means - draws).square().sum(-1)  # A density that acting does not need.
        return torch.tanh(means + draws)


def observations(seed, n=1):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def warmed(choose, impl, n=RECORD_AT + 1):
    policy = RecordedPolicy(choose, impl)
    for seed in range(n):
        policy(observations(seed))
    return policy


def test_actions_are_those_of_the_policy_before_and_after_it_is_recorded():
    ours, theirs = Noisy(), Noisy()
    theirs.load_state_dict(ours.state_dict())
    policy = RecordedPolicy(ours.act, ours)
    for seed in range(RECORD_AT + 4):
        with torch.no_grad():
            for impl in (ours, theirs):
                impl.layer.weight.mul_(1.01)  # An update, in place.
        assert torch.equal(policy(observations(seed)), theirs.act(observations(seed)))
        assert policy.checked == (seed >= RECORD_AT)


def test_other_numbers_of_observations_are_acted_on_as_well():
    impl = Noisy()
    policy, state = warmed(impl.act, impl), impl.random.state()
    several = policy(observations(7, n=4))
    impl.random.set_state(state)
    assert torch.equal(several, impl.act(observations(7, n=4)))
    assert policy.checked


def test_an_action_is_not_overwritten_by_the_next():
    impl = Noisy()
    policy = warmed(impl.act, impl)
    first = policy(observations(1))
    kept = first.clone()
    policy(observations(2))
    assert torch.equal(first, kept)


def test_what_acting_does_not_need_is_not_computed_again():
    impl = Noisy()
    names = [str(kernel.func) for kernel in warmed(impl.act, impl).recording.kernels]
    assert len(names) == 5  # The layer, draws, those that nothing needs, a sum and tanh.


@pytest.mark.parametrize(
    ("change", "recorded"),
    [
        (lambda impl: None, True),
        (lambda impl: impl.config.update(gamma=0.5), False),
        (lambda impl: setattr(impl, "layer", nn.Linear(3, 2)), False),
    ],
)
def test_a_session_records_anew_what_has_changed(change, recorded):
    impl = Noisy()
    policy = warmed(impl.act, impl)
    change(impl)
    policy.start()
    assert policy.checked == recorded
    state = impl.random.state()
    actions = policy(observations(3))
    impl.random.set_state(state)
    assert torch.equal(actions, impl.act(observations(3)))


def looks(impl, seen):
    return seen if float(seen.sum()) > 1e9 else impl.act(seen)


def counts(impl, seen):
    return impl.act(seen) * (1.0 + impl.grad_step)


def remembers(impl, seen):
    impl.calls = getattr(impl, "calls", 0) + 1
    return impl.act(seen) * (impl.calls + 1.0)


@pytest.mark.parametrize("function", [looks, counts, remembers])
def test_what_cannot_be_replayed_stays_as_it_is_written(function):
    ours, theirs = Noisy(), Noisy()
    theirs.load_state_dict(ours.state_dict())
    policy = RecordedPolicy(lambda seen: function(ours, seen), ours)
    for seed in range(RECORD_AT + 4):
        ours.grad_step = theirs.grad_step = seed
        assert torch.equal(policy(observations(seed)), function(theirs, observations(seed)))
    assert policy.refused


@pytest.mark.parametrize("front", [SAC, TD3, DoubleDQN])
@pytest.mark.parametrize("n_envs", [1, 2])
def test_a_run_goes_the_same_way_without(front, n_envs):
    def online(engine):
        algo = front(seed=1, batch_size=8, device="cpu", encoder=MLPEncoder((8,)))
        return algo.fit_online(
            lambda: Walk(discrete=front is DoubleDQN), 60, engine=engine, n_envs=n_envs, noise=0.0, warmup_steps=20,
            log_interval=30, eval_interval=60, eval_episodes=1, out=None, progress=False,
        )  # fmt: skip

    eager, recorded = online("eager"), online("auto")
    assert (eager.experience.actions == recorded.experience.actions).all()
    assert all(
        torch.equal(value, recorded.impl.state_tensors()[name])
        for name, value in eager.impl.state_tensors().items()
    )


class Shouting(SAC):
    """Acts by a `sample_action` of its own."""

    def sample_action(self, observations):
        return super().sample_action(observations) * 0.0 + 0.25


def test_a_front_that_acts_in_a_way_of_its_own_keeps_it():
    algo = Shouting(seed=1, batch_size=8, device="cpu", encoder=MLPEncoder((8,)))
    algo.fit_online(Walk(), 30, eval_interval=30, eval_episodes=1, out=None, progress=False)
    assert (algo.experience.actions == 0.25).all()

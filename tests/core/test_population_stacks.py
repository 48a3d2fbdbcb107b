"""Which members are stacked: those of one structure whose losses can be recorded."""

from __future__ import annotations

import logging

import pytest
import torch
from populations import LOG_OFTEN, QUIET, TINY, check_members, same

from offlinekit.algos import SAC, XQL, DiscreteCQL, DoubleDQN, MLPEncoder, Population, TD3PlusBC, TextBC
from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.algos.torch.td3_plus_bc_impl import TD3PlusBCImpl
from offlinekit.core.populations.grouping import differing_numbers, structure
from offlinekit.testing import small_dataset


def test_members_of_other_structure_go_into_other_stacks():
    members = [
        {"seed": 0},
        {"seed": 1, "encoder": MLPEncoder((4,))},
        {"seed": 2, "gamma": 0.9},
        {"seed": 3, "n_critics": 2},
        {"seed": 4, "encoder": MLPEncoder((4,)), "tau": 0.5},
        {"seed": 5, "clip_grad_norm": 1.0},
    ]
    data = small_dataset("discrete")
    makes = [lambda own=own: DoubleDQN(**{**TINY, **own}) for own in members]
    makes.append(lambda: DiscreteCQL(seed=0, **TINY))
    population = Population([make() for make in makes]).fit(data, 12, **LOG_OFTEN)
    assert population.stacks == [[0, 2], [1, 4], [3], [5], [6]]
    for member, make in zip(population, makes, strict=True):
        same(make().fit(data, 12, **LOG_OFTEN), member)


def test_members_without_dropout_share_no_stack_with_those_that_draw():
    none, some, more = ([TextBC(dropout=rate)] * 2 for rate in (0.0, 0.1, 0.4))
    assert structure(none[0]) != structure(some[0]) == structure(more[0])
    assert differing_numbers(none, ["dropout"]) == {}
    assert differing_numbers(some, ["dropout"]) == {"dropout": [0.1, 0.1]}


class CountingImpl(TD3PlusBCImpl):
    def compute_actor_loss(self, batch):
        cloning = (self.policy(batch.observations) - batch.actions).square().mean()
        return cloning if self.grad_step < 5 else super().compute_actor_loss(batch)


class BranchingImpl(TD3PlusBCImpl):
    def compute_actor_loss(self, batch):
        return super().compute_actor_loss(batch)[0] * (2.0 if self.config.alpha > 1 else 1.0)


class DrawingImpl(TD3PlusBCImpl):
    def compute_actor_loss(self, batch):
        rows = torch.randperm(len(batch.rewards), generator=self.random.generator)
        return super().compute_actor_loss(batch)[0] + self.policy(batch.observations)[rows][0].mean()


@pytest.mark.parametrize("impl", [CountingImpl, BranchingImpl, DrawingImpl])
def test_losses_that_cannot_be_recorded_train_alone_and_the_log_says_why(impl, caplog):
    caplog.set_level(logging.INFO, "offlinekit")
    data = small_dataset("continuous")
    settings = [{"seed": 0, "alpha": 0.5}, {"seed": 1, "alpha": 4.0}]
    make = lambda **own: TD3PlusBC(impl_class=impl, **TINY, **own)  # noqa: E731
    population = Population([make(**own) for own in settings]).fit(data, 12, **QUIET)
    assert population.stacks == [[0], [1]]
    reason = {CountingImpl: "grad_step", BranchingImpl: "data-dependent", DrawingImpl: "randperm"}[impl]
    assert any("population not stacked" in text and reason in text for text in caplog.messages), (
        caplog.messages
    )
    for member, own in zip(population, settings, strict=True):
        same(make(**own).fit(data, 12, **QUIET), member)


def test_a_branch_on_a_number_that_members_share_is_stacked():
    make = lambda **own: TD3PlusBC(impl_class=BranchingImpl, alpha=4.0, **TINY, **own)  # noqa: E731
    check_members(make, [{"seed": 0}, {"seed": 1}], small_dataset("continuous"))


class BrokenImpl(SACImpl):
    def compute_actor_loss(self, batch):
        return self.config.no_such_number * batch.rewards.mean()


def test_an_error_of_the_losses_comes_out_as_it_is():
    population = Population([SAC(impl_class=BrokenImpl, seed=s, **TINY) for s in range(2)])
    with pytest.raises(AttributeError, match="no_such_number"):
        population.fit(small_dataset("continuous"), 3, **QUIET)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_a_loss_that_is_minimised_more_than_once_has_one_optimizer_in_a_stack_too(optimizer):
    make = lambda **own: XQL(n_value_updates=3, optimizer=optimizer, **TINY, **own)  # noqa: E731
    settings = [{"seed": seed, "value_learning_rate": rate} for seed, rate in enumerate((1e-3, 1e-2))]
    check_members(make, settings, small_dataset("continuous"))

"""An impl and a front of the user's own in a population: what a stack has once, its members agree in."""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated

import numpy as np
import pytest
import torch
from populations import QUIET, TINY, check_members, same

from offlinekit.algos import BC, SAC, Population
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import NonNegative, Positive
from offlinekit.testing import small_dataset

DATA = small_dataset("continuous")


class WeighedImpl(BCImpl):
    """Cloning times `weight`, which subclasses say."""

    def build_objectives(self):
        return [self.objective("own", self.compute_own, [self.policy], self.config.learning_rate)]

    def compute_own(self, batch):
        errors = self.predict_best_action(batch.observations) - batch.actions
        return (self.weight() * errors.square()).mean(-1)


class Weighed(BC):
    """BC with a weight."""

    strength: Annotated[NonNegative, "Weight of the loss."] = 1.0
    impl_class = WeighedImpl

    @property
    def doubled(self):
        return 2.0 * self.strength

    def tripled(self):
        return 3.0 * self.strength


del Algo.known["Weighed"]  # By the catalogue other files parametrize their tests.


class Scale(torch.nn.Module):
    def __init__(self, strength):
        super().__init__()
        self.options = {"scales": [(strength,)]}


class Plain:
    def __init__(self, strength):
        self.strength = strength


class FloatImpl(WeighedImpl):
    def build(self):
        super().build()
        self.scale = 1.0 + self.config.strength

    def weight(self):
        return self.scale


class TensorImpl(FloatImpl):
    def build(self):
        super().build()
        self.scale = torch.tensor([1.0, self.config.strength])[: self.action_size]


class ModuleImpl(FloatImpl):
    def build(self):
        super().build()
        self.part = Scale(self.config.strength)

    def weight(self):
        return self.part.options["scales"][0][0]


class ObjectImpl(FloatImpl):
    def build(self):
        super().build()
        self.scale, self.plain = 1.0, Plain(np.float64(self.config.strength))

    def weight(self):
        return float(self.plain.strength)


class FunctionImpl(FloatImpl):
    def build(self):
        super().build()
        strength = self.config.strength
        self.scale, self.function, self.part = 1.0, lambda: strength, partial(torch.mul, strength)

    def weight(self):
        return self.part(self.function())


class SeededImpl(FloatImpl):
    def build(self):
        super().build()
        self.scale = 10.0 * torch.rand(1, generator=torch.Generator().manual_seed(self.config.seed))


class LearnedImpl(FloatImpl):
    def build(self):
        BCImpl.build(self)

    def learn_data(self, dataset, sampler):
        self.scale = float(np.abs(dataset.rewards).mean()) * (1.0 + self.config.strength)


class ScheduledImpl(WeighedImpl):
    def build_objectives(self):
        rate = self.config.learning_rate
        schedule = lambda done: self.config.strength * (1.0 - done)  # noqa: E731
        return [self.objective("own", self.compute_own, [self.policy], rate, schedule=schedule)]

    def weight(self):
        return 1.0


APART = [
    FloatImpl,
    TensorImpl,
    ModuleImpl,
    ObjectImpl,
    FunctionImpl,
    SeededImpl,
    LearnedImpl,
    ScheduledImpl,
]


@pytest.mark.parametrize("impl", APART)
def test_members_that_hold_other_values_are_stacks_of_their_own(impl):
    make = lambda **own: Weighed(impl_class=impl, optimizer="sgd", learning_rate=0.1, **TINY, **own)  # noqa: E731
    settings = [{"seed": 0, "strength": 0.1}, {"seed": 1, "strength": 5.0}]
    population = Population([make(**own) for own in settings]).fit(DATA, 9, **QUIET)
    assert population.stacks == [[0], [1]]
    for own, member in zip(settings, population, strict=True):
        same(make(**own).fit(DATA, 9, **QUIET), member)


@pytest.mark.parametrize("impl", [impl for impl in APART if impl is not SeededImpl])
def test_members_that_hold_the_same_are_one_stack(impl):
    make = lambda **own: Weighed(impl_class=impl, strength=0.5, **TINY, **own)  # noqa: E731
    check_members(make, [{"seed": 0}, {"seed": 1}], DATA)


class PropertyImpl(WeighedImpl):
    def weight(self):
        return self.config.doubled + self.config.tripled()


def test_properties_and_methods_of_the_front_have_each_members_numbers():
    make = lambda **own: Weighed(impl_class=PropertyImpl, optimizer="sgd", **TINY, **own)  # noqa: E731
    check_members(make, [{"seed": 0, "strength": 0.1}, {"seed": 1, "strength": 5.0}], DATA)


class AttributeImpl(WeighedImpl):
    def weight(self):
        return self.config.factor


def with_factor(factor, seed):
    algo = BC(seed=seed, impl_class=AttributeImpl, optimizer="sgd", **TINY)
    algo.factor = factor
    return algo


def test_attributes_of_the_front_are_each_members_own():
    settings = [(1.0, 0), (50.0, 1), (1.0, 2)]
    population = Population([with_factor(*own) for own in settings]).fit(DATA, 9, **QUIET)
    assert population.stacks == [[0, 2], [1]]
    for own, member in zip(settings, population, strict=True):
        same(with_factor(*own).fit(DATA, 9, **QUIET), member)


def test_an_attribute_that_is_set_between_two_fits_records_another_program():
    population = Population([with_factor(1.0, seed) for seed in range(2)]).fit(DATA, 3, **QUIET)
    alone = with_factor(1.0, 1).fit(DATA, 3, **QUIET)
    for algo in (*population, alone):
        algo.factor = 20.0
    same(alone.fit(DATA, 9, **QUIET), population.fit(DATA, 9, **QUIET)[1])
    assert population.stacks == [[0, 1]]


def test_seeds_of_one_algorithm_have_its_attributes():
    first = with_factor(3.0, 4)
    assert [(algo.seed, algo.factor) for algo in Population.of_seeds(first, 3)] == [
        (4, 3.0),
        (5, 3.0),
        (6, 3.0),
    ]


class MovingImpl(SACImpl):
    def build(self):
        super().build()
        self.register_buffer("mean_target", torch.tensor(0.0))

    def compute_critic_loss(self, batch, q_tpn):
        return super().compute_critic_loss(batch, q_tpn - self.mean_target), {"target": q_tpn.mean()}

    def apply_update(self, batch):
        metrics = super().apply_update(batch)
        self.mean_target.lerp_(metrics["target"], self.config.gamma)
        return metrics


class LargestImpl(MovingImpl):
    def apply_update(self, batch):
        metrics = super().apply_update(batch)
        self.mean_target.copy_(torch.maximum(self.mean_target, batch.rewards.amax()))
        return metrics


class PromisedImpl(MovingImpl):
    stackable = True


class UnpromisedImpl(PromisedImpl):
    def begin_update(self):
        super().begin_update()


@pytest.mark.parametrize("impl", [MovingImpl, LargestImpl, UnpromisedImpl])
def test_methods_around_the_losses_have_one_member_before_them(impl, caplog):
    caplog.set_level(logging.INFO, "offlinekit")
    make = lambda **own: SAC(impl_class=impl, **TINY, **own)  # noqa: E731
    settings = [{"seed": 0, "gamma": 0.1}, {"seed": 1, "gamma": 0.9}]
    population = Population([make(**own) for own in settings]).fit(DATA, 9, **QUIET)
    assert population.stacks == [[0], [1]]
    assert any("not stacked" in text and "stackable = True" in text for text in caplog.messages)
    for own, member in zip(settings, population, strict=True):
        same(make(**own).fit(DATA, 9, **QUIET), member)


def test_methods_that_are_said_to_be_stackable_meet_members_of_equal_numbers():
    make = lambda **own: SAC(impl_class=PromisedImpl, **TINY, **own)  # noqa: E731
    check_members(make, [{"seed": 0}, {"seed": 1}], DATA)
    settings = [{"seed": 0, "gamma": 0.1}, {"seed": 1, "gamma": 0.9}, {"seed": 2, "gamma": 0.1}]
    population = Population([make(**own) for own in settings]).fit(DATA, 9, **QUIET)
    assert population.stacks == [[0, 2], [1]]
    for own, member in zip(settings, population, strict=True):
        same(make(**own).fit(DATA, 9, **QUIET), member)


class Strong(SAC):
    strength: Annotated[Positive, "Of the cloning term."] = 1.0


del Algo.known["Strong"]  # By the catalogue other files parametrize their tests.


class CapturedNumberImpl(SACImpl):
    def build_objectives(self):
        strength = self.config.strength

        def loss(batch):
            return strength * (self.policy.mode(batch.observations) - batch.actions).square().mean(-1)

        return [self.objective("cloning", loss, [self.policy], 1e-2)]


def test_losses_that_capture_a_number_have_one_member_before_them():
    make = lambda **own: Strong(impl_class=CapturedNumberImpl, **TINY, **own)  # noqa: E731
    settings = [
        {"seed": 0, "strength": 1.0},
        {"seed": 1, "strength": 10.0},
        {"seed": 2, "strength": 1.0},
    ]
    population = Population([make(**own) for own in settings]).fit(DATA, 9, **QUIET)
    assert population.stacks == [[0, 2], [1]]
    for own, member in zip(settings, population, strict=True):
        same(make(**own).fit(DATA, 9, **QUIET), member)

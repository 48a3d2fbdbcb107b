"""What objectives capture and methods of a front read: set later, it acts or is refused."""

from __future__ import annotations

from typing import Annotated

import pytest
import torch

from offlinekit.algos import BC, Population
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, NonNegative
from offlinekit.testing import small_dataset
from offlinekit.training.engines.updates import recording_key

QUIET = {"out": None, "progress": False}


class CapturingImpl(BCImpl):
    """Its loss holds a number, its owners and its width follow from others."""

    def build(self):
        super().build()
        self.offset = torch.nn.Parameter(torch.zeros(2))
        self.extra = torch.nn.Linear(self.config.doubled(), 1)

    def build_objectives(self):
        strength = self.config.strength
        owners = [self.policy, *([self.offset] if self.config.learns_offset else [])]

        def loss(batch):
            errors = self.predict_best_action(batch.observations) + self.offset - batch.actions
            return strength * errors.square().mean(-1)

        return [self.objective("actor", loss, owners, self.config.learning_rate)]


class Capturing(BC):
    """Clones with a strength that its loss captures."""

    strength: Annotated[NonNegative, "Of the loss."] = 1.0
    learns_offset: Annotated[bool, "Whether the offset is learned."] = True
    width: Annotated[Count, "Half the inputs of a network beside the policy."] = 4
    impl_class = CapturingImpl

    def doubled(self):
        return self.scaled(2)

    def scaled(self, factor):
        return factor * self.width


del Algo.known["Capturing"]  # By the catalogue other files parametrize their tests.


@pytest.fixture(autouse=True)
def _in_the_catalogue(monkeypatch):
    """Enters the front where files are loaded by its name."""
    monkeypatch.setitem(Algo.known, "Capturing", Capturing)


def capturing(**given):
    return Capturing(**{"seed": 0, "encoder": [8], "batch_size": 8, "optimizer": "sgd", **given})


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_what_a_loss_captures_acts_if_it_is_set_between_two_fits_and_in_a_run(engine, tmp_path):
    """A strength of 0 leaves no gradient: nothing moves from then on, of the algorithm and of its file."""
    data = small_dataset("continuous")
    algo = capturing().fit(data, 20, engine=engine, **QUIET)
    algo.strength = 0.0
    loaded = Capturing.load(algo.save(tmp_path / "capturing.okt"))
    for each in (algo, loaded):
        before = [p.detach().clone() for p in each.impl.policy.parameters()]
        each.fit(data, 20, engine=engine, **QUIET)
        assert all(map(torch.equal, before, each.impl.policy.parameters()))
    states = []
    running = capturing()
    for step, _ in running.fitter(data, 60, log_interval=20, engine=engine, **QUIET):
        states.append([p.detach().clone() for p in running.impl.policy.parameters()])
        if step == 40:
            running.strength = 0.0
    assert not all(map(torch.equal, states[0], states[1]))
    assert all(map(torch.equal, states[1], states[2]))


def test_a_population_takes_up_what_losses_capture():
    """One strength of all is set to 0, so that no member moves."""
    data = small_dataset("continuous")
    population = Population([capturing(seed=seed) for seed in range(2)])
    population.fit(data, 20, **QUIET)
    for algo in population:
        algo.strength = 0.0
    before = [p.detach().clone() for algo in population for p in algo.impl.policy.parameters()]
    population.fit(data, 20, **QUIET)
    after = [p for algo in population for p in algo.impl.policy.parameters()]
    assert all(map(torch.equal, before, after))


def test_what_decides_on_owners_is_refused():
    algo = capturing().fit(small_dataset("continuous"), 3, **QUIET)
    with pytest.raises(
        ValueError,
        match=r"learns_offset decides which parameters the actor loss changes; set it before fit, or make a new "
        r"Capturing\(learns_offset=False\)",
    ):
        algo.learns_offset = False
    assert algo.learns_offset
    algo.fit(small_dataset("continuous"), 3, **QUIET)


def test_what_networks_read_by_methods_of_the_front_is_refused(tmp_path):
    algo = capturing().fit(small_dataset("continuous"), 3, **QUIET)
    with pytest.raises(ValueError, match=r"its networks were made with width=4; set it before fit"):
        algo.width = 8
    assert Capturing.load(algo.save(tmp_path / "capturing.okt")).width == 4


def test_methods_of_a_front_find_their_class_while_networks_are_made():
    """`super()`, isinstance and attributes that are set mean the front itself."""

    class Wider(Capturing):
        def doubled(self):
            self._asked = isinstance(self, Wider)
            return super().doubled()

    algo = Wider(seed=0, encoder=[8], batch_size=8).build(small_dataset("continuous"))
    assert algo._asked is True
    assert algo.impl.extra.in_features == 8
    assert "width" in algo.impl.built_from


class OwnNumberImpl(BCImpl):
    """Its loss reads an attribute that is no hyperparameter."""

    def build_objectives(self):
        return [self.objective("mine", self.mine, [self.policy], self.config.learning_rate)]

    def mine(self, batch):
        errors = self.predict_best_action(batch.observations) - batch.actions
        return self.config.multiplier * errors.square().mean(-1)


def test_an_attribute_of_ones_own_that_a_callback_changes_acts_in_a_recorded_engine():
    """At a multiplier of 0 nothing moves from then on."""
    algo, states = BC(seed=0, encoder=[8], batch_size=8, optimizer="sgd", impl_class=OwnNumberImpl), []
    algo.multiplier = 1.0

    def stop_learning(algo, row):
        states.append([p.detach().clone() for p in algo.impl.policy.parameters()])
        if row["step"] == 40:
            algo.multiplier = 0.0

    algo.fit(
        small_dataset("continuous"), 60, engine="graph", log_interval=20, callbacks=[stop_learning], **QUIET
    )
    assert not all(map(torch.equal, states[0], states[1]))
    assert all(map(torch.equal, states[1], states[2]))


def test_only_values_that_change_have_updates_recorded_again():
    algo = BC(seed=0, encoder=[8], batch_size=8).build(small_dataset("continuous"))
    algo._seen, algo._own = [], 1
    key = recording_key(algo.impl)
    algo._seen.append(1)
    assert recording_key(algo.impl) == key
    algo._own = 2
    assert recording_key(algo.impl) != key

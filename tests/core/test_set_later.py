"""A setting changed after a fit acts from the next update on, or is refused with a remedy; files stay readable."""

from __future__ import annotations

import contextlib
import copy
import pickle
import typing
from functools import cache

import catalogue_variants
import numpy as np
import pytest
import torch

import offlinekit
from offlinekit.algos import (
    BC,
    BCQ,
    CQL,
    IDQL,
    IQL,
    SAC,
    TD3,
    MLPEncoder,
    Population,
    TD3PlusBC,
    TextBC,
    catalogue,
)
from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.configured import fields_of
from offlinekit.core.bases.text_model import TextModel
from offlinekit.core.hyperparameters import NETWORKS
from offlinekit.core.impl import Impl
from offlinekit.errors import TrainingError
from offlinekit.testing import small_dataset

QUIET = {"out": None, "progress": False}
SMALL = {
    **catalogue_variants.SMALL,
    "dynamics": {**catalogue_variants.SMALL["dynamics"], "n_members": 4, "n_elites": 2},
    "batch_size": 8,
    "context": 5,
    "n_layers": 2,
    "n_candidates": 3,
    "policy_delay": 2,
}
WITH = {  # What a hyperparameter needs beside it to mean anything.
    "n_quantiles": {"q_function": "qr"},
    "alpha_learning_rate": {"gap_threshold": 1.0},
    "n_actions": {"max_backup": True},
    "halt_offset": {"threshold_scale": 1e-3},
    "max_backup_order": {"max_backup": True},
    "tau": {"target_update_interval": 2},
    "beta": {"weight": "exp"},
    "temperature": {"weight": "exp"},
    "max_weight": {"weight": "exp", "policy_beta": 1.0},
    "target_return": {"condition": "return"},
    "return_scale": {"condition": "return"},
    "actor_lr_schedule": {"lr_schedule": "constant"},
    "vae_learning_rate": {"warmup_steps": 8},
    "warmup_learning_rate": {"warmup_steps": 8},
    "kl_weight": {"warmup_steps": 8},
    "variance_weight": {"encoder": MLPEncoder((8,), dropout=0.5)},
}
OTHER = {  # A value that shows within a few updates.
    "max_weight": 1e-3,
    "max_exponent": 1e-3,
    "clip_grad_norm": 1e-9,
    "actor_clip_grad_norm": 1e-9,
    "weight_decay": 10.0,
    "warmup_steps": 8,
    "mmd_threshold": 1e3,
    "target_return": -1e6,
    "target_entropy": -9.0,
    "gap_threshold": 2.0,
    "target_update_interval": 3,
    "refresh_interval": 3,
    "fraction": 1.0,
    "piece_length": 2,
    "target_noise_clip": 0.01,
    "alpha": 0.7,
    "optimizer": "sgd",
    "threshold": 0.99,
    "kernel": "gaussian",
    "encoder": {"type": "mlp", "hidden_sizes": [9]},
    "n_candidates": 60,
    "observation_scaler": "minmax",
    "action_scaler": None,
    "reward_scaler": "standard",
    "device": "cuda",
    "seed": 77,
    "impl_class": Impl,
    **dict.fromkeys(("actor_lr_schedule", "lr_schedule"), "linear"),
    "dynamics": {"n_members": 5},
    "threshold_scale": 1e-3,
    "retained_rounds": 1,
    "trunk": {"model_type": "gpt2"},
}
OF_OTHER_DATA = {"frame_pad", "failed_return"}  # Of images, and of episodes that earn nothing.
OF_REWARDS = {"gamma", "n_step"}  # Without effect on what reads none.


def literals(hint):
    """Yields the choices that an annotation allows."""
    for part in typing.get_args(hint):
        if typing.get_origin(hint) is typing.Literal:
            yield part
        else:
            yield from literals(part)


def changed(front, name, value):
    """Returns another value of a hyperparameter."""
    name = "encoder" if name.endswith("_encoder") else name
    if name in OTHER and OTHER[name] != value:
        return OTHER[name]
    choices = list(literals(fields_of(front)[name].type))
    if choices or isinstance(value, bool):
        return next((choice for choice in choices or [True, False] if choice != value), value)
    if isinstance(value, int):
        return value + 1
    return 0.5 * value if value else 0.5


def outcomes(algo, data):
    """Yields, one after another, all that a hyperparameter may act on: state, actions and values."""
    for _ in algo.fitter(data, 7, engine="eager", log_interval=1, **QUIET):
        yield state_numbers(algo)
    yield [algo.impl.random.state()]
    actor = algo.as_stateful()
    yield [torch.as_tensor(actor.predict(row, 1.0)) for row in data.observations[:6]]
    yield [torch.tensor(hash(str(algo.impl.begin_episode(None))))]
    if isinstance(algo, TextModel):  # What its actions are the best of.
        yield [algo.impl.scores(b.observations, b.valid).sum() for b in algo.episode_batches(data)]
    if algo.online_settings:
        yield online_numbers(algo, data)


def state_numbers(algo):
    values = algo.impl.state_tensors().values()
    return [value.double().sum() for value in values if value.is_floating_point()]


def equal(ours, theirs):
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def online_numbers(algo, data):
    """Returns what some updates of an online run leave behind, and how it would act there."""
    batch = algo.sample_batch(data)
    algo.impl.begin_online()
    algo.impl.enter_phase(online=True)
    for _ in range(6):
        algo.impl.update(batch)
    acted = torch.as_tensor(algo.sample_action(data.observations))
    algo.impl.enter_phase(online=False)
    return [*state_numbers(algo), acted]


def hyperparameters():
    for name, front in catalogue().items():
        if front.__module__.startswith("offlinekit."):
            yield pytest.param(front, id=name)


@pytest.mark.filterwarnings("ignore:.*makes no rollouts online")
@pytest.mark.filterwarnings("ignore:this run ends at update")
@pytest.mark.parametrize("front", list(hyperparameters()))
def test_every_hyperparameter_acts_or_is_refused(front, tmp_path):
    fields, data, idle, accepted = fields_of(front), small_dataset(front.action_kind), [], {}
    untouched = {}  # Loaded algorithms that refused what was set, by file.

    @cache
    def fitted(*beside):
        small = {k: v for k, v in {**SMALL, **dict(beside)}.items() if k in fields}
        algo = front(seed=0, **small).fit(data, 3, engine="eager", **QUIET)
        file = algo.save(tmp_path / f"{len(list(tmp_path.iterdir()))}.okt")
        return file, algo.config, list(outcomes(offlinekit.load(file), data))

    for name in (
        fields.keys() - OF_OTHER_DATA - (OF_REWARDS if front.family == "IL" or front is TextBC else set())
    ):
        file, config, expected = fitted(*WITH.get(name, {}).items())
        later = untouched.pop(file, None) or offlinekit.load(file)
        value = changed(front, name, getattr(later, name))
        if value != getattr(later, name):  # Else it is its only one.
            with contextlib.suppress(ValueError):
                setattr(later, name, value)
        if later.config == config:
            untouched[file] = later
            continue
        assert getattr(later, name) == value
        accepted[name] = value
        with contextlib.suppress(TrainingError):  # It acted.
            if all(equal(*each) for each in zip(expected, outcomes(later, data), strict=True)):
                idle.append((name, value))
    assert not idle, f"set to these after a fit, nothing changes: {idle}"
    later = offlinekit.load(fitted()[0])
    for name, value in accepted.items():
        with contextlib.suppress(ValueError):  # Some exclude each other.
            setattr(later, name, value)
    assert offlinekit.load(later.save(tmp_path / "later.okt")).config == later.config != fitted()[1]


@pytest.mark.parametrize("name", ["n_critics", "q_function", "optimizer", *NETWORKS])
def test_what_networks_were_made_with_is_refused_with_a_remedy(name):
    algo = TD3(seed=0).build(small_dataset("continuous"))
    value = changed(TD3, name, getattr(algo, name))
    with pytest.raises(ValueError, match=rf"{name} of a TD3 .*set it before fit, or make a new TD3\({name}="):
        setattr(algo, name, value)
    setattr(algo, name, getattr(algo, name))  # The same value is no change.
    fresh = TD3(seed=0)
    if name not in ("impl_class", "device"):
        setattr(fresh, name, value)
        assert fresh.build(small_dataset("continuous")).config == TD3(**{"seed": 0, name: value}).config


def test_a_learning_rate_is_that_of_the_next_step():
    """SGD: p1 = p0 - rate * gradient, so that twice the rate moves twice as far."""
    data, moves = small_dataset("continuous"), []
    for rate in (1.0, 2.0):
        algo = BC(seed=0, optimizer="sgd", learning_rate=0.5, batch_size=8).build(data)
        algo.learning_rate = rate
        before = [p.detach().clone() for p in algo.impl.policy.parameters()]
        algo.impl.update(algo.sample_batch(data))
        after = algo.impl.policy.parameters()
        moves.append([a.detach().double() - b for a, b in zip(after, before, strict=True)])
    for small, large in zip(*moves, strict=True):
        torch.testing.assert_close(2.0 * small, large, rtol=1e-4, atol=1e-6)


def test_a_rate_set_during_a_run_acts_in_a_recorded_engine():
    """At rate 1e-30 nothing moves from then on."""
    data = small_dataset("continuous")
    algo, states = BC(seed=0, batch_size=8), []
    for step, _ in algo.fitter(data, 60, log_interval=20, engine="graph", **QUIET):
        states.append([p.detach().clone() for p in algo.impl.policy.parameters()])
        if step == 40:
            algo.learning_rate = 1e-30
    assert any(not torch.equal(a, b) for a, b in zip(states[0], states[1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(states[1], states[2], strict=True))


def test_momenta_stay_when_a_rate_is_set():
    data = small_dataset("continuous")
    algo = IQL(seed=0, batch_size=8).fit(data, 5, **QUIET)
    before = {n: v.clone() for n, v in algo.impl.state_tensors().items() if n.startswith("optimizers.")}
    algo.actor_learning_rate = 1e-5
    after = algo.impl.state_tensors()
    assert before
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_target_follows_by_the_tau_of_now():
    """tau = 1 copies: the target is the online network after the next update."""
    data = small_dataset("continuous")
    algo = SAC(seed=0, batch_size=8).fit(data, 3, **QUIET)
    assert not torch.equal(*(next(net.parameters()) for net in (algo.impl.q, algo.impl.target_q)))
    algo.tau = 1.0
    algo.fit(data, 1, **QUIET)
    for online, target in zip(algo.impl.q.parameters(), algo.impl.target_q.parameters(), strict=True):
        assert torch.equal(online, target)


def test_what_draws_batches_waits_for_the_end_of_a_run():
    data, algo = small_dataset("continuous"), TD3PlusBC(seed=0, batch_size=8)
    for _ in algo.fitter(data, 2, log_interval=1, **QUIET):
        with pytest.raises(
            ValueError, match="batch_size stays as it is while a run trains; set it between two fits"
        ):
            algo.batch_size = 16
        algo.alpha = 1.0
    algo.batch_size = 16
    assert algo.sample_batch(data).rewards.shape == (16,)


def test_members_of_a_population_wait_for_its_end():
    data = small_dataset("continuous")
    population = Population([BC(seed=seed, batch_size=8) for seed in range(2)])
    for _ in population.fitter(data, 2, log_interval=1, **QUIET):
        with pytest.raises(ValueError, match="learning_rate stays as it is while a population trains"):
            population[0].learning_rate = 0.1
    population[0].learning_rate = 0.1


@pytest.mark.parametrize("front", [IDQL, BCQ])
def test_candidates_keep_those_that_were_there(front, tmp_path):
    data = small_dataset("continuous")
    small = {k: v for k, v in SMALL.items() if k in fields_of(front)}
    algo = front(seed=0, **small).fit(data, 3, **QUIET)
    before, noise = algo.predict(data.observations), dict(algo.impl.named_buffers())
    name = next(n for n in noise if n.endswith(("noise", "latents")) and "target" not in n)
    first = noise[name].clone()
    algo.n_candidates = 50
    assert dict(algo.impl.named_buffers())[name].shape[0] == 50
    assert torch.equal(dict(algo.impl.named_buffers())[name][:3], first)
    many = algo.predict(data.observations)
    assert not np.array_equal(before, many)
    np.testing.assert_array_equal(front.load(algo.save(tmp_path / "a.okt")).predict(data.observations), many)
    algo.n_candidates = 3
    np.testing.assert_array_equal(algo.predict(data.observations), before)
    np.testing.assert_array_equal(
        front.load(tmp_path / "a.okt", n_candidates=3).predict(data.observations), before
    )


def test_what_excludes_each_other_is_refused_at_every_assignment():
    with pytest.raises(ValueError, match="soft_backup and max_backup exclude each other"):
        CQL(soft_backup=True, max_backup=True)
    algo = CQL(soft_backup=True)
    with pytest.raises(ValueError, match="exclude each other"):
        algo.max_backup = True
    assert not algo.max_backup


def test_a_users_impl_is_held_to_it_without_a_word():
    class Tempered(SACImpl):
        """Reads a number while its networks are made."""

        def build(self):
            super().build()
            self.start = self.config.target_entropy

    algo = SAC(seed=0, impl_class=Tempered, target_entropy=-2.0).build(small_dataset("continuous"))
    with pytest.raises(ValueError, match=r"its networks were made with target_entropy=-2\.0"):
        algo.target_entropy = -3.0


WRONG = [
    ("alpha", -1, ValueError, r"alpha must be in \(0, inf\), got -1"),
    ("alpha", float("nan"), ValueError, "alpha must be a number"),
    ("alpha", "1", TypeError, "alpha must be a number"),
    ("tau", 2.0, ValueError, r"tau must be in \(0, 1\]"),
    ("actor_learning_rate", float("inf"), ValueError, r"must be in \(0, inf\)"),
    ("batch_size", 8.5, TypeError, "batch_size must be an integer"),
    ("alhpa", 1.0, AttributeError, "did you mean 'alpha'"),
    ("learning_rate", 1e-3, AttributeError, "did you mean 'actor_learning_rate'"),
    ("lr", 1e-3, AttributeError, "did you mean 'actor_learning_rate'"),
    ("n_candidates", 9, AttributeError, "no hyperparameter 'n_candidates', which .* have; leave it out"),
    ("expectile", 0.9, AttributeError, "no hyperparameter 'expectile', which .* leave it out, or declare it"),
    ("config", {}, AttributeError, "config"),
]
"""What a TD3+BC does not take, whichever way it came about."""


def made(how, tmp_path):
    algo = TD3PlusBC(seed=0, batch_size=8, encoder=MLPEncoder((4,)))
    if how == "new":
        return algo
    if how == "of a population":
        return Population([algo, TD3PlusBC(seed=1, batch_size=8)])[0]
    algo.fit(small_dataset("continuous"), 1, **QUIET)
    if how == "loaded":
        return offlinekit.load(algo.save(tmp_path / "a.okt"))
    return {"fitted": lambda a: a, "pickled": lambda a: pickle.loads(pickle.dumps(a)), "copied": copy.copy}[
        how
    ](algo)


@pytest.mark.parametrize("how", ["new", "fitted", "loaded", "pickled", "copied", "of a population"])
def test_what_means_nothing_is_refused_however_it_came_about(how, tmp_path):
    algo = made(how, tmp_path)
    before = algo.config
    for name, value, error, message in WRONG:
        with pytest.raises(error, match=message):
            setattr(algo, name, value)
    with pytest.raises(AttributeError, match="alpha of a TD3PlusBC cannot be deleted"):
        del algo.alpha
    assert algo.config == before
    algo.note, algo._lr = "mine", 1.0  # Of the user's own.
    del algo.note


def test_what_is_given_to_load_is_called_the_callers_fault(tmp_path):
    path = made("fitted", tmp_path).save(tmp_path / "a.okt")
    with pytest.raises(TypeError, match="no hyperparameter 'alhpa'; did you mean 'alpha'"):
        offlinekit.load(path, alhpa=1.0)
    with pytest.raises(ValueError, match=r"^alpha must be in \(0, inf\), got -1"):
        TD3PlusBC.load(path, alpha=-1)
    assert TD3PlusBC.load(path, alpha=np.float32(2)).alpha == 2.0


def test_settings_of_members_are_not_those_of_a_population():
    population = Population([BC(seed=seed, batch_size=8) for seed in range(2)])
    with pytest.raises(
        AttributeError, match=r"its members have; (for algo in population: algo.learning_rate = 0.1)"
    ) as said:
        population.learning_rate = 0.1
    exec(str(said.value).partition("; ")[2], {"population": population})
    assert [algo.learning_rate for algo in population] == [0.1, 0.1]
    population.note = "mine"

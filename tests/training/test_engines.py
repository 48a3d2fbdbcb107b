"""Engines: each takes the same updates in its own way, and says where it cannot."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from offlinekit.algos import BC, CQL, IQL, SAC, TD3, DiscreteBCQ, DiscreteCQL, TD3PlusBC
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.algos.torch.td3_plus_bc_impl import TD3PlusBCImpl
from offlinekit.testing import small_dataset
from offlinekit.training.engines.replay import RecordedUpdates
from offlinekit.training.setup.start import start_run

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 3, "device": "cpu"}
QUIET = {"out": None, "progress": False}


def fitted(front, engine, n_steps=40, **options):
    algo = front(**{**TINY, **options})
    return algo.fit(small_dataset(algo.action_kind), n_steps, engine=engine, **QUIET)


def numbers(algo):
    return [*algo.impl.parameters(), *algo.impl.buffers()]


def same(first, second, **tolerance):
    for a, b in zip(numbers(first), numbers(second), strict=True):
        torch.testing.assert_close(a, b, **(tolerance or {"rtol": 0.0, "atol": 0.0}))


def replays(algo, n_steps=15):
    """Returns the engine's recordings after some updates."""
    run = start_run(algo, small_dataset(algo.action_kind), n_steps, engine="graph", **QUIET)
    for _ in run.steps():
        pass
    return run.engine.updates.replayed


@pytest.mark.parametrize(
    ("front", "options"),
    [
        (TD3PlusBC, {"lr_schedule": "cosine", "optimizer": "adamw", "weight_decay": 0.1}),
        (TD3, {"clip_grad_norm": 0.1, "optimizer": "sgd"}),
        (CQL, {"encoder": {"type": "mlp", "hidden_sizes": [8], "dropout": 0.2}, "gap_threshold": 1.0}),
        (CQL, {"batch_size": 256}),
        (DiscreteCQL, {"encoder": {"type": "mlp", "hidden_sizes": [8], "layer_norm": True}, "n_critics": 3}),
        (DiscreteBCQ, {"q_function": "qr", "n_quantiles": 4, "n_step": 3}),
    ],
)
def test_options_leave_the_bits_of_eager_updates(front, options):
    same(fitted(front, "eager", **options), fitted(front, "graph", **options))


COMPARE = """
import torch
from offlinekit.algos import get_algo
from offlinekit.testing import small_dataset
from offlinekit.training.setup.start import start_run

# The compiler once drew REDQ's subset of critics before the noise of the actions.
cases = (("td3_plus_bc", 100, 1e-3, {}), ("discrete_bcq", 100, 1e-3, {}), ("redq", 4, 1e-5, {"policy_delay": 2}))
for name, n_steps, tolerance, options in cases:
    found, options = [], {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 3, **options}
    for engine in ("eager", "compile"):
        algo = get_algo(name)(device="cpu", **options)
        algo.fit(small_dataset(algo.action_kind), n_steps, engine=engine, out=None, progress=False)
        found.append([*algo.impl.parameters(), algo.impl.random.state()])
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance / 10)
print("agreed")
"""


@pytest.mark.slow
def test_compiled_updates_agree_with_eager_ones():
    """In a process of its own: the compiler cannot look into functions whose shapes are checked under pytest."""
    ran = subprocess.run([sys.executable, "-c", COMPARE], capture_output=True, text=True)
    assert ran.stdout.strip() == "agreed", ran.stderr[-2000:]


def test_auto_is_the_graph_and_says_so(capsys):
    algo = TD3PlusBC(**TINY)
    run = start_run(algo, small_dataset("continuous"), 1, **QUIET)
    assert isinstance(run.engine.updates, RecordedUpdates)


def test_objectives_are_replayed_after_a_while():
    found = replays(TD3PlusBC(**TINY), 30)
    assert [replayed.checked for replayed in found] == [True, True]
    assert all(replayed.recording.kernels for replayed in found)


def test_a_limit_of_the_norm_is_replayed():
    """Also that of one tensor, SAC's temperature: the kernel of norms returns a list, of one norm there."""
    found = replays(SAC(clip_grad_norm=0.5, **TINY))
    assert [replayed.checked for replayed in found] == [True, True, True]


class Branching(TD3PlusBCImpl):
    def compute_actor_loss(self, batch):
        loss, metrics = super().compute_actor_loss(batch)
        return (loss * 2 if float(loss.detach().mean()) > 0 else loss), metrics


class Counting(BCImpl):
    calls = 0

    def compute_actor_loss(self, batch):
        self.calls += 1
        return super().compute_actor_loss(batch) * self.calls


class Scheduled(BCImpl):
    def compute_actor_loss(self, batch):
        return super().compute_actor_loss(batch) * (1.0 / (1 + self.grad_step))


class Noisy(BCImpl):
    def compute_actor_loss(self, batch):
        return super().compute_actor_loss(batch) * torch.rand(())


@pytest.mark.parametrize(
    ("front", "impl"),
    [(TD3PlusBC, Branching), (BC, Counting), (BC, Scheduled)],
    ids=["branch", "count", "step"],
)
def test_a_loss_that_cannot_be_recorded_stays_as_written(front, impl):
    same(fitted(front, "eager", impl_class=impl), fitted(front, "graph", impl_class=impl))
    assert [one.refused for one in replays(front(**TINY, impl_class=impl), 30)][-1]


def test_a_loss_that_draws_elsewhere_stays_as_written():
    with torch.random.fork_rng():
        assert replays(BC(**TINY, impl_class=Noisy), 30)[0].refused


def test_running_means_go_on():
    class Normalised(BCImpl):
        def build(self):
            super().build()
            self.norm = nn.BatchNorm1d(4)

        def compute_actor_loss(self, batch):
            return super().compute_actor_loss(batch._replace(observations=self.norm(batch.observations)))

    first, second = (fitted(BC, engine, impl_class=Normalised) for engine in ("eager", "graph"))
    same(first, second)
    assert int(first.impl.norm.num_batches_tracked) == 40


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_hyperparameter_changed_during_a_run_acts(engine):
    algo = TD3PlusBC(**TINY)
    for step, _ in algo.fitter(small_dataset("continuous"), 60, engine=engine, log_interval=20, **QUIET):
        if step == 20:
            algo.alpha = 0.5
    untouched = fitted(TD3PlusBC, "eager", 60)
    changed = [not torch.equal(a, b) for a, b in zip(numbers(algo), numbers(untouched), strict=True)]
    assert any(changed)
    eager = TD3PlusBC(**TINY)
    for step, _ in eager.fitter(small_dataset("continuous"), 60, engine="eager", log_interval=20, **QUIET):
        if step == 20:
            eager.alpha = 0.5
    same(algo, eager)


def test_precision_is_that_of_the_run_alone(monkeypatch):
    seen, take = [], RecordedUpdates.take

    def watched(self, n):
        seen.append(torch.get_float32_matmul_precision())
        return take(self, n)

    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(RecordedUpdates, "take", watched)
    TD3PlusBC(**TINY).fit(small_dataset("continuous"), 5, precision="bfloat16", **QUIET)
    assert seen[0] == "medium"
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "grph"}, "engine must be one of .* got 'grph'; did you mean 'graph'"),
        ({"precision": "float16"}, "precision must be one of .* got 'float16'"),
    ],
)
def test_unknown_engines_and_precisions_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TD3PlusBC(**TINY).fit(small_dataset("continuous"), 5, **options, **QUIET)


def test_an_objective_reads_what_one_before_it_has_computed():
    found = {one.objective.name: one for one in replays(IQL(**TINY), 30)}
    alone = {
        one.objective.name: len(one.recording.kernels) for one in replays(IQL(**TINY, impl_class=Apart), 30)
    }
    assert len(found["value"].recording.kernels) == alone["value"]
    assert (
        len(found["actor"].recording.kernels) <= alone["actor"] - 5
    )  # Three layers and what joins their inputs.


class Apart(IQLImpl):
    """IQL whose value and actor see the same numbers at other places."""

    def compute_actor_loss(self, batch):
        return super().compute_actor_loss(batch._replace(observations=batch.observations * 1.0))


class Smooth(TD3PlusBCImpl):
    """Critics whose slope along actions is small: a loss that differentiates twice."""

    def compute_critic_loss(self, batch, q_tpn):
        loss = super().compute_critic_loss(batch, q_tpn)
        actions = batch.actions.detach().requires_grad_()
        values = self.q.values(batch.observations, actions)
        (slopes,) = torch.autograd.grad(values.sum(), actions, create_graph=True)
        return loss + slopes.square().mean(), {"slope": slopes.detach().norm()}


def test_a_loss_may_differentiate_twice():
    options = {"impl_class": Smooth, "encoder": {"type": "mlp", "hidden_sizes": [8], "activation": "tanh"}}
    same(fitted(TD3PlusBC, "eager", **options), fitted(TD3PlusBC, "graph", **options))
    found = replays(TD3PlusBC(**{**TINY, **options}), 30)
    assert [one.checked for one in found] == [True, True]


class BranchingValue(IQLImpl):
    def compute_value_loss(self, batch):
        loss, metrics = super().compute_value_loss(batch)
        return (loss * 2 if float(loss.detach().mean()) > 0 else loss), metrics


def test_an_objective_whose_lender_stays_eager_stays_eager_or_makes_its_own_numbers():
    same(fitted(IQL, "eager", impl_class=BranchingValue), fitted(IQL, "graph", impl_class=BranchingValue))

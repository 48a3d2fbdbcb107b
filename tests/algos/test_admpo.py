"""ADMPO: rollouts that begin with recorded histories, penalties and targets by hand, and SAC as a special case."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from loss_checks import close
from small_data import make_batch
from table_networks import TABLE, set_constant

import offlinekit
from offlinekit.algos import ADMPO, SAC, AnyStepDynamics, MLPEncoder
from offlinekit.algos.torch.any_step_dynamics_impl import Histories
from offlinekit.datasets import MDPDataset
from offlinekit.nn.policies import SquashedGaussianPolicy
from offlinekit.testing import small_dataset

QUIET: dict[str, Any] = {"out": None, "progress": False}
MODEL: dict[str, Any] = {
    "encoder": MLPEncoder((4,), "silu"), "n_recurrent_layers": 1, "max_steps_back": 3, "max_epochs": 1,
    "batch_size": 16, "termination": "never",
}  # fmt: skip
SMALL: dict[str, Any] = {
    "encoder": TABLE, "batch_size": 8, "n_rollouts": 30, "rollout_length": 3, "rollout_interval": 4,
    "seed": 0, "device": "cpu",
}  # fmt: skip


def make(**options: Any) -> ADMPO:
    dynamics = {**MODEL, **options.pop("dynamics", {})}
    return ADMPO(**{**SMALL, "dynamics": dynamics, **options})


def walking() -> MDPDataset:
    """Makes two episodes whose one number goes 0, 10, 20, 30 and 100, 110... with rewards 0."""
    observations = np.concatenate([np.arange(0.0, 40.0, 10.0), np.arange(100.0, 160.0, 10.0)])[:, None]
    ends = np.isin(np.arange(10), (3, 9))
    return MDPDataset(observations, np.zeros((10, 1)), np.zeros(10), ends)


def exact(algo: ADMPO, data: MDPDataset) -> Any:
    """Makes the model add 1 to the state that a prediction begins with, and pay 5, without noise."""
    impl = algo.build(data).impl
    set_constant(impl.model, [[1.0, 5.0, -60.0, -60.0]])
    with torch.no_grad():
        impl.model.min_log_var.fill_(-60.0)
    return impl


def sampler_of(algo: ADMPO, data: MDPDataset) -> Any:
    return algo.training_sampler(algo.make_sampler(data), data)


def test_histories_are_the_rows_before_in_the_episode():
    data = walking()
    algo = make().build(data)
    batch, n_before = sampler_of(algo, data).draw_histories(200, 2)
    before, between, starts = batch.observations[..., 0]
    for first, second, start, n in zip(
        *(x.tolist() for x in (before, between, starts, n_before)), strict=True
    ):
        origin = 0.0 if start < 100 else 100.0
        # Behind the first row of an episode it stands again.
        assert (first, second) == (max(start - 20, origin), max(start - 10, origin))
        assert n == min(2, (start - origin) / 10)
    assert set(n_before.tolist()) == {0, 1, 2}


def test_rollouts_know_what_was_recorded_before_them():
    data = walking()
    algo = make(penalty=2.0)
    impl = exact(algo, data)
    (rows, alive), *_ = impl.roll_out(sampler_of(algo, data), 60, 1)
    assert alive.tolist() == [True] * 60
    starts = rows.observations[:, 0]
    # From an episode's first row there is one prediction, and no penalty. From the second, s - 10 + 1 and s + 1: a
    # deviation of 5. From later ones s - 20, s - 10 and s, with 1 added: the root of (100 + 0 + 100) / 3.
    deviations = {0.0: 0.0, 10.0: 5.0}
    for start, reward in zip(starts.tolist(), rows.rewards.tolist(), strict=True):
        unsure = deviations.get(start % 100, math.sqrt(200 / 3))
        assert reward == pytest.approx(5.0 - 2.0 * unsure, abs=1e-3)
    moved = (rows.next_observations[:, 0] - starts).round().tolist()
    assert set(moved) == {1.0, -9.0, -19.0}  # Each length is drawn.


def test_without_a_recorded_past_lengths_grow_step_by_step():
    data = walking()
    impl = exact(make(penalty=1.0), data)
    steps = list(impl.rollouts(torch.full((4, 1), 7.0), 3))
    close(steps[0][0].rewards, torch.full((4,), 5.0), atol=1e-3)  # One prediction.
    close(steps[0][0].next_observations, torch.full((4, 1), 8.0), atol=1e-3)
    close(steps[1][0].rewards, torch.full((4,), 4.5), atol=1e-3)  # From 8 to 9 and from 7 to 8: 1/2 apart.
    histories = Histories(impl.model, torch.zeros(2, 1), impl.random)
    assert histories.n_known.tolist() == [0, 0]


def test_a_run_rolls_out_with_histories(monkeypatch):
    data, taken = walking(), []
    take = Histories.take
    monkeypatch.setattr(Histories, "take", lambda self, *a: (taken.append(len(a[0])), take(self, *a))[1])
    make().fit(data, 3, **QUIET)
    assert taken == [30] * 5  # Two recorded steps and three of the rollout, of 30 rows.


def test_with_one_step_back_it_is_the_one_step_model():
    data = small_dataset("continuous")
    impl = make(penalty=100.0, dynamics={"max_steps_back": 1}).build(data).impl
    starts, state = torch.randn(6, 4), impl.random.state()
    (rows, _), *_ = impl.rollouts(starts, 1)
    impl.random.set_state(state)
    actions = impl.rollout_actions(starts)
    outcomes = impl.model.outcomes(starts, actions)
    impl.random.uniform(6), impl.random.uniform(6)  # The lengths and members that are drawn.
    noise = impl.random.normal(6, 5)
    drawn = outcomes.means[0] + outcomes.log_stds[0].exp() * noise
    close(rows.next_observations, (starts + drawn[:, :4]).detach())
    close(rows.rewards, drawn[:, 4].detach())  # Not lowered, whatever the penalty.


def test_targets_by_hand():
    data = walking()
    for soft in (True, False):
        impl = make(soft_backup=soft, initial_temperature=0.5, n_critics=2).build(data).impl
        set_constant(impl.target_q, [[3.0], [4.0]])
        batch = make_batch(torch.zeros(2, 1), torch.zeros(2, 1), [1.0, 2.0], discounts=[0.9, 0.0])
        state = impl.random.state()
        found = impl.compute_target(batch)
        impl.random.set_state(state)
        _, log_probs = impl.policy.sample(batch.next_observations)
        # r + discount (min(3, 4) - 0.5 log pi), or without the entropy 1 + 0.9 * 3 and 2.
        expected = torch.tensor([1 + 0.9 * 3, 2.0]) - soft * 0.5 * torch.tensor([0.9, 0.0]) * log_probs
        close(found.detach(), expected.detach())
        assert abs(float(log_probs[0].detach())) > 1e-3


def test_the_temperature_stays_if_it_is_not_learned():
    data = small_dataset("continuous")
    names = {}
    for learns in (True, False):
        algo = make(learns_temperature=learns, initial_temperature=0.05).fit(data, 4, **QUIET)
        names[learns] = [objective.name for objective in algo.impl.objectives]
        is_same = float(algo.impl.log_temperature.detach()) == pytest.approx(math.log(0.05), abs=1e-7)
        assert is_same == (not learns)
    assert names == {True: ["temperature", "actor", "critic"], False: ["actor", "critic"]}


def test_the_gradient_of_the_policy_is_sacs():
    data = walking()
    impl = make(initial_temperature=0.5).build(data).impl
    assert isinstance(impl.policy, SquashedGaussianPolicy)
    batch = make_batch(torch.ones(2, 1), torch.zeros(2, 1))
    state = impl.random.state()
    head = impl.policy.network.mlp.layers[-1].weight
    (found,) = torch.autograd.grad(impl.compute_actor_loss(batch).mean(), [head])
    impl.random.set_state(state)
    actions, log_probs = impl.policy.sample(batch.observations)
    lowest = impl.q.values(batch.observations, actions).amin(0)
    (expected,) = torch.autograd.grad((0.5 * log_probs - lowest).mean(), [head])
    close(found, expected)


def test_without_penalty_and_rollouts_it_is_sac_step_by_step():
    data = small_dataset("continuous")
    shared = {"encoder": TABLE, "batch_size": 8, "seed": 3, "device": "cpu"}
    same = {"actor_learning_rate": 1e-4, "temperature_learning_rate": 1e-4, "log_std_min": -5.0}
    sac = SAC(actor_lr_schedule="cosine", **same, **shared).fit(data, 8, **QUIET)
    admpo = ADMPO(penalty=0.0, real_share=1.0, dynamics=MODEL, **shared).fit(data, 8, **QUIET)
    for name, value in sac.impl.state_dict().items():
        assert torch.equal(value, admpo.impl.state_dict()[name]), name


def test_files_hold_the_model(tmp_path):
    algo = make().fit(small_dataset("continuous"), 4, **QUIET)
    loaded = offlinekit.load(algo.save(tmp_path / "policy.okt"), device="cpu")
    assert isinstance(loaded, ADMPO)
    assert isinstance(loaded.model, AnyStepDynamics)
    for name, value in algo.impl.model.state_dict().items():
        assert torch.equal(value, loaded.impl.model.state_dict()[name]), name


def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(tmp_path):
    data = small_dataset("continuous")
    settings: dict[str, Any] = {
        "out": tmp_path,
        "progress": False,
        "checkpoint_interval": 2,
        "log_interval": 2,
    }
    dropping = {"dynamics": {"encoder": MLPEncoder((4,), "silu", dropout=0.5)}}
    whole, broken = make(**dropping).fit(data, 8, **settings), make(**dropping)
    for step, _ in broken.fitter(data, 8, **settings):
        if step == 6:
            break
    resumed = make(**dropping).fit(data, 8, resume=broken.run_dir, **settings)
    for name, value in whole.impl.state_tensors().items():
        assert torch.equal(value, resumed.impl.state_tensors()[name]), name


def test_no_unit_of_the_model_is_dropped_in_rollouts():
    impl = make(dynamics={"encoder": MLPEncoder((4,), "silu", dropout=0.5)}).build(walking()).impl
    impl.train()
    assert impl.training
    assert not any(part.training for part in impl.model.modules())

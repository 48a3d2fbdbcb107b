"""RAMBO: the model's loss and advantages by hand, cloning first, and a model that lowers what the policy gains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from loss_checks import close, row_losses, total
from small_data import continuous_dataset, make_batch
from table_networks import TABLE, set_constant, set_table

from offlinekit.algos import RAMBO, MLPEncoder
from offlinekit.datasets import MDPDataset
from offlinekit.testing import small_dataset

ON_CPU: dict[str, Any] = {"encoder": TABLE, "seed": 0, "device": "cpu", "observation_scaler": None}
MODEL: dict[str, Any] = {
    "encoder": TABLE, "n_members": 3, "n_elites": 2, "termination": "never", "scales_inputs": False,
    "learned_bounds": False, "layer_decay": 0.0, "bound_weight": 0.0,
}  # fmt: skip
LOG_STD = 0.0


def raw(log_std: float) -> float:
    """Returns what becomes a number between the fixed bounds -5 and 1."""
    below = -5.0 + math.log(math.expm1(log_std + 5.0))
    return 1.0 - math.log(math.expm1(1.0 - below))


def build(**options: Any) -> Any:
    given = {**ON_CPU, "dynamics": MODEL, "warmup_steps": 0, "gamma": 0.5, **options}
    impl = RAMBO(**given).build(continuous_dataset(observation_size=1)).impl
    # Changes of the observation 0, 2 and, of no elite, 9; rewards 1, 1 and 5; deviations of 1.
    one = raw(0.0)
    set_constant(impl.model, [[0.0, 1.0, one, one], [2.0, 1.0, one, one], [9.0, 5.0, one, one]])
    set_table(impl.q, [[[2.0], [0.0]], [[3.0], [0.0]]])  # Q = 2 s and 3 s.
    set_constant(impl.policy, [0.3, -5.0])
    return impl


def test_the_density_is_that_of_the_mixture_of_elites():
    impl = build()
    outcomes = impl.model.outcomes(torch.zeros(1, 1), torch.zeros(1, 1))
    # At a change of 1 and a reward of 3: squares 1 + 4 from both elites, e^-2.5 / (2 pi) each.
    close(
        impl.model.log_density(outcomes, torch.tensor([[1.0, 3.0]])),
        [-2.5 - math.log(2 * math.pi)],
        atol=1e-3,
    )
    # At 0 and 1: 1 and e^-2, mean (1 + e^-2) / 2.
    expected = math.log((1 + math.exp(-2)) / 2) - math.log(2 * math.pi)
    close(impl.model.log_density(outcomes, torch.tensor([[0.0, 1.0]])), [expected], atol=1e-3)
    far = impl.model.log_density(outcomes, torch.tensor([[1e4, 1.0]]))
    assert math.isfinite(float(far.detach()))  # Whose density is 0 in float32.


def test_advantages_by_hand():
    impl = build()
    step = impl.model.imagine(torch.zeros(4, 1), torch.zeros(4, 1), impl.random)
    step = step._replace(
        next_observations=torch.tensor([[2.0], [4.0], [-1.0], [50.0]]),
        rewards=torch.tensor([1.0, 0.0, 1.0, 9.0]),
        ends=torch.tensor([False, True, False, False]),
    )
    found = impl.advantages(
        torch.tensor([[1.0], [0.0], [2.0], [7.0]]),
        torch.zeros(4, 1),
        step,
        torch.tensor([1.0, 1.0, 1.0, 0.0]),
    )
    # r + 0.5 min(2 s', 3 s') - min(2 s, 3 s): 1 + 2 - 2 = 1; 0 at an end - 0; 1 - 1.5 - 4 = -4.5. Mean -7 / 6,
    # deviation of 3 numbers: sqrt(((13/6)^2 + (7/6)^2 + (20/6)^2) / 3). The recorded row counts for neither.
    deviation = math.sqrt((13**2 + 7**2 + 20**2) / 36 / 3)
    close(found[:3], [13 / 6 / deviation, 7 / 6 / deviation, -20 / 6 / deviation], atol=1e-3)


def test_advantages_value_the_mode_of_the_policy():
    impl = build()
    set_constant(impl.policy, [0.3, 5.0])  # Wide, so that draws are far from the mode tanh(0.3) = 0.29131.
    set_table(impl.q, [[[0.0], [1.0]], [[0.0], [1.0]]])  # Q = a.
    step = impl.model.imagine(torch.zeros(3, 1), torch.zeros(3, 1), impl.random)
    step = step._replace(rewards=torch.tensor([1.0, 0.0, 0.0]), ends=torch.tensor([False, False, True]))
    found = impl.advantages(torch.zeros(3, 1), torch.zeros(3, 1), step, torch.ones(3))
    gained = torch.tensor([1 + 0.5 * math.tanh(0.3), 0.5 * math.tanh(0.3), 0.0])
    close(found, (gained - gained.mean()) / gained.std(correction=0), atol=1e-3)


@pytest.mark.parametrize("real_share", [0.0, 0.3, 0.5, 1.0])
def test_cloning_draws_whole_minibatches_of_recorded_rows(monkeypatch, real_share):
    # One epoch of 64 rows in minibatches of 8 is 8 updates, whatever share they have later.
    algo = RAMBO(
        dynamics={**MODEL, "max_epochs": 1}, warmup_steps=4, n_rollouts=16, rollout_length=1, real_share=real_share,
        batch_size=8, **ON_CPU,
    )  # fmt: skip
    seen = []
    update = algo.impl_class.update

    def noted(self: Any, batch: Any) -> Any:
        seen.append((len(batch.rewards), int(batch.imagined.sum()), len(batch.observations.unique(dim=0))))
        return update(self, batch)

    monkeypatch.setattr(algo.impl_class, "update", noted)
    algo.fit(small_dataset("continuous"), 6, out=None, progress=False, engine="eager")
    n_imagined = 8 - round(8 * real_share)
    assert [size[:2] for size in seen] == [(8, 0)] * 4 + [(8, n_imagined)] * 2
    assert all(different > 4 for *_, different in seen[:4])


def test_at_a_weight_of_0_the_model_stays_as_it_was_fitted():
    data = small_dataset("continuous")
    algo = RAMBO(
        dynamics={**MODEL, "max_epochs": 1}, warmup_steps=2, n_rollouts=16, rollout_length=1, batch_size=8,
        adversarial_weight=0.0, **ON_CPU,
    )  # fmt: skip
    algo.fit(data, 3, out=None, progress=False)
    fitted = {name: value.clone() for name, value in algo.impl.model.state_dict().items()}
    algo.fit(data, 6, out=None, progress=False)
    assert all(torch.equal(value, fitted[name]) for name, value in algo.impl.model.state_dict().items())
    assert "model" not in [one.name for one in algo.impl.objectives]
    with pytest.raises(ValueError, match=r"adversarial_weight of a RAMBO with networks stays as it is"):
        algo.adversarial_weight = 0.1


def test_the_models_loss_by_hand():
    impl = build(adversarial_weight=0.25)
    seen = torch.tensor([[1.0], [5.0], [2.0], [3.0]])
    batch = make_batch(
        seen, torch.zeros(4, 1), [2.0, 1.0, 77.0, 77.0], next_observations=torch.tensor([[2.0], [88.0], [9.0], [9.0]]),
        discounts=[0.5, 0.0, 0.5, 0.5], imagined=torch.tensor([0.0, 0.0, 1.0, 1.0]),
        next_known=torch.tensor([1.0, 0.0, 1.0, 1.0]),
    )  # fmt: skip
    state = impl.random.state()
    returned = impl.compute_model_loss(batch)
    impl.random.set_state(state)
    drawn, _ = impl.policy.sample(seen)
    actions = torch.cat([torch.zeros(2, 1), drawn[2:]])
    step = impl.model.imagine(seen, actions, impl.random)
    advantages = impl.advantages(seen, actions, step, batch.imagined)
    assert advantages[2] * advantages[3] < 0.5  # One of two is above their mean.
    changes = torch.cat([step.next_observations - seen, step.rewards[:, None]], -1)
    log_probs = impl.model.log_density(impl.model.outcomes(seen, actions), changes)
    # Recorded rows: a change of 1 and reward 2; the other's next observation is unknown, its reward 1. Members, over 2
    # dimensions: (1 + 1) / 2, (1 + 1) / 2, (64 + 9) / 2; then 0, 0, 16 / 2. Means over 2 of 4 rows: twice each.
    recorded = [2 * (1 + 1 + 36.5), 2 * (0 + 0 + 8.0)]
    imagined = (2 * 0.25 * advantages * log_probs)[2:].tolist()
    close(row_losses(returned), recorded + imagined, atol=1e-2)
    loss, metrics = total(returned)
    close(loss, (sum(recorded) + sum(imagined)) / 4, atol=1e-2)
    close(metrics["likelihood_loss"], (38.5 + 8.0) / 2, atol=1e-2)
    close(metrics["adversarial_loss"], sum(imagined) / 0.25 / 4, atol=1e-2)


def test_the_policy_clones_recorded_rows_first():
    impl = build(warmup_steps=3)
    # Means 0.3 with a deviation of e^-5 before squashing; imagined rows have no part.
    batch = make_batch(
        torch.zeros(3, 1), torch.tensor([[0.3], [0.2], [-0.9]]), imagined=torch.tensor([0.0, 0.0, 1.0])
    )
    loss = total(impl.compute_cloning_loss(batch))
    each = -impl.policy.log_prob(torch.zeros(2, 1), batch.actions[:2])
    close(loss, each.mean(), atol=1e-2)
    due = [[one.name for one in impl.objectives if one.is_due(step)] for step in (1, 3, 4)]
    assert due == [["cloning"], ["cloning"], ["temperature", "actor", "critic", "model"]]


def test_rollouts_are_renewed_once_the_policy_has_cloned(monkeypatch):
    algo = RAMBO(
        dynamics={**MODEL, "max_epochs": 1}, warmup_steps=5, n_rollouts=8, rollout_length=1, rollout_interval=3,
        retained_rounds=3, batch_size=8, **ON_CPU,
    )  # fmt: skip
    at: list[tuple[int, int]] = []
    rollouts = algo.impl_class.rollouts

    def noted(self: Any, *given: Any) -> Any:
        at.append((self.grad_step, algo.sampler.memory.n_usable))
        return rollouts(self, *given)

    monkeypatch.setattr(algo.impl_class, "rollouts", noted)
    algo.fit(small_dataset("continuous"), 12, out=None, progress=False)
    assert at == [(5, 0), (8, 8), (11, 16)]  # None of a policy that knows nothing.


def one_sided(n: int = 400) -> MDPDataset:
    """Recorded actions are below 0; rewards and changes of the state are noise around 0."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(n, 1))
    return MDPDataset(
        states, -rng.uniform(0.1, 1.0, (n, 1)), rng.normal(size=n) * 0.3, np.zeros(n),
        next_observations=states + rng.normal(size=(n, 1)) * 0.3, timeouts=np.arange(n) == n - 1,
    )  # fmt: skip


def turned(weight: float) -> tuple[float, float]:
    """Returns the reward in the model under the policy, and how badly the data fit, after the adversary's updates."""
    data = one_sided()
    model = {
        "encoder": MLPEncoder((32,)),
        "n_members": 2,
        "n_elites": 2,
        "termination": "never",
        "max_epochs": 8,
    }
    algo = RAMBO(
        adversarial_weight=weight, adversarial_learning_rate=3e-3, dynamics={**model, "learning_rate": 1e-2},
        warmup_steps=0, batch_size=128, n_rollouts=200, rollout_length=1, **ON_CPU,
    )  # fmt: skip
    algo.fit(data, 1, out=None, progress=False)
    impl = algo.impl
    set_table(impl.q, [[[0.0], [0.0]], [[0.0], [0.0]]])  # The reward is all that the policy gains.
    set_constant(impl.policy, [1.5, -5.0])  # An action of 0.9, which no row has.
    recorded = algo.make_sampler(data)
    rows = recorded.gather(recorded.usable_rows())
    (adversary,) = (one for one in impl.objectives if one.name == "model")
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        batch = recorded.gather(torch.randint(len(data), (128,), generator=generator))
        adversary.minimize(batch._replace(imagined=(torch.arange(128) < 64).float()))
    with torch.no_grad():
        acted = impl.policy.mode(rows.observations)
        reward = float(impl.model.outcomes(rows.observations, acted).means[..., -1].mean())
        fitted = impl.model.outcomes(rows.observations, rows.actions)
        fits = impl.model.fits(fitted, *impl.model.changes(rows), rows.discounts)
    return reward, float(fits.mean())


def test_the_model_turns_against_the_policy_and_stays_likely():
    reward, fits = turned(1e-9)
    lowered, as_likely = turned(0.2)
    assert lowered < reward - 0.15
    assert as_likely == pytest.approx(fits, abs=0.1)


def test_no_rollout_goes_on_behind_an_end():
    # One public port rolls out for its adversary from states behind an end.
    algo = RAMBO(
        dynamics={**MODEL, "termination": "beyond-100"}, n_rollouts=50, rollout_length=4, real_share=0.5, batch_size=8,
        warmup_steps=0, **ON_CPU,
    )  # fmt: skip
    data = small_dataset("continuous")
    algo.build(data)
    quiet = [raw(-4.9)] * 5
    set_constant(
        algo.impl.model, [[40.0] * 4 + [1.0, *quiet]] * 3
    )  # Beyond 100 in the third step at the latest.
    sampler = algo.training_sampler(algo.make_sampler(data), data)
    for rows, alive in algo.impl.rollouts(sampler.draw_starts(50), 4):
        sampler.memory.add_rows(rows, alive)
    imagined = sampler.memory.gather(torch.arange(sampler.memory.n_usable))
    assert float(imagined.observations.abs().max()) < 100.0
    assert bool((imagined.discounts == 0).any())
    assert sampler.memory.n_usable < 200


def test_cloning_comes_across_rows_in_random_order():
    # One public port shuffles numbers of rows and then takes the rows as they lie.
    algo = RAMBO(real_share=1.0, warmup_steps=4, batch_size=8, **ON_CPU)
    data = small_dataset("continuous")
    algo.build(data)
    sampler = algo.training_sampler(algo.make_sampler(data), data)
    seen = sampler.sample().observations
    assert not torch.equal(seen, torch.from_numpy(data.observations[:8]))
    assert len(seen.unique(dim=0)) > 4

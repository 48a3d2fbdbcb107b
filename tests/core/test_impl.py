"""The update that all implementations share: who changes what, schedules, targets, state, random numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from loss_checks import close, total
from small_data import continuous_dataset, make_batch
from table_networks import TABLE, set_constant
from torch import Tensor, nn

from offlinekit.algos import BC, CQL, IQL, SAC, TD3, MLPEncoder, TD3PlusBC
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.impl import Impl
from offlinekit.errors import UnsupportedError

CONTINUOUS = [BC, TD3, TD3PlusBC, SAC, IQL, CQL]
BATCH = make_batch(
    torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, -3.0]]),
    [[0.5], [-0.5], [0.1]],
    [1.0, 2.0, -1.0],
    discounts=[0.9, 0.9, 0.0],
)


def build(algo: type = BC, **options: Any) -> Any:
    options = {"encoder": TABLE, "seed": 0, "device": "cpu", **options}
    return algo(**options).build(continuous_dataset()).impl


def dropping(space: spaces.Space[Any]) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 8))


def normed(space: spaces.Space[Any]) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8))


def half_frozen(space: spaces.Space[Any]) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8).requires_grad_(False), nn.Linear(8, 8))


# Random numbers.


@pytest.mark.parametrize("algo", CONTINUOUS)
def test_global_random_numbers_are_left_alone(algo):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    front = algo(encoder=dropping, seed=0, device="cpu").build(continuous_dataset())
    front.impl.train()
    for _ in range(2):
        front.impl.update(BATCH)
    front.impl.eval()
    observations = np.zeros((3, 2), np.float32)
    front.predict(observations)
    front.sample_action(observations)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_networks_depend_on_the_seed_alone():
    torch.rand(3, generator=torch.default_generator)
    first, again, other = build(TD3), build(TD3), build(TD3, seed=1)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


# Objectives.


def test_an_objective_changes_its_owners_alone():
    class TwoLosses(BCImpl):
        def build(self) -> None:
            super().build()
            self.other = self.make_network(1)

        def compute_actor_loss(self, batch: Any) -> Tensor:
            return (self.policy(batch.observations) + self.other(batch.observations)).square().mean()

    impl = build(impl_class=TwoLosses)
    other = [p.clone() for p in impl.other.parameters()]
    policy = [p.clone() for p in impl.policy.parameters()]
    impl.update(BATCH)
    assert all(torch.equal(a, b) for a, b in zip(other, impl.other.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(policy, impl.policy.parameters(), strict=True))


def test_gradients_do_not_add_up_over_updates():
    impl = build(optimizer="sgd", learning_rate=0.1)
    before = [p.clone() for p in impl.policy.parameters()]
    for _ in range(2):
        found, _ = impl.objectives[0].gradients(BATCH)
        impl.update(BATCH)
        for old, new, gradient in zip(before, impl.policy.parameters(), found, strict=True):
            torch.testing.assert_close(new, old - 0.1 * gradient)
        before = [p.clone() for p in impl.policy.parameters()]


def test_a_parameter_out_of_reach_of_its_loss_stays_as_it_is():
    class Idle(BCImpl):
        def build(self) -> None:
            super().build()
            self.idle = nn.Parameter(torch.ones(3))

        def build_objectives(self) -> list[Any]:
            owners = [self.policy, self.idle]
            return [self.objective("actor", self.compute_actor_loss, owners, self.config.learning_rate)]

    for optimizer in ("adam", "adamw", "sgd", "rmsprop"):
        impl = build(impl_class=Idle, optimizer=optimizer, weight_decay=0.1, clip_grad_norm=0.1)
        before = [p.clone() for p in impl.policy.parameters()]
        for _ in range(2):
            impl.update(BATCH)
        assert torch.equal(impl.idle.detach(), torch.ones(3))
        assert not any(torch.equal(a, b) for a, b in zip(before, impl.policy.parameters(), strict=True))


def test_gradient_norm_is_limited():
    def step(**options: Any) -> Tensor:
        impl = build(optimizer="sgd", learning_rate=1.0, **options)
        set_constant(impl.policy, [0.0])
        before = torch.cat([p.detach().clone().flatten() for p in impl.policy.parameters()])
        impl.update(BATCH._replace(actions=torch.ones(3, 1)))
        return torch.cat([p.detach().flatten() for p in impl.policy.parameters()]) - before

    free = step()
    # errors = -1: d loss / d (bias, weights) = -2 * mean(1, x): (-2, -1, 4/3), so its norm is sqrt(61) / 3.
    close(free.norm(), math.sqrt(61) / 3)
    close(step(clip_grad_norm=0.1), 0.1 * free / free.norm())
    close(step(clip_grad_norm=10.0), free)


def test_weight_decay_is_decoupled_with_adamw():
    impl = build(optimizer="adamw", weight_decay=0.5, learning_rate=0.01)
    set_constant(impl.policy, [0.2])
    # At the solution the gradient is 0; what is left is the decay: 0.2 * (1 - 0.01 * 0.5).
    impl.update(make_batch(torch.zeros(3, 2), [[math.tanh(0.2)]] * 3))
    close(impl.policy.network.mlp.layers[-1].bias.detach(), [0.2 * (1 - 0.005)], atol=1e-7)


def test_weight_decay_joins_the_gradient_with_sgd():
    impl = build(optimizer="sgd", weight_decay=0.5, learning_rate=0.01)
    set_constant(impl.policy, [0.2])
    impl.update(make_batch(torch.zeros(3, 2), [[math.tanh(0.2)]] * 3))
    close(impl.policy.network.mlp.layers[-1].bias.detach(), [0.2 - 0.01 * 0.5 * 0.2], atol=1e-7)


def test_weight_decay_does_not_pull_the_temperature_to_one():
    plain, decayed = (
        build(SAC, initial_temperature=0.01),
        build(SAC, initial_temperature=0.01, weight_decay=10.0, optimizer="adamw"),
    )
    for impl in (plain, decayed):
        next(o for o in impl.objectives if o.name == "temperature").minimize(BATCH)
    close(plain.log_temperature.item(), decayed.log_temperature.item())


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_each_optimizer_takes_steps(name):
    impl = build(optimizer=name, learning_rate=1e-2)
    losses = [float(impl.update(BATCH)["actor_loss"]) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_frozen_parts_of_an_own_module_stay_as_they_are():
    impl = build(TD3, encoder=half_frozen, policy_delay=1, critic_learning_rate=0.1)
    frozen = [(p, p.clone()) for p in impl.q.parameters() if not p.requires_grad]
    learned = [(p, p.clone()) for p in impl.q.network.trunk.parameters() if p.requires_grad]
    impl.train().update(BATCH)
    assert frozen
    assert all(torch.equal(now, before) for now, before in frozen)
    assert not any(torch.equal(now, before) for now, before in learned)


# Schedules.


def rates(impl: Any, n: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {o.name: [] for o in impl.objectives}
    for _ in range(n):
        impl.update(BATCH)
        for objective in impl.objectives:
            found[objective.name].append(objective.optimizer.learning_rate)
    return found


def test_cosine_schedule_falls_to_zero_over_the_run():
    impl = build(lr_schedule="cosine", learning_rate=0.1)
    impl.horizon = 2
    # 0.1 * (1 + cos(0)) / 2, (1 + cos(pi / 2)) / 2, and 0 from the end on.
    assert rates(impl, 4)["actor"] == pytest.approx([0.1, 0.05, 0.0, 0.0])


def test_cosine_schedule_waits_for_a_run():
    assert rates(build(lr_schedule="cosine", learning_rate=0.1), 3)["actor"] == [0.1] * 3


def test_schedule_of_the_policy_is_that_of_the_run_unless_it_has_its_own():
    shared = build(TD3, lr_schedule="cosine", policy_delay=1)
    own = build(TD3, lr_schedule="cosine", actor_lr_schedule="constant", policy_delay=1)
    for impl in (shared, own):
        impl.horizon = 2
    assert rates(shared, 2)["actor"] == pytest.approx([3e-4, 1.5e-4])
    found = rates(own, 2)
    assert found["actor"] == [3e-4, 3e-4]
    assert found["critic"] == pytest.approx([3e-4, 1.5e-4])


def test_fit_sets_the_end_of_schedules():
    algo = BC(encoder=TABLE, lr_schedule="cosine", batch_size=4, seed=0, device="cpu")
    algo.fit(continuous_dataset(), 4, out=None, progress=False)
    # The last of four updates is at 3/4 of the run.
    rate = algo.impl.objectives[0].optimizer.learning_rate
    assert rate == pytest.approx(3e-4 * 0.5 * (1 + math.cos(0.75 * math.pi)))


# Targets.


def test_targets_start_equal_and_follow():
    impl = build(TD3, tau=0.1, policy_delay=1)
    online, target = list(impl.q.parameters()), list(impl.target_q.parameters())
    assert all(torch.equal(a, b) for a, b in zip(online, target, strict=True))
    assert not any(a.data_ptr() == b.data_ptr() for a, b in zip(online, target, strict=True))
    before = [p.clone() for p in target]
    impl.update(BATCH)
    for old, new, now in zip(before, target, online, strict=True):
        close(new, (0.9 * old + 0.1 * now).detach())


def test_target_with_tau_one_is_a_copy_at_its_interval():
    impl = build(TD3, tau=1.0, policy_delay=2)
    start = [p.clone() for p in impl.target_q.parameters()]
    impl.update(BATCH)
    assert all(torch.equal(a, b) for a, b in zip(start, impl.target_q.parameters(), strict=True))
    impl.update(BATCH)
    pairs = zip(impl.q.parameters(), impl.target_q.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not any(p.requires_grad for p in impl.target_q.parameters())


def test_targets_take_over_buffers():
    impl = build(TD3, encoder=normed, policy_delay=1)
    impl.train().update(BATCH)
    moved = False
    for online, target in zip(impl.q.buffers(), impl.target_q.buffers(), strict=True):
        assert torch.equal(online, target)
        moved = moved or bool(online.float().abs().sum() > 0)
    assert moved


def test_targets_never_drop_out():
    for encoder in (dropping, MLPEncoder((32,), dropout=0.5)):
        impl = build(TD3, encoder=encoder)
        impl.train()
        noisy = [impl.q(BATCH.observations, BATCH.actions) for _ in range(2)]
        assert not torch.equal(*noisy)
        calm = [impl.target_q(BATCH.observations, BATCH.actions) for _ in range(2)]
        assert torch.equal(*calm)
        impl.eval()
        assert torch.equal(impl.q(BATCH.observations, BATCH.actions), calm[0])


# State.


@pytest.mark.parametrize("algo", CONTINUOUS)
@pytest.mark.parametrize("encoder", [MLPEncoder((8,), dropout=0.2), dropping, normed])
def test_training_goes_on_exactly_from_saved_tensors(algo, encoder):
    options = {"encoder": encoder, "weight_decay": 0.01}
    first, second = build(algo, **options), build(algo, **options, seed=9)
    first.train()
    for _ in range(3):
        first.update(BATCH)
    saved = {name: tensor.clone() for name, tensor in first.state_tensors().items()}
    second.load_state_tensors(saved)
    second.grad_step = first.grad_step
    second.train()
    for _ in range(2):
        expected, found = first.update(BATCH), second.update(BATCH)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    tensors = second.state_tensors()
    assert all(torch.equal(value, tensors[name]) for name, value in first.state_tensors().items())


def test_state_of_other_networks_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        build().load_state_tensors(build(encoder=MLPEncoder((3,), activation="relu")).state_tensors())


# What a subclass must write.


class Empty(Impl):
    def build(self) -> None:
        pass

    def build_objectives(self) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda impl: Impl.build(impl), "build"),
        (lambda impl: Impl.build_objectives(impl), "build_objectives"),
        (lambda impl: impl.predict_best_action(BATCH.observations), "predict_best_action"),
        (lambda impl: impl.sample_action(BATCH.observations), "predict_best_action"),
        (lambda impl: impl.compute_target(BATCH), "compute_target"),
        (lambda impl: total(impl.compute_critic_loss(BATCH, torch.zeros(3))), "compute_critic_loss"),
        (lambda impl: ActorCriticImpl.build_policy(impl), "build_policy"),
        (lambda impl: total(ActorCriticImpl.compute_actor_loss(impl, BATCH)), "compute_actor_loss"),
    ],
)
def test_what_is_not_written_is_named(call, name):
    with pytest.raises(UnsupportedError, match=rf"Empty must define {name}\(\)"):
        call(build(impl_class=Empty))


def test_a_target_that_was_not_returned_is_named(monkeypatch):
    impl = build(TD3)
    monkeypatch.setattr(type(impl), "compute_target", lambda self, batch: None)
    with pytest.raises(TypeError, match=r"compute_target of TD3Impl must return a tensor, \[B\].*got None"):
        impl.update(BATCH)


@pytest.mark.parametrize("wrong", [SAC, "SACImpl", nn.Module])
def test_a_class_that_is_no_implementation_is_refused(wrong):
    hint = "; the implementation of SAC is SACImpl$" if wrong is SAC else "$"
    with pytest.raises(TypeError, match=f"impl_class must be a subclass of Impl, got .*{hint}"):
        TD3(impl_class=wrong)
    assert TD3(impl_class=None).impl_class is TD3.impl_class


def test_metrics_are_single_numbers_without_gradient():
    for algo in CONTINUOUS:
        impl = build(algo, policy_delay=1) if issubclass(algo, TD3) else build(algo)
        metrics = impl.update(BATCH)
        assert {f"{o.name}_loss" for o in impl.objectives} <= set(metrics)
        assert all(value.shape == () and not value.requires_grad for value in metrics.values())


# Gradients whose memory lies in another order than the parameter's.


def turned_loss(table: Tensor) -> Tensor:
    return (table.T.contiguous() - torch.arange(6.0).reshape(3, 2)).square().sum()


class TurnedImpl(BCImpl):
    """Its gradient comes back as a transposed view."""

    def build(self) -> None:
        self.table = nn.Parameter(torch.arange(6.0).reshape(2, 3))

    def build_objectives(self) -> Any:
        return [self.objective("actor", self.compute_actor_loss, [self.table], 0.1)]

    def compute_actor_loss(self, batch: Any) -> Tensor:
        return turned_loss(self.table)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_a_transposed_gradient_reaches_its_own_parameter(optimizer):
    impl = build(BC, impl_class=TurnedImpl, optimizer=optimizer)
    kind = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop"}[optimizer]
    table = impl.table.detach().clone().requires_grad_()
    peer = getattr(torch.optim, kind)([table], lr=0.1, **({"weight_decay": 0.0} if kind == "AdamW" else {}))
    for _ in range(3):
        impl.update(BATCH)
        peer.zero_grad()
        table.grad = torch.autograd.grad(turned_loss(table), table)[0].contiguous()
        peer.step()
    close(impl.table, table.tolist())

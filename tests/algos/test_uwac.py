"""UWAC by hand: passes with dropout, the certainty in both losses, and normalised layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import UWAC, MLPEncoder, Population
from offlinekit.algos.torch.bear_impl import BEARImpl
from offlinekit.nn.networks import StackedLinear
from offlinekit.testing import check_engines, small_dataset

TWO = [[[1.0], [3.0], [2.0]], [[4.0], [2.0], [-1.0]]]  # Q = (1, 3) + 2 a and (4, 2) - a
NORMALISED = {"critic_encoder": MLPEncoder((6, 5), dropout=0.5), "spectral_norm": True}


def build(**options):
    """Critics that are tables, without dropout, and a policy that is all but certain of tanh(0.3)."""
    options = {
        "spectral_norm": False,
        "critic_encoder": TABLE,
        "vae_encoder": MLPEncoder((4,)),
        "warmup_steps": 0,
        "n_actions": 2,
        "n_candidates": 3,
        **options,
    }
    impl = UWAC(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_constant(impl.policy, [0.3, -20.0])
    set_constant(impl.target_policy, [0.3, -20.0])
    if options["critic_encoder"] is TABLE and not options["spectral_norm"]:
        set_table(impl.q, TWO)
        set_table(impl.target_q, TWO)
    return impl


def given_passes(impl, monkeypatch, *found):
    """Makes `passes` return given means and variances; returns what it was called with."""
    asked, answers = [], iter(found)

    def passes(q, observations, actions):
        asked.append((q, observations, actions))
        means, variances = next(answers)
        return torch.as_tensor(means), torch.as_tensor(variances)

    monkeypatch.setattr(impl, "passes", passes)
    return asked


def test_target_takes_the_best_of_mixed_means_and_the_worst_certainty(monkeypatch):
    impl = build(variance_weight=0.5)
    asked = given_passes(
        impl,
        monkeypatch,
        (
            [[[1.0, 8.0], [4.0, 2.0]], [[5.0, 0.0], [4.0, 6.0]]],
            [[[0.1, 1.0], [0.5, 0.2]], [[0.3, 2.0], [0.4, 0.3]]],
        ),
    )
    batch = make_batch(
        STATES, [[0.9], [0.9]], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.9, 0.5]
    )
    target, certainty = impl.certain_target(batch)
    # Mixed 0.75 min + 0.25 max: action 0: 2, 2; action 1: 4, 3: best 4, 3
    close(target, [1 + 0.9 * 4, 2 + 0.5 * 3])
    # Sums over critics, action 0: 0.4, 3; action 1: 0.9, 0.5: largest 0.9, 3, of whatever action
    close(certainty, [math.exp(-0.45), math.exp(-1.5)])
    assert all(q is impl.target_q for q, *_ in asked)
    assert all(torch.equal(observations, STATES.flip(0)) for _, observations, _ in asked)
    close(asked[0][2], [[[math.tanh(0.3)]] * 2] * 2)


def test_target_uses_the_target_policy_and_networks():
    impl = build()
    set_constant(impl.policy, [-2.0, -20.0])
    set_constant(impl.q, [[100.0]] * 2)
    a = math.tanh(0.3)
    found = impl.compute_target(make_batch(STATES, [[0.0], [0.0]], [1.0, 1.0], discounts=[0.5, 0.0]))
    # State 0: 1 + 2 a and 4 - a, 0.75 min + 0.25 max; row 1 ended
    close(found, [1 + 0.5 * (0.75 * (1 + 2 * a) + 0.25 * (4 - a)), 1.0])


def test_certainty_weighs_the_error_so_its_square_the_loss(monkeypatch):
    impl = build()
    monkeypatch.setattr(
        impl, "certain_target", lambda batch: (torch.tensor([2.0, 2.0]), torch.tensor([0.5, 0.1]))
    )
    returned = impl.critic_loss(make_batch(STATES, [[0.0], [1.0]]))
    loss, metrics = total(returned)
    # Values (1, 5), (4, 1): errors (-1, 3), (2, -1); squares times (0.25, 0.01):
    # (0.25 + 0.09) / 2 + (1 + 0.01) / 2
    close(loss, 0.17 + 0.505)
    close(row_losses(returned), [[0.25, 0.09], [1.0, 0.01]])
    # d / d bias = mean(2 w^2 error): (-0.5 + 0.06) / 2, (1 - 0.02) / 2
    close(head_gradients(loss, impl.q)[1].flatten(), [-0.22, 0.49])
    close(metrics["certainty"], 0.3)


def test_actor_climbs_the_lowest_mean_times_its_certainty(monkeypatch):
    impl = build(variance_weight=0.5)
    monkeypatch.setattr(impl, "discrepancies", lambda observations, raw: 0.0 * raw.sum((0, 2)) + 0.25)

    def passes(q, observations, actions):
        values = q.values(observations, actions)
        return values, values.square()  # A variance with a gradient, which must not reach the policy.

    monkeypatch.setattr(impl, "passes", passes)
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss = total(returned)[0]
    a = math.tanh(0.3)
    first, second = (1 + 2 * a, 4 - a), (3 + 2 * a, 2 - a)
    w = [math.exp(-0.5 * (x**2 + y**2)) for x, y in (first, second)]
    # alpha = e^0: 0.25 - mean(w min): min 1 + 2 a at state 0, 2 - a at state 1
    close(loss, 0.25 - (w[0] * (1 + 2 * a) + w[1] * (2 - a)) / 2)
    close(row_losses(returned), [0.25 - w[0] * (1 + 2 * a), 0.25 - w[1] * (2 - a)])
    # d / d mean = -(2 w0 - w1) / 2 (1 - a^2)
    close(head_gradients(loss, impl.policy)[1][0], -(2 * w[0] - w[1]) / 2 * (1 - a**2))


def test_actor_asks_for_one_action_a_row_of_the_online_critics(monkeypatch):
    impl = build()
    asked = given_passes(impl, monkeypatch, ([[1.0, 1.0], [2.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]))
    total(impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]])))
    assert asked[0][0] is impl.q
    close(asked[0][2].detach(), [[math.tanh(0.3)]] * 2)


def test_passes_are_draws_of_dropout_in_training_and_equal_elsewhere():
    encoder = MLPEncoder((1,), dropout=0.5)
    impl = build(critic_encoder=encoder, n_passes=20_000)
    for q in (impl.q, impl.target_q):
        linear, *_, head = q.network.mlp.layers
        with torch.no_grad():
            linear.weight.zero_()
            linear.bias.fill_(1.0)
            head.weight.copy_(torch.tensor([3.0, 1.0])[:, None, None])
            head.bias.copy_(torch.tensor([0.0, 4.0])[:, None, None])
    actions = torch.zeros(2, 1)
    for q in (impl.q, impl.target_q):
        means, variances = impl.train().passes(q, STATES, actions)
        # A unit of 1 is 0 or 2, so values are 0 or 6, and 4 or 6: means 3 and 5, variances 9 and 1
        close(means.detach(), [[3.0] * 2, [5.0] * 2], atol=0.1)
        close(variances.detach(), [[9.0] * 2, [1.0] * 2], atol=0.05)
        means, variances = impl.eval().passes(q, STATES, actions)
        close(means.detach(), [[3.0] * 2, [5.0] * 2])
        close(variances.detach(), [[0.0] * 2] * 2)


def test_variance_is_that_of_a_sample():
    impl = build(critic_encoder=MLPEncoder((4,), dropout=0.5), n_passes=3).train()
    state = impl.random.state()
    means, variances = impl.passes(impl.q, STATES, torch.zeros(2, 1))
    impl.random.set_state(state)
    values = impl.q.values(STATES, torch.zeros(3, 2, 1)).detach().numpy()
    close(means.detach(), values.mean(1).tolist())
    close(variances.detach(), values.var(1, ddof=1).tolist())


def test_policy_dropout_and_targets_follow_the_mode():
    impl = build(critic_encoder=MLPEncoder((4,), dropout=0.5))
    assert impl.train().target_q.training
    assert not impl.target_policy.training
    assert not impl.eval().target_q.training


def test_layers_of_the_critics_have_a_spectral_norm_of_one():
    impl = build(**NORMALISED)
    for q in (impl.q, impl.target_q):
        layers = [layer for layer in q.network.mlp.layers if isinstance(layer, StackedLinear)]
        assert len(layers) == 3
        for layer in layers:
            norms = torch.linalg.matrix_norm(layer.weight.detach(), ord=2)
            close(norms, [1.0, 1.0], atol=2e-3)
    plain = build(critic_encoder=MLPEncoder((6, 5)), spectral_norm=False)
    assert not any("parametrizations" in name for name, _ in plain.named_parameters())


def test_a_normalised_layer_by_hand():
    impl = build(critic_encoder=TABLE, spectral_norm=True)
    head = impl.q.network.mlp.layers[-1]
    with torch.no_grad():
        head.bias.zero_()
        head.parametrizations.weight.original.copy_(
            torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 2.0]])[..., None]
        )
    # Norms 5 and 2: (0.6, 0, 0.8) and (0, 0, 1)
    values = impl.q.values(STATES, torch.ones(2, 1))
    close(values.detach(), [[1.4, 0.8], [1.0, 1.0]])
    # d w / |w| = (I - w w' / |w|^2) / |w| of the row of state 0, (1, 0, 1): (0.16, ., -0.48 + 0.36...) / 5
    gradient = torch.autograd.grad(values[0, 0], head.parametrizations.weight.original)[0]
    # (1, 0, 1) - 1.4 (0.6, 0, 0.8) = (0.16, 0, -0.12), over 5
    close(gradient[0].flatten(), [0.032, 0.0, -0.024])
    close(gradient[1].flatten(), [0.0, 0.0, 0.0])


def test_zero_weights_stay_finite():
    impl = build(critic_encoder=TABLE, spectral_norm=True)
    with torch.no_grad():
        impl.q.network.mlp.layers[-1].parametrizations.weight.original.zero_()
    assert torch.isfinite(impl.q.values(STATES, torch.ones(2, 1))).all()


def test_targets_follow_the_weights_before_normalisation():
    impl = build(**NORMALISED, tau=0.25)
    name = "network.mlp.layers.0.parametrizations.weight.original"
    before = impl.target_q.state_dict()[name].clone()
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0], discounts=[0.9, 0.9]))
    online = impl.q.state_dict()[name]
    assert not torch.equal(before, online)
    close(impl.target_q.state_dict()[name], (before + 0.25 * (online - before)).tolist())


def test_without_dropout_and_norm_the_critics_are_those_of_bear():
    impl = build()
    batch = make_batch(STATES, [[0.3], [-0.4]], [1.0, 2.0], discounts=[0.9, 0.5])
    ours, metrics = total(impl.train().critic_loss(batch))
    with torch.no_grad():
        target = BEARImpl.compute_target(impl, batch)
    close(ours, total(impl.compute_critic_loss(batch, target)).item())
    close(metrics["certainty"], 1.0)


def test_graphs_and_populations_leave_the_numbers_of_eager_updates():
    def make(weight=0.5, **options):
        return UWAC(
            encoder=MLPEncoder((8,)),
            critic_encoder=MLPEncoder((8,), dropout=0.2),
            vae_encoder=MLPEncoder((8,)),
            warmup_steps=2,
            n_passes=4,
            n_actions=2,
            n_candidates=3,
            variance_weight=weight,
            **{"batch_size": 8, "seed": 0, "device": "cpu", **options},
        )

    check_engines(make)
    data, quiet = small_dataset("continuous"), {"out": None, "progress": False}
    eager = make().fit(data, 20, engine="eager", **quiet).impl.state_tensors()
    population = Population([make(), make(5.0, seed=1)]).fit(data, 20, **quiet)
    assert population.stacks == [[0, 1]]
    for name, value in population[0].impl.state_tensors().items():
        torch.testing.assert_close(value, eager[name], rtol=1e-4, atol=1e-5)


def test_defaults_are_those_of_the_authors():
    front = UWAC(seed=0)
    assert (front.variance_weight, front.n_passes, front.spectral_norm) == (0.5, 100, True)
    assert front.critic_encoder == MLPEncoder(dropout=0.1)
    assert (front.min_weight, front.n_actions, front.n_candidates) == (0.75, 10, 100)
    assert (front.kernel, front.kernel_width, front.mmd_threshold) == ("gaussian", 20.0, 0.07)
    with pytest.raises(ValueError, match=r"n_passes must be in \[2, inf\), got 1"):
        UWAC(n_passes=1)


@pytest.mark.slow
def test_learns_a_bandit_better_than_cloning():
    algo = UWAC(
        critic_encoder=MLPEncoder((32, 32), dropout=0.1),
        vae_encoder=MLPEncoder((32, 32)),
        n_passes=10,
        n_actions=2,
        n_candidates=10,
        mmd_threshold=0.3,
        warmup_steps=100,
        **BANDIT,
    )
    assert bandit_error(algo, 600) < 0.15


def test_uncertain_rows_count_less_in_a_run():
    algo = UWAC(
        encoder=MLPEncoder((8,)),
        critic_encoder=MLPEncoder((8,), dropout=0.5),
        vae_encoder=MLPEncoder((8,)),
        n_passes=20,
        warmup_steps=2,
        batch_size=8,
        seed=0,
        device="cpu",
    )
    algo.fit(small_dataset("continuous"), 10, out=None, progress=False)
    assert 0.0 < algo.history[-1]["certainty"] < 0.999
    first, second = (algo.predict(np.zeros((3, 4), np.float32)) for _ in range(2))
    np.testing.assert_array_equal(first, second)

"""EDAC by hand: the critics' gradients by the action, their alignment, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_table
from torch import nn

from offlinekit.algos import EDAC, SACN, MLPEncoder
from offlinekit.nn import losses

BATCH = make_batch(STATES, torch.zeros(2, 2))
SLOPES = [
    [3.0, 4.0],
    [1.0, 0.0],
    [0.0, -2.0],
]  # Of critics that are linear: unit (0.6, 0.8), (1, 0), (0, -1).


def build(n_critics=2, **options):
    """Critics Q_k = (k + 1) + slope_k a at both states."""
    options = {"encoder": TABLE, "n_critics": n_critics, "seed": 0, "device": "cpu", **options}
    impl = EDAC(**options).build(continuous_dataset(action_size=2)).impl
    if options["encoder"] is TABLE:
        table = [[[k + 1.0], [k + 1.0], [x], [y]] for k, (x, y) in enumerate(SLOPES[:n_critics])]
        set_table(impl.q, table)
    return impl


def test_alignment_is_the_sum_of_cosines_over_the_other_members():
    # Two: 2 * 0.6 / 1. Three: 2 * (0.6 - 0.8 + 0) / 2.
    for n_critics, expected in ((2, 1.2), (3, -0.2)):
        _, metrics = total(build(n_critics).compute_critic_loss(BATCH, torch.zeros(2)))
        close(metrics["gradient_alignment"], expected)
        assert not any(metric.requires_grad for metric in metrics.values())


def test_loss_is_the_temporal_difference_and_eta_times_the_alignment():
    returned = build(eta=2.0).compute_critic_loss(BATCH, torch.tensor([1.0, 0.0]))
    loss, metrics = total(returned)
    # Values 1 and 2: (0 + 1) / 2 + (1 + 4) / 2 = 3
    close(metrics["td_loss"], 3.0)
    close(loss, 3.0 + 2.0 * 1.2)
    close(row_losses(returned), [[0.0, 1.0], [1.0, 4.0]])


def test_gradient_turns_the_critics_apart():
    impl = build(eta=2.0)
    loss, _ = total(impl.compute_critic_loss(BATCH, torch.tensor([1.0, 2.0])))
    # Temporal differences (0, -1) and (1, 0): 2 * error / 2 at the states, nothing at actions of 0.
    # d 2 cos / d slope_1 = 2 (u_2 - cos u_1) / |slope_1| = 2 ((1, 0) - 0.6 (0.6, 0.8)) / 5 = (0.256, -0.192)
    # d 2 cos / d slope_2 = 2 (u_1 - cos u_2) / |slope_2| = 2 ((0.6, 0.8) - 0.6 (1, 0)) = (0, 1.6)
    expected = [[[0.0], [-1.0], [0.512], [-0.384]], [[1.0], [0.0], [0.0], [3.2]]]
    close(head_gradients(loss, impl.q)[0], expected)


def test_alignment_is_a_mean_over_rows_of_each_rows_sum():
    gradients = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[3.0, 0.0], [0.0, -4.0]]])
    # Row 0 in parallel, row 1 opposed.
    close(losses.gradient_alignment(gradients), [2.0, -2.0])
    close(losses.gradient_alignment(gradients[:1]), [0.0, 0.0])


def test_a_flat_critic_has_no_direction():
    impl = build()
    set_table(impl.q, [[[1.0], [1.0], [0.0], [0.0]], [[1.0], [1.0], [1.0], [0.0]]])
    loss, metrics = total(impl.compute_critic_loss(BATCH, torch.ones(2)))
    close(metrics["gradient_alignment"], 0.0)
    assert torch.isfinite(head_gradients(loss, impl.q)[0]).all()


def own_features(space):
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh())


@pytest.mark.parametrize("encoder", [MLPEncoder((8, 8), layer_norm=True, activation="tanh"), own_features])
@pytest.mark.parametrize("options", [{}, {"q_function": "qr", "n_quantiles": 3}], ids=str)
def test_action_gradients_are_those_of_each_member(encoder, options):
    impl = build(3, encoder=encoder, **options)
    generator = torch.Generator().manual_seed(0)
    states, actions = torch.randn(5, 2, generator=generator), torch.randn(5, 2, generator=generator)
    outputs, gradients = impl.q.action_gradients(states, actions)
    close(outputs, impl.q(states, actions).tolist())
    asked = actions.clone().requires_grad_()
    for member in range(3):
        values = impl.q.values(states, asked)[member]
        expected = torch.autograd.grad(values.sum(), asked, create_graph=True)[0]
        close(gradients[member], expected.tolist())
        # They can be differentiated once more, as if they had been written down.
        weights = next(impl.q.network.mlp.parameters())
        found, wanted = (
            torch.autograd.grad(g.square().sum(), weights, retain_graph=True)[0]
            for g in (gradients[member], expected)
        )
        close(found, wanted.tolist(), atol=1e-4)


def test_eta_zero_is_sac_n():
    edac, sacn = (
        algo(encoder=MLPEncoder((8,)), n_critics=3, seed=3, device="cpu", batch_size=8, **own)
        for algo, own in ((EDAC, {"eta": 0.0}), (SACN, {}))
    )
    for algo in (edac, sacn):
        algo.fit(continuous_dataset(64), 5, out=None, progress=False)
    close(
        edac.impl.policy.network.mlp.layers[0].weight, sacn.impl.policy.network.mlp.layers[0].weight.tolist()
    )
    states = np.zeros((1, 2), np.float32)
    np.testing.assert_allclose(edac.predict(states), sacn.predict(states), atol=1e-6)


def test_the_term_lowers_the_alignment_of_critics_that_agree():
    impl = build(critic_learning_rate=1e-2)
    set_table(impl.q, [[[1.0], [1.0], [1.0], [0.1]], [[1.0], [1.0], [1.0], [-0.1]]])
    critic = next(o for o in impl.objectives if o.name == "critic")
    batch = BATCH._replace(rewards=torch.ones(2))
    before = critic.minimize(batch)["gradient_alignment"]
    for _ in range(50):
        after = critic.minimize(batch)["gradient_alignment"]
    assert before > 1.9
    assert after < 1.0


def test_order_is_temperature_actor_critics():
    assert [o.name for o in build().objectives] == ["temperature", "actor", "critic"]
    front = EDAC(seed=0)
    assert (front.eta, front.n_critics) == (1.0, 10)


def test_learns_a_bandit_better_than_cloning():
    algo = EDAC(initial_temperature=0.01, n_critics=3, eta=0.01, **BANDIT)
    assert bandit_error(algo, 400) < 0.12

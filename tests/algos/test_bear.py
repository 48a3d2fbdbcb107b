"""BEAR: the discrepancy, target, losses, their phases and the weight that bounds them, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, PENDULUM, bandit_error, pendulum_return
from table_networks import FIRST, SECOND, STATES, TABLE, set_constant, set_table

from offlinekit.algos import BEAR, MLPEncoder
from offlinekit.algos.torch.bear_impl import BEARImpl
from offlinekit.nn import losses

NOISE = np.array(
    [-1.0, 2.0]
)  # Of the policy's two actions, the same in both states; e^0.5 to the VAE's latents.


def build(**options: object) -> BEARImpl:
    """u = (0.3, -0.2) + 0.5 noise; target policy (0.1, 0.4) + 0.25 noise; the VAE decodes u = first latent / 2."""
    options = {"warmup_steps": 0, "n_matched": 2, "n_actions": 2, **options}
    algo = BEAR(encoder=TABLE, vae_encoder=None, seed=0, device="cpu", **options)
    impl = algo.build(continuous_dataset()).impl
    set_table(impl.policy, [[0.3, math.log(0.5)], [-0.2, math.log(0.5)]])
    set_table(impl.target_policy, [[0.1, math.log(0.25)], [0.4, math.log(0.25)]])
    set_table(impl.vae.decoder, [[0.0], [0.0], [0.5], [0.0]])
    impl.random.normal = lambda *shape: (
        torch.tensor(NOISE).float().view(-1, *(1,) * (len(shape) - 1)).expand(shape)
    )
    return impl


GENERATED = np.array([-0.25, 0.25])  # Latents (-1, 2) clipped to +-0.5, halved: u of the model.


def matched(means: tuple[float, ...] = (0.3, -0.2)) -> np.ndarray:
    """Returns u of the policy, [2 draws, 2 states]."""
    return np.array(means) + 0.5 * NOISE[:, None]


def laplacian(u: np.ndarray, width: float = 20.0) -> np.ndarray:
    """Returns the discrepancy of each state, term by term, from GENERATED."""
    x, y = u.T[..., None], GENERATED[None, :, None]

    def mean(some, others):
        return np.exp(-np.abs(some - np.swapaxes(others, 1, 2)) / (2 * width)).mean((1, 2))

    return np.sqrt(mean(x, x) + mean(y, y) - 2 * mean(x, y) + 1e-6)


def slopes(u: np.ndarray, width: float = 20.0) -> np.ndarray:
    """Returns d discrepancy / d u by differences, [2 draws, 2 states]."""
    found = np.zeros_like(u)
    for m in range(2):
        step = np.zeros_like(u)
        step[m] = 1e-5
        found[m] = (laplacian(u + step, width) - laplacian(u - step, width)) / 2e-5
    return found


def test_discrepancy_of_two_pairs_by_hand():
    first, second = torch.tensor([0.0, 2.0]).view(2, 1, 1), torch.tensor([1.0, 3.0]).view(2, 1, 1)
    # Distances 0, 2, 2, 0 within each; 1, 3, 1, 1 between: with width 1/2, k = e^-distance
    near = 2 * (2 + 2 * math.exp(-2)) / 4 - 2 * (3 * math.exp(-1) + math.exp(-3)) / 4
    close(losses.maximum_mean_discrepancy(first, second, "laplacian", 0.5), [math.sqrt(near + 1e-6)])
    # Gaussian: squares 0, 4, 4, 0 and 1, 9, 1, 1
    near = 2 * (2 + 2 * math.exp(-4)) / 4 - 2 * (3 * math.exp(-1) + math.exp(-9)) / 4
    close(losses.maximum_mean_discrepancy(first, second, "gaussian", 0.5), [math.sqrt(near + 1e-6)])


def test_discrepancy_sums_dimensions_inside_the_kernel_and_rows_stay_apart():
    first, second = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    # Row 0: 2 - 2 e^-(1 + 2); row 1: the same sample, sqrt(1e-6)
    expected = [math.sqrt(2 - 2 * math.exp(-3) + 1e-6), 1e-3]
    close(losses.maximum_mean_discrepancy(first, second, "laplacian", 0.5), expected)


def test_target_is_the_best_of_the_target_policys_actions_by_the_mixed_target_critics():
    impl = build(min_weight=0.75)
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.target_q, [FIRST, SECOND])
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    actions = np.tanh(np.array([0.4, 0.1]) + 0.25 * NOISE[:, None])  # [M, B]
    first, second = np.array([2.0, 1.0]) + actions, np.array([0.0, 2.0]) + 4 * actions
    mixed = 0.75 * np.minimum(first, second) + 0.25 * np.maximum(first, second)
    close(impl.compute_target(batch), np.array([1.0, 2.0]) + np.array([0.9, 0.5]) * mixed.max(0))
    close(impl.compute_target(batch._replace(discounts=torch.zeros(2))), [1.0, 2.0])


def test_quantile_critics_learn_from_one_sample():
    impl = build(q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 6.0], [1.0, 3.0]])
    # Means 3 and 2: 0.75 * 2 + 0.25 * 3 = 2.25; nothing at the terminal row
    batch = make_batch(STATES, [[0.0]] * 2, [1.0, 2.0], discounts=[1.0, 0.0])
    close(impl.compute_target(batch), [[3.25, 2.0]])


def test_actor_loss_and_its_gradient():
    impl = build()
    set_table(impl.q, [FIRST, [[1.0], [0.0], [4.0]]])  # The lowest of each action alone is another one.
    impl.log_alpha.data.fill_(math.log(3.0))
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss, metrics = total(returned)
    u = matched()
    distances, actions = laplacian(u), np.tanh(u)
    # Each critic's mean over the two actions, then the lowest: the first in state 0, the second in state 1
    first, second = np.array([1.0, 2.0]) + actions.mean(0), np.array([1.0, 0.0]) + 4 * actions.mean(0)
    assert (first < second).tolist() == [True, False]
    close(loss, 3 * distances.mean() - np.minimum(first, second).mean())
    close(row_losses(returned), 3 * distances - np.minimum(first, second))
    close(metrics["mmd"], distances.mean())
    assert not metrics["mmd"].requires_grad
    # d / d u = (3 slope - Q's slope of a * (1 - a^2) / 2 draws) / 2 rows; u = mean + 0.5 noise
    by_u = (3 * slopes(u) - np.array([1.0, 4.0]) * (1 - actions**2) / 2) / 2
    by_log_std = (by_u * 0.5 * NOISE[:, None]).sum(0)
    close(head_gradients(loss, impl.policy)[0], np.stack([by_u.sum(0), by_log_std]), atol=1e-4)


def test_warmup_loss_is_the_weighted_discrepancy_alone():
    impl = build(kernel_width=2.0)
    set_constant(impl.q, [[100.0], [100.0]])
    impl.log_alpha.data.fill_(math.log(3.0))
    returned = impl.compute_warmup_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss, metrics = total(returned)
    close(loss, 3 * laplacian(matched(), 2.0).mean())
    close(row_losses(returned), 3 * laplacian(matched(), 2.0))
    close(metrics["mmd"], laplacian(matched(), 2.0).mean())
    by_u = 3 * slopes(matched(), 2.0) / 2
    close(head_gradients(loss, impl.policy)[0][0], by_u.sum(0), atol=1e-4)


def test_actions_are_compared_before_tanh():
    impl = build()
    impl.random.normal = lambda *shape: torch.zeros(shape)
    set_table(impl.policy, [[3.0, 0.0], [-4.0, 0.0]])
    # Latents of zero decode to u = 0: the distance is that of 3 and 4, not of their tanh
    expected = np.sqrt(2 - 2 * np.exp(-np.array([3.0, 4.0]) / 40) + 1e-6)
    close(impl.discrepancies(STATES, impl.draw(STATES)), expected)


def test_gaussian_kernel_is_chosen_by_name():
    impl = build(kernel="gaussian")
    impl.random.normal = lambda *shape: torch.zeros(shape)
    set_table(impl.policy, [[3.0, 0.0], [-4.0, 0.0]])
    expected = np.sqrt(2 - 2 * np.exp(-np.array([9.0, 16.0]) / 40) + 1e-6)
    close(impl.discrepancies(STATES, impl.draw(STATES)), expected)


def test_alpha_grows_beyond_the_threshold_and_shrinks_below():
    batch = make_batch(STATES, [[0.9], [0.9]])
    distance = laplacian(matched()).mean()
    for threshold in (distance / 2, distance * 2):
        impl = build(mmd_threshold=float(threshold))
        impl.log_alpha.data.fill_(math.log(2.0))
        returned = impl.compute_alpha_loss(batch)
        loss, metrics = total(returned)
        close(loss, -2 * (distance - threshold))
        close(row_losses(returned), -2 * (laplacian(matched()) - threshold))
        close(metrics["alpha"], 2.0)
        close(torch.autograd.grad(loss, impl.log_alpha)[0], -2 * (distance - threshold))


@pytest.mark.parametrize(("log_alpha", "excess"), [(10.0, 1), (-5.0, -1)])
def test_alpha_is_held_at_its_bounds_and_comes_back(log_alpha, excess):
    batch = make_batch(STATES, [[0.9], [0.9]])
    distance = laplacian(matched()).mean()
    for sign, still in ((excess, True), (-excess, False)):
        impl = build(mmd_threshold=float(distance / 2 if sign > 0 else distance * 2))
        impl.log_alpha.data.fill_(log_alpha)
        loss, _ = total(impl.compute_alpha_loss(batch))
        assert (float(torch.autograd.grad(loss, impl.log_alpha)[0]) == 0) == still
    impl.log_alpha.data.fill_(2 * log_alpha)
    close(impl.alpha(), math.exp(log_alpha), atol=0.1)


def test_losses_of_the_policy_leave_vae_critics_and_alpha_alone():
    impl = build(warmup_steps=1)
    others = [*impl.vae.parameters(), *impl.q.parameters(), impl.log_alpha]
    before = [p.clone() for p in others]
    for objective in impl.objectives:
        if objective.name in ("warmup", "actor"):
            objective.minimize(make_batch(STATES, [[0.9], [0.9]]))
    assert all(torch.equal(a, b) for a, b in zip(before, others, strict=True))


def test_the_policy_learns_the_discrepancy_alone_at_first():
    impl = build(warmup_steps=2)
    batch = make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0])
    phases = [list(impl.update(batch)) for _ in range(3)]
    assert phases[:2] == [["vae_loss", "critic_loss", "warmup_loss", "mmd", "alpha_loss", "alpha"]] * 2
    assert phases[2] == ["vae_loss", "critic_loss", "actor_loss", "mmd", "alpha_loss", "alpha"]


def test_both_targets_follow():
    impl = build(tau=0.25)
    set_constant(impl.target_q, [[4.0], [8.0]])
    set_constant(impl.target_policy, [1.0, 2.0])
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))
    for target, online, before in (
        (impl.target_q, impl.q, torch.tensor([[[4.0]], [[8.0]]])),
        (impl.target_policy, impl.policy, torch.tensor([1.0, 2.0])),
    ):
        bias = online.network.mlp.layers[-1].bias
        close(target.network.mlp.layers[-1].bias, 0.75 * before + 0.25 * bias)


def test_acts_by_the_candidate_that_the_first_critic_finds_best():
    impl = build(n_candidates=2)
    impl.noise.copy_(torch.tensor(NOISE)[:, None, None])
    low, high = np.tanh(matched())
    for slope, best in ((1.0, high), (-1.0, low)):
        set_table(impl.q, [[[0.0], [0.0], [slope]], [[0.0], [0.0], [-9 * slope]]])
        close(impl.predict_best_action(STATES), best[:, None])
        close(impl.sample_action(STATES), best[:, None])


def test_learns_a_bandit_better_than_cloning():
    algo = BEAR(
        vae_encoder=MLPEncoder((32, 32)),
        mmd_threshold=0.3,
        warmup_steps=50,
        kl_weight=0.05,
        alpha_learning_rate=1e-2,
        **BANDIT,
    )
    assert bandit_error(algo, 500) < 0.12


@pytest.mark.slow
def test_beats_cloning_on_recorded_pendulum():
    """Seeds 0 to 2 earn -331 to -552 with normalised critics and standardised observations, and far apart without."""
    own = {
        "vae_encoder": MLPEncoder((64, 64)),
        "mmd_threshold": 0.2,
        "alpha_learning_rate": 1e-2,
        "n_actions": 4,
    }
    own |= {"critic_encoder": MLPEncoder((64, 64), layer_norm=True), "observation_scaler": "standard"}
    assert pendulum_return(BEAR(warmup_steps=500, **{**PENDULUM, **own, "batch_size": 128}), 2_000) > -700

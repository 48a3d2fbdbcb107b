"""Options that the authors' code has and the losses' own pages do not: each by hand, and off by default."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from loss_checks import close, normals, total
from small_data import continuous_dataset, make_batch
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import (
    AWAC,
    CQL,
    EDAC,
    IDQL,
    LBSAC,
    SAC,
    SACN,
    XQL,
    CalQL,
    DiffusionQL,
    InAC,
    MLPEncoder,
)
from offlinekit.datasets import MDPDataset
from offlinekit.nn.policies import GaussianPolicy
from offlinekit.testing import check_engines

ON_CPU = {"seed": 0, "device": "cpu", "encoder": TABLE}


def built(front, **options):
    return front(**{**ON_CPU, **options}).build(continuous_dataset()).impl


# The floor of a squashed Gaussian's log standard deviation.


@pytest.mark.parametrize("front", [SAC, SACN, EDAC, LBSAC])
def test_log_std_is_held_above_its_floor(front):
    for floor, expected in ((-20.0, -7.0), (-5.0, -5.0)):
        impl = built(front, log_std_min=floor, n_critics=2)
        set_constant(impl.policy, [0.0, -7.0])
        close(impl.policy(STATES)[1], [[expected], [expected]])
    with pytest.raises(ValueError, match="log_std_min"):
        front(log_std_min=2.0)


# XQL: the value's own network, the Huber loss, and actions beside the data's.


def xql(**options):
    """min Q_target = (5 + a, 1 - a), V = (4, 4)."""
    impl = built(XQL, temperature=2.0, **options)
    set_table(impl.target_q, [[[5.0], [9.0], [1.0]], [[9.0], [1.0], [-1.0]]])
    set_table(impl.value, [[4.0], [4.0]])
    return impl


def gumbel(errors, temperature=2.0):
    """Returns the mean of (exp(z) - z - 1) / exp(max z) over all errors."""
    z = np.asarray(errors) / temperature
    return float(((np.exp(z) - z - 1) / np.exp(max(z.max(), -1.0))).mean())


def test_value_encoder_is_the_values_alone():
    impl = XQL(
        encoder=MLPEncoder((4,)), value_encoder=MLPEncoder((5,), layer_norm=True), seed=0, device="cpu"
    )
    impl = impl.build(continuous_dataset()).impl
    assert "LayerNorm" in repr(impl.value)
    assert impl.value.mlp.layers[0].out_features == 5
    assert "LayerNorm" not in repr(impl.q)
    assert impl.q.network.mlp.layers[0].weight.shape[-1] == 4
    assert built(XQL, encoder=MLPEncoder((4,))).value.mlp.layers[0].out_features == 4


def test_input_norm_of_the_value():
    impl = built(IDQL, critic_encoder=TABLE, value_encoder=MLPEncoder((), input_norm=True))
    set_table(impl.value, [[1.0], [0.0]])
    # (3, -1): mean 1, deviation 2 -> (1, -1), of which the table takes the first.
    close(impl.value(torch.tensor([[3.0, -1.0]])), [[1.0]])


def test_huber_width_of_the_critics():
    batch = make_batch(STATES, [[0.0], [0.0]])
    for width, expected in ((None, (9.0 + 900.0) / 2), (20.0, (4.5 + 20.0 * (30.0 - 10.0)) / 2)):
        impl = built(XQL, huber_width=width, n_critics=1)
        set_table(impl.q, [[[3.0], [30.0], [0.0]]])
        close(total(impl.compute_critic_loss(batch, torch.zeros(2))), expected)


def test_noise_on_the_actions_of_the_value_is_clipped_and_so_are_they():
    # Noise 4 * 0.25 = 1 is clipped to 0.5, -4 * 0.25 to -0.5; 0.8 + 0.5 is clipped to 1, so a = (1, -0.7).
    impl = xql(action_noise=0.25)
    impl.random.normal = lambda *shape: torch.tensor([[4.0], [-4.0]]).reshape(shape)
    # min Q_target = (5 + 1, 1 + 0.7); V = 4: errors (2, -2.3)
    loss = impl.compute_value_loss(make_batch(STATES, [[0.8], [-0.2]]))
    close(total(loss)[0], gumbel([2.0, -2.3]))


def test_uniform_actions_stand_beside_the_datas():
    impl = xql(n_random_actions=2)
    drawn = torch.tensor([[[1.0], [0.5]], [[-1.0], [0.0]]])
    impl.random.uniform = lambda *shape, low, high: drawn.reshape(shape)
    # Data: (5, 1); uniform: (6, 0.5) and (4, 1). Errors to V = 4.
    loss = impl.compute_value_loss(make_batch(STATES, [[0.0], [0.0]]))
    close(total(loss)[0], gumbel([1.0, -3.0, 2.0, -3.5, 0.0, -3.0]))


def test_uniform_actions_fill_the_box():
    impl = xql(n_random_actions=400)
    set_table(impl.target_q, [[[0.0], [0.0], [1.0]]] * 2)
    values = impl.values_to_match(make_batch(STATES, [[0.0], [0.0]]))[1:]
    assert -1.0 <= values.min() < -0.98
    assert 0.98 < values.max() <= 1.0


def test_value_takes_as_many_steps_as_asked_for():
    names = [objective.name for objective in built(XQL, n_value_updates=3).build_objectives()]
    assert names == ["value", "value", "value", "actor", "critic"]


def test_steps_of_the_value_are_steps():
    batch = make_batch(STATES, [[0.0], [0.0]])
    values = []
    for steps in (1, 3):
        impl = xql(n_value_updates=steps)
        before = impl.value(STATES).clone()
        impl.update(batch)
        values.append((impl.value(STATES) - before).abs().max())
    assert values[1] > 2.0 * values[0]  # Each step of Adam moves about as far as the first.


# CQL and Cal-QL: the order of the best action and the lowest critic.


def test_max_backup_by_action_takes_the_best_of_the_lowest():
    # Q1 = a, Q2 = 1 - 2 a at a' = (0, 1): by critic (1, 1) -> 1; by action (0, -1) -> 0.
    for order, expected in (("critic", 1.0), ("action", 0.0)):
        impl = built(CQL, max_backup=True, n_actions=2, max_backup_order=order)
        set_table(impl.target_q, [[[0.0], [0.0], [1.0]], [[1.0], [1.0], [-2.0]]])
        actions = torch.tensor([[[0.0], [0.0]], [[1.0], [1.0]]])
        impl.policy.sample = lambda observations, *n, a=actions: (a, torch.zeros(2, 2))
        batch = make_batch(STATES, [[0.0], [0.0]], [2.0, 0.0], discounts=[0.5, 0.0])
        close(impl.compute_target(batch), [2.0 + 0.5 * expected, 0.0])


def sparse_data():
    """Three episodes: one that fails, one that earns 1 at its end, one that fails and is cut off."""
    rewards = np.array([0, 0, 0, 0, 1, 0, 0], np.float32)
    ends = np.array([0, 0, 1, 0, 1, 0, 1], bool)
    actions = np.zeros((7, 1), np.float32)
    return MDPDataset(
        np.eye(7, dtype=np.float32), actions, rewards, rewards > 0, ends, timeouts=ends & (rewards == 0)
    )


def test_returns_of_failures_have_no_end():
    data = sparse_data()
    scaled = {"reward_scaler": {"type": "shift", "shift": -0.5, "multiplier": 10.0}, "gamma": 0.9}
    # Rewards 10 (r - 0.5): -5, and 5 at the goal. Failed: -5 / (1 - 0.9) = -50; the other -5 + 0.9 * 5 = -0.5.
    endless = [-50.0, -50.0, -50.0, -0.5, 5.0, -50.0, -50.0]
    summed = [-13.55, -9.5, -5.0, -0.5, 5.0, -9.5, -5.0]
    for failed, expected in (("endless", endless), ("episode", summed)):
        algo = CalQL(failed_return=failed, batch_size=200, **ON_CPU, **scaled).build(data)
        batch = algo.make_sampler(data).sample()
        rows = batch.observations.argmax(-1)
        assert set(rows.tolist()) <= set(range(7))
        close(batch.returns, torch.tensor(expected)[rows])


def test_returns_without_an_end_need_a_discount():
    algo = CalQL(failed_return="endless", gamma=1.0, **ON_CPU).build(sparse_data())
    with pytest.raises(ValueError, match="need gamma below 1"):
        algo.make_sampler(sparse_data())


# EDAC: the best of several actions, by the online critics.


def test_edacs_max_backup_is_by_the_online_critics_without_entropy():
    impl = built(EDAC, max_backup=True, n_actions=2, n_critics=2)
    set_table(impl.q, [[[0.0], [0.0], [1.0]], [[1.0], [1.0], [-2.0]]])
    set_constant(impl.target_q, [[100.0], [100.0]])
    impl.policy.sample = lambda observations, *n: (
        torch.tensor([[[0.0], [0.5]], [[1.0], [0.5]]]),
        torch.full((2, 2), 7.0),
    )
    # Row 1: Q1 (0, 1) -> 1, Q2 (1, -1) -> 1: 1. Row 2: Q1 0.5, Q2 0: 0.
    batch = make_batch(STATES, [[0.0], [0.0]], [2.0, 3.0], discounts=[0.5, 0.9])
    close(impl.compute_target(batch), [2.5, 3.0])
    assert built(EDAC, n_critics=2).config.max_backup is False


# Diffusion-QL: the average waits.


def test_the_average_stays_the_first_policy_at_the_start():
    moved = []
    impl = built(
        DiffusionQL, actor_target_interval=2, actor_target_start=4, diffusion_steps=1, n_candidates=1
    )
    first = [parameter.clone() for parameter in impl.target_policy.parameters()]
    for _ in range(6):
        impl.update(make_batch(STATES, [[0.5], [-0.5]]))
        moved.append(not all(map(torch.equal, first, impl.target_policy.parameters())))
    assert moved == [False] * 5 + [True]


# AWAC: a mean that is the network itself.


def test_a_mean_without_tanh_and_a_lower_floor():
    for squash, floor, mean, log_std in ((True, -5.0, math.tanh(1.5), -5.0), (False, -20.0, 1.5, -9.0)):
        impl = built(AWAC, squash_mean=squash, log_std_min=floor)
        set_constant(impl.policy, [1.5])
        impl.policy.log_stds.data.fill_(-9.0)
        means, log_stds = impl.policy(STATES)
        close(means, [[mean], [mean]])
        close(log_stds, [log_std])
        close(impl.policy.mode(STATES), [[min(mean, 1.0)]] * 2)
        # log N(1; mean, s) = -((1 - mean) / s)^2 / 2 - log s - log(2 pi) / 2
        score = (1.0 - mean) * math.exp(-log_std)
        expected = -0.5 * score**2 - log_std - 0.5 * math.log(2 * math.pi)
        found = impl.policy.log_prob(STATES, torch.ones(2, 1))
        assert found.tolist() == pytest.approx([expected] * 2, rel=1e-4)
        drawn, _ = impl.policy.sample(STATES)
        assert drawn.abs().max() <= 1.0


# InAC: critics of the value, actions without clipping, and a deviation kept by a sigmoid.


def test_inacs_value_learns_by_the_critics_asked_for():
    for critics, expected in (("online", 2.0), ("target", 7.0)):
        impl = built(InAC, value_critics=critics)
        set_constant(impl.q, [[2.0], [3.0]])
        set_constant(impl.target_q, [[7.0], [8.0]])
        impl.policy.sample = lambda observations: (torch.zeros(2, 1), torch.tensor([1.0, -1.0]))
        # min Q - 0.33 log pi
        close(impl.soft_values(make_batch(STATES, [[0.0], [0.0]])), [expected - 0.33, expected + 0.33])


def test_inacs_actions_are_valued_unclipped_but_never_acted():
    impl = built(InAC, clip_actions=False)
    set_constant(impl.policy, [0.0])
    impl.random.normal = lambda *shape: torch.full(shape, 3.0)
    close(impl.policy.sample(STATES)[0], [[3.0], [3.0]])  # Mean 0, deviation 1.
    close(impl.sample_action(STATES), [[1.0], [1.0]])
    clipped = built(InAC)
    set_constant(clipped.policy, [0.0])
    clipped.random.normal = impl.random.normal
    close(clipped.policy.sample(STATES)[0], [[1.0], [1.0]])


def test_inacs_deviation_starts_in_the_middle_of_its_range():
    impl = built(InAC, log_std="sigmoid")
    for policy in (impl.policy, impl.behaviour):
        close(policy(STATES)[1], [-3.0])  # -6 + 6 / 2
    impl.policy.log_stds.data.fill_(math.log(2.0))
    close(impl.policy(STATES)[1], [-2.0])  # -6 + 6 * 2 / 3
    close(built(InAC).policy(STATES)[1], [0.0])


def test_a_policys_density_is_that_of_its_draws():
    impl = built(InAC, log_std="sigmoid")
    assert isinstance(impl.policy, GaussianPolicy)
    set_constant(impl.policy, [0.0])
    state = impl.random.generator.get_state()
    actions, log_probs = impl.policy.sample(STATES)
    noise = normals(state, 2, 1)[:, 0]
    close(actions[:, 0], noise * math.exp(-3.0))
    close(log_probs, -0.5 * noise**2 + 3.0 - 0.5 * math.log(2 * math.pi))


# IDQL: a decay of the diffusion alone, and the width of the layers over the step's number.


def test_the_diffusion_alone_decays():
    impl = built(IDQL, critic_encoder=TABLE, actor_weight_decay=0.25)
    decays = {
        objective.name: (objective.optimizer.name, [decay for _, decay in objective.optimizer.groups])
        for objective in impl.objectives
    }
    assert decays["actor"] == ("adamw", [0.25])
    assert decays["value"] == decays["critic"] == ("adam", [0.0])
    plain = built(IDQL, critic_encoder=TABLE).objectives
    assert {objective.optimizer.name for objective in plain} == {"adam"}


def test_width_of_the_layers_over_the_steps_number():
    for width in (128, 256):
        times = built(IDQL, critic_encoder=TABLE, time_width=width).policy.behaviour.times
        assert len(times.frequencies) == width // 4
        shapes = [tuple(layer.weight.shape) for layer in times.layers if hasattr(layer, "weight")]
        assert shapes == [(width, width // 2), (width, width)]


@pytest.mark.parametrize(
    ("front", "options"),
    [
        (XQL, {"n_value_updates": 2, "n_random_actions": 1, "action_noise": 0.1, "huber_width": 20.0}),
        (DiffusionQL, {"actor_target_start": 7}),
        (IDQL, {"actor_weight_decay": 0.1, "value_encoder": MLPEncoder((4,), input_norm=True)}),
    ],
)
def test_options_run_alike_under_every_engine(front, options):
    given = {
        "encoder": MLPEncoder((4,)),
        "critic_encoder": MLPEncoder((4,), layer_norm=True, norm_after=True),
    }
    check_engines(partial(front, **given, **options))

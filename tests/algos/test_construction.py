"""Construction of algorithms beyond their losses: norms, dropout, schedules, copies, decay, noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close
from small_data import continuous_dataset, discrete_dataset, make_batch
from table_networks import STATES, TABLE, set_constant, set_table
from torch import nn

from offlinekit.algos import (
    AWR,
    BEAR,
    BFN,
    FQE,
    FQL,
    IDQL,
    IFQL,
    IQL,
    MSG,
    QC,
    QCFQL,
    UWAC,
    XQL,
    DecisionTransformer,
    DiffusionQL,
    DiscreteDecisionTransformer,
    Dynamics,
    InAC,
    MLPEncoder,
    ReBRAC,
)
from offlinekit.algos.torch.dynamics_impl import LOG_STDS
from offlinekit.datasets import MDPDataset
from offlinekit.nn.diffusion import TimeFeatures
from offlinekit.nn.encoders import ACTIVATIONS
from offlinekit.nn.networks import StackedLayerNorm
from offlinekit.nn.policies import SquashedGaussianPolicy
from offlinekit.nn.random import Dropout
from offlinekit.nn.transformer import ConfiguredDropout

ON_CPU = {"seed": 0, "device": "cpu"}


def built(front, data=None, **options):
    return front(**{**ON_CPU, **options}).build(data or continuous_dataset()).impl


def kinds(module):
    return [type(part) for part in module.modules()]


# Layers.


def test_rebracs_critics_are_normalised_in_each_hidden_layer_and_its_policy_is_not():
    impl = built(ReBRAC)
    assert kinds(impl.q).count(StackedLayerNorm) == kinds(impl.target_q).count(StackedLayerNorm) == 3
    assert not {StackedLayerNorm, nn.LayerNorm} & {*kinds(impl.policy)}


@pytest.mark.parametrize("front", [IQL, XQL, InAC, IFQL])
def test_the_state_value_has_the_critics_encoder_and_so_none_of_the_policys_dropout(front):
    impl = built(front, encoder=MLPEncoder((8,), dropout=0.5), critic_encoder=MLPEncoder((6,)))
    assert Dropout not in kinds(impl.value)
    assert Dropout not in kinds(impl.q)
    assert Dropout in kinds(impl.policy)
    assert impl.value.mlp.layers[0].out_features == 6
    impl.train()
    first, second = impl.value(STATES), impl.value(STATES)
    assert torch.equal(first, second)


def test_activations_by_hand():
    # At 1: GELU Phi(1); SiLU 1 / (1 + 1/e); Mish tanh(log(1 + e)); at -1: ELU 1/e - 1.
    wanted = {
        "relu": (1.0, 0.0),
        "gelu": (0.8413447, -0.1586553),
        "silu": (1 / (1 + math.exp(-1)), -1 / (1 + math.e)),
        "mish": (math.tanh(math.log1p(math.e)), -math.tanh(math.log1p(1 / math.e))),
        "tanh": (math.tanh(1.0), -math.tanh(1.0)),
        "elu": (1.0, math.exp(-1) - 1),
    }
    assert set(wanted) == set(ACTIVATIONS)
    for name, expected in wanted.items():
        close(ACTIVATIONS[name]()(torch.tensor([1.0, -1.0])), expected)


def test_diffusions_are_made_with_mish():
    assert DiffusionQL().encoder.activation == IDQL().encoder.activation == "mish"
    times = TimeFeatures(torch.zeros(1), (1, 1))
    for layer in (times.layers[0], times.layers[2]):
        layer.weight.data.fill_(1.0)
        layer.bias.data.zero_()
    # sin 0 + cos 0 = 1 -> Mish(1) = tanh(log(1 + e))
    close(times(torch.zeros(1, 1)), [[math.tanh(math.log1p(math.e))]])


def test_the_density_at_the_edge_of_the_box_is_that_just_inside():
    impl = built(MSG, encoder=TABLE, n_critics=2)
    assert isinstance(impl.policy, SquashedGaussianPolicy)
    set_constant(impl.policy, [0.0, 0.0])
    # raw = atanh(1 - 1e-6) = log(2e6 - 1) / 2 = 7.2543; log N(raw; 0, 1) - log(1 - tanh(raw)^2),
    # 1 - tanh^2 = 2e-6. The nearest float32 below 1 - 1e-6 moves raw by less than 0.02.
    raw = 0.5 * math.log(2e6 - 1)
    expected = -0.5 * raw**2 - 0.5 * math.log(2 * math.pi) - math.log(2e-6)
    for edge in (-1.0, 1.0):
        found = impl.policy.log_prob(STATES, torch.full((2, 1), edge))
        assert found.tolist() == pytest.approx([expected] * 2, abs=0.2)
    inside = impl.policy.log_prob(STATES, torch.full((2, 1), 1.0 - 1e-5)).tolist()
    raw = 0.5 * math.log(2e5 - 1)
    assert inside == pytest.approx(
        [-0.5 * raw**2 - 0.5 * math.log(2 * math.pi) - math.log(2e-5)] * 2, abs=0.05
    )


# Schedules, copies and defaults.


@pytest.mark.parametrize(
    ("front", "policies", "others"),
    [
        (MSG, {"cloning", "actor"}, {"critic", "temperature"}),
        (FQL, {"flow", "actor"}, {"critic"}),
        (QCFQL, {"flow", "actor"}, {"critic"}),
        (BFN, {"actor"}, {"critic"}),
        (QC, {"actor"}, {"critic"}),
        (IFQL, {"actor"}, {"critic", "value"}),
    ],
)
def test_the_policys_schedule_is_that_of_all_that_acts_and_of_nothing_else(front, policies, others):
    impl = built(front, encoder=MLPEncoder((4,)), actor_lr_schedule="cosine")
    schedules = {objective.name: objective.schedule for objective in impl.objectives}
    assert schedules == {**dict.fromkeys(policies, "cosine"), **dict.fromkeys(others, "constant")}


def test_awrs_value_is_copied_whole_and_only_at_the_intervals():
    data = continuous_dataset()
    algo = AWR(encoder=TABLE, refresh_interval=3, batch_size=4, **ON_CPU).build(data)
    impl, sampler = algo.impl, algo.make_sampler(data)
    impl.learn_data(data, sampler)
    first = [value.clone() for value in impl.target_value.parameters()]
    for step in range(1, 7):
        impl.update(sampler.sample())
        online, copy = list(impl.value.parameters()), list(impl.target_value.parameters())
        if step in (3, 6):
            assert all(map(torch.equal, copy, online))
            first = [value.clone() for value in copy]
        else:
            assert all(map(torch.equal, copy, first))
            assert not all(map(torch.equal, copy, online))


def test_uwac_matches_four_actions_where_bear_matches_more():
    assert UWAC().n_matched == 4 != BEAR().n_matched
    impl = built(UWAC, encoder=TABLE, critic_encoder=MLPEncoder((4,), dropout=0.1))
    assert impl.draw(STATES).shape == (4, 2, 1)


# Transformers.


def test_tokens_drop_out_before_the_first_block():
    impl = built(DecisionTransformer, dropout=0.5, width=64, context=2)
    transformer = impl.policy.transformer
    transformer.blocks, transformer.norm = nn.ModuleList(), nn.Identity()
    tokens, masks = torch.ones(2, 6, 64), torch.ones(2, 6, dtype=torch.bool)
    impl.train()
    dropped = transformer(tokens, masks)
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}  # 1 / (1 - 0.5)
    assert 0.4 < float((dropped == 0.0).float().mean()) < 0.6
    impl.eval()
    assert torch.equal(transformer(tokens, masks), tokens)


def test_attention_drops_weights_and_outputs_and_the_perceptron_its_outputs(monkeypatch):
    """A dropout that doubles in place of dropping shows where each stands."""
    monkeypatch.setattr(ConfiguredDropout, "forward", lambda _, inputs: 2.0 * inputs)
    block = built(DecisionTransformer, width=4, n_heads=1, context=2).policy.transformer.blocks[0]
    tokens, bias = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.zeros(1, 1, 1)
    attention, one = block.attention, torch.eye(4)
    attention.inputs.weight.data = torch.cat([torch.zeros(4, 4), one])  # Queries of 0, values as they come.
    attention.outputs.weight.data = one
    attention.inputs.bias.data.zero_()
    attention.outputs.bias.data.zero_()
    close(attention(tokens, bias), 4 * tokens)  # It sees itself with weight 1: 2 (2 * 1 * v)
    attention.outputs.weight.data.zero_()
    close(block(tokens, bias), tokens + 2 * block.mlp[:-1](block.norms[1](tokens)))


def test_tokens_carry_the_timestep_of_their_step_up_to_the_last_that_is_told_apart():
    policy = built(DecisionTransformer, width=4, context=3, max_timestep=6).policy
    policy.norm = nn.Identity()
    policy.time.weight.data = torch.arange(6.0)[:, None].expand(6, 4).contiguous()
    timesteps, masks = torch.tensor([[0, 4, 9]]), torch.ones(1, 3, dtype=torch.bool)
    placed = policy.placed(torch.ones(1, 3, 3, 4), timesteps, masks)
    # 1 + timestep for each of the three tokens; 9 looks like 5.
    close(placed, (1.0 + torch.tensor([0.0, 4.0, 5.0]))[None, :, None, None].expand(1, 3, 3, 4))


def test_decision_transformers_act_by_the_timesteps_of_the_batch():
    data = continuous_dataset()
    algo = DecisionTransformer(width=8, context=2, batch_size=4, **ON_CPU).build(data)
    batch = algo.make_sampler(data).sample()
    later = batch._replace(timesteps=batch.timesteps + 3)
    assert not torch.allclose(algo.impl.outputs(batch), algo.impl.outputs(later))


def images():
    ends = np.arange(1, 9) % 4 == 0
    return MDPDataset(np.zeros((8, 1, 84, 84), np.uint8), np.arange(8) % 3, np.zeros(8), ends)


@pytest.mark.parametrize("data", [discrete_dataset, images])
def test_weights_of_linear_maps_and_convolutions_alone_decay_in_the_discrete_decision_transformer(data):
    impl = built(DiscreteDecisionTransformer, data(), width=8, n_heads=2, n_layers=1, context=2)
    (objective,) = impl.objectives
    decay_of = {id(p): decay for group, decay in objective.optimizer.groups for p in group}
    kinds = (nn.Linear, nn.Conv2d)
    linear = {id(part.weight) for part in impl.policy.modules() if isinstance(part, kinds)}
    assert any(isinstance(part, nn.Conv2d) for part in impl.policy.modules()) == (data is images)
    parameters = dict(impl.policy.named_parameters())
    assert {id(p) for p in parameters.values()} == set(decay_of)
    for name, parameter in parameters.items():
        assert decay_of[id(parameter)] == (0.1 if id(parameter) in linear else 0.0), name
    assert {"place", "time", "action.weight"} <= {n for n, p in parameters.items() if decay_of[id(p)] == 0.0}
    assert objective.optimizer.name == "adamw"


# Models of what follows, and of what a policy is worth.


def test_fqe_is_the_mean_of_its_critics_in_targets_and_estimates():
    algo = FQE(policy=lambda o: np.zeros((len(o), 1), np.float32), n_critics=2, encoder=TABLE, **ON_CPU)
    data = continuous_dataset()
    impl = algo.build(data).impl
    for q, tables in (
        (impl.target_q, [[[1.0], [5.0], [0.0]], [[4.0], [3.0], [0.0]]]),
        (impl.q, [[[2.0], [6.0], [0.0]], [[10.0], [0.0], [0.0]]]),
    ):
        set_table(q, tables)
    sampled = algo.make_sampler(data).sample()
    batch = sampled._replace(
        observations=STATES,
        actions=torch.zeros(2, 1),
        rewards=torch.tensor([1.0, 0.0]),
        next_observations=STATES,
        discounts=torch.tensor([0.5, 0.9]),
        next_policy_actions=torch.zeros(2, 1, 1),
    )
    # Targets 1 + 0.5 (1 + 4) / 2 and 0.9 (5 + 3) / 2; values (2 + 10) / 2 and (6 + 0) / 2.
    close(impl.compute_target(batch), [2.25, 3.6])
    close(impl.predict_value(STATES, torch.zeros(2, 1)), [6.0, 3.0])


def wide_dynamics():
    """Two equal members that expect a change of 0 with a large deviation."""
    data = continuous_dataset(n_rows=64)
    algo = Dynamics(n_members=2, encoder=TABLE, learned_bounds=False, **ON_CPU).build(data)
    algo.impl.learn_data(data, None)
    set_constant_mlp(algo.impl, [0.0, 0.0, 0.0, 9.0, 9.0, 9.0, 0.0])
    return data, algo


def set_constant_mlp(impl, outputs):
    head = impl.mlp.layers[-1]
    head.weight.data.zero_()
    head.bias.data.copy_(torch.tensor(outputs).expand(2, 1, -1))


def test_members_of_dynamics_draw_noise_of_their_own():
    data, algo = wide_dynamics()
    states = np.broadcast_to(data.observations[:1], (2, 5, 2))
    following, rewards, _ = algo.sample_steps(
        states, np.zeros((2, 5, 1), np.float32), np.random.default_rng(0)
    )
    assert not np.array_equal(following[0], following[1])
    assert not np.array_equal(rewards[0], rewards[1])
    assert len({tuple(row) for row in following.reshape(-1, 2).round(5)}) > 5  # Rows differ, too.
    assert not np.array_equal(following[..., 0], following[..., 1])


def test_dynamics_stay_inside_the_range_of_the_data():
    data, algo = wide_dynamics()
    states = np.broadcast_to(data.observations[:1], (2, 400, 2))
    following, rewards, _ = algo.sample_steps(
        states, np.zeros((2, 400, 1), np.float32), np.random.default_rng(0)
    )
    low, high = data.observations.min(0), data.observations.max(0)
    assert following.min((0, 1)) == pytest.approx(low, abs=1e-6)
    assert following.max((0, 1)) == pytest.approx(high, abs=1e-6)
    assert (rewards.min(), rewards.max()) == pytest.approx((data.rewards.min(), data.rewards.max()), abs=1e-6)


def test_deviations_of_dynamics_are_bounded():
    _, algo = wide_dynamics()
    for raw, bound in ((100.0, LOG_STDS[1]), (-100.0, LOG_STDS[0])):
        set_constant_mlp(algo.impl, [0.0] * 3 + [raw] * 3 + [0.0])
        found = algo.impl.outcomes(torch.zeros(1, 2), torch.zeros(1, 1)).log_stds
        close(found, torch.full((2, 1, 3), bound), atol=0.01)


def test_dynamics_refuse_a_discount_of_0_by_which_no_end_could_be_told():
    with pytest.raises(ValueError, match="gamma must be above 0"):
        built(Dynamics, gamma=0.0)
    batch = make_batch(STATES, [[0.0], [0.0]], discounts=[0.9, 0.0], next_known=torch.ones(2))
    impl = built(Dynamics, encoder=TABLE, n_members=2, gamma=0.01)
    assert impl.compute_model_loss(batch) is not None

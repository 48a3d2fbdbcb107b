"""Networks: an ensemble equals its members one by one, and dropout draws from the agent's own numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gymnasium import spaces
from loss_checks import close
from torch import Tensor, nn

from offlinekit.algos import CNNEncoder, MLPEncoder, ResidualEncoder
from offlinekit.nn.encoders import ModuleEncoder
from offlinekit.nn.isolation import initialised
from offlinekit.nn.networks import MLP, Ensemble, Network, QFunction, Residual, StackedLinear
from offlinekit.nn.policies import DeterministicPolicy
from offlinekit.nn.random import Dropout, Random, copy_module
from offlinekit.types import map_tree

MEMBERS, ROWS, ACTIONS = 3, 5, 2
VECTOR = spaces.Box(-1.0, 1.0, (4,))
CHANNELS_FIRST = spaces.Box(0, 255, (3, 12, 10), "uint8")
CHANNELS_LAST = spaces.Box(0, 255, (12, 10, 3), "uint8")
NESTED = spaces.Dict({"view": CHANNELS_FIRST, "body": VECTOR})
PAIR = spaces.Tuple((VECTOR, spaces.Dict({"gauge": spaces.Box(-1.0, 1.0, ())})))
FILTERS = ((4, 3, 2), (6, 2, 1))
MLP_SMALL = MLPEncoder((8, 7))
CNN_SMALL = CNNEncoder((8,), filters=FILTERS)


@pytest.fixture(autouse=True)
def _same_numbers_each_time():
    with initialised(0):
        yield


def own_module(space: spaces.Space[Any]) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6))


CASES = {
    "vector": (MLP_SMALL, VECTOR),
    "layer norm": (MLPEncoder((8, 7), layer_norm=True), VECTOR),
    "tanh": (MLPEncoder((8,), activation="tanh"), VECTOR),
    "no hidden layer": (MLPEncoder(()), VECTOR),
    "residual": (ResidualEncoder((8, 8, 5), dropout=0.0), VECTOR),
    "no block": (ResidualEncoder(()), VECTOR),
    "image, channels first": (CNN_SMALL, CHANNELS_FIRST),
    "image, channels last": (CNN_SMALL, CHANNELS_LAST),
    "dict": (CNN_SMALL, NESTED),
    "tuple": (MLP_SMALL, PAIR),
    "own module": (ModuleEncoder(create=own_module), VECTOR),
    "own module, hidden layer": (ModuleEncoder((8,), create=own_module), VECTOR),
}


def rng() -> Random:
    return Random(0, torch.device("cpu"))


def draw(space: spaces.Space[Any], n: int = ROWS) -> Any:
    """Draws n observations."""
    if isinstance(space, spaces.Dict):
        return {key: draw(part, n) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(draw(part, n) for part in space.spaces)
    generator = torch.Generator().manual_seed(1)
    if space.dtype == "uint8":
        return torch.randint(0, 256, (n, *space.shape), generator=generator, dtype=torch.uint8)
    return torch.randn(n, *space.shape, generator=generator)


def of_member(ensemble: dict[str, Tensor], name: str, member: int) -> Tensor:
    """Returns the part of a member, under the name and in the layout that it has in a single network."""
    if name.startswith("trunk."):
        return ensemble["trunk.parameters_of." + name.removeprefix("trunk.").replace(".", "__")][member]
    part = ensemble[name][member]
    return part[0] if len(part) == 1 else part.T


@pytest.mark.parametrize("lead", [None, (), (3,), (2, 3)])
@pytest.mark.parametrize("case", CASES)
def test_an_ensemble_equals_its_members_in_values_and_gradients(case, lead):
    encoder, space = CASES[case]
    action_size = 0 if lead is None else ACTIONS
    ensemble = Network(encoder, space, 2, rng(), action_size=action_size, members=MEMBERS)
    observations = draw(space)
    actions = None if lead is None else torch.randn(*lead, ROWS, ACTIONS)
    outputs = ensemble(observations, actions)
    assert outputs.shape == (MEMBERS, *(lead or ()), ROWS, 2)
    weights = torch.randn_like(outputs)
    stacked = dict(ensemble.named_parameters())
    found = torch.autograd.grad((weights * outputs).sum(), list(stacked.values()))
    gradients = dict(zip(stacked, found, strict=True))
    for member in range(MEMBERS):
        single = Network(encoder, space, 2, rng(), action_size=action_size)
        plain = dict(single.named_parameters())
        assert len(plain) == len(stacked)
        with torch.no_grad():
            for name, parameter in plain.items():
                parameter.copy_(of_member(stacked, name, member))
        alone = single(observations, actions)
        torch.testing.assert_close(outputs[member], alone, rtol=1e-4, atol=1e-5)
        wanted = torch.autograd.grad((weights[member] * alone).sum(), list(plain.values()))
        for name, gradient in zip(plain, wanted, strict=True):
            torch.testing.assert_close(of_member(gradients, name, member), gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_members_start_from_different_weights(case):
    encoder, space = CASES[case]
    ensemble = Network(encoder, space, 2, rng(), members=2)
    drawn = [p for p in ensemble.parameters() if p.std() > 0 and p.ndim > 2]
    assert drawn
    assert not any(torch.equal(p[0], p[1]) for p in drawn)


def test_stacked_linear_starts_as_torchs_linear_does():
    layer = StackedLinear(2, 100, 2_000)
    # nn.Linear draws weight and bias uniformly within 1 / sqrt(inputs) = 0.1.
    for numbers in (layer.weight, layer.bias):
        assert 0.099 < numbers.abs().max() <= 0.1
        assert abs(numbers.mean().item()) < 0.005


def test_an_ensemble_of_modules_keeps_buffers_apart():
    members: list[nn.Module] = [nn.BatchNorm1d(3) for _ in range(2)]
    with torch.no_grad():
        members[0].running_mean.fill_(1.0)
    ensemble = Ensemble(members).eval()
    # (x - mean) / sqrt(1 + 1e-5): x = 1 is 0 for the first member and 1 for the second.
    close(ensemble(torch.ones(1, 3)).detach(), [[[0.0] * 3], [[1.0] * 3]], atol=1e-4)


def test_frozen_parameters_stay_frozen_in_an_ensemble():
    def create(space: spaces.Space[Any]) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6).requires_grad_(False), nn.Linear(6, 6))

    network = Network(ModuleEncoder(create=create), VECTOR, 1, rng(), members=2)
    trunk = {name: p.requires_grad for name, p in network.trunk.named_parameters()}
    assert sorted(trunk.values()) == [False, False, True, True]


def test_layer_order_is_linear_norm_activation_dropout():
    layers = MLP(MLPEncoder((4,), layer_norm=True, dropout=0.5), 3, 2, rng()).layers
    names = [type(layer).__name__ for layer in layers]
    assert names == ["Linear", "LayerNorm", "ReLU", "Dropout", "Linear"]


# Critics.


def critic(**options: Any) -> QFunction:
    return QFunction(MLP_SMALL, VECTOR, rng(), MEMBERS, **options)


def test_shapes_of_critics():
    observations, actions = draw(VECTOR), torch.zeros(ROWS, ACTIONS)
    several = torch.zeros(7, ROWS, ACTIONS)
    mean, quantiles = critic(action_size=ACTIONS), critic(action_size=ACTIONS, n_quantiles=6)
    assert mean(observations, actions).shape == (MEMBERS, ROWS)
    assert mean(observations, several).shape == (MEMBERS, 7, ROWS)
    assert quantiles(observations, actions).shape == (MEMBERS, 6, ROWS)
    assert quantiles(observations, several).shape == (MEMBERS, 6, 7, ROWS)
    assert quantiles.values(observations, several).shape == (MEMBERS, 7, ROWS)
    discrete = critic(n_actions=4), critic(n_actions=4, n_quantiles=6)
    assert discrete[0](observations).shape == (MEMBERS, ROWS, 4)
    assert discrete[1](observations).shape == (MEMBERS, 6, ROWS, 4)
    assert discrete[1].values(observations).shape == (MEMBERS, ROWS, 4)


def test_discrete_quantiles_belong_to_their_action():
    q = QFunction(MLPEncoder(()), VECTOR, rng(), 1, n_actions=2, n_quantiles=3)
    with torch.no_grad():
        q.network.mlp.layers[-1].weight.zero_()
        q.network.mlp.layers[-1].bias.copy_(torch.arange(6.0).reshape(1, 1, 6))
    # Outputs 0..5: action 0 has quantiles 0, 1, 2 and action 1 has 3, 4, 5.
    close(q(draw(VECTOR, 1)).detach(), [[[[0.0, 3.0]], [[1.0, 4.0]], [[2.0, 5.0]]]])
    close(q.values(draw(VECTOR, 1)).detach(), [[[1.0, 4.0]]])


def test_losses_of_critics():
    targets = torch.tensor([1.0, 0.0])
    outputs = torch.tensor([[3.0, 0.5], [1.0, 0.0]])
    # Squared: 2**2 and 0.5**2; the second member is right.
    close(critic(action_size=ACTIONS).loss(outputs, targets).values, [[4.0, 0.25], [0.0, 0.0]])
    # Huber of width 1: 2 - 0.5 and 0.5**2 / 2
    close(critic(n_actions=2, huber_width=1.0).loss(outputs, targets).values, [[1.5, 0.125], [0.0, 0.0]])
    # Quantiles at levels 1/4 and 3/4 of one row, target 0: errors (-2, 0.5).
    # Huber (1.5, 0.125), weights |1/4 - 1| and |3/4 - 0|: 0.75 * 1.5 + 0.75 * 0.125 = 1.21875
    quantiles = torch.tensor([[[2.0], [-0.5]]])
    close(critic(action_size=ACTIONS, n_quantiles=2).loss(quantiles, torch.zeros(1, 1)).values, [[1.21875]])


def test_lowest_of_critics():
    close(critic(action_size=ACTIONS).lowest(torch.tensor([[1.0, 5.0], [2.0, 4.0]])), [1.0, 4.0])
    quantiles = torch.tensor([[[1.0, 5.0], [3.0, 9.0]], [[0.0, 6.0], [9.0, 7.0]]])
    # Means (2, 7) and (4.5, 6.5): member 0 in the first row, member 1 in the second.
    close(critic(action_size=ACTIONS, n_quantiles=2).lowest(quantiles), [[1.0, 6.0], [3.0, 7.0]])


# Dropout.


def dropping(space: spaces.Space[Any]) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5))


DROPOUTS = {
    "layers": MLPEncoder((64,), dropout=0.5),
    "own module": ModuleEncoder(create=dropping),
}


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("kind", DROPOUTS)
def test_dropout_draws_from_the_agents_numbers_in_training_alone(kind, members):
    random = rng()
    network = Network(DROPOUTS[kind], VECTOR, 1, random, members=members)
    observations = draw(VECTOR)
    elsewhere, state = torch.get_rng_state(), random.state()
    network.train()
    first = network(observations)
    after = random.state()
    assert not torch.equal(state, after)
    assert not torch.equal(first, network(observations))
    random.set_state(state)
    assert torch.equal(first, network(observations))
    assert torch.equal(random.state(), after)
    network.eval()
    assert torch.equal(network(observations), network(observations))
    assert torch.equal(random.state(), after)
    assert torch.equal(torch.get_rng_state(), elsewhere)


@pytest.mark.parametrize("kind", DROPOUTS)
def test_members_drop_units_of_their_own(kind):
    network = Network(DROPOUTS[kind], VECTOR, 1, rng(), members=2).train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter[:1].expand_as(parameter))
    outputs = network(draw(VECTOR))
    assert not torch.equal(outputs[0], outputs[1])
    outputs = network.eval()(draw(VECTOR))
    assert torch.equal(outputs[0], outputs[1])


def test_dropout_zeroes_its_share_and_scales_the_rest():
    outputs = Dropout(0.25, rng()).train()(torch.ones(100, 100))
    # Kept units are 1 / 0.75; 10,000 of them: the share lies within 4 * sqrt(0.25 * 0.75 / 1e4) = 0.018.
    kept = outputs != 0
    close(outputs[kept], torch.full((int(kept.sum()),), 4 / 3))
    assert abs((~kept).float().mean().item() - 0.25) < 0.018


# Policies.


def test_policies_keep_to_the_box():
    network = Network(MLP_SMALL, VECTOR, ACTIONS, rng())
    observations = map_tree(lambda leaf: 1_000 * leaf, draw(VECTOR))
    actions = DeterministicPolicy(network)(observations)
    assert actions.shape == (ROWS, ACTIONS)
    assert actions.abs().max() <= 1.0


def test_residual_blocks_by_hand():
    network = MLP(ResidualEncoder((2, 2), "relu", layer_norm=False, dropout=0.0), 1, 1, rng())
    first, block = network.layers[:2]
    assert [part.out_features for part in block.block if isinstance(part, nn.Linear)] == [8, 2]
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.Linear):
                part.weight.fill_(0.5)
                part.bias.fill_(-1.0)
        first.weight.copy_(torch.tensor([[3.0], [2.0]]))
    # x = 2: (6, 4) - 1 = (5, 3); block: 8 units of 0.5 * 8 - 1 = 3, then 2 of 0.5 * 24 - 1 = 11: (16, 14)
    # Next: 8 units of 0.5 * 30 - 1 = 14, then 0.5 * 112 - 1 = 55: (71, 69); head 0.5 * 140 - 1
    close(network(torch.tensor([[2.0]])), [[69.0]])
    # x = -2: (-7, -5); the block's relu gives 0, then -1: (-8, -6), (-9, -7); the last relu 0: head -1
    close(network(torch.tensor([[-2.0]])), [[-1.0]])


def test_residual_blocks_drop_then_normalise_what_they_see_and_map_other_widths():
    network = MLP(ResidualEncoder((4, 4, 6), dropout=0.3), 3, 2, rng())
    blocks = [part for part in network.layers if isinstance(part, Residual)]
    kinds = ["Dropout", "LayerNorm", "Linear", "Mish", "Linear"]
    assert [[type(part).__name__ for part in block.block] for block in blocks] == [kinds] * 3
    assert [type(block.skip).__name__ for block in blocks] == ["Identity", "Identity", "Linear"]
    assert network(torch.zeros(5, 3)).shape == (5, 2)


def test_a_copy_has_the_same_generator_and_hooks_of_its_own():
    network, seen = MLP(MLPEncoder((4,), dropout=0.5), 3, 2, rng()), []
    network.layers[0].register_forward_hook(lambda *_: seen.append("before"))
    twin = copy_module(network)
    network.register_forward_hook(lambda *_: seen.append("after"))
    drops = [next(part for part in each.modules() if isinstance(part, Dropout)) for each in (network, twin)]
    assert drops[0] is not drops[1]
    assert drops[0].random is drops[1].random
    assert all(
        a is not b and torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True)
    )
    twin(torch.zeros(1, 3))
    assert seen == ["before"]
    network(torch.zeros(1, 3))
    assert seen == ["before", "before", "after"]

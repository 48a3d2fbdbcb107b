"""Networks: stacked multilayer perceptrons and critics.

An ensemble of K members is one module whose parameters have a leading axis of K; no loop over members.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from offlinekit.nn import losses
from offlinekit.nn.encoders import ACTIVATIONS, MLPEncoder, ResidualEncoder, make_trunk
from offlinekit.nn.random import Dropout, Random, copy_module
from offlinekit.nn.rows import Rows, bootstrapped
from offlinekit.nn.trunks import gated_step, trunk_size
from offlinekit.sampling.batch import TensorTree


class StackedLinear(nn.Module):
    """K linear maps in one: [K, R, inputs] -> [K, R, outputs], each initialised as torch.nn.Linear is."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(inputs, 1))
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Tensor:
        """Applies member k to inputs[k]; the first members alone if there are inputs for these alone."""
        weight, bias = _first(self.weight, inputs), _first(self.bias, inputs)
        if weight.shape[-1] == 1 and not torch.compiler.is_exporting():  # onnxruntime sums no rows wrongly.
            # Batched products of one column are ten times slower than what they add up.
            return (inputs * weight.mT).sum(-1, keepdim=True) + bias
        return torch.baddbmm(bias, inputs, weight)


class StackedLayerNorm(nn.Module):
    """K layer norms in one over the last axis of [K, R, size]."""

    def __init__(self, members: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, 1, size))
        self.bias = nn.Parameter(torch.zeros(members, 1, size))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalises each row, then scales and shifts it by the member's own numbers."""
        scale, shift = _first(self.weight, inputs), _first(self.bias, inputs)
        return F.layer_norm(inputs, inputs.shape[-1:]) * scale + shift


class StackedGRU(nn.Module):
    """K gated recurrent units of L layers in one, a step at a time; first numbers as torch.nn.GRU has them."""

    def __init__(self, members: int, inputs: int, size: int, n_layers: int) -> None:
        super().__init__()
        self.size = size
        sizes = [inputs, *[size] * (n_layers - 1)]
        self.inputs = nn.ModuleList(StackedLinear(members, before, 3 * size) for before in sizes)
        self.states = nn.ModuleList(StackedLinear(members, size, 3 * size) for _ in sizes)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1.0 / math.sqrt(size), 1.0 / math.sqrt(size))

    def begin(self, inputs: Tensor) -> Tensor:
        """Returns the states [L, K, R, size] of rows [K, R, ...] before their first step: zeros."""
        return inputs.new_zeros(len(self.inputs), *inputs.shape[:-1], self.size)

    def forward(self, inputs: Tensor, states: Tensor) -> Tensor:
        """Returns the states [L, K, R, size] after a step with inputs [K, R, inputs]; the last are the output."""
        after = []
        for seen, past, state in zip(self.inputs, self.states, states, strict=True):
            inputs = gated_step(seen(inputs), past(state), state)
            after.append(inputs)
        return torch.stack(after)


class Ensemble(nn.Module):
    """K copies of any module, each initialised anew, run as one: inputs -> [K, ...]."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(members)
        self.parameters_of = nn.ParameterDict(
            {
                _flat(name): nn.Parameter(value.detach(), value.requires_grad)
                for name, value in parameters.items()
            }
        )
        self._names = list(parameters)
        for name, value in buffers.items():
            self.register_buffer(_flat(name), value)
        self._buffer_names = list(buffers)
        self._template = [copy_module(members[0]).to("meta")]  # In a list: not a submodule.

    def forward(self, inputs: TensorTree) -> Tensor:
        """Applies every member to the same inputs."""
        template = self._template[0].train(self.training)
        state = {name: self.parameters_of[_flat(name)] for name in self._names}
        state |= {name: getattr(self, _flat(name)) for name in self._buffer_names}

        def call(member: dict[str, Tensor]) -> Tensor:
            output: Tensor = functional_call(template, member, (inputs,))
            return output

        outputs: Tensor = torch.vmap(call, randomness="different")(state)
        return outputs

    def unstacked(self) -> list[nn.Module]:
        """Returns the members as modules of their own, with copies of their numbers."""
        state = {name: self.parameters_of[_flat(name)] for name in self._names}
        state |= {name: getattr(self, _flat(name)) for name in self._buffer_names}
        members = []
        for k in range(len(next(iter(state.values())))):
            member = copy_module(self._template[0]).to_empty(device="cpu").requires_grad_(False)
            member.load_state_dict({name: value[k] for name, value in state.items()})
            members.append(member.train(self.training))
        return members


class MLP(nn.Module):
    """Fully connected layers, [..., inputs] -> [..., outputs], or K of them -> [K, ..., outputs]."""

    def __init__(
        self, encoder: MLPEncoder, inputs: int, outputs: int, random: Random, members: int | None = None
    ) -> None:
        super().__init__()
        self.members = members
        sizes = [inputs, *encoder.hidden_sizes]
        hidden = _blocks if isinstance(encoder, ResidualEncoder) else _layers
        layers = [_norm(members, inputs)] if encoder.input_norm else []
        layers += hidden(encoder, sizes, random, members)
        self.layers = nn.Sequential(*layers, _linear(members, sizes[-1], outputs))
        _initialise(self.layers, encoder)

    def forward(self, inputs: Tensor, per_member: bool = False, members: int | None = None) -> Tensor:
        """Applies the layers.

        Args:
            inputs: [..., inputs], or [K, ..., inputs] if each member has inputs of its own.
            per_member: Whether inputs lead with the axis of members.
            members: How many of the members to apply, in place of all K.
        """
        if not self.members:
            plain: Tensor = self.layers(inputs)
            return plain
        members = members or self.members
        inputs = inputs[:members] if per_member else inputs.expand(members, *inputs.shape)
        rows = inputs.flatten(1, -2) if inputs.ndim > 2 else inputs.unsqueeze(1)
        outputs: Tensor = self.layers(rows)
        return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1])  # No -1, which no rows leave open.


class Residual(nn.Module):
    """A block's outputs, added to its inputs or to a linear map of them."""

    def __init__(self, block: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.block, self.skip = block, skip

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns block(inputs) + skip(inputs)."""
        outputs: Tensor = self.block(inputs) + self.skip(inputs)
        return outputs


class Network(nn.Module):
    """An encoder and a linear head: observations (and actions) -> [..., B, outputs], or [K, ...].

    Args:
        encoder: What sees the observation.
        space: The observation space.
        outputs: Size of the last axis.
        random: The agent's random numbers, for dropout.
        action_size: Dimensions of the action that joins the features; 0 for none.
        members: K, or None for a single network without a leading axis.
    """

    def __init__(
        self,
        encoder: MLPEncoder,
        space: spaces.Space[Any],
        outputs: int,
        random: Random,
        *,
        action_size: int = 0,
        members: int | None = None,
    ) -> None:
        super().__init__()
        trunk = make_trunk(encoder, space, random)
        self.size = trunk_size(trunk)
        self.per_member = members is not None and any(True for _ in trunk.parameters())
        if self.per_member:
            assert members is not None  # For the type checker; per_member implies it.
            trunk = Ensemble([trunk, *(make_trunk(encoder, space, random) for _ in range(members - 1))])
        self.trunk = trunk
        shared = [*trunk.parameters(), *trunk.buffers()]  # Such as running means over the batch.
        self.rows_are_independent = not encoder.dropout and not shared
        self.mlp = MLP(encoder, self.size + action_size, outputs, random, members)

    def forward(
        self, observations: TensorTree, actions: Tensor | None = None, members: int | None = None
    ) -> Tensor:
        """Returns the outputs.

        Args:
            observations: [B, ...].
            actions: [..., B, A]; each leading axis evaluates the same observations again.
            members: How many of the members to apply, in place of all K.
        """
        features: Tensor = self.trunk(observations)
        if actions is not None:
            lead = actions.shape[:-2]
            if self.per_member:
                shape = (features.shape[0], *(1,) * len(lead), *features.shape[1:])
                features = features.reshape(shape)
                actions = actions.expand(features.shape[0], *actions.shape)
            features = features.expand(*actions.shape[:-1], -1)
            features = torch.cat([features, actions], -1)
        outputs: Tensor = self.mlp(features, self.per_member, members)
        return outputs

    def apart(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the outputs [K, B, ...] if each member has actions of its own, [K, B, A]."""
        features = self.trunk(observations).expand(*actions.shape[:-1], -1)
        outputs: Tensor = self.mlp(torch.cat([features, actions], -1), per_member=True)
        return outputs


class QFunction(nn.Module):
    """K critics, of the mean or of N quantiles of the return.

    Continuous: `q(observations, actions)` -> [K, ..., B] or [K, N, ..., B].
    Discrete: `q(observations)` -> [K, B, A] or [K, N, B, A], a floor for illegal actions.

    Args:
        encoder: What sees the observation.
        space: The observation space.
        random: The agent's random numbers.
        members: K.
        action_size: Dimensions of a continuous action; 0 for discrete actions.
        n_actions: Number of discrete actions; 0 for continuous ones.
        n_quantiles: N, or None for the mean.
        huber_width: Of the Huber loss of the mean; None for the squared error.
    """

    def __init__(
        self,
        encoder: MLPEncoder,
        space: spaces.Space[Any],
        random: Random,
        members: int,
        *,
        action_size: int = 0,
        n_actions: int = 0,
        n_quantiles: int | None = None,
        huber_width: float | None = None,
    ) -> None:
        super().__init__()
        self.n_quantiles, self.n_actions, self.huber_width = n_quantiles, n_actions, huber_width
        self.members = members
        outputs = max(n_actions, 1) * (n_quantiles or 1)
        self.network = Network(encoder, space, outputs, random, action_size=action_size, members=members)

    def forward(
        self, observations: TensorTree, actions: Tensor | None = None, members: int | None = None
    ) -> Tensor:
        """Returns what is learned by all critics or the first few: values, or quantiles on the second axis."""
        outputs: Tensor = self.network(observations, actions, members)
        if self.n_actions:
            n_each = outputs.shape[-1] // self.n_actions
            outputs = outputs.reshape(*outputs.shape[:-1], self.n_actions, n_each)
        outputs = outputs.movedim(-1, 1) if self.n_quantiles else outputs.squeeze(-1)
        return losses.floored(outputs, observations) if self.n_actions else outputs

    def apart(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns what `forward` gives if each critic has actions of its own, [K, B, A]."""
        outputs = self.network.apart(observations, actions)
        return outputs.movedim(-1, 1) if self.n_quantiles else outputs.squeeze(-1)

    def action_gradients(self, observations: TensorTree, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what `forward` gives for actions [B, A], and d Q_k(s, a) / d a of each member, [K, B, A].

        Both can be differentiated by the parameters.
        """

        def total(apart: Tensor) -> tuple[Tensor, Tensor]:
            outputs = self.apart(observations, apart)
            return self.expected(outputs).sum(), outputs

        gradients, outputs = torch.func.grad(total, has_aux=True)(actions.expand(self.members, -1, -1))
        return outputs, gradients

    def values(
        self, observations: TensorTree, actions: Tensor | None = None, members: int | None = None
    ) -> Tensor:
        """Returns expected values by all critics or the first few: [K, ..., B] continuous, [K, B, A] discrete."""
        return self.expected(self(observations, actions, members))

    @torch.no_grad()
    def shift(self, value: float) -> None:
        """Adds a number to what is learned of every observation and action."""
        self.network.mlp.layers[-1].get_parameter("bias").add_(value)

    def expected(self, outputs: Tensor) -> Tensor:
        """Returns the mean over quantiles of what `forward` gave."""
        return outputs.mean(1) if self.n_quantiles else outputs

    def as_target(self, values: Tensor) -> Tensor:
        """Returns values [B] as `loss` takes targets: [1, B], one sample of the distribution, for quantiles."""
        return values if self.n_quantiles is None else values[None]

    def lowest(self, outputs: Tensor) -> Tensor:
        """Reduces [K, B] or [K, N, B] to the most pessimistic member of each row: [B] or [N, B]."""
        if self.n_quantiles:
            return losses.lowest_distribution(outputs)
        return losses.lowest_member(outputs)

    def loss(self, outputs: Tensor, targets: Tensor, masks: Tensor | None = None) -> Rows:
        """Returns the temporal-difference loss of each member and row, [K, B], weighted by the masks.

        Args:
            outputs: [K, B] or [K, N, B].
            targets: [B] or [N, B], without gradient; with K before them if each member has its own.
            masks: [K, B] bootstrap masks, or None.
        """
        if self.n_quantiles:
            errors = losses.quantile_huber_loss(outputs, targets)
        else:
            errors = losses.temporal_difference_loss(outputs, targets, self.huber_width)
        return bootstrapped(errors, masks)


def _first(parameter: Tensor, inputs: Tensor) -> Tensor:
    """Returns a stacked parameter of as many members as there are inputs for."""
    return parameter if len(inputs) == len(parameter) else parameter[: len(inputs)]


def _linear(members: int | None, inputs: int, outputs: int) -> nn.Module:
    return StackedLinear(members, inputs, outputs) if members else nn.Linear(inputs, outputs)


def _norm(members: int | None, size: int) -> nn.Module:
    return StackedLayerNorm(members, size) if members else nn.LayerNorm(size)


def _layers(encoder: MLPEncoder, sizes: list[int], random: Random, members: int | None) -> list[nn.Module]:
    """Returns hidden layers, of sizes that begin with that of the inputs."""
    layers: list[nn.Module] = []
    for size, following in pairwise(sizes):
        norm = [_norm(members, following)] if encoder.layer_norm else []
        before, after = ([], norm) if encoder.norm_after else (norm, [])
        activation = nn.ReLU(inplace=True) if encoder.activation == "relu" else _activation(encoder)
        layers += [_linear(members, size, following), *before, activation, *after]
        if encoder.dropout:
            layers.append(Dropout(encoder.dropout, random))
    return layers


def _blocks(encoder: MLPEncoder, sizes: list[int], random: Random, members: int | None) -> list[nn.Module]:
    """Returns a linear layer, residual blocks and an activation, of sizes that begin with that of the inputs."""
    layers: list[nn.Module] = []
    for size, following in pairwise([*sizes[1:2], *sizes[1:]]):
        dropout = [Dropout(encoder.dropout, random)] if encoder.dropout else []
        normed = [_norm(members, size)] if encoder.layer_norm else []
        wide = [_linear(members, size, 4 * following), _activation(encoder)]
        block = nn.Sequential(*dropout, *normed, *wide, _linear(members, 4 * following, following))
        skip = nn.Identity() if size == following else _linear(members, size, following)
        layers.append(Residual(block, skip))
    return [_linear(members, *sizes[:2]), *layers, _activation(encoder)] if layers else []


@torch.no_grad()
def _initialise(layers: nn.Module, encoder: MLPEncoder) -> None:
    """Sets the first numbers of linear layers, of which the last is the head, as far as the encoder names them."""
    linear = [layer for layer in layers.modules() if isinstance(layer, nn.Linear | StackedLinear)]
    if encoder.init == "glorot_uniform":
        for layer in linear:
            bound = math.sqrt(6.0 / (layer.weight.shape[-2] + layer.weight.shape[-1]))
            layer.weight.uniform_(-bound, bound)
            layer.bias.zero_()
    if encoder.init == "truncated_normal":
        for layer in linear:
            fan_in = layer.weight.shape[-2 if isinstance(layer, StackedLinear) else -1]
            std = 0.5 / math.sqrt(fan_in)
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            layer.bias.zero_()
    if encoder.hidden_bias is not None:
        for layer in linear[:-1]:
            layer.bias.fill_(encoder.hidden_bias)
    if encoder.head_range is not None:
        for parameter in linear[-1].parameters():
            parameter.uniform_(-encoder.head_range, encoder.head_range)


def _activation(encoder: MLPEncoder) -> nn.Module:
    return ACTIVATIONS[encoder.activation]()


def _flat(name: str) -> str:
    return name.replace(".", "__")

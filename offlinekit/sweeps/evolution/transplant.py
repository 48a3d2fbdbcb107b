"""Algorithms with other networks that compute what the earlier ones did: numbers and optimizers' state are carried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from offlinekit.core import copying
from offlinekit.core.algo import Algo
from offlinekit.core.impl import Impl
from offlinekit.errors import UnsupportedError
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.nn.networks import MLP, StackedLayerNorm, StackedLinear
from offlinekit.sweeps.evolution.layer_moves import Layer, LayerMove, Wider

A = TypeVar("A", bound=Algo)
PlanOf = Callable[[str, MLP], LayerMove]
"""Takes the name of fully connected layers and the layers; returns what becomes of them."""
Table = dict[str, Tensor]
"""Names of parameters to numbers of their shape: their own, or what an optimizer keeps of each."""


def transplanted(algo: A, field: str, encoder: MLPEncoder, plan: PlanOf) -> A:
    """Returns the algorithm with another encoder, its training state carried over.

    Args:
        algo: With networks; stays as it is.
        field: Hyperparameter of the encoder.
        encoder: The new one.
        plan: What becomes of fully connected layers whose sizes differ, called for each.

    Raises:
        UnsupportedError: If networks change in other parts too.
    """
    twin = rebuilt(algo, {field: encoder})
    old, new = algo.impl, twin.impl
    after = mlps_of(new)
    moves = {n: plan(n, mlp) for n, mlp in mlps_of(old).items() if widths(mlp) != widths(after[n])}
    state = new.state_tensors()
    carried = _renamed("networks.", _carried(old, new, moves, dict(old.state_dict()), 0))
    for objective in old.objectives:
        carried |= _carried_optimizer(old, new, objective.name, moves)
    misfits = [name for name, value in carried.items() if name in state and state[name].shape != value.shape]
    if misfits or {name for name in carried if name.startswith("networks.")} - state.keys():
        raise UnsupportedError(
            f"{field} of {type(algo).__name__} changes networks in parts that cannot be carried over: "
            f"{', '.join(misfits[:3]) or 'their names'}"
        )
    new.load_state_tensors({**state, **carried, "random.impl": old.random.state()})
    new.grad_step, new.horizon = old.grad_step, old.horizon
    return twin


def sliced(algo: A, field: str, encoder: MLPEncoder) -> A:
    """Returns the algorithm with another encoder, as AgileRL carries networks over.

    What old and new tensors of a name have in common is copied, the rest is fresh; targets become copies of their
    networks and optimizers start anew. Outputs change. Kept for comparison.
    """
    twin = rebuilt(algo, {field: encoder})
    old, new = dict(algo.impl.state_dict()), twin.impl
    with torch.no_grad():
        for name, tensor in new.state_dict().items():
            if name in old and old[name].ndim == tensor.ndim:
                common = tuple(
                    slice(0, min(a, b)) for a, b in zip(old[name].shape, tensor.shape, strict=True)
                )
                tensor[common] = old[name][common]
    sync_targets(new)
    new.random.set_state(algo.impl.random.state())
    new.grad_step, new.horizon = algo.impl.grad_step, algo.impl.horizon
    return twin


def sync_targets(impl: Impl) -> None:
    """Makes each target a copy of the network that it follows."""
    for target in impl.targets:
        target.target.load_state_dict(target.online.state_dict())


def rebuilt(algo: A, values: Mapping[str, object]) -> A:
    """Returns an untrained algorithm with other hyperparameters, made for the same spaces and scalers."""
    attributes = {**copying.state_of(algo)["attributes"], **values}
    twin = copying.from_state(type(algo), {"attributes": attributes, "built": None})
    twin.make_impl(algo.impl.observation_space, algo.impl.action_space)
    return twin


def mlps_of(impl: Impl) -> dict[str, MLP]:
    """Returns the fully connected layers of an implementation by name, those of targets too."""
    return {name: module for name, module in impl.named_modules() if isinstance(module, MLP)}


def linear_places(mlp: MLP) -> list[int]:
    """Returns which of the layers are linear, the head last."""
    return [i for i, layer in enumerate(mlp.layers) if isinstance(layer, nn.Linear | StackedLinear)]


def norm_place(mlp: MLP, layer: int) -> int | None:
    """Returns which of the layers normalises a hidden layer; None if none does."""
    linear = linear_places(mlp)
    between = range(linear[layer] + 1, linear[layer + 1])
    norms = (i for i in between if isinstance(mlp.layers[i], nn.LayerNorm | StackedLayerNorm))
    return next(norms, None)


def layers_of(mlp: MLP) -> list[Layer]:
    """Returns the linear layers, without gradient."""
    table = {name: value.detach() for name, value in mlp.named_parameters()}
    return [_layer(table, f"layers.{place}") for place in linear_places(mlp)]


def widths(mlp: MLP) -> list[int]:
    """Returns the units of each hidden layer."""
    return [layer.bias.shape[-1] for layer in layers_of(mlp)[:-1]]


def _carried(old: Impl, new: Impl, moves: Mapping[str, LayerMove], table: Table, power: int | None) -> Table:
    """Returns numbers of old parameters as numbers of the new ones.

    Args:
        power: As moves take it; None for one number a parameter, of which new layers have that of the first.
    """
    before, after = mlps_of(old), mlps_of(new)
    carried = dict(table)
    for name, move in moves.items():
        places = [f"{name}.layers.{place}" for place in linear_places(before[name])]
        if f"{places[0]}.weight" not in table:
            continue
        for place in places:
            del carried[f"{place}.weight"], carried[f"{place}.bias"]
        new_places = [f"{name}.layers.{place}" for place in linear_places(after[name])]
        if power is None:
            shared = table[f"{places[0]}.weight"]
            carried |= {f"{p}.{part}": shared for p in new_places for part in ("weight", "bias")}
            continue
        moved = move.apply([_layer(table, place) for place in places], power)
        plain = table[f"{places[0]}.weight"].ndim == 2
        for place, layer in zip(new_places, moved, strict=True):
            carried[f"{place}.weight"] = layer.weight[0].mT.contiguous() if plain else layer.weight
            carried[f"{place}.bias"] = layer.bias[0, 0] if plain else layer.bias
        if isinstance(move, Wider) and (norm := norm_place(before[name], move.layer)) is not None:
            for part in (f"{name}.layers.{norm}.weight", f"{name}.layers.{norm}.bias"):
                carried[part] = move.grown(table[part], power)
    return carried


def _carried_optimizer(old: Impl, new: Impl, name: str, moves: Mapping[str, LayerMove]) -> Table:
    """Returns the state of an objective's optimizer as tensors of the new implementation."""
    slots: dict[str, Table] = {}
    numbered = _numbered(old, name)
    prefix = f"optimizers.{name}."
    objective = next(objective for objective in old.objectives if objective.name == name)
    for key, value in objective.state_tensors().items():
        index, slot = key.removeprefix(prefix).split(".")
        slots.setdefault(slot, {})[numbered[int(index)]] = value
    places = {parameter: index for index, parameter in enumerate(_numbered(new, name))}
    carried = {}
    for slot, table in slots.items():
        for parameter, value in _carried(old, new, moves, table, _power(slot)).items():
            carried[f"{prefix}{places[parameter]}.{slot}"] = value
    return carried


def _numbered(impl: Impl, objective: str) -> list[str]:
    """Returns the names of an objective's parameters in its optimizer's order."""
    names = {id(parameter): name for name, parameter in impl.named_parameters()}
    owner = next(each for each in impl.objectives if each.name == objective)
    return [names[id(parameter)] for parameter in owner.parameters]


def _power(slot: str) -> int | None:
    """Returns how an optimizer's slot scales with the gradient; None for a count of steps."""
    return None if slot == "step" else 2 if slot.endswith(("sq", "square_avg")) else 1


def _renamed(prefix: str, table: Table) -> Table:
    return {f"{prefix}{name}": value for name, value in table.items()}


def _layer(table: Table, place: str) -> Layer:
    weight, bias = table[f"{place}.weight"], table[f"{place}.bias"]
    return Layer(weight.mT[None], bias[None, None]) if weight.ndim == 2 else Layer(weight, bias)

"""Moves of architectures: which layer, how many units, and the check that outputs stay as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from offlinekit.core.algo import Algo
from offlinekit.core.impl import Impl
from offlinekit.core.units import Converter
from offlinekit.datasets import MDPDataset
from offlinekit.envs.frame_stacking import observations_at
from offlinekit.errors import UnsupportedError
from offlinekit.nn.encoders import CNNEncoder, MLPEncoder, resolve_encoder
from offlinekit.nn.networks import MLP, Network
from offlinekit.sampling.batch import TensorTree
from offlinekit.sweeps.evolution.layer_moves import (
    Deeper,
    LayerMove,
    Narrower,
    Wider,
    smallest,
    takeover,
)
from offlinekit.sweeps.evolution.transplant import (
    layers_of,
    linear_places,
    mlps_of,
    sliced,
    transplanted,
    widths,
)

A = TypeVar("A", bound=Algo)
Kind = Literal["wider", "deeper", "narrower"]
ROWS = 512
"""Rows of the data on which outputs are compared and the removal of units is fitted."""


@dataclass(frozen=True)
class Sizes:
    """How large networks may become, and by how much a move changes them.

    Attributes:
        layers: Fewest and most hidden layers.
        units: Fewest and most units of a hidden layer.
        steps: Units that a move adds or removes, one of them at random.
    """

    layers: tuple[int, int] = (1, 3)
    units: tuple[int, int] = (16, 512)
    steps: tuple[int, ...] = (16, 32, 64)


@dataclass(frozen=True)
class NetworkMove:
    """One change of the hidden layers of an algorithm's encoder.

    Attributes:
        field: Hyperparameter of the encoder.
        kind: "wider", "deeper" or "narrower".
        layer: Which hidden layer, from 0 on.
        units: How many are added or removed; 0 with "deeper".
        seed: Of what is drawn in it.
    """

    field: str
    kind: Kind
    layer: int
    units: int
    seed: int

    def sizes(self, hidden: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the hidden sizes after the move."""
        if self.kind == "deeper":
            return (*hidden[: self.layer + 1], hidden[self.layer], *hidden[self.layer + 1 :])
        change = self.units if self.kind == "wider" else -self.units
        return (*hidden[: self.layer], hidden[self.layer] + change, *hidden[self.layer + 1 :])

    def __str__(self) -> str:
        where = f"{self.field} layer {self.layer + 1}"
        if self.kind == "deeper":
            return f"deeper: a layer behind {where}"
        return f"{self.kind}: {'+' if self.kind == 'wider' else '-'}{self.units} units in {where}"


def encoder_fields(algo: Algo) -> dict[str, MLPEncoder]:
    """Returns the encoders of an algorithm with networks whose hidden layers can move, by their hyperparameter."""
    found = {}
    for field in dataclasses.fields(algo):
        value = getattr(algo, field.name)
        if field.name.endswith("encoder") and value is not None:
            encoder = resolve_encoder(value, algo.impl.observation_space)
            if type(encoder) in (MLPEncoder, CNNEncoder) and encoder.hidden_sizes:
                found[field.name] = encoder
    return found


def drawn_move(
    algo: Algo, sizes: Sizes, rng: np.random.Generator, new_layer: float = 0.2
) -> NetworkMove | None:
    """Draws a move that stays within the sizes; None if there is none.

    Layers that are normalised only double, since nothing else keeps the mean and the variance over their units.

    Args:
        algo: With networks.
        sizes: The bounds.
        rng: Of the draw.
        new_layer: Probability of a new layer, where one fits.
    """
    fields = encoder_fields(algo)
    if not fields:
        return None
    field = list(fields)[int(rng.integers(len(fields)))]
    hidden, rectified = fields[field].hidden_sizes, fields[field].activation == "relu"
    layer, step = int(rng.integers(len(hidden))), int(rng.choice(sizes.steps))
    seed, deep, up = int(rng.integers(2**31)), rng.random() < new_layer, bool(rng.integers(2))
    if _normalises(fields[field]):
        doubled = [i for i in (layer, *range(len(hidden))) if 2 * hidden[i] <= sizes.units[1]]
        return NetworkMove(field, "wider", doubled[0], hidden[doubled[0]], seed) if doubled else None
    if deep and rectified and len(hidden) < sizes.layers[1]:
        return NetworkMove(field, "deeper", layer, 0, seed)
    more = min(step, sizes.units[1] - hidden[layer], hidden[layer])
    fewer = min(step, hidden[layer] - sizes.units[0])
    for kind, units in (("wider", more), ("narrower", fewer))[:: 1 if up else -1]:
        if units > 0:
            return NetworkMove(field, "wider" if kind == "wider" else "narrower", layer, units, seed)
    return None


def check_movable(algo: Algo, sizes: Sizes) -> None:
    """Checks that the networks of an algorithm can change without changing what they compute.

    Raises:
        UnsupportedError: If they cannot.
    """
    fields, name, most = encoder_fields(algo), type(algo).__name__, sizes.units[1]
    if not fields:
        raise UnsupportedError(
            f"networks of {name} have no hidden layers that can change; give mutations without 'architecture', or "
            "an MLPEncoder"
        )
    for field, encoder in fields.items():
        fewest = min(encoder.hidden_sizes)
        if _normalises(encoder) and 2 * fewest > most:
            raise UnsupportedError(
                f"{field} of {name} normalises its hidden layers, which can only double without changing what they "
                f"compute, and {fewest} units doubled are more than max_units={most}; give max_units={2 * fewest} or "
                "more, layer_norm=False, or mutations without 'architecture'"
            )


def _normalises(encoder: MLPEncoder) -> bool:
    return encoder.layer_norm or encoder.norm_after


def with_move(
    algo: A, move: NetworkMove, observations: TensorTree, tolerance: float
) -> tuple[A, NetworkMove] | None:
    """Returns the algorithm after a move that keeps its outputs; if too many units go, after a smaller one.

    Args:
        algo: With networks; stays as it is.
        move: What changes.
        observations: Rows on which outputs are compared, scaled.
        tolerance: Largest change of an output, in standard deviations of that output over the rows.

    Returns:
        The algorithm and the move that was made; None if none keeps the outputs.
    """
    encoder, probes = encoder_fields(algo)[move.field], _probes(algo, observations, move.seed)
    with torch.no_grad():
        while True:
            changed = dataclasses.replace(encoder, hidden_sizes=move.sizes(encoder.hidden_sizes))
            twin = transplanted(algo, move.field, changed, partial(_layer_move, algo, move, probes))
            if _change(algo, twin, probes) <= tolerance:
                return twin, move
            if move.kind != "narrower" or move.units < 2:
                return None
            move = dataclasses.replace(move, units=move.units // 2)


def with_activation(algo: A, field: str, activation: str) -> A:
    """Returns the algorithm with another activation, its numbers carried over; outputs change."""
    encoder = dataclasses.replace(encoder_fields(algo)[field], activation=activation)
    return transplanted(algo, field, encoder, _unchanged)


def other_activation(algo: Algo, field: str, rng: np.random.Generator) -> str:
    """Draws an activation among ReLU, ELU and GELU that an encoder does not have."""
    others = [name for name in ("relu", "elu", "gelu") if name != encoder_fields(algo)[field].activation]
    return others[int(rng.integers(len(others)))]


def with_slices(algo: A, move: NetworkMove) -> A:
    """Returns the algorithm after a move that keeps what tensors have in common alone; outputs change."""
    encoder = encoder_fields(algo)[move.field]
    return sliced(
        algo, move.field, dataclasses.replace(encoder, hidden_sizes=move.sizes(encoder.hidden_sizes))
    )


def probe_rows(algo: Algo, dataset: MDPDataset, seed: int) -> TensorTree:
    """Returns observations of random rows of a dataset, as the networks of an algorithm see them."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:ROWS])
    impl = algo.impl
    converter = Converter(impl.observation_space, impl.action_space, algo.scaling, impl.device)
    return converter.observations(observations_at(algo, dataset, chosen))[0]


def _layer_move(
    algo: Algo, move: NetworkMove, probes: Mapping[str, Tensor], name: str, mlp: MLP
) -> LayerMove:
    """Returns what becomes of the layers of one network; a target loses the units that its network loses."""
    if move.kind == "deeper":
        return Deeper(move.layer)
    if move.kind == "wider":
        units = np.random.default_rng(move.seed).permutation(widths(mlp)[move.layer])[: move.units]
        return Wider(move.layer, tuple(int(unit) for unit in units), move.seed)
    leader = _followed(algo.impl).get(name, name)
    online = mlps_of(algo.impl)[leader]
    outer = layers_of(online)[move.layer + 1]
    kept = smallest(_hidden(online, probes[leader], move.layer), outer.weight, move.units)
    hidden, own = _hidden(mlp, probes[name], move.layer), layers_of(mlp)[move.layer + 1]
    return Narrower(move.layer, kept, takeover(hidden, kept, own))


def _followed(impl: Impl) -> dict[str, str]:
    """Returns the names of the layers of targets to those of the networks that they follow."""
    names = {id(module): name for name, module in impl.named_modules()}
    pairs = [pair for t in impl.targets for pair in zip(t.target.modules(), t.online.modules(), strict=True)]
    return {names[id(target)]: names[id(online)] for target, online in pairs if isinstance(target, MLP)}


def _probes(algo: Algo, observations: TensorTree, seed: int) -> dict[str, Tensor]:
    """Returns inputs of each network: features of the observations, beside them numbers uniform in [-1, 1]."""
    impl = algo.impl
    trunks = {id(part.mlp): part for part in impl.modules() if isinstance(part, Network)}
    probes = {}
    with torch.no_grad():
        for name, mlp in mlps_of(impl).items():
            size, network = layers_of(mlp)[0].weight.shape[1], trunks.get(id(mlp))
            lead: tuple[int, ...] = () if mlp.members is None else (mlp.members,)
            features = (
                torch.zeros(*lead, ROWS, 0, dtype=torch.float32, device="cpu")
                if network is None
                else network.trunk(observations).cpu()
            )
            features = features.expand(*lead, *features.shape[-2:])
            rest = (*features.shape[:-1], size - features.shape[-1])
            generator = torch.Generator().manual_seed(seed)  # Anew: a target sees what its network does.
            others = 2 * torch.rand(rest, generator=generator, dtype=torch.float32, device="cpu") - 1
            probes[name] = torch.cat([features, others], -1).to(impl.device)
    return probes


def _hidden(mlp: MLP, inputs: Tensor, layer: int) -> Tensor:
    """Returns the activations that leave a hidden layer, [K, R, units]."""
    reached: Tensor = mlp.layers[: linear_places(mlp)[layer + 1]](inputs)
    return reached if mlp.members else reached[None]


def _change(old: Algo, new: Algo, probes: Mapping[str, Tensor]) -> float:
    """Returns the largest change of an output of any network, in standard deviations of that output."""
    after, changes = mlps_of(new.impl), []
    for name, mlp in mlps_of(old.impl).items():
        before = mlp.layers(probes[name])
        spread = before.std(-2, keepdim=True).clamp_min(1e-6)
        changes.append(((after[name].layers(probes[name]) - before) / spread).abs().max())
    return float(torch.stack(changes).max())


def _unchanged(name: str, mlp: MLP) -> LayerMove:
    raise UnsupportedError(f"the sizes of {name} depend on its activation, so it cannot be changed")

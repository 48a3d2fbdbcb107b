"""What happens to a member between two generations: nothing, other hyperparameters, networks or noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from offlinekit.core.algo import Algo
from offlinekit.sampling.batch import TensorTree
from offlinekit.sweeps.evolution import network_moves
from offlinekit.sweeps.evolution.members import set_values
from offlinekit.sweeps.evolution.transplant import sync_targets
from offlinekit.sweeps.evolution.value_moves import Value

Rng: TypeAlias = np.random.Generator
NOISY_SHARE, RESET_SHARE, STRONG = 0.1, 0.05, 10.0
"""Share of the weights that noise reaches; of these, that AgileRL draws anew and as many whose noise has a deviation of
10 times the weight, whatever the deviation of the others."""
LARGEST = 1e6


def with_values(algo: Algo, values: Mapping[str, Value]) -> tuple[Algo, str]:
    """Sets hyperparameters, and says from what to what."""
    before = {name: getattr(algo, name) for name in values}
    set_values(algo, values)
    moved = [f"{n}: {_short(before[n])} to {_short(v)}" for n, v in values.items() if v != before[n]]
    return algo, ", ".join(moved)


def with_architecture(
    algo: Algo,
    sizes: network_moves.Sizes,
    rng: Rng,
    observations: TensorTree,
    tolerance: float,
    keep_function: bool = True,
    new_layer: float = 0.2,
) -> tuple[Algo, str]:
    """Makes a network wider, deeper or narrower; as it was if no such move keeps its outputs.

    Args:
        algo: With networks.
        sizes: How large they may become.
        rng: Of the draws.
        observations: Rows on which outputs are compared.
        tolerance: As `network_moves.with_move` takes it.
        keep_function: Whether outputs must stay; False carries over common parts of tensors alone.
        new_layer: Probability of a new layer, where one fits.
    """
    move = network_moves.drawn_move(algo, sizes, rng, new_layer)
    if move is None:
        return algo, "no architecture move fits the sizes"
    if not keep_function:
        return network_moves.with_slices(algo, move), str(move)
    made = network_moves.with_move(algo, move, observations, tolerance)
    return (algo, f"refused, as outputs would change: {move}") if made is None else (made[0], str(made[1]))


def with_activation(algo: Algo, rng: Rng) -> tuple[Algo, str]:
    """Gives an encoder another activation; outputs change."""
    field = next(iter(network_moves.encoder_fields(algo)))
    activation = network_moves.other_activation(algo, field, rng)
    return network_moves.with_activation(algo, field, activation), f"activation of {field}: {activation}"


@torch.no_grad()
def with_noise(algo: Algo, rng: Rng, deviation: float, severe: bool = False) -> tuple[Algo, str]:
    """Adds noise to a tenth of the weights of what acts: normal, with a deviation relative to each weight.

    Source of severe noise: AgileRL 2.58, hpo/mutation.py, `_gaussian_parameter_mutation`.

    Args:
        algo: With networks.
        rng: Of the draws.
        deviation: Of the noise, as a share of each weight.
        severe: Whether a random number of layers is reached, from one to all; a twentieth of their weights that
            noise reaches is drawn anew from a standard normal, another takes noise of 10 times each weight, and
            targets become copies, as in AgileRL.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    weights = _acting_weights(algo)
    if severe:
        n_reached = int(rng.integers(1, max(len(weights), 1) + 1))
        weights = [weights[n] for n in rng.permutation(len(weights))[:n_reached]]
    for weight in weights:
        noise = _normal(weight, generator)
        kind = torch.rand(weight.shape, generator=generator, dtype=torch.float32, device="cpu").to(
            weight.device
        )
        kind = kind / NOISY_SHARE  # Below 1: reached by noise.
        scale = torch.full_like(kind, deviation)
        if severe:
            scale = torch.where(kind < RESET_SHARE, STRONG, scale)
        shaken = weight + noise * scale * weight.abs()
        if severe:
            shaken = torch.where((kind >= RESET_SHARE) & (kind < 2 * RESET_SHARE), noise, shaken)
        weight.copy_(torch.where(kind < 1, shaken, weight).clamp(-LARGEST, LARGEST))
    if severe:
        sync_targets(algo.impl)
    return algo, f"noise of {deviation:g}"


def forget_moments(algo: Algo) -> None:
    """Sets what optimizers keep to 0."""
    for objective in algo.impl.objectives:
        state = objective.state_tensors()
        objective.load_state_tensors({name: torch.zeros_like(value) for name, value in state.items()})


def _acting_weights(algo: Algo) -> list[Tensor]:
    """Returns the weights of linear layers of the policy, or of the values that choose the action."""
    impl = algo.impl
    acting = next((getattr(impl, name) for name in ("policy", "q") if hasattr(impl, name)), impl)
    modules: nn.Module = acting if isinstance(acting, nn.Module) else impl
    return [
        p for n, p in modules.named_parameters() if n.endswith("weight") and p.ndim >= 2 and "norm" not in n
    ]


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=torch.float32, device="cpu").to(like.device)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

"""Function-preserving changes of fully connected layers: wider, deeper, narrower; an optimizer's state goes along.

Numbers are stacked over K networks: weights [K, inputs, outputs], biases [K, 1, outputs].
Source: Chen, Goodfellow and Shlens 2015, "Net2Net", arXiv:1511.05641.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Layer(NamedTuple):
    """Weights and biases of one linear layer, or what an optimizer keeps of each of these numbers."""

    weight: Tensor  # [K, inputs, outputs].
    bias: Tensor  # [K, 1, outputs].


@dataclass(frozen=True)
class Wider:
    """Doubles some units of a hidden layer; each pair shares the weights that leave the unit.

    Attributes:
        layer: Which hidden layer, from 0 on.
        sources: Numbers of the units that are doubled.
        seed: Of the shares and the noise; networks of one shape draw the same, so a target stays beside its network.
        noise: Relative size of what is added to weights that enter a new unit, so that pairs part in training.
    """

    layer: int
    sources: tuple[int, ...]
    seed: int
    noise: float = 1e-4

    def apply(self, layers: Sequence[Layer], power: int) -> list[Layer]:
        """Returns the layers with the new units last.

        Args:
            layers: Of one network, the head last.
            power: 0 for weights themselves; 1 and 2 for means of their gradients and of squares of these. A unit
                whose outgoing weights are halved passes half its gradient on, and a quarter of its square.
        """
        inner, outer = layers[self.layer], layers[self.layer + 1]
        grown = Layer(self.grown(inner.weight, power), self.grown(inner.bias, power))
        leaving, kept = outer.weight[:, self.sources], outer.weight.clone()
        if power == 0:
            generator = torch.Generator().manual_seed(self.seed)
            shares = _drawn(leaving, generator).mul(0.5).add(0.25)  # Uniform in [0.25, 0.75).
            copied = grown.weight[..., -len(self.sources) :]
            copied *= 1 + self.noise * (2 * _drawn(copied, generator) - 1)
            kept[:, self.sources] = leaving * (1 - shares)
            leaving = leaving * shares
        return _replaced(layers, self.layer, grown, Layer(torch.cat([kept, leaving], 1), outer.bias.clone()))

    def grown(self, numbers: Tensor, power: int) -> Tensor:
        """Returns numbers of the units, [..., units], with those of the new ones last.

        Of a layer norm, too: if all units are doubled, mean and variance over them stay as they are.

        Args:
            numbers: Weights that enter units, or what belongs to a unit alone.
            power: As `apply` takes it.
        """
        shrink = torch.ones(numbers.shape[-1], dtype=numbers.dtype, device=numbers.device)
        shrink[list(self.sources)] = 0.5**power
        shrunk = numbers * shrink
        return torch.cat([shrunk, shrunk[..., self.sources]], -1)


@dataclass(frozen=True)
class Deeper:
    """Puts a layer that changes nothing behind a hidden layer of rectified units.

    Attributes:
        layer: Behind which hidden layer, from 0 on.
    """

    layer: int

    def apply(self, layers: Sequence[Layer], power: int) -> list[Layer]:
        """Returns the layers with one more; its means of gradients are 0, its squares the mean of the layer before."""
        before = layers[self.layer]
        members, _, width = before.weight.shape
        square, row = before.weight.new_empty(members, width, width), torch.empty_like(before.bias)
        if power == 0:
            new = Layer(square.copy_(torch.eye(width)), row.zero_())
        elif power == 1:
            new = Layer(square.zero_(), row.zero_())
        else:
            new = Layer(
                square.copy_(before.weight.mean((1, 2), keepdim=True)),
                row.copy_(before.bias.mean((1, 2), keepdim=True)),
            )
        return [*layers[: self.layer + 1], new, *layers[self.layer + 1 :]]


@dataclass(frozen=True)
class Narrower:
    """Removes units of a hidden layer; the others take over what they can.

    Attributes:
        layer: Which hidden layer, from 0 on.
        kept: Numbers of the units that stay in each network, int64 [K, units].
        takeover: Weights and bias of the next layer, fitted to what it computed before; None only slices.
    """

    layer: int
    kept: Tensor
    takeover: Layer | None = None

    def apply(self, layers: Sequence[Layer], power: int) -> list[Layer]:
        """Returns the layers without the units."""
        inner, outer = layers[self.layer], layers[self.layer + 1]
        columns = self.kept[:, None]
        shrunk = Layer(
            inner.weight.gather(2, columns.expand(-1, inner.weight.shape[1], -1)),
            inner.bias.gather(2, columns),
        )
        rows = self.kept[..., None].expand(-1, -1, outer.weight.shape[2])
        following = Layer(outer.weight.gather(1, rows), outer.bias.clone())
        if power == 0 and self.takeover is not None:
            following = self.takeover
        return _replaced(layers, self.layer, shrunk, following)


LayerMove = Wider | Deeper | Narrower


def smallest(hidden: Tensor, leaving: Tensor, n: int) -> Tensor:
    """Returns which units stay when the n that matter least go, in order, int64 [K, units - n].

    A unit matters by the standard deviation of its activation times the norm of its outgoing weights.

    Args:
        hidden: Activations, [K, R, units].
        leaving: Outgoing weights, [K, units, outputs].
        n: How many go.
    """
    matter: Tensor = hidden.std(1) * leaving.norm(dim=-1)
    staying = matter.argsort(descending=True)[:, : matter.shape[1] - n]
    return staying.sort().values


def takeover(hidden: Tensor, kept: Tensor, outer: Layer) -> Layer:
    """Returns the next layer over the units that stay, by least squares on what it computed.

    Args:
        hidden: Activations, [K, R, units].
        kept: Units that stay, [K, kept].
        outer: The next layer as it was.
    """
    remaining = hidden.gather(2, kept[:, None].expand(-1, hidden.shape[1], -1)).double()
    wanted = (hidden @ outer.weight + outer.bias).double()
    ones = torch.ones_like(remaining[..., :1])
    design = torch.cat([remaining, ones], -1)
    ridge = 1e-6 * design.square().mean() * torch.eye(design.shape[-1], dtype=design.dtype)
    normal = design.mT @ design / design.shape[1] + ridge.to(design.device)
    fitted = torch.linalg.solve(normal, design.mT @ wanted / design.shape[1])
    return Layer(fitted[:, :-1].to(hidden.dtype), fitted[:, -1:].to(hidden.dtype))


def _drawn(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device="cpu").to(like.device)


def _replaced(layers: Sequence[Layer], place: int, inner: Layer, outer: Layer) -> list[Layer]:
    return [*layers[:place], inner, outer, *layers[place + 2 :]]

"""Cases of `run.py`: a pair of equal implementations, a batch for both, and the quantities compared.

Shapes: B rows, O observation and A action dimensions (or A discrete actions), K critics, N quantiles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import d3rlpy
import torch
from d3rlpy.torch_utility import TorchMiniBatch
from draws import both
from torch import Tensor
from weights import (
    copy,
    copy_gaussian,
    copy_policy,
    copy_vae,
    gaussian_gradient,
    gradient,
    linear_parameters,
    policy_gradients,
)

from offlinekit.algos import MLPEncoder
from offlinekit.nn.rows import Rows, reduce_rows
from offlinekit.sampling.batch import Batch
from offlinekit.testing import small_dataset

ROWS, OBSERVATION, WIDTHS, GAMMA = 16, 4, (32, 32), 0.99
STRETCH = 1.7
"""Of initial weights, so that outputs are large enough for bounds, squashing and thresholds to matter."""
__all__ = [
    "Compared",
    "Pair",
    "both",
    "copy",
    "copy_gaussian",
    "copy_policy",
    "copy_vae",
    "gaussian_gradient",
    "gradient",
    "loss_of",
    "policy_gradients",
]


class Compared(NamedTuple):
    """One quantity as both libraries compute it.

    Attributes:
        what: Its name, such as "critic loss".
        ours: By offlinekit, any shape.
        peers: By the peer, as many numbers.
        reason: Why they differ where they must; None where they must agree.
    """

    what: str
    ours: Tensor
    peers: Tensor
    reason: str | None = None

    def difference(self) -> float:
        """Returns the largest difference over the peer's largest number.

        Raises:
            ValueError: Where the sizes differ or a number is not finite.
        """
        ours, peers = (numbers.detach().double().flatten() for numbers in (self.ours, self.peers))
        if ours.shape != peers.shape:
            raise ValueError(f"{self.what}: {len(ours)} numbers of ours beside {len(peers)} of the peer's")
        if not (ours.isfinite().all() and peers.isfinite().all()):
            raise ValueError(f"{self.what}: a number is not finite")
        return float((ours - peers).abs().max() / peers.abs().max().clamp(min=1e-12))


class Pair:
    """An algorithm of ours and d3rlpy's, with equal critics and a batch for each.

    Targets differ from what they follow. Networks other than the critics are copied by the case.

    Args:
        front: Our class, such as `AWAC`.
        config: d3rlpy's configuration, such as `AWACConfig`.
        ours: Hyperparameters of ours that are not the defaults.
        peers: Hyperparameters of d3rlpy's that are not the defaults.
    """

    def __init__(
        self,
        front: Any,
        config: Any,
        ours: dict[str, Any] | None = None,
        peers: dict[str, Any] | None = None,
    ) -> None:
        own = {name: None for name in front.hyperparameters() if name in ("critic_encoder", "vae_encoder")}
        settings = {"encoder": MLPEncoder(WIDTHS), "seed": 0, "device": "cpu", **own, **(ours or {})}
        self.ours: Any = front(**settings).build(small_dataset(front.action_kind)).impl
        self.peers: Any = make_peer(config, peers or {}, discrete=front.action_kind == "discrete")
        self.modules: Any = self.peers._modules
        self.batch, self.peers_batch = make_batches(front.action_kind == "discrete")
        for parameter in linear_parameters(self.ours):
            parameter.data *= STRETCH
        generator = torch.Generator().manual_seed(1)
        for target in self.ours.targets:
            for parameter in linear_parameters(target.target):
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        if hasattr(self.ours, "q"):
            copy(self.ours.q.network, self.modules.q_funcs)
            copy(self.ours.target_q.network, self.modules.targ_q_funcs)

    def copy_policies(self) -> None:
        """Copies the policy, and the target policy where there is one."""
        copy_policy(self.ours.policy, self.modules.policy)
        if hasattr(self.ours, "target_policy"):
            copy_policy(self.ours.target_policy, self.modules.targ_policy, (-0.6, -0.3))

    def targets(self, arrange: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Returns the target of both, [B] or [N, B]; the peer's function leaves out reward and discount."""

        def ours() -> Tensor:
            with torch.no_grad():
                target: Tensor = self.ours.compute_target(self.batch)
            return target

        mine, values = both(ours, lambda: self.peers.compute_target(self.peers_batch), arrange)
        return mine, self.bellman(values)

    def bellman(self, values: Tensor) -> Tensor:
        """Returns rewards + discounts * values of the peer's next values [B, 1] or [B, N], as ours are shaped."""
        target = self.batch.rewards + self.batch.discounts * values.T
        return target.squeeze(0) if len(target) == 1 else target

    def peers_values(self, target: Tensor) -> Tensor:
        """Returns the next values [B, 1] or [B, N] by which the peer arrives at a target of ours."""
        alive = self.batch.discounts > 0
        values = (target - self.batch.rewards) / torch.where(alive, self.batch.discounts, 1.0)
        return torch.where(alive, values, 0.0).reshape(-1, ROWS).T

    def critics(
        self,
        targets: tuple[Tensor, Tensor] | None = None,
        reason: str | None = None,
        name: str = "",
        arrange_uniform: Callable[[Tensor], Tensor] | None = None,
    ) -> Iterator[Compared]:
        """Yields target, critics' loss and its gradient; the loss of both is that of our target.

        Args:
            targets: Of both; None computes them.
            reason: Why the targets differ.
            name: Follows the names of the quantities.
            arrange_uniform: As in `both`.
        """
        ours, peers = targets or self.targets()
        yield Compared(f"target{name}", ours, peers, reason)
        mine, theirs = both(
            lambda: loss_of(self.ours.compute_critic_loss(self.batch, ours)),
            lambda: self.peers_critic_loss(self.peers_values(ours)),
            arrange_uniform=arrange_uniform,
        )
        yield Compared(f"critic loss{name}", mine, theirs)
        network = self.ours.q.network
        gradients = gradient(mine, network), gradient(theirs, self.modules.q_funcs)
        yield Compared(f"critic gradient{name}", *gradients)

    def actor(
        self, name: str = "", reason: str | None = None, peers_loss: Callable[[], Any] | None = None
    ) -> Iterator[Compared]:
        """Yields the actor's loss and its gradient.

        Args:
            name: Follows the names of the quantities.
            reason: Why they differ.
            peers_loss: Computes the peer's; None takes `peers_actor_loss`.
        """
        losses = both(
            lambda: loss_of(self.ours.compute_actor_loss(self.batch)),
            lambda: loss_of((peers_loss or self.peers_actor_loss)()),
        )
        yield Compared(f"actor loss{name}", *losses, reason)
        gradients = policy_gradients(losses, self.ours.policy, self.modules.policy)
        yield Compared(f"actor gradient{name}", *gradients, reason)

    def peers_actor_loss(self) -> Any:
        """Returns what the peer's loss of the actor gives."""
        action = self.modules.policy(self.peers_batch.observations)
        return self.peers.compute_actor_loss(self.peers_batch, action)

    def peers_critic_loss(self, values: Tensor) -> Tensor:
        """Returns the peer's critic loss against next values [B, 1] or [B, N]."""
        compute = getattr(self.peers, "compute_critic_loss", None) or self.peers.compute_loss
        return loss_of(compute(self.peers_batch, values))


def make_peer(config: Any, settings: dict[str, Any], discrete: bool) -> Any:
    """Makes d3rlpy's implementation with networks as small as ours."""
    factory = d3rlpy.models.VectorEncoderFactory(list(WIDTHS))
    names = (field.name for field in dataclasses.fields(config))
    factories = {name: factory for name in names if name.endswith("encoder_factory")}
    algo = config(**factories | settings).create(device="cpu:0")
    algo.create_impl((OBSERVATION,), 3 if discrete else 2)
    return algo.impl


def make_batches(discrete: bool) -> tuple[Batch, TorchMiniBatch]:
    """Makes the same random rows as a batch of ours and one of d3rlpy's; about every third ends the MDP."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(ROWS, *shape, generator=generator)

    def draw_actions() -> Tensor:
        return torch.randint(3, (ROWS,), generator=generator) if discrete else torch.tanh(normal(2))

    terminals = (torch.rand(ROWS, generator=generator) < 0.3).float()
    ours = Batch(
        observations=normal(OBSERVATION),
        actions=draw_actions(),
        rewards=normal(),
        next_observations=normal(OBSERVATION),
        discounts=GAMMA * (1.0 - terminals),
    ).with_columns(next_actions=draw_actions(), returns=normal(), masks=None)
    columns = {name: value.reshape(ROWS, -1) for name, value in ours._asdict().items() if value is not None}
    columns["returns_to_go"] = columns.pop("returns")
    del columns["discounts"]
    intervals = torch.ones(ROWS, 1)
    return ours, TorchMiniBatch(**columns, terminals=terminals[:, None], intervals=intervals, device="cpu:0")


def loss_of(answer: Any) -> Tensor:
    """Returns the loss [] from what a loss function of either library gives: rows, a tuple or a dataclass."""
    if isinstance(answer, (Tensor, Rows)):
        return reduce_rows(answer)
    if isinstance(answer, dict):
        return loss_of(answer["loss"])
    if isinstance(answer, tuple):
        return loss_of(answer[0])
    names = ("critic_loss", "actor_loss", "loss")
    return loss_of(next(getattr(answer, name) for name in names if hasattr(answer, name)))

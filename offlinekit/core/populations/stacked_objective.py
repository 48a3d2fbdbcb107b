"""Objectives and targets of a stack: every tensor has a leading axis of members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from offlinekit.core.impl import Impl
from offlinekit.core.populations.program import Program
from offlinekit.core.populations.stacked_sampling import unflatten
from offlinekit.nn.random import Random
from offlinekit.sampling.batch import Metrics, Minibatch
from offlinekit.training.engines.updates import tensors_of
from offlinekit.training.objectives import Objective, Target
from offlinekit.training.optimizers import make_optimizer


class StackedObjective(Objective):
    """One loss of all members, run as a program; each member has its own learning rate, decay and norm.

    If members differ in rate or decay, the optimizer steps with rate 1 on tensors of zeros, and each member
    moves along its own step times its own rate: every optimizer's step is proportional to its rate.

    Args:
        objective: Of the stacked impl.
        members: The same objective of each member.
    """

    def __init__(self, objective: Objective, members: Sequence[Objective]) -> None:
        super().__init__(**{field.name: getattr(objective, field.name) for field in fields(Objective)})
        self.program: Program
        self.metrics: list[str] = []
        self.numbers: dict[str, Tensor] = {}  # Inputs of the program, [M] each.
        rates = [member.learning_rate for member in members]
        decays = [[decay for _, decay in member.optimizer.groups] for member in members]
        norms = [m.clip_grad_norm for m in members]
        device = self.parameters[0].device
        self.own_steps = len(set(rates)) > 1 or any(own != decays[0] for own in decays)
        self.norms = None
        if any(norm is not None for norm in norms):
            limits = [float("inf") if norm is None else norm for norm in norms]
            self.norms = torch.tensor(limits, device=device, dtype=torch.float32)
        if self.own_steps:
            like = self.parameters[0].detach()
            self._step_apart(like.new_tensor(rates), like.new_tensor(decays))

    def _step_apart(self, rates: Tensor, decays: Tensor) -> None:
        """Puts the optimizer on tensors of zeros.

        Args:
            rates: Learning rates, [M].
            decays: Weight decays, [M, groups].
        """
        self.learning_rate = 1.0
        groups = [parameters for parameters, _ in self.optimizer.groups]
        zeros = [[torch.zeros_like(parameter) for parameter in group] for group in groups]
        self.optimizer = make_optimizer(self.optimizer.name, [(group, 0.0) for group in zeros], 1.0)
        self.steps = [step for group in zeros for step in group]
        self.decays = [_beside(decays[:, i], p) for i, group in enumerate(groups) for p in group]
        self.rates = [_beside(rates, parameter) for parameter in self.parameters]

    def record(
        self, impl: Impl, numbers: dict[str, Tensor], batch: Minibatch, randoms: Sequence[Random]
    ) -> None:
        """Records losses, metrics and gradients of all members as a program.

        Args:
            impl: The stacked impl.
            numbers: Hyperparameters in which members differ, [M] each.
            batch: An example, [M, B, ...].
            randoms: The members' random numbers.

        Raises:
            NotStackable: If the loss cannot be recorded.
        """
        names = [name for name, _ in named_tensors(impl)]
        tensors = [tensor for _, tensor in named_tensors(impl)]
        inputs = [*tensors, *numbers.values()]
        self.numbers = numbers
        owned = [_index(tensors, parameter) for parameter in self.parameters]
        loss_of = _Loss(impl)

        def member(*flat: Tensor) -> tuple[Tensor, Metrics]:
            state = {f"impl.{name}": tensor for name, tensor in zip(names, flat, strict=False)}
            values = flat[len(names) : len(names) + len(numbers)]
            impl.config.differing = dict(zip(numbers, values, strict=True))
            own_batch = unflatten(flat[len(names) + len(numbers) :], batch)
            reduced: tuple[Tensor, Metrics] = functional_call(loss_of, state, (self.reduced, own_batch))
            return reduced

        def everyone(*flat: Tensor) -> list[Any]:
            leaves = list(flat)
            for index in owned:
                leaves[index] = leaves[index].detach().requires_grad_()
            losses, metrics = torch.vmap(member, randomness="different")(*leaves)
            wanted = [leaves[index] for index in owned]
            gradients = torch.autograd.grad(losses.sum(), wanted, allow_unused=True)
            self.metrics = [f"{self.name}_loss", *metrics]
            return [losses.detach(), *metrics.values(), *gradients]

        try:
            self.program = Program(everyone, inputs, tensors_of(batch), randoms)
        finally:
            impl.config.differing = {}

    @torch.no_grad()
    def minimize(self, batch: Minibatch) -> Metrics:
        """Takes one step of every member and returns the metrics, [M] each."""
        outputs = self.program(tensors_of(batch))
        metrics = {name: value.clone() for name, value in zip(self.metrics, outputs, strict=False)}
        gradients = [None if g is None else g.contiguous() for g in outputs[len(metrics) :]]
        if self.norms is not None:
            gradients = _clipped(gradients, self.norms)
        if self.own_steps:
            self._move(gradients)
        else:
            self.optimizer.step(gradients)
        return metrics

    def _move(self, gradients: list[Tensor | None]) -> None:
        """Moves each member along its own step times its own rate."""
        factor = self.optimizer.learning_rate  # Of the schedule.
        decoupled = self.optimizer.name == "adamw"
        parts = list(zip(self.parameters, gradients, self.steps, self.rates, self.decays, strict=True))
        decayed: list[Tensor | None] = []
        for parameter, gradient, step, rate, decay in parts:
            step.zero_()
            decayed.append(None if gradient is None or decoupled else gradient + decay * parameter)
            if decoupled and gradient is not None:
                decayed[-1] = gradient
                parameter.mul_(1.0 - factor * rate * decay)
        self.optimizer.step(decayed)
        for parameter, _, step, rate, _ in parts:
            parameter.addcmul_(step, rate)


class StackedTarget(Target):
    """A target whose members follow at their own pace."""

    def __init__(self, target: Target, taus: Tensor) -> None:
        super().__init__(**{field.name: getattr(target, field.name) for field in fields(Target)})
        self.plain, self.taus = target, taus

    @torch.no_grad()
    def follow(self) -> None:
        """Moves each member's target one step of its own."""
        for target, online in zip(self.target.parameters(), self.online.parameters(), strict=True):
            target.lerp_(online, _beside(self.taus, target))
        for buffer, followed in zip(self.target.buffers(), self.online.buffers(), strict=True):
            buffer.copy_(followed)


def named_tensors(impl: nn.Module) -> list[tuple[str, Tensor]]:
    """Returns parameters and buffers by name."""
    tensors: list[tuple[str, Tensor]] = list(impl.named_parameters())
    return tensors + list(impl.named_buffers())


class _Loss(nn.Module):
    """Target of functional_call: a reduced loss of an impl whose tensors it puts in place."""

    def __init__(self, impl: Impl) -> None:
        super().__init__()
        self.impl = impl

    def forward(
        self, reduced: Callable[[Any], tuple[Tensor, Metrics]], batch: Minibatch
    ) -> tuple[Tensor, Metrics]:
        return reduced(batch)


def _clipped(gradients: list[Tensor | None], limits: Tensor) -> list[Tensor | None]:
    """Returns gradients whose norm over all tensors is at most each member's limit, [M]."""
    given = [gradient for gradient in gradients if gradient is not None]
    norms = (
        torch.stack([gradient.reshape(len(limits), -1).square().sum(1) for gradient in given]).sum(0).sqrt()
    )
    shrink = (limits / (norms + 1e-6)).clamp(max=1.0)
    return [None if gradient is None else gradient * _beside(shrink, gradient) for gradient in gradients]


def _beside(values: Tensor, tensor: Tensor) -> Tensor:
    """Returns values [M] with axes of 1 behind, to meet [M, ...]."""
    return values.reshape(-1, *(1,) * (tensor.ndim - 1))


def _index(tensors: Sequence[Tensor], tensor: Tensor) -> int:
    return next(index for index, other in enumerate(tensors) if other is tensor)

"""What one update minimises, and what follows it: objectives and targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from offlinekit.types import Batch, Metrics

Loss: TypeAlias = "Tensor | tuple[Tensor, Metrics]"

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}


@dataclass
class Objective:
    """One loss, the parameters that it alone may change, and how they are changed."""

    name: str
    loss: Callable[[Batch], Loss]
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    learning_rate: float
    schedule: str = "constant"
    every: int = 1
    clip_grad_norm: float | None = None

    def minimize(self, batch: Batch) -> Metrics:
        """Takes one optimizer step on the owned parameters and returns the metrics."""
        loss = self.loss(batch)
        value, metrics = loss if isinstance(loss, tuple) else (loss, {})
        gradients = torch.autograd.grad(value, self.parameters, allow_unused=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_grad_norm)
        self.optimizer.step()
        return {f"{self.name}_loss": value.detach(), **metrics}

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the optimizer's state, by "optimizers.<name>.<parameter>.<slot>"."""
        return {
            f"optimizers.{self.name}.{index}.{slot}": torch.as_tensor(value)
            for index, slots in self.optimizer.state_dict()["state"].items()
            for slot, value in slots.items()
        }

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Takes up what `state_tensors` returned, among other tensors."""
        state: dict[int, dict[str, Tensor]] = {}
        prefix = f"optimizers.{self.name}."
        for name, value in tensors.items():
            if name.startswith(prefix):
                index, slot = name[len(prefix) :].split(".")
                state.setdefault(int(index), {})[slot] = value.clone()
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def schedule_rate(self, progress: float) -> None:
        """Sets the learning rate for the share of the run that is done, in [0, 1]."""
        if self.schedule == "cosine":
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


@dataclass
class Target:
    """A frozen copy of a network that follows it: target += tau * (online - target); buffers are copied."""

    online: nn.Module
    target: nn.Module
    tau: float
    every: int = 1

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the target one step towards the online network; tau = 1 copies it."""
        targets: list[Tensor] = list(self.target.parameters())
        online: list[Tensor] = list(self.online.parameters())
        if self.tau == 1.0:
            torch._foreach_copy_(targets, online)
        else:
            torch._foreach_lerp_(targets, online, self.tau)
        for target, buffer in zip(self.target.buffers(), self.online.buffers(), strict=True):
            target.copy_(buffer)

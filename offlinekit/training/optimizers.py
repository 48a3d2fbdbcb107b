"""Optimizers: Adam as one fused call, and those of torch.optim, whose import takes most of a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

Gradients: TypeAlias = "Sequence[Tensor | None]"
Group: TypeAlias = "tuple[Sequence[Tensor], float]"
"""Parameters and their weight decay."""


class Optimizer(Protocol):
    """An optimizer, as objectives use it.

    Attributes:
        name: As `make_optimizer` takes it.
        groups: Parameters, in groups of one weight decay each.
        learning_rate: Of the next step; a 0-d tensor if a CUDA graph is to read it anew each time.
    """

    name: str
    groups: Sequence[Group]
    learning_rate: float | Tensor

    def set_decays(self, decays: Sequence[float]) -> None:
        """Sets the weight decay of each group."""

    def step(self, gradients: Gradients) -> None:
        """Changes the parameters, in the order of the groups; one whose gradient is None stays as it is."""

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the state by "<parameter>.<slot>"."""

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `state_tensors` returned."""


def make_optimizer(name: str, groups: Sequence[Group], learning_rate: float) -> Optimizer:
    """Makes an optimizer by its name: "adam", "adamw", "sgd" or "rmsprop"."""
    groups = [group for group in groups if group[0]]
    if name in ("adam", "adamw"):
        return Adam(name, groups, learning_rate)
    return TorchOptimizer(name, groups, learning_rate)


class Adam:
    """Adam, or AdamW with decoupled weight decay: one fused call a group, with the numbers of torch.optim.

    Source: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1; Loshchilov and Hutter 2017, arXiv:1711.05101.

    Args:
        name: "adam", or "adamw" whose weights decay by themselves instead of through their gradient.
        groups: Parameters, all on one device.
        learning_rate: Of the next step.
    """

    def __init__(self, name: str, groups: Sequence[Group], learning_rate: float) -> None:
        self.name, self.groups = name, groups
        self.learning_rate: float | Tensor = learning_rate
        self.fused = torch._fused_adamw_ if name == "adamw" else torch._fused_adam_
        self.slots = [_Slots(parameters) for parameters, _ in groups]

    def set_decays(self, decays: Sequence[float]) -> None:
        """Sets the weight decay of each group."""
        self.groups = _with_decays(self.groups, decays)

    @torch.no_grad()
    def step(self, gradients: Gradients) -> None:
        """Changes the parameters, in the order of the groups; one whose gradient is None stays as it is."""
        start = 0
        for slots, (_, decay) in zip(self.slots, self.groups, strict=True):
            stop = start + len(slots.parameters)
            lists = slots.count(gradients[start:stop])
            start = stop
            if not lists[0]:
                continue
            self.fused(
                *lists,
                lr=self.learning_rate,
                beta1=0.9,
                beta2=0.999,
                weight_decay=decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns means and squares of the gradients and the count of steps, by "<parameter>.<slot>"."""
        rows = [row for slots in self.slots for row in slots.rows()]
        return {f"{index}.{name}": slot for index, row in enumerate(rows) for name, slot in row.items()}

    @torch.no_grad()
    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `state_tensors` returned."""
        for name, slot in self.state_tensors().items():
            slot.copy_(tensors[name])


class _Slots:
    """Adam's state of each parameter of a group."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        self.means = [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]
        self.squares = [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]
        self.counts = parameters[0].new_zeros(len(self.parameters), requires_grad=False)
        self.steps = list(self.counts.unbind())

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.steps = list(
            self.counts.unbind()
        )  # Views, which a copy or a pickle would part from their counts.

    def rows(self) -> list[dict[str, Tensor]]:
        """Returns the state of each parameter."""
        rows = zip(self.steps, self.means, self.squares, strict=True)
        return [dict(zip(("step", "exp_avg", "exp_avg_sq"), row, strict=True)) for row in rows]

    def count(self, gradients: Gradients) -> tuple[Any, ...]:
        """Counts one step and returns the lists that the fused call takes, of parameters with a gradient."""
        if not any(gradient is None for gradient in gradients):
            self.counts += 1
            return self.parameters, gradients, self.means, self.squares, [], self.steps
        rows = zip(self.parameters, gradients, self.means, self.squares, self.steps, strict=True)
        chosen = [row for row in rows if row[1] is not None]
        for *_, step in chosen:
            step += 1
        parameters, current, means, squares, steps = ([row[i] for row in chosen] for i in range(5))
        return parameters, current, means, squares, [], steps


class TorchOptimizer:
    """An optimizer of torch.optim.

    Args:
        name: "sgd" or "rmsprop".
        groups: Parameters, all on one device.
        learning_rate: Of the next step.
    """

    def __init__(self, name: str, groups: Sequence[Group], learning_rate: float) -> None:
        from torch import optim  # Here, since the import takes most of a second.

        self.name, self.groups = name, groups
        self.learning_rate: float | Tensor = learning_rate
        self.parameters = [parameter for parameters, _ in groups for parameter in parameters]
        options: list[dict[str, Any]] = [
            {"params": list(parameters), "weight_decay": decay} for parameters, decay in groups
        ]
        self.optimizer: optim.Optimizer = (
            optim.SGD(options, lr=learning_rate, fused=True)
            if name == "sgd"
            else optim.RMSprop(options, lr=learning_rate)
        )

    def set_decays(self, decays: Sequence[float]) -> None:
        """Sets the weight decay of each group."""
        self.groups = _with_decays(self.groups, decays)
        for group, decay in zip(self.optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay

    def step(self, gradients: Gradients) -> None:
        """Changes the parameters, in the order of the groups; one whose gradient is None stays as it is."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the state by "<parameter>.<slot>"; nothing before the first step."""
        return {
            f"{index}.{slot}": value if isinstance(value, Tensor) else torch.tensor(value, device="cpu")
            for index, slots in self.optimizer.state_dict()["state"].items()
            for slot, value in slots.items()
            if value is not None
        }

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `state_tensors` returned."""
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, slot = name.split(".")
            state.setdefault(int(index), {})[slot] = value.clone()
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _with_decays(groups: Sequence[Group], decays: Sequence[float]) -> list[Group]:
    """Returns groups of the same parameters with other weight decays."""
    return [(parameters, decay) for (parameters, _), decay in zip(groups, decays, strict=True)]

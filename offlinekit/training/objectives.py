"""Objectives, which an update minimises, and targets, which follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from offlinekit.errors import UnsupportedError
from offlinekit.ground.schedules import LearningRateSchedule, factor_at
from offlinekit.nn.rows import RowLoss, Rows, mean_of_metric, reduce_rows, row_weights
from offlinekit.sampling.batch import Metrics
from offlinekit.training.engines.rounded_products import rounded_products
from offlinekit.training.optimizers import Gradients, Optimizer
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.sampling.batch import Minibatch

__all__ = ["Loss", "Objective", "Rows", "Target"]

ROW_LOSSES = "losses of the rows"
"""The name under which the losses [B] of the rows leave an evaluation, among its metrics."""

Loss: TypeAlias = "RowLoss | tuple[RowLoss, Mapping[str, RowLoss]]"
"""The value of a loss: rows or a scalar, alone or with metrics, tensors of any shape, or `Rows`."""


@dataclass
class Objective:
    """One loss, the parameters that it alone may change, and how they are changed.

    Attributes:
        every: It is minimised at updates whose number is divisible by this.
        first: The first update in which it is minimised.
        last: The last one; None for no end.
        warmup_steps: Updates over which the learning rate grows linearly to its full size.
        report: Set for a sampler that draws by losses; takes those of the rows, [B], after each step.
        evaluate: Set by an engine, which does in its own way what `gradients` does.
        combine: Set by an engine of several processes, which averages gradients before they are clipped.
    """

    name: str
    loss: Callable[[Any], Loss]
    parameters: list[nn.Parameter]
    optimizer: Optimizer
    learning_rate: float
    schedule: LearningRateSchedule = "constant"
    every: int = 1
    first: int = 1
    last: int | None = None
    clip_grad_norm: float | None = None
    warmup_steps: int = 0
    report: Callable[[Tensor], None] | None = None
    evaluate: Callable[[Any], tuple[Gradients, Metrics]] | None = None
    combine: Callable[[Gradients], Gradients] | None = None

    @property
    def is_always_due(self) -> bool:
        """Whether every update minimises it."""
        return self.every == 1 and self.first <= 1 and self.last is None

    def is_due(self, step: int) -> bool:
        """Returns whether the update of a number, from 1 on, minimises it."""
        begun = step >= self.first and (self.last is None or step <= self.last)
        return begun and step % self.every == 0

    def minimize(self, batch: Minibatch) -> Metrics:
        """Takes one optimizer step on the owned parameters and returns the metrics."""
        gradients, metrics = (self.evaluate or self.gradients)(batch)
        if self.combine is not None:
            gradients = self.limited(self.combine(gradients))
        self.optimizer.step(gradients)
        if self.report is None:
            return metrics
        self.report(metrics[ROW_LOSSES])
        return {
            name: value for name, value in metrics.items() if name != ROW_LOSSES
        }  # A recorder keeps `metrics`.

    def gradients(self, batch: Minibatch) -> tuple[Gradients, Metrics]:
        """Returns the gradient of the loss by each owned parameter, clipped, and the metrics; changes nothing."""
        with rounded_products():
            loss, metrics, weights = self._evaluated(batch)
            value = reduce_rows(loss, weights)
            taken = self._differentiated(value)
        gradients: Gradients = [  # Fused optimizers read memory in the parameters' order, whatever the strides.
            None if gradient is None else gradient.contiguous() for gradient in taken
        ]
        if self.combine is None:
            gradients = self.limited(gradients)
        if self.report is not None:
            metrics[ROW_LOSSES] = self._losses(loss)
        return gradients, {f"{self.name}_loss": value.detach(), **metrics}

    def reduced(self, batch: Minibatch) -> tuple[Tensor, Metrics]:
        """Returns the loss of a batch and its metrics as numbers.

        A loss is the weighted mean of its rows, summed over members; a metric the mean of all its numbers.

        Raises:
            ValueError: For a loss of another shape.
            UnsupportedError: For a scalar if rows have weights.
        """
        loss, metrics, weights = self._evaluated(batch)
        return reduce_rows(loss, weights), metrics

    def _evaluated(self, batch: Minibatch) -> tuple[RowLoss, Metrics, Tensor | None]:
        """Returns the loss of a batch as it was returned, its metrics as numbers, and the weights of its rows."""
        loss, metrics = self._returned(batch)
        weights = row_weights(batch)
        n_rows = len(first_leaf(batch.observations))
        self._check(loss, self._whose, n_rows, weights)
        return loss, {name: self._measured(name, metrics[name], n_rows, weights) for name in metrics}, weights

    def _measured(self, name: str, metric: RowLoss, n_rows: int, weights: Tensor | None) -> Tensor:
        """Returns a metric as a number."""
        whose = f"the metric {name!r} beside {self._whose}"
        if isinstance(metric, Rows):
            self._check(metric, whose, n_rows, None)
        try:
            return mean_of_metric(metric, n_rows, weights)
        except ValueError as error:
            raise ValueError(
                f"{whose} {error}; so it does not say which of them the weights of rows are for: take the mean over "
                "the other"
            ) from error

    def _returned(self, batch: Minibatch) -> tuple[RowLoss, Mapping[str, RowLoss]]:
        """Returns the loss of a batch and its metrics, none if it returned rows alone.

        Raises:
            TypeError: For anything but tensors and `Rows`.
        """
        returned = self.loss(batch)
        pair = returned if isinstance(returned, tuple) else (returned, {})
        if len(pair) != 2 or not isinstance(pair[0], (Tensor, Rows)) or not isinstance(pair[1], Mapping):
            raise TypeError(
                f"{self._whose} must be a tensor or Rows, alone or with a dict of metrics, (rows, metrics), got "
                f"{returned!r}; end the function by returning that"
            )
        for name, metric in pair[1].items():
            if not isinstance(metric, (Tensor, Rows)):
                raise TypeError(
                    f"the metric {name!r} beside {self._whose} must be a tensor or Rows, got {metric!r}; take no "
                    "number out of a tensor (.item(), float()), and make one of a constant by torch.tensor"
                )
        return pair

    def _differentiated(self, value: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradient of the loss by each owned parameter, None by those that it does not depend on.

        Raises:
            ValueError: If it depends on none of them.
        """
        gradients: tuple[Tensor | None, ...] = ()
        if value.requires_grad:
            gradients = torch.autograd.grad(value, self.parameters, allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise ValueError(
                f"{self._whose} depends on none of the parameters that it is to change; compute it with the networks "
                "that its objective names as owners, without detach() or torch.no_grad() around them"
            )
        return gradients

    def _losses(self, loss: RowLoss) -> Tensor:
        """Returns the size of the loss of each row [B], of members their mean, without gradient."""
        values = loss.values if isinstance(loss, Rows) else loss
        if values is None or not values.ndim:
            raise UnsupportedError(f"{self._whose} is not returned row by row, so rows cannot be drawn by it")
        sizes = values.detach().abs()
        return sizes if sizes.ndim == 1 else sizes.mean(0)

    @property
    def _whose(self) -> str:
        return f"the {self.name} loss of {type(getattr(self.loss, '__self__', self)).__name__}"

    def _check(self, loss: RowLoss, whose: str, n_rows: int, weights: Tensor | None) -> None:
        """Refuses a loss, or a metric that is `Rows`, of which the mean over rows is not defined."""
        values = loss.values if isinstance(loss, Rows) else loss
        if isinstance(loss, Rows):
            _check_parts(loss, whose, n_rows)
        if values is None or (values.ndim in (1, 2) and values.shape[-1] == n_rows):
            return
        if values.ndim:
            raise ValueError(
                f"{whose} must be a scalar, one number a row, [{n_rows}], or [K, {n_rows}] for K members, got "
                f"shape {list(values.shape)}; take the mean over other axes, and leave the rows to the objective"
            )
        if weights is not None:
            raise UnsupportedError(
                f"{whose} is a scalar, in which rows can no longer be weighted; return it row by row, "
                f"[{n_rows}] or [K, {n_rows}], without the mean, and scalars beside it as Rows(rows, extra=...)"
            )

    def limited(self, gradients: Gradients) -> Gradients:
        """Returns gradients whose common norm is at most `clip_grad_norm`, if there is one."""
        return gradients if self.clip_grad_norm is None else clipped(gradients, self.clip_grad_norm)

    def has_owners_of(self, declared: Objective) -> bool:
        """Returns whether the same objective declared again changes the same parameters, in the same groups."""
        own, others = (
            [[id(parameter) for parameter in group] for group, _ in each.optimizer.groups]
            for each in (self, declared)
        )
        return own == others

    def take_up(self, declared: Objective) -> None:
        """Adopts loss, rates, times and limits of the same objective declared again; the optimizer keeps its state.

        Raises:
            ValueError: For other owners, whose parameters the optimizer does not have.
        """
        if not self.has_owners_of(declared):
            raise ValueError(f"the {self.name} objective is declared with other owners than it has")
        for name in (
            "loss",
            "learning_rate",
            "schedule",
            "every",
            "first",
            "last",
            "clip_grad_norm",
            "warmup_steps",
        ):
            setattr(self, name, getattr(declared, name))
        self.optimizer.set_decays([decay for _, decay in declared.optimizer.groups])
        self.set_rate(self.learning_rate)

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the optimizer's state, by "optimizers.<name>.<parameter>.<slot>"."""
        state = self.optimizer.state_tensors()
        return {f"optimizers.{self.name}.{name}": value for name, value in state.items()}

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `state_tensors` returned, found among other tensors.

        Raises:
            KeyError: If the state of a parameter is missing.
        """
        prefix = f"optimizers.{self.name}."
        own = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        self.optimizer.load_state_tensors(own)

    @property
    def has_constant_rate(self) -> bool:
        """Whether every update has the same learning rate."""
        return self.schedule == "constant" and not self.warmup_steps

    def schedule_rate(self, progress: float, step: int) -> None:
        """Sets the learning rate of an update.

        Args:
            progress: Share of the run that is done, in [0, 1].
            step: The number of the update, from 1 on.
        """
        if not self.has_constant_rate:
            rate = self.learning_rate * min(step / max(self.warmup_steps, 1), 1.0)
            self.set_rate(rate * factor_at(self.schedule, progress))

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate of the next step, in place if a CUDA graph reads it."""
        if isinstance(self.optimizer.learning_rate, Tensor):
            self.optimizer.learning_rate.fill_(rate)
        else:
            self.optimizer.learning_rate = rate


def _check_parts(rows: Rows, whose: str, n_rows: int) -> None:
    """Refuses what stands beside the values of `Rows` in a shape of which the mean is not defined."""
    extra, values, weights = rows.extra, rows.values, rows.weights
    if values is None and not isinstance(extra, Tensor) and not extra:
        raise ValueError(f"{whose} is Rows without values and without extra; return one of the two")
    if isinstance(extra, Tensor) and tuple(extra.shape) not in ((), (n_rows,)):
        raise ValueError(
            f"the extra of {whose} must be a scalar or one number a row, [{n_rows}], got shape {list(extra.shape)}; "
            "take the mean over other axes, or put what each member has of its own into the values"
        )
    if values is None or weights is None or not values.ndim:
        return
    if tuple(weights.shape) not in ((n_rows,), (1, n_rows), tuple(values.shape)):
        raise ValueError(
            f"the weights of {whose} must be one number a row, [{n_rows}], or of the shape of its values, "
            f"{list(values.shape)}, got {list(weights.shape)}; give each row, or each row of each member, its own"
        )


def clipped(gradients: Gradients, largest: float) -> Gradients:
    """Returns gradients scaled down together if their common norm is above the largest allowed."""
    present = [gradient for gradient in gradients if gradient is not None]
    norm = torch.stack(torch._foreach_norm(present)).norm()
    scaled = iter(torch._foreach_mul(present, (largest / (norm + 1e-6)).clamp(max=1.0)))
    return [None if gradient is None else next(scaled) for gradient in gradients]


@dataclass
class Target:
    """A frozen copy of a network that follows it: target += tau * (online - target); buffers are copied.

    Attributes:
        every: Updates between two steps.
        names: Hyperparameters that hold `tau` and `every`, if they are not fixed numbers.
    """

    online: nn.Module
    target: nn.Module
    tau: float
    every: int = 1
    first: int = 1
    names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _tensors(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Parameters of the target and of the online network, and the buffers of both."""
        target, online = self.target, self.online
        return (
            list(target.parameters()),
            list(online.parameters()),
            list(target.buffers()),
            list(online.buffers()),
        )

    def take_up(self, config: object) -> None:
        """Sets `tau` and `every` to what their hyperparameters hold now."""
        for own, name in self.names.items():
            setattr(self, own, getattr(config, name))

    def is_due(self, step: int) -> bool:
        """Returns whether the target moves at the end of the update of a number, from 1 on."""
        return step >= self.first and step % self.every == 0

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the target one step towards the online network; tau = 1 copies it."""
        mine, followed, own_buffers, buffers = self._tensors
        if self.tau == 1.0:
            torch._foreach_copy_(mine, followed)
        else:
            torch._foreach_lerp_(mine, followed, self.tau)
        for own, buffer in zip(own_buffers, buffers, strict=True):
            own.copy_(buffer)

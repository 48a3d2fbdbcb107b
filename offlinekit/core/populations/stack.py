"""One impl in place of many: a copy whose tensors have a leading axis of members."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from offlinekit.core.impl import Impl
from offlinekit.core.populations.grouping import is_step_count, step_counts
from offlinekit.core.populations.held import refused_hooks
from offlinekit.core.populations.program import NotStackable, Unseeded
from offlinekit.core.populations.stacked_objective import StackedObjective, StackedTarget, named_tensors
from offlinekit.core.populations.stacked_sampling import StackedSource

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.training.objectives import Target


class StackedConfig:
    """The front that a stacked impl reads: the first member's, but for numbers in which members differ.

    Args:
        front: Of the first member.
    """

    def __init__(self, front: Algo) -> None:
        self.front = front
        self.differing: dict[str, Tensor] = {}  # Of one member, while its loss is recorded.

    def __getattr__(self, name: str) -> Any:
        differing, front = self.__dict__["differing"], self.__dict__["front"]
        if name in differing:
            return differing[name]
        member = next((vars(kind)[name] for kind in type(front).__mro__ if name in vars(kind)), None)
        if isinstance(member, property) and member.fget is not None:  # It reads numbers, as a method does.
            return member.fget(self)
        return member.__get__(self) if isinstance(member, FunctionType) else getattr(front, name)


def stack(impls: Sequence[Impl], numbers: Mapping[str, Sequence[float]], sampler: StackedSource) -> Impl:
    """Makes the impl that updates all members at once; it starts from their state.

    Args:
        impls: Of the members, alike in structure and in updates taken.
        numbers: Hyperparameters in which members differ, one value a member.
        sampler: Of the batches that it will be given.

    Raises:
        NotStackable: If the losses cannot be one program.
    """
    first, device = impls[0], impls[0].device
    _check_alike(impls)
    if not first.stackable:
        raise NotStackable(
            f"each {type(first).__name__} keeps what it learned of the whole dataset for itself"
        )
    hooks = refused_hooks(type(first))
    if hooks:
        raise NotStackable(
            f"{type(first).__name__} has its own {', '.join(hooks)}, which may hold no more than one member; where it "
            "is right for tensors with a leading axis of members, stackable = True in its class says so"
        )
    given = {id(first.random): Unseeded(device), id(first.config): StackedConfig(first.config)}
    whole = copy.deepcopy(first, {**given, id(first.objectives): []})
    parts = [dict(named_tensors(impl)) for impl in impls]
    for name, tensor in named_tensors(whole):
        tensor.data = torch.stack([part[name].detach() for part in parts])
    _take_up(whole, impls, whole.targets)
    _record(whole, impls, numbers, sampler)
    return whole


@torch.no_grad()
def refresh(whole: Impl, impls: Sequence[Impl], numbers: Mapping[str, Sequence[float]]) -> None:
    """Brings a stack to the state that its members have now; its programs stay, their numbers change in place.

    Args:
        whole: As `stack` made it.
        impls: Of its members.
        numbers: Those by which it was recorded, with the values of today.
    """
    _check_alike(impls)
    parts = [dict(named_tensors(impl)) for impl in impls]
    for name, tensor in named_tensors(whole):
        tensor.copy_(torch.stack([part[name] for part in parts]))
    recorded = [objective for objective in whole.objectives if isinstance(objective, StackedObjective)]
    _take_up(whole, impls, [getattr(target, "plain", target) for target in whole.targets])
    for objective, earlier in zip(whole.objectives, recorded, strict=True):
        assert isinstance(objective, StackedObjective)  # For the type checker; `_take_up` made them.
        objective.program, objective.metrics, objective.numbers = (
            earlier.program,
            earlier.metrics,
            earlier.numbers,
        )
        for name, values in numbers.items():
            objective.numbers[name].copy_(torch.tensor(values, dtype=torch.float32))
    first = impls[0]
    whole.grad_step, whole.horizon, whole.schedule_start = (
        first.grad_step,
        first.horizon,
        first.schedule_start,
    )


def _check_alike(impls: Sequence[Impl]) -> None:
    """Checks that the optimizers of members have counted the same steps, as a stack has one count.

    Raises:
        NotStackable: If they have not.
    """
    counts = [step_counts(impl) for impl in impls]
    if any(own != counts[0] for own in counts):
        raise NotStackable("the optimizers of its members have taken different numbers of steps")


def _take_up(whole: Impl, impls: Sequence[Impl], targets: Sequence[Target]) -> None:
    """Gives a stack the paces, rates and optimizers' state of its members."""
    whole.targets = [_stacked_target(whole, impls, index, target) for index, target in enumerate(targets)]
    stacked: dict[int, StackedObjective] = {}  # One may be listed more than once, with one optimizer.
    whole.objectives = []
    for index, objective in enumerate(whole.build_objectives()):
        if id(objective) not in stacked:
            stacked[id(objective)] = StackedObjective(objective, [impl.objectives[index] for impl in impls])
        whole.objectives.append(stacked[id(objective)])
    _load_optimizers(whole, impls)


def unstack(whole: Impl, impl: Impl, member: int) -> None:
    """Copies to a member its part of a stacked impl: networks, optimizers and the number of updates."""
    tensors = whole.state_tensors()
    own = {
        name: t if is_step_count(name) else t[member] for name, t in tensors.items() if name != "random.impl"
    }
    impl.load_state_tensors({**own, "random.impl": impl.random.state()})
    impl.grad_step = whole.grad_step


def bind(whole: Impl, impls: Sequence[Impl]) -> None:
    """Makes the networks of members views of their stack, so that members act with its newest numbers."""
    parts = [dict(named_tensors(impl)) for impl in impls]
    for name, tensor in named_tensors(whole):
        for part, own in zip(parts, tensor.detach().unbind(), strict=True):
            part[name].data = own


def release(impl: Impl) -> None:
    """Gives a member networks of its own, with the numbers of those that it shows of a stack."""
    for _, tensor in named_tensors(impl):
        tensor.data = tensor.data.clone()


def _stacked_target(whole: Impl, impls: Sequence[Impl], index: int, target: Target) -> Target | StackedTarget:
    taus = [impl.targets[index].tau for impl in impls]
    target.tau = taus[0]
    if len(set(taus)) == 1:
        return target
    return StackedTarget(target, torch.tensor(taus, device=whole.device, dtype=torch.float32))


def _load_optimizers(whole: Impl, impls: Sequence[Impl]) -> None:
    for index, objective in enumerate(whole.objectives):
        states = [impl.objectives[index].state_tensors() for impl in impls]
        stacked = {
            name: value if is_step_count(name) else torch.stack([state[name] for state in states])
            for name, value in states[0].items()
        }
        objective.load_state_tensors(stacked)


def _record(
    whole: Impl, impls: Sequence[Impl], numbers: Mapping[str, Sequence[float]], sampler: StackedSource
) -> None:
    """Records the program of each objective; meanwhile the impl has no count of updates to look at."""
    values = {
        name: torch.tensor(own, device=whole.device, dtype=torch.float32) for name, own in numbers.items()
    }
    batch, randoms = sampler.example(), [impl.random for impl in impls]
    steps = whole.grad_step, whole.horizon
    del whole.grad_step, whole.horizon
    whole.train()
    try:
        for objective in {id(objective): objective for objective in whole.objectives}.values():
            assert isinstance(objective, StackedObjective)  # For the type checker; `stack` made them.
            objective.record(whole, values, batch, randoms)
    finally:
        whole.grad_step, whole.horizon = steps
        whole.eval()

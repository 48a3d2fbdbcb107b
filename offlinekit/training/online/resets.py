"""Beginning parts of a trained algorithm anew, before it goes on learning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from offlinekit.core.impl import Impl

OBJECTIVES = {"critics": ("critic", "value"), "temperature": ("temperature", "alpha")}
"""Objectives whose parameters begin anew, by what is reset."""


@torch.no_grad()
def reset(impl: Impl, names: Iterable[str]) -> None:
    """Brings parts of an implementation back to what they were when it was made.

    Args:
        impl: What is reset.
        names: "moments" of all optimizers; the parameters, targets and moments of "critics" (state values too) and
            of the "temperature" (Lagrange multipliers too).
    """
    chosen = set(names)
    objectives = {objective for name in chosen for objective in OBJECTIVES.get(name, ())}
    if not chosen:
        return
    fresh = type(impl)(impl.config, impl.observation_space, impl.action_space, impl.device)
    renewed: set[int] = set()
    for own, new in zip(impl.objectives, fresh.objectives, strict=True):
        if own.name in objectives:
            renewed.update(map(id, own.parameters))
            torch._foreach_copy_(list(own.parameters), list(new.parameters))
        if own.name in objectives or "moments" in chosen:
            own.optimizer.load_state_tensors(new.optimizer.state_tensors())
    for target in impl.targets:
        if renewed & set(map(id, target.online.parameters())):
            target.target.load_state_dict(target.online.state_dict())

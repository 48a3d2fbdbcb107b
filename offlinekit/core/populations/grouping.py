"""Groups of members that can be one stack, and the numbers in which they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from offlinekit.training.run import Run

if TYPE_CHECKING:
    pass

FIXED_NUMBERS = ("action_noise", "huber_width", "log_std_min")
"""Numbers that networks hold or losses branch on, so that members which differ in them are stacks of their own."""
OFF_AT_ZERO = ("dropout",)
"""Numbers that at 0 leave out draws, so that members with and without them are stacks of their own."""


def groups(runs: Sequence[Run]) -> list[list[int]]:
    """Returns the numbers of the runs that share all structure, group by group."""
    grouped: list[tuple[Any, list[int]]] = []
    for number, run in enumerate(runs):
        own = _structure(run)
        for structure, members in grouped:
            if structure == own:
                members.append(number)
                break
        else:
            grouped.append((own, [number]))
    return [members for _, members in grouped]


def differing_numbers(algos: Sequence[Any], varying: Collection[str] = ()) -> dict[str, list[float]]:
    """Returns the hyperparameters in which algorithms of one structure differ, or could, one value a member."""
    differing = {}
    for field in dataclasses.fields(algos[0]):
        values = [getattr(algo, field.name) for algo in algos]
        is_off = field.name in OFF_AT_ZERO and not any(values)
        could = field.name in varying and field.name not in FIXED_NUMBERS and not is_off
        if isinstance(values[0], float) and (could or len(set(values)) > 1):
            differing[field.name] = values
    return differing


def structure(algo: Any) -> dict[str, Any]:
    """Returns the hyperparameters that members of one stack have in common; numbers count only as being given."""
    apart = ("seed", "device", *algo.not_in_files, *algo.impl_class.unread)
    fields = [field.name for field in dataclasses.fields(algo) if field.name not in apart]
    values = {name: getattr(algo, name) for name in fields}
    for name in fields:
        if isinstance(values[name], float) and name not in FIXED_NUMBERS:
            values[name] = (float, name in OFF_AT_ZERO and values[name] == 0.0)
        elif name.endswith("_scaler"):
            values[name] = algo.config[name]
    return {**values, "class": type(algo)}


def _structure(run: Run) -> dict[str, Any]:
    """Returns all that members of one stack have in common."""
    algo = run.algo
    return {
        **structure(algo),
        "device": algo.impl.device,
        "tensors": {name: (t.shape, t.dtype) for name, t in algo.impl.state_dict().items()},
        "timing": run.timing,
    }

"""Groups of members that can be one stack, and the numbers in which they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch

from offlinekit.core.populations.held import held
from offlinekit.training.run import Run

if TYPE_CHECKING:
    from offlinekit.core.impl import Impl

FIXED_NUMBERS = ("action_noise", "huber_width", "log_std_min")
"""Numbers that networks hold or losses branch on, so that members which differ in them are stacks of their own."""
OFF_AT_ZERO = ("dropout",)
"""Numbers that at 0 leave out draws, so that members with and without them are stacks of their own."""


def groups(runs: Sequence[Run]) -> list[list[int]]:
    """Returns the numbers of the runs that share all structure, group by group.

    Runs that went on from other numbers of updates catch up first, so that their optimizers cannot be compared yet.
    """
    found = []
    for alike in _grouped([_structure(run) for run in runs]):
        level = len({runs[number].algo.grad_step for number in alike}) == 1
        parts = _grouped([step_counts(runs[number].algo.impl) if level else {} for number in alike])
        found += [[alike[place] for place in part] for part in parts]
    return sorted(found)


def step_counts(impl: Impl) -> dict[str, float]:
    """Returns the names of the optimizers' state, and how many steps each has counted for a parameter."""
    state = {n: tensor for each in impl.objectives for n, tensor in each.state_tensors().items()}
    counted = {name: tensor for name, tensor in state.items() if is_step_count(name)}
    counts = torch.stack([tensor.float() for tensor in counted.values()]).tolist() if counted else []
    return {**dict.fromkeys(state, 0.0), **dict(zip(counted, counts, strict=True))}


def is_step_count(name: str) -> bool:
    """Returns whether a tensor of `state_tensors` is an optimizer's count of steps, one for all members of a stack."""
    return name.startswith("optimizers.") and name.endswith(".step")


def _grouped(keys: Sequence[Any]) -> list[list[int]]:
    """Returns the places of equal keys, group by group; keys need no hash."""
    grouped: list[tuple[Any, list[int]]] = []
    for place, own in enumerate(keys):
        for key, places in grouped:
            if key == own:
                places.append(place)
                break
        else:
            grouped.append((own, [place]))
    return [places for _, places in grouped]


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
        "held": held(algo),
    }

"""Places of a population: who moves in, with what state, and with which hyperparameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from offlinekit.configured import check_names
from offlinekit.core import copying
from offlinekit.core.algo import Algo
from offlinekit.nn.encoders import encoder_to_json
from offlinekit.sweeps.evolution.transplant import rebuilt
from offlinekit.sweeps.evolution.value_moves import Choices, Value, at, holds
from offlinekit.sweeps.space import Range
from offlinekit.training.loggers import History

A = TypeVar("A", bound=Algo)
OWN = ("seed", "device")
"""Hyperparameters of the place itself, whoever moves in."""


def inherited(place: A, parent: A) -> A:
    """Returns the algorithm of a place with networks, optimizers and hyperparameters of a parent.

    Seed, random numbers and batches stay those of the place, so that parent and child part in training. If
    architectures agree, the algorithm of the place itself takes the state up, so that a stack stays one program.
    """
    if place is parent:
        return place
    noise = place.impl.random.state()
    if not _alike(place, parent):
        reached = place.sampler_state if place.sampler is None else place.sampler.state()
        state = copying.state_of(parent)
        own = {name: getattr(place, name) for name in (*OWN, "seed_was_drawn", "history", "run_dir")}
        attributes = {**state["attributes"], **own, "sampler_state": reached}
        child = copying.from_state(type(parent), {**state, "attributes": attributes})
        child.impl.random.set_state(noise)
        return child
    set_values(place, {n: getattr(parent, n) for n in _names(place) if n not in OWN})
    place.impl.load_state_tensors({**parent.impl.state_tensors(), "random.impl": noise})
    place.impl.grad_step, place.impl.horizon = parent.impl.grad_step, parent.impl.horizon
    return place


def renewed(place: A, values: Mapping[str, Value]) -> A:
    """Returns an untrained algorithm of a place, with other hyperparameters and the seed of the place.

    It is the algorithm of the place itself where that can take the state up, so that a stack stays one program.
    """
    new = rebuilt(place, values)
    state = new.impl.state_tensors()
    if _alike(place, new) and state.keys() == place.impl.state_tensors().keys():
        set_values(place, values)
        place.impl.load_state_tensors(state)
        place.impl.grad_step = place.impl.horizon = 0
        new = place
    new.sampler, new.sampler_state, new.history = None, None, History()
    return new


def set_values(algo: Algo, values: Mapping[str, object]) -> None:
    """Sets hyperparameters that differ from what they are."""
    for name, value in values.items():
        if getattr(algo, name) != value:
            setattr(algo, name, value)


def check_search(algo: Algo, search: Mapping[str, Choices]) -> None:
    """Checks that hyperparameters can be searched: known, in range, and free to change between two generations.

    Args:
        algo: With networks; stays as it is.
        search: Names to spaces.

    Raises:
        ValueError: For one that is not, or that now lies outside of its space.
    """
    for name, space in search.items():
        check_names(type(algo), [name])
        now = getattr(algo, name)
        if not holds(space, now):
            raise ValueError(
                f"{name}={now!r} lies outside of its search space {space}; begin within it, or widen it"
            )
        for value in (at(space, 0.0), at(space, 1.0)) if isinstance(space, Range) else space:
            setattr(algo, name, value)
        setattr(algo, name, now)


def architecture_of(algo: Algo) -> str:
    """Returns the sizes and activations of an algorithm's encoders in short, such as "relu 32-32"."""
    parts = []
    for name in _names(algo):
        value = getattr(algo, name)
        if name.endswith("encoder") and value is not None:
            plain = encoder_to_json(value)
            parts.append(plain if isinstance(plain, str) else _in_short(plain))
    return " | ".join(parts)


def _in_short(plain: Mapping[str, object]) -> str:
    sizes = plain.get("hidden_sizes", ())
    listed = "-".join(map(str, sizes)) if isinstance(sizes, list | tuple) else str(sizes)
    return f"{plain.get('activation', 'relu')} {listed}".strip()


def _alike(one: Algo, other: Algo) -> bool:
    """Returns whether two algorithms have networks of one architecture, made by the same encoders."""
    if type(one) is not type(other) or architecture_of(one) != architecture_of(other):
        return False
    encoders = [name for name in _names(one) if name.endswith("encoder")]
    if any(getattr(one, name) != getattr(other, name) for name in encoders):
        return False  # Two factories of one name; networks keep theirs.
    mine, theirs = one.impl.state_dict(), other.impl.state_dict()
    return {n: t.shape for n, t in mine.items()} == {n: t.shape for n, t in theirs.items()}


def _names(algo: Algo) -> list[str]:
    return [field.name for field in dataclasses.fields(algo)]

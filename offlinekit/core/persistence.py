"""What a policy file holds of an algorithm, and how it comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from offlinekit.core.impl import Impl
from offlinekit.core.load_guard import Bounded
from offlinekit.core.renames import renamed
from offlinekit.datasets.spaces import space_from_json, space_to_json
from offlinekit.errors import FileFormatError, did_you_mean
from offlinekit.nn.encoders import encoder_to_json
from offlinekit.sampling.scalers import Scaler, Scaling
from offlinekit.training import policy_file


def save(algo: Any, path: Path, run: Mapping[str, Any] | None) -> None:
    """Writes config, spaces, scalers, networks, optimizers and random states of an algorithm."""
    impl = algo.impl
    header = {
        "algo": type(algo).__name__,
        "impl": algo.impl_class.__name__,
        "config": algo.config,
        "observation_space": space_to_json(impl.observation_space),
        "action_space": space_to_json(impl.action_space),
        "scaling": algo.scaling.to_json(),
        "grad_step": impl.grad_step,
        "horizon": impl.horizon,
        "dataset": algo.dataset_name,
        "run": run,
    }
    tensors = impl.state_tensors()
    reached = algo.sampler_state if algo.sampler is None else algo.sampler.state()
    if reached is not None:
        tensors["random.sampler"] = reached
    policy_file.write(path, header, tensors)


def plain_config(algo: Any) -> dict[str, Any]:
    """Returns the hyperparameters of an algorithm as plain data."""
    values = {field.name: getattr(algo, field.name) for field in dataclasses.fields(algo)}
    for name in ("impl_class", "device", *algo.not_in_files):
        del values[name]
    for name, value in values.items():
        if name.endswith("encoder") and value is not None:
            values[name] = encoder_to_json(value)
        elif isinstance(value, Scaler):
            values[name] = value.to_json()
    return values


def load(
    path: Path, fronts: Mapping[str, type[Any]], device: str, impl_class: Any, given: Mapping[str, Any]
) -> Any:
    """Makes the algorithm that a file holds.

    Args:
        path: Of the file.
        fronts: The classes it may be of, by name.
        device: Where the networks go.
        impl_class: The implementation, or None to find it by its name.
        given: Hyperparameters in place of the file's.
    """
    header, tensors = policy_file.read(path, torch.device("cpu"))
    with policy_file.refused(path):
        front = _named(path, header["algo"], fronts, "algorithm")
        impl_class = impl_class or _named(path, header["impl"], Impl.known, "impl_class")
    try:
        config = {**renamed(front, header["config"]), **front.current_names(given)}
        algo = front(**{**config, "device": device, "impl_class": impl_class})
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise FileFormatError(
            f"{path} holds a config that {front.__name__} does not take: {error}"
        ) from error
    restore(algo, path, header, tensors)
    return algo


def restore(algo: Any, path: Path, header: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Brings an algorithm to the state of a file.

    Raises:
        FileFormatError: Where the networks do not fit.
    """
    with policy_file.refused(path):
        _restore(algo, path, header, tensors)


def _restore(algo: Any, path: Path, header: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    algo.scaling = Scaling.from_json(header["scaling"])
    algo.dataset_name = header["dataset"]
    spaces = [space_from_json(header[f"{kind}_space"]) for kind in ("observation", "action")]
    with Bounded(tensors, path):
        algo.make_impl(*spaces)
    try:
        algo.impl.load_state_tensors(tensors)
    except (RuntimeError, KeyError) as error:
        raise FileFormatError(
            f"{path} does not fit {algo.impl_class.__name__} with this config: {error}"
        ) from error
    for scaler, space in zip((algo.scaling.observation, algo.scaling.action), spaces, strict=True):
        if scaler is not None and isinstance(space, Box):
            scaler.transform(np.zeros((1, *space.shape), np.float32))  # Raises for numbers of another shape.
    algo.impl.grad_step, algo.impl.horizon = header["grad_step"], header["horizon"]
    algo.sampler, algo.sampler_state = None, tensors.get("random.sampler")


def _named(path: Path, name: str, known: Mapping[str, type[Any]], what: str) -> type[Any]:
    if name not in known:
        hint = did_you_mean(name, known)
        raise FileFormatError(
            f"{path} needs the {what} {name!r}, which this process has not defined{hint}; "
            f"import the module that defines it before loading, or pass {what}="
        )
    return known[name]

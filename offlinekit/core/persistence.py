"""What a policy file holds of an algorithm, and how it comes back."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
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
from offlinekit.training import policy_file, run_folder


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
    with _refused(path):
        front = _named(path, header["algo"], fronts, "algorithm")
        impl_class = impl_class or _named(path, header["impl"], Impl.known, "impl_class")
    try:
        config = {**renamed(front, header["config"]), **front.current_names(given)}
        algo = front(**{**config, "device": device, "impl_class": impl_class})
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise FileFormatError(
            f"{path} holds a config that {front.__name__} does not take: {error}"
        ) from error
    with _refused(path):
        restore(algo, header, tensors, path)
    return algo


def restore(algo: Any, header: Mapping[str, Any], tensors: dict[str, Tensor], path: Path) -> None:
    """Brings an algorithm to the state of a file.

    Raises:
        FileFormatError: Where the networks do not fit.
    """
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


def resume(algo: Any, folder: Path, step: int | None = None) -> dict[str, Any]:
    """Brings an algorithm to the newest checkpoint of a run and returns the run's state.

    Args:
        algo: What goes on.
        folder: Of the run.
        step: Of the checkpoint, or None for the newest.

    Raises:
        FileNotFoundError: Where the folder holds no checkpoint.
        FileFormatError: Where all of them are damaged.
        ValueError: Where the run has another class or other hyperparameters.
    """
    path, header, tensors = _newest_sound(folder, step)
    begun = renamed(type(algo), header["config"])
    config = {**algo.config, "seed": begun["seed"]}
    differing = sorted(k for k, v in begun.items() if _plain(config.get(k)) != _plain(v))
    if header["algo"] != type(algo).__name__ or differing:
        raise ValueError(
            f"{folder} is a run of {header['algo']} with other {differing or 'hyperparameters'}; "
            "resume with the same ones, or load the checkpoint with offlinekit.load and call fit"
        )
    algo._impl = None  # Its networks are made anew, of this seed.
    algo.seed = begun["seed"]
    with _refused(path):
        restore(algo, header, tensors, path)
    state: dict[str, Any] = header["run"]
    return state


def find_run(
    algo: Any,
    out: Path | None,
    config: dict[str, Any],
    finished: bool = False,
    taken: Sequence[Path | None] = (),
) -> Path | None:
    """Returns the run folder in `out` that a run of this config would go on with, or None.

    Args:
        algo: What would go on.
        out: Folder of run folders.
        config: Of the run.
        finished: Whether to look for one that has come to its end.
        taken: Runs to leave out.

    Raises:
        ValueError: Without a folder to look in.
    """
    if out is None:
        raise ValueError("resume='auto' looks for runs in the folder `out`; give out='runs'")
    apart = ("seed",) if algo.seed_was_drawn else ()
    return run_folder.find(out, config, apart, finished, taken, partial(_migrated, algo))


def _migrated(algo: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of a run, with hyperparameters of this algorithm by their names of today."""
    if config.get("algo") != type(algo).__name__ or not isinstance(config.get("hyperparameters"), dict):
        return config
    return {**config, "hyperparameters": renamed(type(algo), config["hyperparameters"])}


def _newest_sound(folder: Path, step: int | None) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
    """Reads the newest checkpoint, up to a step, that is not damaged, and warns where that is not the newest of all."""
    newest = (
        run_folder.latest_checkpoint(folder) if step is None else run_folder.checkpoint_path(folder, step)
    )
    older = [path for path in run_folder.checkpoints(folder) if path < newest]
    try:
        return newest, *policy_file.read(newest, torch.device("cpu"))
    except FileFormatError as error:
        for path in reversed(older):
            with suppress(FileFormatError):
                found = policy_file.read(path, torch.device("cpu"))
                warnings.warn(f"{error}; going on from {path.name}, the one before", stacklevel=5)
                return path, *found
        raise


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Turns what a header causes that no version wrote into a FileFormatError."""
    try:
        yield
    except FileFormatError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise FileFormatError(
            f"{path} is damaged: its header does not describe an algorithm ({error!r}); restore it from a copy"
        ) from error


def _named(path: Path, name: str, known: Mapping[str, type[Any]], what: str) -> type[Any]:
    if name not in known:
        hint = did_you_mean(name, known)
        raise FileFormatError(
            f"{path} needs the {what} {name!r}, which this process has not defined{hint}; "
            f"import the module that defines it before loading, or pass {what}="
        )
    return known[name]


def _plain(value: Any) -> Any:
    """Returns a value as it comes back from JSON."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (tuple, list)) else value

"""Policy files: saving an algorithm and loading it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Space, Tuple
from torch import Tensor

from offlinekit.configured import check_names, fields_of
from offlinekit.core.devices import check_device, find_device
from offlinekit.core.impl import Impl
from offlinekit.core.load_guard import SPARE_ACTING, Bounded
from offlinekit.core.renames import migrated
from offlinekit.core.sharing import zoo
from offlinekit.datasets.spaces import space_from_json, space_to_json
from offlinekit.envs.past.layouts import as_learned
from offlinekit.errors import FileFormatError, OfflineKitError, did_you_mean
from offlinekit.fields import Steps, checked
from offlinekit.load_budget import budget_of
from offlinekit.nn.encoders import is_encoder_name
from offlinekit.nn.isolation import trainable
from offlinekit.sampling.scalers import Affine, Scaling
from offlinekit.training import policy_file
from offlinekit.training.run_folder import policy_of

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.sampling.batch import TensorTree


def _file_of(path: Path) -> Path:
    """Returns the policy of a name or a run folder, with a warning if it is a checkpoint; a file as it is."""
    path = zoo.placed(path)
    if not path.is_dir():
        return path
    policy = policy_of(path)
    if policy.parent != path:
        warnings.warn(f"{path} is not finished; its checkpoint {policy.name} is read", stacklevel=4)
    return policy


def save(algo: Algo, path: Path, run: Mapping[str, Any] | None) -> Path:
    """Writes config, spaces, scalers, networks, optimizers and random states of an algorithm; returns the path."""
    impl = algo.impl
    for name, kind in _unloadable(algo.config).items():
        warnings.warn(
            f"a policy file holds the name of its {name} alone, and {kind!r} is none that loading knows; decorate the "
            f"factory by @register_encoder('my_encoder') in a module that is imported before loading, or give it to "
            f"load again: load(path, {name}=...)",
            stacklevel=4,
        )
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
    return path


def _unloadable(config: object) -> dict[str, str]:
    """Returns the encoders of a config, maybe of a file, that have no name here, by hyperparameter."""
    values = {n: v for n, v in config.items() if n.endswith("encoder")} if isinstance(config, dict) else {}
    kinds = {n: v.get("type", "mlp") if isinstance(v, dict) else v for n, v in values.items()}
    return {n: kind for n, kind in kinds.items() if isinstance(kind, str) and not is_encoder_name(kind)}


def load(
    path: Path,
    kind: type[Algo],
    device: str,
    impl_class: type[Impl] | None,
    given: Mapping[str, Any],
) -> Any:
    """Makes the algorithm that a file holds.

    Args:
        path: Of the file, or of a run folder.
        kind: The class it must be of, or a subclass of it.
        device: Where the networks go.
        impl_class: The implementation, or None to find it by its name.
        given: Hyperparameters in place of the file's.
    """
    check_device(str(device))
    find_device(str(device))
    path = _file_of(path)
    header, tensors = policy_file.read(path, torch.device("cpu"))
    budget_of(path)
    with policy_file.refused(path):
        front = _named(path, header["algo"], kind.known, "algorithm")
        if not issubclass(front, kind):
            raise FileFormatError(
                f"{path} holds {front.__name__}, which is no {kind.__name__}; load it by {front.__name__}.load, or by "
                "offlinekit.load whatever it holds"
            )
        impl_class = impl_class or _named(path, header["impl"], Impl.known, "impl_class")
    ours = {**front.current_names(given)}
    check_names(front, ours)
    ours = {name: checked(name, value, fields_of(front)[name].type) for name, value in ours.items()}
    try:
        config = {**migrated(front, header["config"]), **ours}
        algo = front(**{**config, "device": device, "impl_class": impl_class})
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        way = ""
        if _unloadable(header.get("config")):
            way = "; import the module that registers it before loading, or give its factory: load(path, encoder=...)"
        raise FileFormatError(
            f"{path} holds a config that {front.__name__} does not take: {error}{way}"
        ) from error
    restore(algo, path, header, tensors)
    return algo


@trainable()
def restore(algo: Algo, path: Path, header: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Restores an algorithm to the state of a file.

    Raises:
        FileFormatError: If the networks do not fit.
    """
    find_device(str(algo.device))  # Its error is none of the file.
    with policy_file.refused(path):
        _restore(algo, path, header, tensors)


def _restore(algo: Algo, path: Path, header: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    algo.scaling = Scaling.from_json(header["scaling"])
    algo.dataset_name = header["dataset"]
    spaces = [space_from_json(header[f"{kind}_space"]) for kind in ("observation", "action")]
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    spaces[0] = as_learned(spaces[0], shapes, algo.history_length)
    with Bounded(tensors, path, budget_of().max_bytes):
        algo.make_impl(*spaces)
    with Bounded(tensors, path, budget_of().max_bytes, SPARE_ACTING):
        _act_once(algo.impl, path)
    try:
        algo.impl.load_state_tensors(tensors)
    except (RuntimeError, KeyError) as error:
        raise FileFormatError(
            f"{path} does not fit {algo.impl_class.__name__} with this config: {error}"
        ) from error
    for scaler, space in zip((algo.scaling.observation, algo.scaling.action), spaces, strict=True):
        if isinstance(scaler, Affine) and isinstance(space, Box):
            scaler.transform(np.zeros((1, *space.shape), np.float32))  # Raises for numbers of another shape.
    algo.impl.grad_step, algo.impl.horizon = (
        checked(name, header[name], Steps) for name in ("grad_step", "horizon")
    )
    algo.sampler, algo.sampler_state = None, tensors.get("random.sampler")


def _act_once(impl: Impl, path: Path) -> None:
    """Computes one action, so that a policy too slow or too large is refused while its file is loaded."""
    try:
        observation = _zeros(impl.observation_space, impl.device)
        with torch.no_grad():
            impl.take_steps(
                observation,
                torch.zeros(1, dtype=torch.float32, device=impl.device),
                [impl.begin_episode(None)],
                False,
            )
    except FileFormatError:
        raise
    except OfflineKitError:
        pass  # An algorithm that does not act.
    except Exception as error:  # Whatever a number beyond all bounds makes torch raise.
        policy_file.blame_own_code(path, error)
        raise FileFormatError(
            f"{path} describes a policy that cannot act ({error}); it was forged"
        ) from error


def _zeros(space: Space[Any], device: torch.device) -> TensorTree:
    """Returns one observation [1, ...] of a space, scaled."""
    if isinstance(space, Dict):
        return {name: _zeros(part, device) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(_zeros(part, device) for part in space.spaces)
    dtype = torch.uint8 if space.dtype == np.uint8 else torch.float32
    return torch.zeros((1, *(space.shape or ())), dtype=dtype, device=device)


def _named(path: Path, name: str, known: Mapping[str, type[Any]], what: str) -> type[Any]:
    if name not in known:
        hint = did_you_mean(name, known)
        raise FileFormatError(
            f"{path} needs the {what} {name!r}, which this process has not defined{hint}; import the module that "
            "defines it before loading, on the command line by offlinekit --import MODULE"
            + (", or pass impl_class=" if what == "impl_class" else "")
        )
    return known[name]

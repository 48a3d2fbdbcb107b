"""Policies that d3rlpy wrote, as algorithms of this library: networks and scalers, read as data and never run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from offlinekit.core.d3rlpy.d3rlpy_hyperparameters import OF_CQL, OWN_NAMES, hyperparameters, kind_of
from offlinekit.core.load_guard import Bounded
from offlinekit.datasets.formats.packed_arrays import plain_pickle, torch_archive
from offlinekit.envs.past.sight import Image
from offlinekit.errors import FileFormatError, UnsupportedError
from offlinekit.load_budget import budget_of
from offlinekit.nn.isolation import trainable
from offlinekit.sampling.scalers import Affine, Scaling
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.types import Json

ALGORITHMS = (
    *("awac", "bc", "bcq", "bear", "cal_ql", "cql", "ddpg", "discrete_bc", "discrete_bcq", "discrete_cql"),
    *("discrete_sac", "double_dqn", "dqn", "iql", "nfq", "plas", "plas_with_perturbation", "prdc", "rebrac"),
    *("sac", "td3", "td3_plus_bc"),
)
"""Types of d3rlpy, which are names of the catalogue too, but for those of `RENAMED`."""
RENAMED = {"plas_with_perturbation": "plas"}
OTHERS = {
    "crr": "its policy has a deviation for each state, that of CRR here one for each dimension of the action",
    "decision_transformer": "its blocks are not those of DecisionTransformer here",
    "discrete_decision_transformer": "its blocks are not those of DiscreteDecisionTransformer here",
}
"""Types of d3rlpy whose networks are not those here, and why."""
MODULES = {
    "policy": ("policy", "imitator"),
    "target_policy": ("targ_policy", "policy"),
    "perturbation": ("perturbation",),
    "target_perturbation": ("targ_perturbation",),
    "vae.encoder": ("vae_encoder",),
    "vae.decoder": ("vae_decoder",),
    "q": ("q_funcs",),
    "target_q": ("targ_q_funcs",),
    "value": ("value_func",),
    "imitator": ("imitator",),
}
"""Networks here, and the names that they can have there."""
LOG_STDS = {"iql": (-5.0, 2.0), "awac": (-6.0, 0.0)}
"""Bounds between which a sigmoid keeps logarithms of deviations there."""
DRAWN = ("latents", "noise")
"""Numbers drawn once here, by which `predict` chooses among actions; there they are drawn at each call."""
LAYER = re.compile(
    r"(?P<module>.+?)(?:\.network)?\.(?P<part>mlp|trunk)\.(?:parts\.0\.|parameters_of\.parts__0__)?"
    r"layers(?:\.|__)(?P<number>\d+)(?:\.|__)(?P<name>weight|bias)"
)
"""A layer here: of the part that looks at images, or of what follows."""


class D3File(NamedTuple):
    """What a file holds.

    Attributes:
        config: Type and hyperparameters, with the shapes of observations and actions.
        networks: Name to state dict.
    """

    config: dict[str, Any]
    networks: dict[str, Any]


def read(path: Path, params: Path | None) -> D3File:
    """Reads a file that d3rlpy's `save` (".d3") or `save_model` (".pt") wrote.

    Raises:
        FileNotFoundError: If there is no file, or no configuration beside one of `save_model`.
        FileFormatError: For a file that is damaged, or holds anything but tensors and their names.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    budget_of(path).take(path.stat().st_size, str(path))
    content = path.read_bytes()
    if content[:2] == b"PK":
        beside = params or path.parent / "params.json"
        if not beside.is_file():
            raise FileNotFoundError(
                f"{path} holds networks alone, and there is no {beside}; give params=, the params.json that d3rlpy "
                "writes into the folder of a run, or a file of algo.save('policy.d3')"
            )
        budget_of(beside)
        return D3File(_object(beside.read_text(), beside), torch_archive(content))
    held = plain_pickle(content)
    if not isinstance(held, dict) or not {"torch", "config"} <= held.keys():
        raise FileFormatError(f"{path} is no file of d3rlpy 2: it lacks 'torch' and 'config'")
    return D3File(_object(held["config"], path), torch_archive(held["torch"]))


def _object(text: object, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)  # type: ignore[arg-type]  # Any other kind raises TypeError.
        if isinstance(found, dict) and isinstance(found["config"]["params"], dict):
            return found
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise FileFormatError(f"{path} does not say the algorithm and its hyperparameters as d3rlpy 2 does")


def load_d3rlpy(
    path: Path, fronts: Mapping[str, type[Algo]], params: Path | None, device: str, max_bytes: int | None
) -> Algo:
    """Returns the algorithm of a file; see `offlinekit.from_d3rlpy`."""
    file = read(path, params)
    kind, given = str(file.config["config"].get("type")), file.config["config"]["params"]
    if kind not in ALGORITHMS:
        why = OTHERS.get(kind, f"known are {', '.join(ALGORITHMS)}")
        raise UnsupportedError(
            f"{path} holds the algorithm {kind:.100} of d3rlpy, which cannot be taken over: {why}"
        )
    try:
        return _made(file, kind, given, fronts[RENAMED.get(kind, kind)], path, device, max_bytes)
    except (UnsupportedError, FileFormatError):
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise FileFormatError(f"{path} does not fit the algorithm {kind}: {error}") from error


@trainable()
def _made(
    file: D3File,
    kind: str,
    given: dict[str, Any],
    front: type[Algo],
    path: Path,
    device: str,
    max_bytes: int | None,
) -> Algo:
    shape = tuple(file.config["observation_shape"])
    algo = front(**hyperparameters(kind, given, front, shape), device=device, seed=0)
    algo.scaling = Scaling(
        None if len(shape) == 3 else _affine(given.get("observation_scaler")),
        _affine(given.get("action_scaler")),
        _affine(given.get("reward_scaler")),
    )
    tensors = {
        f"{n}.{key}": torch.as_tensor(a) for n, d in file.networks.items() for key, a in _arrays(d).items()
    }
    with Bounded(tensors, path, max_bytes):
        algo.make_impl(*_spaces(file.config, algo, given))
    layers = Layers(file.networks, list(algo.impl.state_dict()), 1.0 if _sees_scaled(given, shape) else 255.0)
    state = {name: _state(name, old, file, kind, layers) for name, old in algo.impl.state_dict().items()}
    algo.impl.load_state_dict(state)
    algo.dataset_name = f"d3rlpy:{path.name}"
    return algo


def _affine(scaler: Mapping[str, Any] | None) -> Affine | None:
    """Returns a scaler of d3rlpy: y = (x - shift) / scale, bounded.

    Raises:
        UnsupportedError: For a kind that is not there.
    """
    kind, options = kind_of(scaler), {} if scaler is None else scaler["params"]
    factor = float(options.get("multiplier", 1.0))
    if kind == "none":
        return None
    if kind == "standard":
        return Affine(_numbers(options["mean"]), (_numbers(options["std"]) + options["eps"]) / factor)
    if kind == "min_max" and "multiplier" in options:
        low, high = _numbers(options["minimum"]), _numbers(options["maximum"])
        return Affine(low, (high - low) / factor)
    if kind == "min_max":
        low, high = _numbers(options["minimum"]), _numbers(options["maximum"])
        return Affine((low + high) / 2, (high - low) / 2)
    if kind == "multiply":
        return Affine(np.asarray(0.0), np.asarray(1.0 / factor))
    if kind == "shift":
        return Affine(np.asarray(-float(options["shift"])), np.asarray(1.0))
    if kind == "return":
        return Affine(np.asarray(0.0), (_numbers(options["return_max"]) - options["return_min"]) / factor)
    raise UnsupportedError(f"scalers of the kind {kind!r} are not taken over")


def _numbers(value: Json) -> Array:
    return np.asarray(value, np.float64)


def _arrays(state: object) -> dict[str, Array]:
    """Returns the tensors of a state dict; none of what an optimizer keeps."""
    return {k: v for k, v in state.items() if isinstance(v, np.ndarray)} if isinstance(state, dict) else {}


def _spaces(
    config: Mapping[str, Any], algo: Algo, given: Mapping[str, Any]
) -> tuple[spaces.Box, spaces.Space[Any]]:
    shape, size = tuple(config["observation_shape"]), int(config["action_size"])
    seen: spaces.Box = spaces.Box(-np.inf, np.inf, shape)
    if len(shape) == 3:
        seen = Image(np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), channels_last=False)
    if algo.action_kind == "discrete":
        return seen, spaces.Discrete(size)
    if algo.scaling.action is None:
        return seen, spaces.Box(-1.0, 1.0, (size,))
    options = given["action_scaler"]["params"]
    low, high = (np.asarray(options[end], np.float32) for end in ("minimum", "maximum"))
    return seen, spaces.Box(low, high)


def _sees_scaled(given: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
    """Returns whether networks there see bytes of images divided by 255, as they do here, or as they are.

    Raises:
        UnsupportedError: If a scaler does something else to them.
    """
    scaler = kind_of(given.get("observation_scaler"))
    if len(shape) == 3 and scaler not in ("pixel", "none"):
        raise UnsupportedError(
            f"scalers of images of the kind {scaler!r} are not taken over; pixel is, and none"
        )
    return len(shape) != 3 or scaler == "pixel"


def _state(name: str, old: Tensor, file: D3File, kind: str, layers: Layers) -> Tensor:
    """Returns the tensor there of a tensor here.

    Raises:
        FileFormatError: If the file lacks it, or has it in another shape.
    """
    if name in DRAWN:
        return old
    if name in ("log_temperature", "log_alpha"):
        found = _arrays(file.networks[{"log_temperature": "log_temp"}.get(name, name)])["_parameter"].reshape(
            ()
        )
        if OWN_NAMES.get(kind) is OF_CQL and name == "log_alpha":
            found = found + math.log(file.config["config"]["params"].get("conservative_weight", 5.0))
    elif name == "policy.log_stds":
        low, high = LOG_STDS[kind]
        raw = _arrays(file.networks["policy"])["_logstd"].reshape(-1).astype(np.float64)
        found = low + (high - low) / (1.0 + np.exp(-raw))
    else:
        found = layers.of(name)
    if found.shape != tuple(old.shape):
        raise FileFormatError(f"{name} has shape {list(found.shape)} in the file, expected {list(old.shape)}")
    return torch.as_tensor(np.array(found)).to(old.device, old.dtype)


class Layers:
    """The numbers of layers, by their names here.

    Args:
        networks: Of the file.
        names: Of all tensors here.
        bytes_by: What the first weights on images are multiplied by.
    """

    def __init__(self, networks: Mapping[str, Any], names: list[str], bytes_by: float) -> None:
        self.networks, self.names, self.bytes_by = networks, names, bytes_by

    def of(self, name: str) -> Array:
        """Returns the numbers of a layer; those of K members lie in one tensor here.

        Raises:
            FileFormatError: For a name that stands for no layer.
        """
        layer = LAYER.fullmatch(name)
        if layer is None or layer["module"] not in MODULES:
            raise FileFormatError(f"there is no {name} in files of d3rlpy")
        module = layer["module"]
        arrays = _arrays(next(self.networks[there] for there in MODULES[module] if there in self.networks))
        if not module.endswith("q"):
            return self._of_one(arrays, "", layer)
        members = sorted({int(key.split(".")[0]) for key in arrays})
        each = [self._of_one(arrays, f"{member}.", layer) for member in members]
        if layer["part"] == "trunk":
            return np.stack(each)
        return np.stack([array.T if array.ndim == 2 else array[None] for array in each])

    def _of_one(self, arrays: Mapping[str, Array], prefix: str, layer: re.Match[str]) -> Array:
        """Returns the numbers of a layer of one network; of the last those of mean and deviation, if it has both."""
        number, name = int(layer["number"]), layer["name"]
        if layer["part"] == "trunk":  # There may be layers of dropout between those of numbers.
            there = sorted(
                int(key.split(".")[-2]) for key in arrays if key.startswith(f"{prefix}_encoder._cnn")
            )
            numbers = arrays[f"{prefix}_encoder._cnn_layers.{sorted(set(there))[number // 2]}.{name}"]
            return numbers * self.bytes_by if (number, name) == (0, "weight") else numbers
        if number < self._last(layer["module"]):
            images = f"{prefix}_encoder._last_layers.{number}.{name}"
            return arrays[images if images in arrays else f"{prefix}_encoder._layers.{number}.{name}"]
        if f"{prefix}_fc.{name}" in arrays:
            return arrays[f"{prefix}_fc.{name}"]
        heads = [arrays[key] for n in ("_mu", "_logstd") if (key := f"{prefix}{n}.{name}") in arrays]
        return np.concatenate(heads)

    def _last(self, module: str) -> int:
        """Returns the number of the last layer of a network here."""
        own = [LAYER.fullmatch(name) for name in self.names if name.startswith(f"{module}.")]
        return max(int(layer["number"]) for layer in own if layer is not None and layer["part"] == "mlp")

"""D4RL: its HDF5 files by name or by path, read without its package.

Row t of a file holds the observation, the action taken on it and the reward that the action earned.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import Env, spaces
from gymnasium.wrappers import TransformObservation

from offlinekit.datasets.download import data_root, download
from offlinekit.datasets.families.d4rl_alignment import (
    cut_at_limit,
    finals_of_shift,
    last_rows,
    qlearning_columns,
    shifted_columns,
)
from offlinekit.datasets.families.d4rl_facts import TRANSFORMS, warn_of_faults, with_reward_transform
from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_array, as_flags, as_float32, check_columns
from offlinekit.envs.environments import as_gymnasium, make_env
from offlinekit.envs.made_env import MadeEnv
from offlinekit.errors import FileFormatError, require
from offlinekit.types import Array

if TYPE_CHECKING:
    import h5py


REQUIRED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("timeouts", "next_observations")
ENVIRONMENTS = {
    "halfcheetah": "HalfCheetah-v4",
    "hopper": "Hopper-v4",
    "walker2d": "Walker2d-v4",
    "ant": "Ant-v4",
    "pen": "AdroitHandPen-v1",
    "door": "AdroitHandDoor-v1",
    "hammer": "AdroitHandHammer-v1",
    "relocate": "AdroitHandRelocate-v1",
}
"""D4RL's MuJoCo tasks are of gym v2, whose dynamics v4 keeps and v5 does not."""
UNIT_ACTIONS = (*ENVIRONMENTS, "antmaze", "maze2d", "kitchen", "bullet")
"""Tasks whose actions lie in [-1, 1]."""


@functools.cache
def table() -> dict[str, dict[str, Any]]:
    """Returns D4RL's datasets: name to url and, if D4RL has reference scores, min and max."""
    text = (Path(__file__).resolve().parents[1] / "families" / "d4rl.json").read_text()
    return dict(json.loads(text))


@functools.cache
def names() -> dict[str, str]:
    """Returns D4RL's names, each with one line."""
    return {name: f"D4RL, {_file_name(name)}." for name in table()}


def _file_name(name: str) -> str:
    return str(table()[name]["url"]).rsplit("/", 1)[1]


def find(name: str) -> Path:
    """Returns the file of a name, downloaded where it is in none of the usual folders.

    Those are OFFLINEKIT_DATA, or ~/.offlinekit/datasets where it is unset, and ~/.d4rl/datasets.

    Raises:
        DownloadError: If it cannot be fetched; says where to put it.
    """
    folders = [data_root(), data_root() / "d4rl", Path.home() / ".d4rl" / "datasets"]
    for folder in folders:
        for file_name in (_file_name(name), f"{name}.hdf5"):
            if (folder / file_name).is_file():
                return folder / file_name
    return download(table()[name]["url"], folders[1] / _file_name(name), check=_check_hdf5)


def _check_hdf5(path: Path) -> None:
    with hdf5.open_hdf5(path) as file:
        hdf5.keys_of(file)


def load(
    name: str, *, source: str = "file", **options: Any
) -> Columns | tuple[Columns, Env[Any, Any] | None]:
    """Reads a dataset of D4RL by name.

    Args:
        name: One of D4RL's.
        source: "file" reads the file; "d4rl" calls the package d4rl, if it can be imported, and takes the
            environment from it too.
        **options: Of `read`.

    Returns:
        The dataset and its environment or None.

    Raises:
        DownloadError: If the file is not there and cannot be fetched.
        MissingExtraError: For source="d4rl" without d4rl.
    """
    _check_choice("source", source, ("file", "d4rl"))
    if source == "file":
        return read(find(name), dataset=name, **options)
    require("d4rl", "d4rl")
    env = require("gym", "d4rl").make(name)
    recorded, infos = env.get_dataset(), options.pop("infos", ())
    columns = {key: recorded[key] for key in (*REQUIRED, *OPTIONAL) if key in recorded}
    columns["extras"] = {f"infos/{key}": recorded[f"infos/{key}"] for key in infos}
    return build(columns, name, **options), as_gymnasium(env)


def read(
    path: Path,
    *,
    dataset: str | None = None,
    infos: Sequence[str] = (),
    action_space: Space | None = None,
    transitions: str = "all",
    alignment: str = "SAR",
    step_limit: int | None = None,
    reward_transform: str | None = None,
    clip_actions: bool = False,
) -> Columns | tuple[Columns, Env[Any, Any] | None]:
    """Reads a file of D4RL.

    `infos/action_log_probs` becomes `behavior_log_probs`.

    Args:
        path: The HDF5 file.
        dataset: D4RL's name for it, which says reference scores, action range and environment; found by
            the file's name if not given.
        infos: Columns below `infos` to keep in the extras, such as ["qpos", "goal"].
        action_space: In place of what the name says.
        transitions: "all" keeps every row, "d4rl" gives exactly those of D4RL's `qlearning_dataset`.
        alignment: "RSA" if a row holds the reward that led to its state, as in maze2d.
        step_limit: Cuts episodes after this many rows, in place of the file's timeouts.
        reward_transform: "iql", "r-1", "10r-5", "4(r-.5)" or "100r": what papers do to the rewards.
        clip_actions: Whether to clip actions into their range.

    Raises:
        FileFormatError: For a damaged file or one without the columns.
        DatasetError: For data that cannot be a dataset.
    """
    with hdf5.open_hdf5(path) as file:
        columns = read_columns(file, step_limit, is_plain=(transitions, alignment) == ("all", "SAR"))
        columns["extras"] = _read_infos(file, infos)
    name = dataset or name_of(path)
    if name is not None:
        _check_choice("dataset", name, table())
    options: dict[str, Any] = {
        "step_limit": step_limit,
        "reward_transform": reward_transform,
        "clip_actions": clip_actions,
    }
    options |= {"transitions": transitions, "alignment": alignment, "action_space": action_space}
    built = build(columns, name, **options)
    if name is not None and name.split("-")[0] == "ant":
        return built, ant_environment(name)
    return built


def _options_of_load() -> inspect.Signature:
    """Returns the signature of `load` with the options of `read` that go with a name."""
    own, options = inspect.signature(load).parameters, inspect.signature(read).parameters
    named = [options[key] for key in options if key not in ("path", "dataset", "action_space", "infos")]
    return inspect.Signature([own["name"], own["source"], options["infos"], *named])


load.__signature__ = _options_of_load()  # type: ignore[attr-defined]  # Of get_dataset's check.


def read_columns(file: h5py.File, step_limit: int | None, is_plain: bool) -> dict[str, Any]:
    """Returns the columns; of next observations that repeat the row below only the final ones."""
    columns: dict[str, Any] = {"observations": hdf5.read_array(file, "observations", dtype=np.float32)}
    columns |= {key: hdf5.read_array(file, key) for key in REQUIRED[1:]}
    for flag in ("terminals", "timeouts"):
        if flag in file:
            columns[flag] = as_flags(hdf5.read_array(file, flag), flag)
    _check_lengths(columns)
    if "next_observations" in file and is_plain:
        ends = last_rows(columns, step_limit)
        finals = finals_of_shift(file, "next_observations", columns["observations"], ends)
        if finals is None:
            return {
                **columns,
                "next_observations": hdf5.read_array(file, "next_observations", dtype=np.float32),
            }
        columns["final_observations"] = finals
    return columns


def _check_lengths(columns: dict[str, Any]) -> None:
    check_columns({key: columns[key] for key in (*REQUIRED, *OPTIONAL) if key in columns}, "rewards")


def _read_infos(file: h5py.File, infos: Sequence[str]) -> dict[str, Array]:
    if "infos" not in file:
        if infos:
            raise FileFormatError(f"{file.filename} has no infos, asked for {', '.join(infos)}")
        return {}
    group = hdf5.member(file, "infos")
    kept = {f"infos/{name}": hdf5.read_array(group, name) for name in infos}
    if "action_log_probs" in group:
        kept["behavior_log_probs"] = hdf5.read_array(group, "action_log_probs").astype(np.float32).reshape(-1)
    return kept


def name_of(path: Path) -> str | None:
    """Returns D4RL's name for a file by the file's name, or None."""
    by_file = {_file_name(name): name for name in table()}
    stem = path.stem.replace("_", "-")
    return by_file.get(path.name, stem if stem in table() else None)


def build(
    columns: dict[str, Any],
    name: str | None,
    *,
    transitions: str = "all",
    alignment: str = "SAR",
    step_limit: int | None = None,
    reward_transform: str | None = None,
    clip_actions: bool = False,
    action_space: Space | None = None,
) -> Columns:
    """Returns arguments of MDPDataset of a file's columns; `read` documents the others."""
    _check_choice("transitions", transitions, ("all", "d4rl"))
    _check_choice("alignment", alignment, ("SAR", "RSA"))
    if reward_transform is not None:
        _check_choice("reward_transform", reward_transform, TRANSFORMS)
    columns = {**columns, "observations": as_float32(as_array(columns["observations"], "observations"))}
    for flag in {"terminals", "timeouts"} & columns.keys():
        columns[flag] = as_flags(columns[flag], flag)
    _check_lengths(columns)
    actions = columns["actions"]
    if action_space is None and name is not None and name.split("-")[0] in UNIT_ACTIONS:
        action_space = spaces.Box(-1.0, 1.0, actions.shape[1:], np.float32)
    if clip_actions:
        columns["actions"] = clip(actions, action_space)
    if name is not None:
        warn_of_faults(name, {"step_limit": step_limit is not None, "alignment": alignment == "RSA"}, columns)
    arguments = _arguments(columns, transitions, alignment, step_limit)
    built = {**arguments, "action_space": action_space, "name": name or "custom", "metadata": _metadata(name)}
    return built if reward_transform is None else with_reward_transform(built, reward_transform)


def _arguments(
    columns: dict[str, Any], transitions: str, alignment: str, step_limit: int | None
) -> dict[str, Any]:
    if transitions == "d4rl":
        if alignment == "RSA":
            raise ValueError("alignment='RSA' goes with transitions='all': D4RL itself does not shift")
        return qlearning_columns(columns, step_limit)
    if step_limit is not None:
        columns = {**columns, "timeouts": cut_at_limit(columns["terminals"], step_limit)}
    return shifted_columns(columns) if alignment == "RSA" else columns


def _metadata(name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    row, env_id = table()[name], ENVIRONMENTS.get(name.split("-")[0])
    facts = {"d4rl_name": name, "url": row["url"], "env_id": None if env_id == "Ant-v4" else env_id}
    if "min" in row:
        facts |= {"reference_min_score": row["min"], "reference_max_score": row["max"]}
    if env_id is None:
        facts["env_note"] = "gymnasium has no environment with the spaces of this task"
    return facts


def ant_environment(name: str) -> Env[Any, Any] | None:
    """Returns Ant-v4 with the 84 contact forces that D4RL's observations have.

    In files of v1 and v2 they are all zero, as its simulator did not compute them; so they are here.
    """
    if name.endswith("-v0"):
        return make_env("Ant-v4", use_contact_forces=True)
    env = make_env("Ant-v4")
    return None if env is None else MadeEnv(_without_contacts, {})


def _without_contacts(**kwargs: object) -> Env[Any, Any]:
    space = spaces.Box(-np.inf, np.inf, (111,), np.float64)
    env = make_env("Ant-v4", **kwargs)
    assert env is not None  # The package is there, or nobody would ask.
    return TransformObservation(env, _with_zero_contacts, space)


def _with_zero_contacts(observation: Array) -> Array:
    return np.concatenate([observation, np.zeros(84, observation.dtype)])


def _check_choice(option: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        listed = ", ".join(map(repr, known)) if len(known) < 9 else f"one of {len(known)} names of D4RL"
        raise ValueError(f"{option} must be {listed}, got {value!r}")


def recognises(path: Path) -> bool:
    """Returns whether an HDF5 file has the columns of D4RL's files and no sign of another format."""
    with hdf5.open_hdf5(path) as file:
        flat = all(key in file for key in REQUIRED)
        return flat and not {"episode_terminals", "costs"} & set(file) and "format" not in file.attrs


SOURCE = Source(
    summary="A file of D4RL.",
    names=names,
    load=load,
    suffixes=(".hdf5", ".h5"),
    recognises=recognises,
    keys=(*REQUIRED, *OPTIONAL),
    read=read,
)

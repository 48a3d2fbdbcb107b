"""Datasets as folders of Minari, HDF5 layout, which its own package opens."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from offlinekit.datasets import schema
from offlinekit.datasets.families import minari_spaces as values
from offlinekit.datasets.families.minari_episodes import decode
from offlinekit.datasets.formats.hdf5_writing import written_hdf5
from offlinekit.datasets.formats.json_files import parse
from offlinekit.datasets.inspection.format_losses import warn_of_losses
from offlinekit.datasets.spaces import Space
from offlinekit.errors import DatasetError, FileFormatError
from offlinekit.ground.action_spaces import JointDiscrete, action_tree, held_space, own_actions
from offlinekit.ground.callers import warn_caller
from offlinekit.io import atomic_folder
from offlinekit.types import Array

if TYPE_CHECKING:
    import h5py

    from offlinekit.datasets.mdp_dataset import MDPDataset
    from offlinekit.types import ArrayTree

VERSION = "0.5.4"
"""Of Minari, whose layout this is."""
OWN = "minari/"
"""Begin of the names of columns that the reader keeps for this."""
HELD = (*schema.FLAT, "final_observations", "extras", "episode_extras", "spaces")
FACTS = ("env_id", "env_kwargs", "reference_min_score", "reference_max_score")
SCORES = {"ref_min_score": "reference_min_score", "ref_max_score": "reference_max_score"}
"""Reference scores: Minari's name of each, and that of the metadata."""
STATISTICS = ("sum", "mean", "std", "max", "min")


def export_minari(dataset: MDPDataset, path: Path | str, *, dataset_id: str | None = None) -> Path:
    """Writes a dataset as a folder of Minari and returns the folder.

    What the reader kept of a dataset of Minari is written as it was, unless the dataset says otherwise since: another
    name, environment or space, other reference scores, or none. Images are written as they are, not as JPEG.
    A warning names what Minari has no place for: masks, texts, other metadata, extras of episodes.
    If the final observation of an episode is not known, the last one stands in for it, with a warning;
    the episode's attribute `final_known` says so.

    Args:
        dataset: An MDPDataset.
        path: The folder, which must not exist. Minari finds it as `<MINARI_DATASETS_PATH>/<dataset_id>`.
        dataset_id: Minari's name for it, such as "ward/day-v0"; by default the one it was read under, or, if it
            was not read or was renamed, made of the dataset's name.

    Raises:
        FileExistsError: If the folder is there already.
        DatasetError: For transitions without episodes, or a dataset_id that Minari does not take.
        WriteError: If it cannot be written; nothing is left.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already; give a folder that is not, or remove it first")
    if dataset.next_observations is not None:
        raise DatasetError(
            "Minari holds whole episodes, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows); write .h5 or .npz"
        )
    if not dataset.final_known.all():
        warn_caller(
            f"the final observation of {int((~dataset.final_known).sum())} episodes was not recorded; "
            "Minari requires one, so the last one is written again"
        )
    _warn_of_losses(dataset)
    writer = _Writer(dataset)
    with atomic_folder(path) as beside:
        data = beside / "data"
        data.mkdir()
        with written_hdf5(data / "main_data.hdf5", track_order=True) as file:
            for i in range(dataset.n_episodes):
                writer.write(file.create_group(f"episode_{i}"), i)
        facts = writer.facts(dataset_id, (data / "main_data.hdf5").stat().st_size)
        (data / "metadata.json").write_text(json.dumps(facts))
    return path


def _warn_of_losses(dataset: MDPDataset) -> None:
    rows, ends = (
        {name: column for name, column in extras.items() if not name.startswith(OWN)}
        for extras in (dataset.extras, dataset.episode_extras)
    )
    lost = [f"extras {name!r}, which are texts" for name, column in rows.items() if column.dtype.kind == "S"]
    lost += [f"episode_extras {name!r}" for name in ends if name not in rows]
    is_read = "minari" in dataset.metadata  # Then the note is its own.
    facts = ("minari", *FACTS, *(("env_note",) if is_read else ()))
    warn_of_losses(dataset, "Minari", HELD, facts=facts, further=lost)


class _Writer:
    """The columns of a dataset as Minari stores them."""

    def __init__(self, dataset: MDPDataset) -> None:
        self.dataset = dataset
        self.stored = dict(dataset.metadata.get("minari") or {})
        self.dtypes = dict(self.stored.pop("dtypes", {}))
        self.seen, self.acts = (self._space(key) for key in ("observation_space", "action_space"))
        self.columns, self.finals = {}, {}
        if held_space(self.acts) != dataset.action_space:  # It was declared otherwise since.
            self.acts = dataset.action_space
            self.stored |= {"action_space": values.space_to_minari(self.acts)} if self.stored else {}
        known = values.without_text(self.seen)
        self.sees_as_stored = known is not None and (
            values.held_observations(known) == dataset.observation_space
        )
        if not self.sees_as_stored:
            self.seen = dataset.observation_space
            self.stored |= {"observation_space": values.space_to_minari(self.seen)} if self.stored else {}
        for name, space in values.leaf_spaces(self.seen, "observations"):
            rows, last = (_leaf(tree, name) for tree in (dataset.observations, dataset.final_observations))
            exact = (dataset.extras, dataset.episode_extras) if self.sees_as_stored else ({}, {})
            self.columns[name] = self._restored(name, rows, space, exact[0])
            self.finals[name] = self._restored(name, last, space, exact[1])
        for name, column in (*self._actions(), ("rewards", dataset.rewards)):
            self.columns[name] = self._restored(name, column, None, dataset.extras)
        self.columns |= _flags(dataset)

    def _actions(self) -> Iterator[tuple[str, Array]]:
        """Yields the columns of the actions, as their space has them."""
        own = own_actions(self.dataset.actions, self.dataset.action_space)
        if isinstance(self.acts, JointDiscrete):  # Nothing else is known of its parts.
            yield "actions", own
            return
        tree = action_tree(own, self.acts)
        for name, _ in values.leaf_spaces(self.acts, "actions"):
            yield name, _leaf(tree, name)

    def _space(self, key: str) -> Space:
        declared: Space = getattr(self.dataset, key)
        return values.space_from_minari(self.stored[key]) if key in self.stored else declared

    def _restored(self, name: str, column: Array, space: Space | None, extras: dict[str, Array]) -> Array:
        """Returns a column as it was stored, unless it was changed since; else in its dtype."""
        exact = extras.get(f"minari/{name}")
        if exact is not None:
            ours = exact if space is None else values.as_features(exact, space)
            if (ours.astype(column.dtype) == column).all():
                return exact
        plain = column if space is None else values.from_features(column, space)
        is_as_stored = self.sees_as_stored or not name.startswith("observations")
        dtype = (
            (self.dtypes.get(name) if is_as_stored else None) or getattr(space, "dtype", None) or plain.dtype
        )
        return plain.astype(np.dtype(dtype))

    def write(self, group: h5py.Group, i: int) -> None:
        """Writes episode i."""
        dataset = self.dataset
        rows = slice(int(dataset.episode_starts[i]), int(dataset.episode_ends[i]))
        for name, column in self.columns.items():
            part = column[rows]
            if name in self.finals:
                last = self.finals[name][i : i + 1] if dataset.final_known[i] else part[-1:]
                part = np.concatenate([part, last])
            _create(group, name, part)
        log_probs = dataset.behavior_log_probs
        extras = {} if log_probs is None else {"behavior_log_probs": log_probs}
        for name, column in {**dataset.extras, **extras}.items():
            if not name.startswith(OWN) and column.dtype.kind != "S":
                final = dataset.episode_extras.get(name)
                whole = column[rows] if final is None else np.concatenate([column[rows], final[i : i + 1]])
                _create(group, name if name.startswith("infos/") else f"infos/{name}", whole)
        for key, value in self._attributes(i, self.columns["rewards"][rows]).items():
            group.attrs[key] = value

    def _attributes(self, i: int, rewards: Array) -> dict[str, Any]:
        texts = self.dataset.episode_extras.get("minari/attributes")
        kept = {} if texts is None else json.loads(texts[i])
        attributes = {key: decode(value) for key, value in kept.items() if value is not None}
        attributes |= {"id": i, "total_steps": len(rewards)}
        if not self.dataset.final_known[i]:
            attributes["final_known"] = False
        if attributes.get("rewards_sum") != rewards.sum():
            attributes |= {f"rewards_{name}": getattr(np, name)(rewards) for name in STATISTICS}
        return attributes

    def _changed_facts(self) -> dict[str, Any]:
        """Returns what was stored, but for what the dataset says otherwise since; nothing if nothing was."""
        facts, metadata = dict(self.stored), self.dataset.metadata
        if not facts:
            return {}
        for theirs, ours in SCORES.items():
            if metadata.get(ours) != (
                facts.get(theirs) if isinstance(facts.get(theirs), int | float) else None
            ):
                facts.pop(theirs, None)
        if name_of(facts) != self.dataset.name:
            facts["dataset_id"] = _identity(self.dataset.name)
        read = environment_of(facts, True)
        unmade = "env_id" in read and metadata.get("env_id") is None and metadata.get("env_note") is not None
        same = [metadata.get(key) == read.get(key) for key in ("env_id", "env_kwargs")]
        if not (all(same) or unmade or (metadata.get("env_id") is None and "env_id" not in read)):
            facts = {key: value for key, value in facts.items() if key not in ("env_spec", "eval_env_spec")}
            facts |= _environment(metadata)
        return facts | _scores(metadata)

    def facts(self, dataset_id: str | None, size: int) -> dict[str, Any]:
        """Returns what metadata.json says."""
        dataset = self.dataset
        facts = self._changed_facts() or {
            "observation_space": values.space_to_minari(self.seen),
            "action_space": values.space_to_minari(self.acts),
            "minari_version": VERSION,
            "dataset_id": _identity(dataset.name),
            "jpeg_encoding": False,
            "author": [],
            "author_email": [],
            **_environment(dataset.metadata),
            **_scores(dataset.metadata),
        }
        counts = {"total_episodes": dataset.n_episodes, "total_steps": len(dataset), "data_format": "hdf5"}
        if any(facts.get(key) != value for key, value in counts.items()):
            facts |= {**counts, "dataset_size": round(size / 1e6, 1)}
        if any(column.dtype == np.uint8 and column.ndim > 2 for column in self.columns.values()):
            facts["jpeg_encoding"] = False
        facts |= {} if dataset_id is None else {"dataset_id": dataset_id}
        if not re.fullmatch(r"([-\w][-\w/]*/)?[-\w]+-v\d+", str(facts["dataset_id"])):
            raise DatasetError(f"dataset_id must look like 'ward/day-v0', got {facts['dataset_id']!r}")
        return facts


def _identity(name: str) -> str:
    """Returns what Minari takes for a dataset's name, which ends in a version."""
    plain = re.sub(r"[^-\w]", "-", name).strip("-")
    return plain if re.search(r"[\w]-v\d+$", plain) else f"{plain or 'custom'}-v0"


def _flags(dataset: MDPDataset) -> dict[str, Array]:
    """Returns terminations and truncations as they were stored, unless episodes were cut anew since."""
    terminations = dataset.extras.get("minari/terminations", dataset.terminals)
    truncations = dataset.extras.get("minari/truncations", dataset.timeouts)
    last = dataset.terminals | dataset.timeouts
    same = ((terminations & last) == dataset.terminals).all() and not (truncations & ~last).any()
    pair = (terminations, truncations) if same else (dataset.terminals, dataset.timeouts)
    return {"terminations": pair[0].astype(np.bool_), "truncations": pair[1].astype(np.bool_)}


def name_of(facts: dict[str, Any]) -> str | None:
    """Returns the name of a dataset that Minari's facts are of, or None if they say none."""
    return str(facts["dataset_id"]).replace("/", "-") if "dataset_id" in facts else None


def _scores(metadata: dict[str, Any]) -> dict[str, Any]:
    return {theirs: metadata[ours] for theirs, ours in SCORES.items() if metadata.get(ours) is not None}


def _environment(metadata: dict[str, Any]) -> dict[str, Any]:
    if metadata.get("env_id") is None:
        return {}
    return {"env_spec": _spec(metadata["env_id"], dict(metadata.get("env_kwargs") or {})).to_json()}


def environment_of(facts: dict[str, Any], same_space: bool) -> dict[str, Any]:
    """Returns id and arguments of the environment to evaluate in, or why there is none."""
    text = facts.get("eval_env_spec") or facts.get("env_spec")
    try:
        spec = parse(text) if isinstance(text, str) else {}
    except ValueError:
        spec = {}
    if not isinstance(spec, dict) or not isinstance(spec.get("id"), str):
        return {"env_note": "the dataset names no environment"}
    if spec.get("additional_wrappers") or not same_space:
        return {"env_note": f"{spec['id']} is not made: it needs wrappers, or observes what has no column"}
    limit = spec.get("max_episode_steps")
    given = spec.get("kwargs")
    arguments = {
        **(given if isinstance(given, dict) else {}),
        **({} if limit is None else {"max_episode_steps": limit}),
    }
    return {"env_id": spec["id"], "env_kwargs": arguments}


def _spec(env_id: str, arguments: dict[str, Any]) -> EnvSpec:
    """Returns the registered spec of an environment with arguments of its own, else one by its name alone."""
    spec = copy.deepcopy(gymnasium.registry.get(env_id) or EnvSpec(env_id))
    spec.max_episode_steps = arguments.pop("max_episode_steps", spec.max_episode_steps)
    spec.kwargs = {**spec.kwargs, **arguments}
    return spec


def _leaf(tree: ArrayTree, name: str) -> Array:
    for part in name.split("/")[1:]:
        tree = tree[int(part.removeprefix("_index_"))] if isinstance(tree, tuple) else tree[part]
    if not isinstance(tree, np.ndarray):
        raise FileFormatError(f"the dataset has no single column {name!r}")
    return tree


def _create(group: h5py.Group, name: str, part: Array) -> None:
    group.create_dataset(
        name, data=part, chunks=True, compression="gzip", shuffle=part.itemsize > 1, fletcher32=True
    )

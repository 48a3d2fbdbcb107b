"""Minari: its dataset folders by name or by path, read without its package.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR); an episode of
T steps has T + 1 observations, so that every final observation is known. What an MDPDataset has no column
for stays in its extras, from which `export_minari` writes the same dataset again:

- `infos/...` [N, ...], and [E, ...] for those after the last step;
- `minari/<column>`, the values of a column as they were stored, if float32 does not hold them;
- `minari/attributes` [E], those of an episode (id, seed, options, ...) as JSON;
- the metadata `minari`, what `metadata.json` says.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from offlinekit.datasets.families import minari_spaces as values
from offlinekit.datasets.families.minari_columns import PREFIX, columns_of, infos_of
from offlinekit.datasets.families.minari_episodes import Episode, read_arrow, read_hdf5
from offlinekit.datasets.families.minari_export import SCORES, environment_of, export_minari, name_of
from offlinekit.datasets.formats.json_files import read_object
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.errors import DatasetError, DownloadError, FileFormatError
from offlinekit.ground.callers import warn_caller


def data_folder() -> Path:
    """Returns where Minari keeps its datasets: MINARI_DATASETS_PATH, or ~/.minari/datasets."""
    given = os.environ.get("MINARI_DATASETS_PATH")
    return Path(given).expanduser() if given else Path.home() / ".minari" / "datasets"


def load(name: str, *, exact: bool = True, clip_actions: bool = False) -> Columns:
    """Reads a dataset of Minari by name.

    Args:
        name: "minari/" and Minari's own name, such as "minari/D4RL/door/human-v2".
        exact: As `read`.
        clip_actions: As `read`.

    Raises:
        FileNotFoundError: If the dataset is not on this machine, and the package `minari` is not installed, which
            downloads it.
        DownloadError: If it cannot be downloaded.
        FileFormatError: As `read`.
        DatasetError: As `read`.
    """
    identity = name.removeprefix(PREFIX)
    folder = data_folder() / identity
    contained = Path(os.path.normpath(folder)).is_relative_to(os.path.normpath(data_folder()))
    if not contained or not recognises(folder):
        if recognises(Path(name)):
            folder = Path(name)
        else:
            _fetch(name, identity, folder, contained)
    return read(folder, exact=exact, clip_actions=clip_actions)


def _fetch(name: str, identity: str, folder: Path, contained: bool) -> None:
    """Downloads a dataset by the package `minari`."""
    where = f"there is no dataset {name!r}: {folder} is not there"
    if not contained:
        raise FileNotFoundError(
            f"there is no dataset {name!r}, whose folder would be outside {data_folder()}"
        )
    try:
        minari = importlib.import_module("minari")
    except ImportError as error:
        raise FileNotFoundError(
            f"{where}; the package minari downloads it: pip install 'offlinekit[minari]'; or say by "
            "MINARI_DATASETS_PATH where Minari's datasets are"
        ) from error
    try:
        minari.download_dataset(identity)
    except Exception as error:  # Of the network, of its server, or of a name that it does not have.
        raise DownloadError(
            f"{where}, and minari cannot download it ({error}); see: minari list remote"
        ) from error


def read(
    path: Path, *, exact: bool = True, action_space: Space | None = None, clip_actions: bool = False
) -> Columns:
    """Reads the folder of a dataset of Minari.

    Observations of a Discrete space become one-hot; texts are left out with a warning.

    Args:
        path: The folder, or its folder `data`.
        exact: Whether columns that float32 does not hold are kept as they are too, so that the dataset can be
            written again bit by bit; it takes their memory.
        action_space: In place of the one the dataset says.
        clip_actions: Whether to clip continuous actions into their range.

    Raises:
        MissingExtraError: For the Arrow layout if pyarrow is not installed.
        FileFormatError: For a damaged dataset, or one of another layout.
        DatasetError: For data that cannot be a dataset.
        UnsupportedError: For spaces that have no columns.
    """
    folder = path / "data" if (path / "data").is_dir() else path
    facts = _facts(folder)
    stated = {key: values.space_from_minari(facts[key]) for key in ("observation_space", "action_space")}
    observation_space = _without_text(stated["observation_space"])
    episodes = _episodes(folder, facts, observation_space, stated["action_space"])
    columns, extras, episode_extras = columns_of(episodes, observation_space, stated["action_space"], exact)
    infos, final_infos = infos_of(episodes)
    acts = stated["action_space"] if action_space is None else action_space
    if clip_actions:
        columns["actions"] = clip(columns["actions"], acts)
    space = values.held_observations(observation_space)
    return {
        **columns,
        "action_space": acts,
        "observation_space": space,
        "extras": {**extras, **infos},
        "episode_extras": {**episode_extras, **final_infos},
        "name": name_of(facts) or path.name,
        "metadata": _metadata(facts, episodes, space == stated["observation_space"]),
    }


def _facts(folder: Path) -> dict[str, Any]:
    facts = read_object(folder / "metadata.json")
    for key in ("total_episodes", "observation_space", "action_space"):
        if key not in facts:
            raise FileFormatError(
                f"{folder / 'metadata.json'} does not say {key!r}; open and write the dataset with minari once"
            )
    if type(facts["total_episodes"]) is not int:
        stated = facts["total_episodes"]
        raise FileFormatError(
            f"{folder / 'metadata.json'} says total_episodes {stated!r}, expected a whole number"
        )
    return facts


def _without_text(space: Space) -> Space:
    kept = values.without_text(space)
    if kept is None:
        raise DatasetError(f"observations of {space} are texts alone, which no column holds")
    if kept != space:
        warn_caller("texts among the observations are left out, as no column holds them")
    return kept


def _episodes(folder: Path, facts: dict[str, Any], seen: Space, acts: Space) -> list[Episode]:
    layout, n_episodes = facts.get("data_format", "hdf5"), facts["total_episodes"]
    if n_episodes < 1:
        raise DatasetError(f"{folder} has no episodes")
    if layout == "hdf5":
        return list(read_hdf5(folder / "main_data.hdf5", n_episodes, seen, acts))
    if layout in ("arrow", "parquet"):
        return list(read_arrow(folder, n_episodes, seen, acts))
    raise FileFormatError(f"{folder} has the layout {layout!r}, expected 'hdf5', 'arrow' or 'parquet'")


def _metadata(facts: dict[str, Any], episodes: list[Episode], same_space: bool) -> dict[str, Any]:
    dtypes = {name: column.dtype.str for name, column in episodes[0].columns.items()}
    metadata = {
        ours: facts[theirs] for theirs, ours in SCORES.items() if isinstance(facts.get(theirs), int | float)
    }
    return {"minari": {**facts, "dtypes": dtypes}, **metadata, **environment_of(facts, same_space)}


def recognises(path: Path) -> bool:
    """Returns whether a folder holds a dataset of Minari."""
    facts = next((f for f in (path / "data" / "metadata.json", path / "metadata.json") if f.is_file()), None)
    return facts is not None and '"total_episodes"' in facts.read_text(errors="replace")


SOURCE = Source(
    summary="A dataset folder of Minari.",
    patterns={"minari/{name...}": "A dataset of Minari that is on this machine."},
    load=load,
    folders="a dataset of Minari: data/metadata.json",
    recognises=recognises,
    read=read,
    write=export_minari,
)

"""A population that goes online: each member in an environment of its own, one after another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset
from offlinekit.envs.given_env import GivenEnv
from offlinekit.errors import TrainingError
from offlinekit.interfaces import EnvSource
from offlinekit.training import run_folder
from offlinekit.training.run import nothing_left


def fit_members_online(
    algos: Sequence[Algo],
    env: EnvSource,
    n_steps: int,
    dataset: MDPDataset | None,
    settings: dict[str, Any],
) -> dict[int, TrainingError]:
    """Takes members online, and returns what ended some of them early, by their numbers.

    Args:
        algos: The members.
        env: Function that makes an environment, or a name that gymnasium knows; each member has its own.
        n_steps: Environment steps of each member.
        dataset: What each learns from beside its own experience, or None.
        settings: Of each run; `resume` a run folder or None for each member.

    Raises:
        ValueError: For one environment in place of a function, folders that are not one a member, or members that
            are all at their end.
        TrainingError: If no member could go on to its end.
        KeyboardInterrupt: At Ctrl-C, with the folders to go on with.
    """
    if GivenEnv(env).factory is None:
        raise ValueError(
            f"{len(algos)} members need {len(algos)} environments; give env=lambda: gymnasium.make(...)"
        )
    folders = _folders(settings.pop("resume", None), len(algos))
    over = [number for number, folder in enumerate(folders) if _is_over(folder, n_steps)]
    if len(over) == len(algos):
        raise nothing_left("each member", n_steps, n_steps)
    errors: dict[int, TrainingError] = {}
    for number, algo in enumerate(algos):
        if number in over:
            continue
        try:
            algo.fit_online(env, n_steps, dataset=dataset, resume=folders[number], **settings)
        except TrainingError as error:
            errors[number] = error
            warnings.warn(f"member {number} of the population ended: {error}", stacklevel=4)
        except KeyboardInterrupt as error:
            folders[number] = algo.run_dir
            raise type(error)(
                f"{error} in member {number}; all go on with resume={_texts(folders)}"
            ) from None
        folders[number] = algo.run_dir
    if len(errors) == len(algos):
        raise errors[0]
    return errors


def _folders(resume: object, n_members: int) -> list[Path | None]:
    """Returns the folder that each member goes on with."""
    if resume is None:
        return [None] * n_members
    if isinstance(resume, (str, Path)) or not isinstance(resume, Sequence) or len(resume) != n_members:
        raise ValueError(
            f"resume must give the folder of an online run, or None, for each of {n_members} members, such as "
            f"population.run_dirs, got {resume!r}"
        )
    return [None if folder is None else Path(folder) for folder in resume]


def _is_over(folder: Path | None, n_steps: int) -> bool:
    """Returns whether a run has come to its end, and to that of the run that is to go on."""
    if folder is None or not run_folder.is_finished(folder):
        return False
    return int(run_folder.read_config(folder)["n_steps"]) >= n_steps


def _texts(folders: Sequence[Path | None]) -> list[str | None]:
    return [None if folder is None else str(folder) for folder in folders]

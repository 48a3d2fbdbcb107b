"""Datasets that stand in for published ones: recorded here by their recipes, one call each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from offlinekit.datasets.download import data_root
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.recording import atari_recording, level_recording, maze_recording
from offlinekit.datasets.recording.stand_in import StandIn
from offlinekit.envs.mazes.maze2d import MAZES, PREFIX
from offlinekit.errors import did_you_mean
from offlinekit.fields import Count, checked
from offlinekit.ground.hints import answers_guesses


class Recipe(NamedTuple):
    """How a dataset is recorded, where, and which published one it stands for."""

    stands_for: str
    env_id: str
    text: str
    run: Callable[[StandIn], MDPDataset]  # Records, writes and returns it.
    n_steps: int = 1_000_000
    env_kwargs: Mapping[str, int] = {}  # Never written to.
    score_episodes: int = 100


RECIPES: dict[str, Recipe] = {
    **{
        f"maze2d-{maze}": Recipe(
            f"maze2d-{maze}-v1", f"{PREFIX}{maze}-v1", maze_recording.RECIPE, maze_recording.run
        )
        for maze in MAZES
    },
    **{
        f"{robot}-medium": Recipe(f"{robot}-medium-v2", env_id, level_recording.RECIPE, level_recording.run)
        for robot, env_id in (("hopper", "Hopper-v4"), ("halfcheetah", "HalfCheetah-v4"))
    },
    **{
        f"{game.lower()}-teacher": Recipe(
            f"Tianshou's {game} of QR-DQN",
            f"ALE/{game}-v5",
            atari_recording.RECIPE.format(epsilon=epsilon),
            atari_recording.run,
            100_000,
            atari_recording.PREPARED,
            10,
        )
        for game, epsilon in atari_recording.EPSILON.items()
    },
}
"""Recipes by the name of what they record."""


def path_of(name: str) -> Path:
    """Returns the file of a recorded dataset among the data: recorded/<name>.h5."""
    return data_root() / "recorded" / f"{name}.h5"


@answers_guesses
def record(
    name: str,
    out: str | Path | None = None,
    *,
    n_steps: int | None = None,
    seed: int = 0,
    score_episodes: int | None = None,
    policy_file: str | Path | None = None,
) -> MDPDataset:
    """Records a dataset by its recipe and writes it; `get_dataset("recorded/<name>")` reads it.

    The same recipe, seed and versions give the same rows on one machine. The metadata hold them, and the returns of
    the behaviour and of random actions in the same environment.

    Args:
        name: One of `RECIPES`.
        out: File to write, by default the one that `get_dataset` looks for, `path_of(name)`.
        n_steps: Rows, by default as many as the published dataset has.
        seed: Of everything drawn.
        score_episodes: Episodes in which the behaviour and random actions are scored, by default 100; 10 of random
            actions alone for Atari, whose recorded episodes score the behaviour.
        policy_file: D4RL's file that carries the behaviour, for recipes of its policies; by default looked for as
            `get_dataset` looks for D4RL's files.

    Raises:
        ValueError: For an unknown name; suggests the nearest.
        FileExistsError: If there is such a file.
        MissingExtraError: For an environment whose package is not installed.
    """
    if name not in RECIPES:
        raise ValueError(
            f"no recipe is named {name!r}{did_you_mean(name, RECIPES)}; there are {', '.join(RECIPES)}"
        )
    recipe, path = RECIPES[name], path_of(name) if out is None else Path(out)
    if path.exists():
        raise FileExistsError(f"{path} is there already; remove it, or write to another file")
    path.parent.mkdir(parents=True, exist_ok=True)
    stand_in = StandIn(
        name,
        recipe.stands_for,
        recipe.text,
        recipe.env_id,
        path,
        checked("n_steps", recipe.n_steps if n_steps is None else n_steps, Count),
        seed,
        checked("score_episodes", recipe.score_episodes if score_episodes is None else score_episodes, Count),
        None if policy_file is None else Path(policy_file),
        recipe.env_kwargs,
    )
    return recipe.run(stand_in)

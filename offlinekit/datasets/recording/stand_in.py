"""One recording that stands in for a published dataset, and what its file says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets.sources import d4rl
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.envs.environments import make_env
from offlinekit.envs.evaluation import evaluate
from offlinekit.errors import MissingExtraError
from offlinekit.version import __version__

if TYPE_CHECKING:
    import gymnasium

    from offlinekit.types import Array

PACKAGES = ("mujoco", "ale-py", "gymnasium", "numpy")
"""Packages on whose versions a recording depends."""


@dataclass(frozen=True)
class StandIn:
    """A recording to make.

    Attributes:
        name: Of the recipe, and of the dataset.
        stands_for: The published dataset, by its name in `get_dataset`.
        recipe: How it is recorded, in words.
        env_id: Environment of the recording and of evaluations.
        out: File to write.
        n_steps: Rows.
        seed: Of everything drawn.
        score_episodes: Episodes in which the behaviour and random actions are scored.
        policy_file: D4RL's file that carries the behaviour, if it is not where `get_dataset` looks.
        env_kwargs: Of the environment.
    """

    name: str
    stands_for: str
    recipe: str
    env_id: str
    out: Path
    n_steps: int
    seed: int
    score_episodes: int
    policy_file: Path | None = None
    env_kwargs: Mapping[str, int] = field(default_factory=dict)

    def make_env(self) -> gymnasium.Env[Any, Any]:
        """Makes the environment.

        Raises:
            MissingExtraError: If its package is not installed; names it.
        """
        env = make_env(self.env_id, **self.env_kwargs)
        if env is None:
            raise MissingExtraError(
                f"{self.name} is recorded in {self.env_id}; install the extra named above"
            )
        return env

    def metadata(self, behaviour: Array) -> dict[str, Any]:
        """Returns what the file says: recipe, seed, versions, reference scores, and returns measured here.

        Args:
            behaviour: Returns of the behaviour's own episodes [n].
        """
        row = d4rl.table().get(self.stands_for, {})
        env = self.make_env()
        chance = evaluate(RandomPolicy(env.action_space), env, self.score_episodes).returns
        return {
            **{"recipe": self.recipe, "stands_for": self.stands_for, "recorded_seed": self.seed},
            **{"env_id": self.env_id, "env_kwargs": dict(self.env_kwargs), "versions": versions()},
            **{f"reference_{end}_score": row[end] for end in ("min", "max") if end in row},
            **{"behaviour_returns": spread(behaviour), "random_returns": spread(chance)},
        }


def spread(returns: Array) -> dict[str, float]:
    """Returns mean, standard error and number of returns [n]; the error of one is 0."""
    error = float(np.std(returns, ddof=1) / np.sqrt(len(returns))) if len(returns) > 1 else 0.0
    return {"mean": float(np.mean(returns)), "standard_error": error, "episodes": len(returns)}


def versions() -> dict[str, str]:
    """Returns the versions of offlinekit and of the packages that a recording depends on."""
    found = {"offlinekit": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

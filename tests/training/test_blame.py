"""What is not a number is called the fault of whoever gave it, at every door that moves an environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from walk_env import Walk, recorded_walk

from offlinekit.algos import SAC, MLPEncoder, Population
from offlinekit.datasets import collect
from offlinekit.envs.evaluation import evaluate
from offlinekit.envs.video import record_video
from offlinekit.errors import OfflineKitError

QUIET: dict[str, Any] = {"out": None, "progress": False}


class Blind(Walk):
    """Shows NaN after so many steps of each episode, which has six."""

    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def step(self, action: Any) -> Any:
        return super().step(action * 0)  # It stays near 0, so that no episode ends early.

    def render(self) -> Any:
        return np.zeros((16, 16, 3), np.uint8)

    def _seen(self) -> Any:
        return super()._seen() * (np.nan if self.t == self.after else 1.0)


def learner() -> SAC:
    return SAC(seed=0, batch_size=4, encoder=MLPEncoder((4,)), device="cpu").build(recorded_walk())


DOORS: dict[str, Callable[[Any, Any, Path], Any]] = {
    "evaluate": lambda algo, env, _: evaluate(algo, env, 1),
    "fit": lambda algo, env, _: algo.fit(recorded_walk(), 2, eval_env=env, eval_episodes=1, **QUIET),
    "population": lambda algo, env, _: Population([algo]).fit(recorded_walk(), 2, eval_env=env, **QUIET),
    "fit_online": lambda algo, env, _: algo.fit_online(
        env, 12, warmup_steps=10, eval_env=Walk(), eval_episodes=1, **QUIET
    ),
    "collect": lambda algo, env, _: collect(algo, env, 12, progress=False),
    "record_video": lambda algo, env, folder: record_video(algo, env, folder / "x.gif"),
}
KEEPS = ("fit_online", "collect")
"""Doors that keep the observation after the end of an episode."""


@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize("after", [0, 2, 6])
def test_observations_are_the_environments(door: str, after: int, tmp_path: Path) -> None:
    if door == "record_video":
        pytest.importorskip("imageio_ffmpeg")
    if after == 6 and door not in KEEPS:
        DOORS[door](
            learner(), Blind(after), tmp_path
        )  # No policy sees it, as a robot's fall, and returns are sound.
        return
    with pytest.raises(
        (ValueError, OfflineKitError),
        match=rf"observation of the environment after {after} steps holds nan, in the episode of seed 0; let",
    ):
        DOORS[door](learner(), Blind(after), tmp_path)


@pytest.mark.parametrize("door", [door for door in DOORS if door not in ("fit", "population", "fit_online")])
def test_actions_are_the_policys(door: str, tmp_path: Path) -> None:
    if door == "record_video":
        pytest.importorskip("imageio_ffmpeg")
    with pytest.raises(ValueError, match="the policy returned an action that is not finite: nan"):
        DOORS[door](lambda seen: np.full((len(seen), 1), np.nan), Blind(-1), tmp_path)


def test_actions_of_a_guide_are_its_own() -> None:
    guide = lambda seen: np.full((len(seen), 1), np.nan)  # noqa: E731  # A policy.
    settings: dict[str, Any] = {
        "guide": guide,
        "guide_steps": 3,
        "warmup_steps": 10,
        "eval_env": Walk(),
        **QUIET,
    }
    with pytest.raises(
        OfflineKitError,
        match=r"the policy that acts failed after step 0: .*the policy returned an action that is not",
    ):
        learner().fit_online(Walk(), 12, **settings)


@pytest.mark.parametrize("door", KEEPS)
def test_rewards_are_the_environments(door: str, tmp_path: Path) -> None:
    with pytest.raises(
        (ValueError, OfflineKitError),
        match=r"reward of the environment's step 2 is nan, in the episode of seed 0",
    ):
        DOORS[door](learner(), Walk(fault=3, what="nan"), tmp_path)

"""Maze2d: a point mass that is pushed through a maze to a goal, rebuilt after D4RL's of the same name.

Source: Fu et al. 2020, arXiv:2004.07219; Farama-Foundation/D4RL, d4rl/pointmaze/maze_model.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import register

from offlinekit.errors import did_you_mean, require
from offlinekit.types import Array

PREFIX = "offlinekit/Maze2d-"
SPEED = 5.0
"""Bound of each component of the velocity before a step."""
GOAL_RADIUS = 0.5
WALL = '<geom type="box" size=".5 .5 .2" pos="{x} {y} 0"/>'
MODEL = """
<mujoco>
  <compiler angle="radian" inertiafromgeom="true"/>
  <option timestep=".01" gravity="0 0 0" iterations="20" integrator="Euler"/>
  <default>
    <joint type="slide" damping="1" limited="false"/>
    <geom friction=".5 .1 .1" density="1000" margin=".002" condim="1" contype="2" conaffinity="1"/>
    <motor ctrlrange="-1 1" ctrllimited="true" gear="100"/>
  </default>
  <worldbody>
    <body pos="1.2 1.2 0">
      <geom type="sphere" size=".1" contype="1"/>
      <joint name="x" axis="1 0 0"/>
      <joint name="y" axis="0 1 0"/>
    </body>
    {walls}
  </worldbody>
  <actuator><motor joint="x"/><motor joint="y"/></actuator>
</mujoco>
"""
"""Cell (i, j) lies around (i + 1, j + 1), and position (i, j) is 0.2 off its middle, as the body rests at 1.2."""


class Maze(NamedTuple):
    """A maze: "#" is a wall, "O" free, "G" the goal; rows run along x, columns along y."""

    rows: tuple[str, ...]
    horizon: int  # Steps of an episode.

    def cells(self, kinds: str) -> list[tuple[int, int]]:
        """Returns the cells (i, j) of some kinds, the goal behind all that are free."""
        return [
            (i, j)
            for kind in kinds
            for i, row in enumerate(self.rows)
            for j, at in enumerate(row)
            if at == kind
        ]

    @property
    def goal(self) -> tuple[int, int]:
        """The cell of the goal."""
        return self.cells("G")[0]

    def place(self, rng: np.random.Generator) -> Array:
        """Draws a position [2]: the corner of a free cell, and up to 0.1 to either side of it."""
        corner: Array = rng.choice(self.cells("OG"))
        return corner + rng.uniform(-0.1, 0.1, 2)


MAZES = {
    "umaze": Maze(("#####", "#GOO#", "###O#", "#OOO#", "#####"), 300),
    "medium": Maze(
        ("########", "#OO##OO#", "#OO#OOO#", "##OOO###", "#OO#OOO#", "#O#OO#O#", "#OOO#OG#", "########"), 600
    ),
    "large": Maze(
        (
            *("############", "#OOOO#OOOOO#", "#O##O#O#O#O#", "#OOOOOO#OOO#", "#O####O###O#"),
            *("#OO#O#OOOOO#", "##O#O#O#O###", "#OO#OOO#OGO#", "############"),
        ),
        800,
    ),
}


def goal_reward(positions: Array, maze: Maze) -> Array:
    """Returns 1 [...] for positions [..., 2] within 0.5 of the goal, else 0."""
    near: Array = np.linalg.norm(positions - np.array(maze.goal), axis=-1) <= GOAL_RADIUS
    return near.astype(np.float32)


class Maze2d(gymnasium.Env[Array, Array]):
    """A ball of radius 0.1 on two slides; it earns 1 in each step that ends within 0.5 of the goal.

    An observation [4] is position and velocity, an action [2] the force along x and y in [-1, 1]. Nothing
    terminates; gymnasium cuts episodes at the horizon of the maze.

    Args:
        maze: Name in `MAZES`.

    Raises:
        ValueError: For an unknown maze.
        MissingExtraError: Without mujoco.
    """

    metadata = {"render_modes": []}

    def __init__(self, maze: str = "umaze") -> None:
        if maze not in MAZES:
            raise ValueError(
                f"maze must be one of {', '.join(MAZES)}, got {maze!r}{did_you_mean(maze, MAZES)}"
            )
        self.maze = MAZES[maze]
        mujoco = require("mujoco", "mujoco")
        walls = "".join(WALL.format(x=i + 1, y=j + 1) for i, j in self.maze.cells("#"))
        self.model = mujoco.MjModel.from_xml_string(MODEL.format(walls=walls))
        self.data, self._step = mujoco.MjData(self.model), mujoco.mj_step
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Puts the ball to rest, but for N(0, 0.1^2), at a place drawn by `Maze.place`."""
        super().reset(seed=seed)
        self.data.time = 0.0
        self.data.qpos[:] = self.maze.place(self.np_random)
        self.data.qvel[:] = 0.1 * self.np_random.standard_normal(2)
        self.data.qacc_warmstart[:] = 0.0
        return self.state(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Bounds the velocity, pushes for 0.01 seconds; returns the result."""
        np.clip(self.data.qvel, -SPEED, SPEED, out=self.data.qvel)
        self.data.ctrl[:] = action
        self._step(self.model, self.data)
        state = self.state()
        return state, float(goal_reward(state[:2], self.maze)), False, False, {}

    def state(self) -> Array:
        """Returns position and velocity [4]."""
        return np.concatenate([self.data.qpos, self.data.qvel])


def register_mazes() -> None:
    """Registers the environments "offlinekit/Maze2d-umaze-v1", -medium- and -large-, once."""
    for name, maze in MAZES.items():
        env_id = f"{PREFIX}{name}-v1"
        if env_id not in gymnasium.registry:
            entry = f"{__name__}:Maze2d"
            register(env_id, entry, max_episode_steps=maze.horizon, kwargs={"maze": name})

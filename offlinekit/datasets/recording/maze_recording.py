"""Recordings of maze2d: a controller that walks to one target after another, and never starts anew.

Source: Farama-Foundation/D4RL, scripts/generation/generate_maze2d_datasets.py and relabel_maze2d_rewards.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.recording.stand_in import StandIn
from offlinekit.envs.mazes.maze2d import Maze2d, goal_reward
from offlinekit.envs.mazes.waypoints import WaypointController
from offlinekit.types import Array

RECIPE = (
    "D4RL's maze2d: PD control along shortest paths to targets drawn uniformly over the free cells, one walk that is "
    "never reset; an episode ends, as a timeout, once the target's cell is within 0.1 or the horizon is over; the "
    "reward is 1 if the row's own observation lies within 0.5 of the goal. Unlike D4RL's script, the row behind a "
    "target's end acts on the new observation, not on the old one again"
)


class Walk(NamedTuple):
    """The rows of a walk through a maze."""

    states: Array  # [N + 1, 4], positions and velocities.
    actions: Array  # [N, 2].
    targets: Array  # [N, 2].
    ends: Array  # [N], bool.


def walk(env: Maze2d, n_steps: int, seed: int) -> Walk:
    """Walks from target to target for `n_steps` steps."""
    rng, maze = np.random.default_rng(seed), env.maze
    controller = WaypointController(maze, rng)
    states, actions = np.empty((n_steps + 1, 4)), np.empty((n_steps, 2), np.float32)
    targets, ends = np.empty((n_steps, 2), np.float32), np.zeros(n_steps, np.bool_)
    states[0], _ = env.reset(seed=seed)
    age = 0
    for t in range(n_steps):
        if age == 0:
            target = maze.place(rng)
            controller.aim(states[t, :2], target)
        actions[t], is_there = controller.act(states[t])
        targets[t], ends[t] = target, is_there or age >= maze.horizon
        states[t + 1] = env.step(actions[t])[0]
        age = 0 if ends[t] else age + 1
    return Walk(states.astype(np.float32), actions, targets, ends)


def goal_returns(env: Maze2d, n_episodes: int, seed: int) -> Array:
    """Returns the undiscounted returns [n] of the controller on its way to the goal of the maze."""
    maze = env.maze
    controller = WaypointController(maze, np.random.default_rng(seed))
    returns = np.zeros(n_episodes)
    for i in range(n_episodes):
        state, _ = env.reset(seed=seed + i)
        controller.aim(state[:2], np.array(maze.goal))
        for _ in range(maze.horizon):
            state, reward, *_ = env.step(controller.act(state)[0])
            returns[i] += reward
    return returns


def run(stand_in: StandIn) -> MDPDataset:
    """Records maze2d; the behaviour's own score is that of its controller on the way to the goal."""
    env = Maze2d(stand_in.env_id.split("-")[1])
    rows = walk(env, stand_in.n_steps, stand_in.seed)
    ends = rows.ends.copy()
    ends[-1] = True
    dataset = MDPDataset(
        rows.states[:-1],
        rows.actions,
        goal_reward(rows.states[:-1, :2], env.maze),
        np.zeros(len(ends), np.bool_),
        timeouts=ends,
        final_observations=rows.states[1:][ends],
        action_space=env.action_space,
        extras={"targets": rows.targets},
        name=stand_in.name,
        metadata=stand_in.metadata(goal_returns(env, stand_in.score_episodes, stand_in.seed)),
    )
    dataset.save(stand_in.out)
    return dataset

"""The controller of maze2d: along the shortest path from cell to cell, as D4RL recorded its datasets.

Source: Farama-Foundation/D4RL, d4rl/pointmaze/waypoint_controller.py.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from offlinekit.envs.mazes.maze2d import Maze
from offlinekit.types import Array

REACHED = 0.1
"""Distance at which a waypoint is passed."""
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))

Cell = tuple[int, int]


def cell_of(position: Array) -> Cell:
    """Returns the cell (i, j) whose corner is nearest to a position [2]."""
    i, j = np.rint(position).astype(int).tolist()
    return i, j


def path(maze: Maze, start: Cell, target: Cell) -> list[Cell]:
    """Returns the cells of a shortest path behind the start; the target alone if it is the start.

    Raises:
        ValueError: If no free cells lead from one to the other.
    """
    free, came_from, waiting = set(maze.cells("OG")), {target: target}, deque([target])
    while waiting and start not in came_from:
        cell = waiting.popleft()
        for i, j in MOVES:
            other = (cell[0] + i, cell[1] + j)
            if other in free and other not in came_from:
                came_from[other] = cell
                waiting.append(other)
    if start not in came_from:
        raise ValueError(
            f"no path leads from cell {start} to cell {target}; both must be free cells of the maze"
        )
    cells = [came_from[start]]
    while cells[-1] != target:
        cells.append(came_from[cells[-1]])
    return cells


class WaypointController:
    """Pushes by 10 (waypoint - position) - velocity, within [-1, 1].

    Each waypoint but the last is moved by up to 0.2 towards 0 on both axes, as positions are off the cells' middles
    by that much.

    Args:
        maze: To walk in.
        rng: Draws what waypoints are moved by.
    """

    def __init__(self, maze: Maze, rng: np.random.Generator) -> None:
        self.maze, self.rng = maze, rng
        self._waypoints: list[Array] = []

    def aim(self, position: Array, target: Array) -> None:
        """Plans the way from a position [2] to the cell of a target [2]."""
        *between, last = path(self.maze, cell_of(position), cell_of(target))
        moved = [cell - 0.2 * self.rng.random(2) for cell in between]
        self._waypoints = [*moved, np.array(last, np.float64)]

    def act(self, state: Array) -> tuple[Array, bool]:
        """Returns the action [2] in a state [4], and whether the last waypoint is reached."""
        position, velocity = state[:2], state[2:]
        waypoint = self._waypoints[0]
        action = np.clip(10.0 * (waypoint - position) - velocity, -1.0, 1.0)
        offset = waypoint - position
        near = float(offset @ offset) < REACHED**2
        is_last = len(self._waypoints) == 1
        if near and not is_last:
            self._waypoints.pop(0)
        return action, near and is_last

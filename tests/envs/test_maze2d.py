"""Maze2d: physics by hand, mazes, rewards, and the controller that walks through them."""

from __future__ import annotations

import numpy as np
import pytest

from offlinekit.envs.environments import make_env
from offlinekit.envs.evaluation import evaluate
from offlinekit.envs.mazes.maze2d import MAZES, Maze2d, goal_reward
from offlinekit.envs.mazes.waypoints import WaypointController, path

pytest.importorskip("mujoco")

MASS = 1000 * 4 / 3 * np.pi * 0.1**3  # A ball of radius 0.1 and density 1,000: 4.18879.


@pytest.fixture(scope="module")
def umaze() -> Maze2d:
    return Maze2d("umaze")


def put(env: Maze2d, *state: float) -> None:
    env.reset(seed=0)
    env.data.qpos[:], env.data.qvel[:] = state[:2], state[2:]


def test_a_push_in_free_space(umaze: Maze2d) -> None:
    # Euler with implicit damping: v' = v + h (F - d v) / (m + h d), x' = x + h v', h = 0.01, F = 100 a, d = 1.
    # From rest: v' = 0.01 * 100 * (0.5, -1) / (4.18879 + 0.01).
    put(umaze, 1.0, 2.0, 0.0, 0.0)
    velocity = np.array([0.5, -1.0]) / (MASS + 0.01)
    state = umaze.step(np.array([0.5, -1.0]))[0]
    np.testing.assert_allclose(state, [1 + 0.01 * velocity[0], 2 + 0.01 * velocity[1], *velocity], rtol=1e-9)


def test_velocities_are_bounded_before_a_step(umaze: Maze2d) -> None:
    # 9 becomes 5, then v' = 5 - 0.01 * 5 / (m + 0.01) = 4.98809.
    put(umaze, 1.0, 1.0, 0.0, 9.0)
    state = umaze.step(np.zeros(2))[0]
    assert state[3] == pytest.approx(5 - 0.05 / (MASS + 0.01))
    assert state[1] == pytest.approx(1 + 0.01 * state[3])


def test_walls_stop_the_ball_at_its_radius(umaze: Maze2d) -> None:
    # The wall of row 0 ends at 1.5, the ball's middle is at 1.2 + x: 1.2 + x - 0.1 = 1.5 for x = 0.4. Column 4
    # begins at 4.5: 1.2 + y + 0.1 = 4.5 for y = 3.2.
    put(umaze, 1.0, 3.0, 0.0, 0.0)
    for _ in range(300):
        state = umaze.step(np.array([-1.0, 1.0]))[0]
    np.testing.assert_allclose(state, [0.4, 3.2, 0, 0], atol=0.02)


def test_the_reward_is_that_of_the_state_behind_the_step(umaze: Maze2d) -> None:
    assert goal_reward(np.array([[1.0, 1.5], [1.3, 1.4], [1.0, 1.501], [0.5, 1.0]]), umaze.maze).tolist() == [
        1,
        1,
        0,
        1,
    ]
    put(umaze, 1.0, 1.51, 0.0, -5.0)  # The step ends at 1.46.
    assert umaze.step(np.zeros(2))[1] == 1.0
    put(umaze, 1.0, 1.49, 0.0, 5.0)
    assert umaze.step(np.zeros(2))[1] == 0.0


def test_mazes_are_d4rls() -> None:
    """Sizes, goals and horizons of D4RL's MAZES; each free cell can be reached."""
    facts = {
        n: (len(m.rows), len(m.rows[0]), len(m.cells("OG")), m.goal, m.horizon) for n, m in MAZES.items()
    }
    assert facts == {
        "umaze": (5, 5, 7, (1, 1), 300),
        "medium": (8, 8, 26, (6, 6), 600),
        "large": (9, 12, 46, (7, 9), 800),
    }
    for maze in MAZES.values():
        assert all(path(maze, cell, maze.goal)[-1] == maze.goal for cell in maze.cells("OG"))


def test_episodes_start_at_free_cells_and_end_at_the_horizon() -> None:
    env = make_env("offlinekit/Maze2d-umaze-v1")
    assert env is not None
    found = evaluate(lambda observations: np.zeros((len(observations), 2)), env, 2)
    assert set(found.lengths) == {300}
    starts = np.array([env.reset(seed=seed)[0] for seed in range(300)])
    off = starts[:, :2] - np.rint(starts[:, :2])
    assert {tuple(cell) for cell in np.rint(starts[:, :2]).astype(int)} == set(MAZES["umaze"].cells("OG"))
    # Uniform on (-0.1, 0.1), deviation 0.2 / sqrt(12) = 0.0577; velocities N(0, 0.1^2).
    assert np.abs(off).max() <= 0.1
    assert off.std() == pytest.approx(0.0577, rel=0.06)
    assert starts[:, 2:].std() == pytest.approx(0.1, rel=0.1)
    np.testing.assert_array_equal(env.reset(seed=7)[0], starts[7])


def test_an_unknown_maze_is_refused() -> None:
    with pytest.raises(ValueError, match="maze must be one of umaze, medium, large, got 'hard'"):
        Maze2d("hard")


def test_the_shortest_path() -> None:
    around = [(3, 2), (3, 3), (2, 3), (1, 3), (1, 2), (1, 1)]
    assert path(MAZES["umaze"], (3, 1), (1, 1)) == around
    assert path(MAZES["umaze"], (1, 1), (1, 1)) == [(1, 1)]
    with pytest.raises(ValueError, match=r"no path leads from cell \(0, 0\) to cell \(1, 1\)"):
        path(MAZES["umaze"], (0, 0), (1, 1))


def test_the_controller_by_hand() -> None:
    controller = WaypointController(MAZES["umaze"], np.random.default_rng(0))
    controller.aim(np.array([1.0, 1.05]), np.array([1.04, 1.97]))
    # The last waypoint is the target's cell (1, 2): 10 * (0, 0.95) - (0.5, -0.2) = (-0.5, 9.7), cut to (-0.5, 1).
    action, is_there = controller.act(np.array([1.0, 1.05, 0.5, -0.2]))
    np.testing.assert_allclose(action, [-0.5, 1.0])
    assert not is_there
    assert controller.act(np.array([1.0, 1.91, 0.0, 0.0]))[1]
    assert not controller.act(np.array([1.0, 1.89, 0.0, 0.0]))[1]


def test_waypoints_on_the_way_are_moved_and_passed() -> None:
    controller = WaypointController(MAZES["umaze"], np.random.default_rng(0))
    first = np.array([1.0, 2.0]) - 0.2 * np.random.default_rng(0).random(2)
    controller.aim(np.array([1.0, 1.0]), np.array([1.0, 3.0]))
    # At the first waypoint the push is that of the damping alone, and the next push is for the cell (1, 3).
    action, is_there = controller.act(np.array([*first, 0.1, 0.2]))
    np.testing.assert_allclose(action, [-0.1, -0.2], atol=1e-12)
    assert not is_there
    assert controller.act(np.array([1.0, 2.95, 0.0, 0.0])) == (pytest.approx([0.0, 0.5]), True)

"""Teachers of Atari games by hand, and a short recording of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offlinekit.datasets import get_dataset, record
from offlinekit.datasets.recording.atari_teachers import Teacher, reflected
from offlinekit.envs.environments import make_env

pytest.importorskip("ale_py")
pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def pong() -> Teacher:
    env = make_env("ALE/Pong-v5", frame_stack=1)
    assert env is not None
    return Teacher("Pong", env)


def test_balls_bounce_between_walls() -> None:
    # 215 is 10 behind the wall at 205: 195; 40 is 7 behind that at 47: 54; 47 + 2 * 158 = 363 is the first wall again.
    assert [reflected(x, (47.0, 205.0)) for x in (100.0, 215.0, 40.0, 363.0)] == [100.0, 195.0, 54.0, 47.0]


def test_a_paddle_goes_to_where_the_ball_will_be(pong: Teacher) -> None:
    pong.seed(0)
    assert pong.choose((146.0, 100.0), 100.0) == 0  # One position says nothing of the way.
    # Speed (4, 2): (190 - 150) / 4 = 10 steps, meets at 102 + 20 = 122; the paddle's middle is at 103: 19 > 0.6 * 21.
    assert pong.choose((150.0, 102.0), 100.0) == 3
    # 9 steps, 122 again; the press before moves it by 21 / 2 more: 122 - 103 - 10.5 = 8.5, less than 12.6.
    pong.pressed = 1
    assert pong.choose((154.0, 104.0), 100.0) == 0
    # In the last step and a half 0.25 * 21 = 5.25 is the least: (190 - 174) / 16 = 1 step, 122 - 114 = 8.
    pong.before, pong.pressed = (158.0, 122.0), 0
    assert pong.choose((174.0, 122.0), 111.0) == 3


def test_a_paddle_waits_while_the_ball_flies_away_and_misses_anew(pong: Teacher) -> None:
    pong.seed(0)
    pong.choose((180.0, 100.0), 150.0)
    pong.choose((184.0, 100.0), 150.0)
    assert pong.miss == 0.0
    assert pong.choose((176.0, 100.0), 150.0) == 2  # 120 - 153 = -33.
    assert 0 < abs(pong.miss) <= 3
    assert pong.choose((0.0, 0.0), 150.0) == 0


def test_breakout_launches_without_a_ball() -> None:
    env = make_env("ALE/Breakout-v5", frame_stack=1)
    assert env is not None
    assert Teacher("Breakout", env).choose((0.0, 0.0), 100.0) == 1


def test_a_game_is_recorded_as_published_runs_were_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFLINEKIT_DATA", str(tmp_path))
    record("breakout-teacher", n_steps=120, score_episodes=1)
    dataset, env = get_dataset("recorded/breakout-teacher")
    assert env is not None
    assert dataset.observations.shape == (120, 1, 84, 84)
    assert dataset.observations.dtype == np.uint8
    assert dataset.metadata["env_kwargs"] == {"frame_stack": 1, "sticky_actions": False, "noop_max": 30}
    assert dataset.metadata["epsilon"] == 0.36
    assert "in place of the published QR-DQN" in dataset.metadata["recipe"]
    assert dataset.rewards.sum() > 0


def test_no_ops_draw_where_an_episode_begins() -> None:
    def memories(**given: int) -> set[bytes]:
        env = make_env("ALE/Pong-v5", frame_stack=1, sticky_actions=False, **given)
        assert env is not None
        return {Teacher("Pong", env).console.getRAM().tobytes() for seed in range(4) if env.reset(seed=seed)}

    assert len(memories()) == 1
    assert len(memories(noop_max=30)) > 1

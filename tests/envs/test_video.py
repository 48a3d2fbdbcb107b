"""Films of a policy."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from offlinekit.datasets import make_env
from offlinekit.envs import given_env
from offlinekit.errors import MissingExtraError, UnsupportedError
from offlinekit.metrics import RandomPolicy, record_video

ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the video extra is not installed")


class Painted(gymnasium.Env[Any, Any]):
    """Three steps of reward 2, images of an odd size."""

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    render_mode = "rgb_array"
    metadata = {"render_fps": 10}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.zeros(1, np.float32), 2.0, self.count == 3, False, {}

    def render(self) -> Any:
        return np.full((33, 47, 3), 60 * self.count, np.uint8)


def frames(path: Path, height: int, width: int) -> Any:
    """Decodes by ffmpeg itself: imageio's reader leaves its pipes open."""
    command = [ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def test_film_has_a_frame_for_the_reset_and_for_each_step(tmp_path: Path) -> None:
    env = Painted()
    recording = record_video(RandomPolicy(env.action_space), env, tmp_path / "new" / "film.mp4")
    assert recording == (tmp_path / "new" / "film.mp4", 6.0, 3)
    film = frames(recording.path, 34, 48)
    assert len(film) == 4
    np.testing.assert_allclose(film.mean(axis=(1, 2, 3)), [0, 60, 120, 180], atol=6)
    assert [entry.name for entry in recording.path.parent.iterdir()] == ["film.mp4"]


def test_a_gif_has_the_same_frames_and_comes_back(tmp_path: Path) -> None:
    env = Painted()
    recording = record_video(RandomPolicy(env.action_space), env, tmp_path / "film.gif")
    assert recording.path.read_bytes().startswith(b"GIF89a")
    film = frames(recording.path, 34, 48)
    np.testing.assert_allclose(film.mean(axis=(1, 2, 3)), [0, 60, 120, 180], atol=6)
    assert b"NETSCAPE2.0" in recording.path.read_bytes()  # The loop.


def test_environment_by_name_is_filmed(tmp_path: Path) -> None:
    pytest.importorskip("pygame", reason="pygame, which draws CartPole, is not installed")
    space = gymnasium.spaces.Discrete(2)
    recording = record_video(RandomPolicy(space), "CartPole-v1", tmp_path / "film.mp4", seed=3, max_steps=5)
    assert recording.n_steps == 5
    assert len(frames(recording.path, 400, 600)) == 6
    again = record_video(RandomPolicy(space), make_env("CartPole-v1"), tmp_path / "b.mp4", 3, max_steps=5)
    assert len(frames(again.path, 400, 600)) == 6


def test_what_cannot_be_filmed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = RandomPolicy(Painted.action_space)
    with pytest.raises(ValueError, match=r"ends in \.mp4 or \.gif, got"):
        record_video(policy, Painted(), tmp_path / "film.avi")
    blind = Painted()
    monkeypatch.setattr(blind, "render", lambda: None)
    with pytest.raises(UnsupportedError, match="renders RGB arrays, got NoneType"):
        record_video(policy, blind, tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(given_env, "make_env", lambda *args, **kwargs: None)
    with pytest.raises(MissingExtraError, match="no environment 'Hopper-v4'"):
        record_video(policy, "Hopper-v4", tmp_path / "film.mp4")


def test_an_environment_that_has_no_images_says_what_to_do(tmp_path: Path) -> None:
    class Blind(Painted):
        render = gymnasium.Env.render

    with pytest.raises(UnsupportedError, match="make it with render_mode='rgb_array', or give its name"):
        record_video(RandomPolicy(Blind.action_space), Blind(), tmp_path / "film.mp4")


@pytest.mark.parametrize(
    "env_id", ["Hopper-v4", "HalfCheetah-v5", "Walker2d-v4", "Ant-v5", "Humanoid-v4", "Swimmer-v5"]
)
def test_the_camera_goes_with_robots_that_walk(env_id: str) -> None:
    mujoco = pytest.importorskip("mujoco")
    for env, name in (
        (make_env(env_id, render_mode="rgb_array"), "track"),
        (make_env(env_id).again(render_mode="rgb_array"), "track"),  # As films of a dataset's environment.
    ):
        renderer, model = env.unwrapped.mujoco_renderer, env.unwrapped.model
        tracking = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
        assert tracking >= 0
        assert renderer.camera_id == tracking
        assert "camera_name" not in env.facts["env_kwargs"]
        env.close()


def test_a_camera_that_is_named_stays() -> None:
    pytest.importorskip("mujoco")
    env = make_env("Hopper-v4", render_mode="rgb_array", camera_id=-1)
    assert env.unwrapped.mujoco_renderer.camera_id == -1
    env.close()

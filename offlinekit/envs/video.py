"""Films a policy."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import numpy as np

from offlinekit.envs.environments import as_gymnasium, copy_env, make_env, render_without_display
from offlinekit.envs.rollout import Rollout
from offlinekit.envs.stateful_policies import as_actor
from offlinekit.errors import MissingExtraError, UnsupportedError, require
from offlinekit.io import atomic_write
from offlinekit.types import Array

if TYPE_CHECKING:
    from collections.abc import Generator

    from offlinekit.interfaces import EnvLike, PolicyLike

PALETTE = "split[a][b];[a]palettegen[p];[b][p]paletteuse"
FORMATS: dict[str, dict[str, Any]] = {
    ".mp4": {"output_params": ["-f", "mp4"]},
    ".gif": {
        "codec": "gif",
        "pix_fmt_out": "pal8",
        "ffmpeg_log_level": "error",
        "output_params": ["-filter_complex", PALETTE, "-f", "gif"],
    },
}


class Recording(NamedTuple):
    """A recorded video."""

    path: Path
    episode_return: float
    n_steps: int


def record_video(
    policy: PolicyLike,
    env_or_id: EnvLike | str,
    path: str | Path,
    seed: int = 0,
    *,
    max_steps: int | None = None,
) -> Recording:
    """Films one episode of a policy as mp4 or gif.

    Args:
        policy: As in `evaluate`.
        env_or_id: Name of an environment, or an environment. One that does not render is made again from its
            spec with render_mode="rgb_array"; the given one is left open and as it was.
        path: File to write, ending in .mp4 or .gif; a gif has a palette of its own and plays again and again.
        seed: Of the episode.
        max_steps: Ends the film after so many steps.

    Returns:
        The file, and the return and length of the episode in it.

    Raises:
        MissingExtraError: If imageio-ffmpeg or the environment's package is not installed.
        UnsupportedError: For an environment that renders no images.
        ValueError: For a path that is neither.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"expected a path that ends in {' or '.join(FORMATS)}, got {str(path)!r}")
    ffmpeg = require("imageio_ffmpeg", "video")
    env, ours = _rendering(env_or_id)
    try:
        with (
            atomic_write(path) as beside,
            closing(_Writer(ffmpeg, beside, _frames_per_second(env), FORMATS[path.suffix])) as writer,
        ):
            rollout = Rollout(as_actor(policy), [_Film(env, writer)], 1, seed, max_steps)
            rollout.run()
    finally:
        if ours:
            env.close()
    return Recording(path, float(rollout.returns[0]), int(rollout.lengths[0]))


class _Writer:
    """A film that grows by frames of one size."""

    def __init__(self, ffmpeg: ModuleType, path: Path, fps: float, settings: dict[str, Any]) -> None:
        self._start = partial(ffmpeg.write_frames, str(path), fps=fps, macro_block_size=2, **settings)
        self._frames: Generator[None, Array | None, None] | None = None

    def append(self, frame: Array) -> None:
        """Appends an image, uint8 [H, W, 3] with even H and W."""
        if self._frames is None:
            self._frames = self._start(frame.shape[1::-1])
            self._frames.send(None)
        self._frames.send(np.ascontiguousarray(frame))

    def close(self) -> None:
        """Completes the file."""
        if self._frames is not None:
            self._frames.close()


class _Film(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Appends a frame to a video at each reset and step."""

    def __init__(self, env: gymnasium.Env[Any, Any], writer: _Writer) -> None:
        super().__init__(env)
        self._writer = writer

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        answer = super().reset(seed=seed, options=options)
        self._writer.append(_frame(self.env))
        return answer

    def step(self, action: object) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        answer = super().step(action)
        self._writer.append(_frame(self.env))
        return answer


def _rendering(env_or_id: EnvLike | str) -> tuple[gymnasium.Env[Any, Any], bool]:
    """Returns an environment that renders images, and whether it was made here."""
    render_without_display()
    if isinstance(env_or_id, str):
        made = make_env(env_or_id, render_mode="rgb_array")
        if made is None:
            raise MissingExtraError(
                f"cannot film {env_or_id!r}: its package is not installed (see the warning)"
            )
        return made, True
    env = as_gymnasium(env_or_id)
    if env.spec is None or env.render_mode == "rgb_array":
        return env, False
    made = copy_env(env, render_mode="rgb_array")
    return (env, False) if made is None else (made, True)


def _frame(env: gymnasium.Env[Any, Any]) -> Array:
    """Returns the current image, uint8 [H, W, 3] with even H and W, as the codec requires."""
    try:
        image = env.render()
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtraError(str(error)) from error
    if not isinstance(image, np.ndarray) or image.ndim != 3:
        raise UnsupportedError(
            f"expected an environment that renders RGB arrays, got {type(image).__name__} from {env}; "
            "make it with render_mode='rgb_array'"
        )
    height, width, _ = image.shape
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _frames_per_second(env: gymnasium.Env[Any, Any]) -> float:
    """Returns the rate that the environment names, else 30."""
    return float(env.metadata.get("render_fps") or 30)

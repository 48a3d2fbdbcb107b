"""Films a policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import numpy as np

from offlinekit.envs.environments import render_without_display
from offlinekit.envs.frame_stacking import fit_env
from offlinekit.envs.given_env import GivenEnv, make_named
from offlinekit.envs.made_env import MadeEnv
from offlinekit.envs.rollout import Rollout
from offlinekit.envs.stateful_policies import as_actor
from offlinekit.errors import MissingExtraError, UnsupportedError, require
from offlinekit.ground.hints import answers_guesses
from offlinekit.ground.progress import Progress
from offlinekit.io import atomic_write
from offlinekit.types import Array

if TYPE_CHECKING:
    from collections.abc import Generator

    from offlinekit.interfaces import EnvSource, PolicyLike

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


@answers_guesses
def record_video(
    policy: PolicyLike,
    env_or_id: EnvSource,
    path: str | Path,
    seed: int = 0,
    *,
    max_steps: int | None = None,
    progress: bool = True,
) -> Recording:
    """Films one episode of a policy as mp4 or gif.

    Args:
        policy: As in `evaluate`.
        env_or_id: As in `evaluate`. An object is filmed itself, and so has to render: `render_mode="rgb_array"`.
        path: File to write, ending in .mp4 or .gif; a gif has a palette of its own and plays again and again.
        seed: Of the episode.
        max_steps: Ends the film after so many steps.
        progress: Whether to show how far it is, if it takes more than a moment.

    Returns:
        The file, and the return and length of the episode in it.

    Raises:
        MissingExtraError: If imageio-ffmpeg or the environment's package is not installed.
        DatasetError: For an environment of other observations or actions than an algorithm has learned from.
        UnsupportedError: For an environment that renders no images.
        ValueError: For a path that is neither.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"expected a path that ends in {' or '.join(FORMATS)}, got {str(path)!r}")
    ffmpeg = require("imageio_ffmpeg", "video")
    with (
        _rendering(env_or_id) as env,
        atomic_write(path) as beside,
        closing(_Writer(ffmpeg, beside, _frames_per_second(env), FORMATS[path.suffix])) as writer,
        Progress(f"film {path.name}", 1, shown=progress, unit="episode") as bar,
    ):
        rollout = Rollout(as_actor(policy), [fit_env(_Film(env, writer), policy)], 1, seed, max_steps, bar)
        rollout.run()
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
        result = super().reset(seed=seed, options=options)
        self._writer.append(_frame(self.env))
        return result

    def step(self, action: object) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = super().step(action)
        self._writer.append(_frame(self.env))
        return result


@contextmanager
def _rendering(env: EnvSource) -> Iterator[gymnasium.Env[Any, Any]]:
    """Yields an environment that renders images; closes it if it was made here."""
    render_without_display()
    given = GivenEnv(partial(make_named, env, render_mode="rgb_array") if isinstance(env, str) else env)
    if isinstance(given.env, MadeEnv) and given.env.render_mode is None and not given.env.is_touched:
        given = GivenEnv(partial(given.env.again, render_mode="rgb_array"))
    with given.opened() as (opened,):
        yield opened


def _frame(env: gymnasium.Env[Any, Any]) -> Array:
    """Returns the current image, uint8 [H, W, 3] with even H and W, as the codec requires."""
    try:
        image = env.render()
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtraError(str(error)) from error
    except NotImplementedError:
        image = None
    if not isinstance(image, np.ndarray) or image.ndim != 3:
        raise UnsupportedError(
            f"expected an environment that renders RGB arrays, got {type(image).__name__} from {env}; "
            "make it with render_mode='rgb_array', or give its name"
        )
    height, width, _ = image.shape
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _frames_per_second(env: gymnasium.Env[Any, Any]) -> float:
    """Returns the rate that the environment names, else 30."""
    return float(env.metadata.get("render_fps") or 30)

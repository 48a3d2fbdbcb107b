"""Recording datasets: a policy in an environment, in parts that survive an interruption."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from offlinekit.datasets.draft import plain
from offlinekit.datasets.editing.concatenation import concatenate
from offlinekit.datasets.editing.thinning import first_rows
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.recording.behaviour_actions import Behaviour
from offlinekit.datasets.recording.recorder import Recorder
from offlinekit.datasets.spaces import check_observations
from offlinekit.datasets.validation import as_observations
from offlinekit.envs.env_facts import env_facts
from offlinekit.envs.env_spaces import check_learnable
from offlinekit.envs.episode_loop import first_observation
from offlinekit.envs.frame_stacking import fit_env
from offlinekit.envs.given_env import GivenEnv
from offlinekit.errors import DatasetError
from offlinekit.ground.hints import answers_guesses
from offlinekit.ground.progress import Progress

if TYPE_CHECKING:
    from offlinekit.interfaces import EnvSource, PolicyLike
AT_ONCE = 8
"""Environments side by side, unless the call says how many."""


@answers_guesses
def collect(
    policy: PolicyLike,
    env: EnvSource | None,
    n_steps: int,
    *,
    out: str | Path | None = None,
    epsilon: float = 0.0,
    seed: int = 0,
    n_envs: int | None = None,
    max_steps: int | None = None,
    part_steps: int = 100_000,
    name: str = "collected",
    metadata: dict[str, Any] | None = None,
    progress: bool | None = None,
) -> MDPDataset:
    """Records the steps of a policy in an environment, exactly `n_steps` rows.

    Every recorded episode is complete, but for the last one, which is cut once the rows are enough (a
    timeout). The observation after each episode's end is kept, and so are the log-probabilities of the
    actions if the policy gives them. With `out`, whole parts lie beside it while the recording goes on: the same
    call after an interruption goes on behind the last of them, and gives what the first would have given.

    Args:
        policy: An algorithm, an object with `predict`, or a callable, from observations [B, ...] to actions
            [B, ...] or a pair of actions and log-probabilities [B]; see `Behaviour` for what else it may have.
        env: As in `evaluate`. Rows are what it shows, single images too if the policy sees stacks of them.
        n_steps: N, at least 1.
        out: File to write, as `MDPDataset.save` does, or None.
        epsilon: Probability of a uniformly random action in each step.
        seed: Episode i is reset with seed + i; the noise has its own generators.
        n_envs: Environments that take steps side by side, in this process, with one call of the policy; None for
            up to 8, as `evaluate` has them.
        max_steps: Ends episodes after so many steps; None leaves it to the environment.
        part_steps: Rows of a part, about.
        name: Of the dataset.
        metadata: Plain data to keep with the dataset, beside `env_id` and `recording`.
        progress: Whether to show how far it is; None does.

    Raises:
        ValueError: For numbers out of range, and for actions that do not fit the environment.
        FileExistsError: If `out` exists.
        DatasetError: For an environment of other observations or actions than an algorithm has learned from, and if
            parts lie beside `out` that were recorded in another way.
        UnsupportedError: For a policy, an environment or a space that cannot be recorded.
    """
    for setting, number in (("n_steps", n_steps), ("n_envs", n_envs), ("part_steps", part_steps)):
        if number is not None and number < 1:
            raise ValueError(f"{setting} must be at least 1, got {number}")
    if out is not None and Path(out).exists():
        raise FileExistsError(f"{out} is there already; remove it, or write to another file")
    with GivenEnv(env).opened(n_envs, n_envs or AT_ONCE) as envs:
        fit_env(envs[0], policy)
        _check_recordable(envs[0], seed)
        behaviour = Behaviour(policy, envs[0].action_space, epsilon, envs[0].observation_space)
        settings = {"epsilon": epsilon, "seed": seed, "n_envs": len(envs), "max_steps": max_steps}
        where = env_facts(envs[0])
        recording = {**settings, "part_steps": part_steps, **where}
        facts = plain({**where, "recording": recording, **(metadata or {})})
        store = Parts(None if out is None else Path(out), name, facts)
        with Progress(name, n_steps, shown=progress is not False, unit="step") as bar:
            while store.n_rows < n_steps:
                behaviour.seed(int(np.random.SeedSequence([seed, len(store)]).generate_state(1)[0]))
                if store.take_up():
                    bar.advance(len(store.parts[-1]))
                    continue
                wanted = min(part_steps, n_steps - store.n_rows)
                recorder = Recorder(behaviour, envs, wanted, seed + store.n_episodes, max_steps, bar.advance)
                with store.kept_at_interruption():
                    recorder.run()
                store.add(recorder.dataset())
    return store.finish(n_steps)


class Parts:
    """The parts of a recording: in memory, or in a folder beside the file that they become.

    Args:
        out: The file, or None.
        name: Of the dataset.
        facts: Metadata of each part, by which a part of another recording is recognised.
    """

    def __init__(self, out: Path | None, name: str, facts: dict[str, Any]) -> None:
        self.out, self.name, self.facts = out, name, facts
        self.folder = None if out is None else out.with_name(f"{out.name}.parts")
        self.parts: list[MDPDataset] = []

    def __len__(self) -> int:
        """Returns the number of parts."""
        return len(self.parts)

    @property
    def n_rows(self) -> int:
        """Rows so far."""
        return sum(map(len, self.parts))

    @property
    def n_episodes(self) -> int:
        """Episodes so far."""
        return sum(part.n_episodes for part in self.parts)

    def take_up(self) -> bool:
        """Reads the next part from the folder; returns whether it is there.

        Raises:
            DatasetError: If it was recorded in another way.
        """
        path = self._next_path()
        if path is None or not path.exists():
            return False
        part = MDPDataset.open(path)
        if part.metadata != self.facts:
            raise DatasetError(
                f"{path} was recorded with {part.metadata}, expected {self.facts}; "
                "remove its folder to begin anew, or repeat the earlier settings to go on"
            )
        self.parts.append(part)
        return True

    def add(self, part: MDPDataset) -> None:
        """Appends a part."""
        part = part.with_options(name=self.name, metadata=self.facts)
        path = self._next_path()
        self.parts.append(part if path is None else MDPDataset.open(part.save(path, compress=False)))

    def _next_path(self) -> Path | None:
        return None if self.folder is None else self.folder / f"{len(self):05d}.h5"

    @contextlib.contextmanager
    def kept_at_interruption(self) -> Iterator[None]:
        """Adds to a KeyboardInterrupt how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"after {self.n_rows:,} rows"
                + ("" if self.folder is None else "; the same command goes on behind them")
            ) from None

    def finish(self, n_rows: int) -> MDPDataset:
        """Returns the first rows of all parts as one dataset; writes it and removes the parts."""
        dataset = first_rows(concatenate(self.parts), n_rows)
        if self.out is not None and self.folder is not None:
            dataset.save(self.out)
            self.parts.clear()
            for path in (*self.folder.glob("*.h5"), *self.folder.glob(".*.h5.*.tmp")):
                path.unlink()
            self.folder.rmdir()
        return dataset


def _check_recordable(env: gymnasium.Env[Any, Any], seed: int) -> None:
    """Raises what a dataset of such observations would raise, before they are recorded."""
    check_learnable(env)
    first = as_observations(first_observation(env, seed))
    check_observations(first, env.observation_space)

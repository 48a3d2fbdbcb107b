"""Steps of a policy in environments, kept as a dataset of whole episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import numpy as np

from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.recording.behaviour_actions import Behaviour
from offlinekit.datasets.spaces import as_stored
from offlinekit.datasets.validation import as_observations
from offlinekit.envs.answers import LARGEST
from offlinekit.envs.episode_loop import EpisodeLoop, Slot
from offlinekit.types import Array, ArrayTree, rows, stack_trees

if TYPE_CHECKING:
    from offlinekit.interfaces import PolicyLike


class Episode(NamedTuple):
    """The columns of T recorded steps; the observations have one more row, the one after the end."""

    observations: ArrayTree  # [T + 1, ...].
    actions: Array  # [T, ...].
    rewards: Array  # [T].
    log_probs: Array | None  # [T].
    terminated: bool


class Recorder(EpisodeLoop):
    """Records whole episodes until they have enough rows, in the order in which they started.

    Every episode that is started is recorded to its end, so that short ones are not favoured.

    Args:
        behaviour: What acts.
        envs: Equal environments.
        n_rows: No episode is started once so many steps are taken; those that run are finished.
        seed: Episode i starts from seed + i.
        max_steps: Ends an episode after so many steps; None leaves it to the environment.
        on_steps: Told after each step how many environments took one.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        envs: list[gymnasium.Env[Any, Any]],
        n_rows: int,
        seed: int,
        max_steps: int | None = None,
        on_steps: Callable[[int], object] = lambda n: None,
    ) -> None:
        super().__init__(envs, seed, max_steps)
        self.behaviour, self.n_rows, self.on_steps = behaviour, n_rows, on_steps
        self.n_steps = 0
        self._running: dict[int, list[tuple[Any, ...]]] = {}
        self._episodes: dict[int, Episode] = {}

    def choose(self, observations: ArrayTree, slots: Sequence[Slot]) -> Array:
        """Returns the behaviour's actions [n, ...]."""
        self._actions, self._log_probs = self.behaviour(observations, slots)
        self.n_steps += len(slots)
        self.on_steps(len(slots))
        return self._actions

    def another(self) -> bool:
        """Returns whether rows are missing."""
        return self.n_steps < self.n_rows

    def started(self, slot: Slot) -> None:
        """Begins the rows of an episode.

        Raises:
            ValueError: For a first observation that is not finite as it is stored.
        """
        self._running[slot.episode] = []
        self.behaviour.forget(slot.episode)
        slot.check_observation(as_float32=True)

    def stepped(self, slot: Slot, before: ArrayTree, index: int) -> None:
        """Keeps a row.

        Raises:
            ValueError: For a reward or an observation that is not finite as it is stored.
        """
        if not abs(slot.reward) <= LARGEST:
            raise ValueError(
                f"reward of the environment's step {slot.length - 1} is {slot.reward}, in the episode of seed "
                f"{self.seed + slot.episode}; a dataset holds numbers that are finite as float32"
            )
        slot.check_observation(as_float32=True)
        log_prob = None if self._log_probs is None else self._log_probs[index]
        self._running[slot.episode].append((before, self._actions[index], slot.reward, log_prob))

    def finished(self, slot: Slot) -> None:
        """Joins the rows of an episode."""
        observations, actions, rewards, log_probs = zip(*self._running.pop(slot.episode), strict=True)
        self._episodes[slot.episode] = Episode(
            as_observations(stack_trees([*observations, slot.observation])),
            np.stack(actions),
            np.array(rewards, np.float32),
            None if log_probs[0] is None else np.array(log_probs, np.float32),
            slot.terminated,
        )
        self.behaviour.forget(slot.episode)

    def dataset(self) -> MDPDataset:
        """Returns what was recorded."""
        return as_dataset([self._episodes[i] for i in sorted(self._episodes)], self.envs[0])


def record_episodes(
    policy: PolicyLike, env: gymnasium.Env[Any, Any], n_rows: int, epsilon: float = 0.0, seed: int = 0
) -> MDPDataset:
    """Records whole episodes of a policy in one environment, at least `n_rows` rows.

    Args:
        policy: As `Behaviour` takes it.
        env: A gymnasium environment.
        n_rows: At least 1.
        epsilon: Probability of a uniformly random action in each step.
        seed: Episode i starts from seed + i.
    """
    behaviour = Behaviour(policy, env.action_space, epsilon, env.observation_space)
    behaviour.seed(seed)
    recorder = Recorder(behaviour, [env], n_rows, seed)
    recorder.run()
    return recorder.dataset()


def as_dataset(episodes: list[Episode], env: gymnasium.Env[Any, Any]) -> MDPDataset:
    """Returns whole episodes as a dataset with the spaces of their environment."""
    ends = np.cumsum([len(episode.rewards) for episode in episodes]) - 1
    last, terminals = np.zeros((2, ends[-1] + 1), np.bool_)
    last[ends] = True
    terminals[ends] = [episode.terminated for episode in episodes]
    log_probs = [episode.log_probs for episode in episodes if episode.log_probs is not None]
    return MDPDataset(
        join([rows(episode.observations, slice(0, -1)) for episode in episodes]),
        join([episode.actions for episode in episodes]),
        join([episode.rewards for episode in episodes]),
        terminals,
        last,
        final_observations=stack_trees([rows(episode.observations, -1) for episode in episodes]),
        observation_space=as_stored(env.observation_space),
        action_space=env.action_space,
        behavior_log_probs=join(log_probs) if log_probs else None,
    )

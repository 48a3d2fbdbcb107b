"""The loop that acts in an online run, and puts every step into memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import gymnasium

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.recording.behaviour_actions import Behaviour
from offlinekit.datasets.recording.recorder import Episode, Recorder, as_dataset
from offlinekit.envs.episode_loop import Slot
from offlinekit.ground.action_spaces import JointDiscrete
from offlinekit.sampling.replay.growing import GrowingSampler
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.types import Array, ArrayTree, rows, stack_trees


class ActingLoop(Recorder):
    """Acts until it is closed, and then on to the end of the episodes that run.

    Args:
        behaviour: What acts.
        envs: Equal environments.
        seed: Episode i starts from seed + i.
        memory: Where steps go.
        max_steps: Of an episode, or None.
        example: Has the spaces that episodes are declared with.

    Attributes:
        is_closed: Returns whether no other episode starts.
        n_kept: Steps whose rows were kept; an environment that fails has taken one less than `n_steps`.
        returns: Of the episodes that have ended, until somebody takes them.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        envs: list[gymnasium.Env[Any, Any]],
        seed: int,
        memory: ReplayMemory | GrowingSampler,
        max_steps: int | None,
        example: MDPDataset,
    ) -> None:
        super().__init__(behaviour, envs, 0, seed, max_steps)
        self.memory, self.example = memory, example
        self.is_closed: Callable[[], bool] = lambda: False
        self.returns: list[float] = []
        self.n_kept = 0
        self._stretches: list[
            int
        ] = []  # Number of the first episode of each, since the last call of take_episodes.

    def begin(self) -> None:
        """Starts an episode in each environment, which begins a stretch."""
        self._stretches.append(self.n_started)
        super().begin()

    def another(self) -> bool:
        """Returns whether the loop is open."""
        return not self.is_closed()

    def seen(self) -> ArrayTree:
        """Returns the observations [n, ...] of the n episodes that run, each of which was checked when it came."""
        observations: ArrayTree = stack_trees([slot.observation for slot in self.active])
        return observations

    def stepped(self, slot: Slot, before: ArrayTree, index: int) -> None:
        """Keeps a row and puts it into memory.

        Raises:
            ValueError: For a reward or an observation that is not finite.
        """
        try:
            super().stepped(slot, before, index)
        except ValueError:
            slot.observation = before  # The episode is kept up to here.
            raise
        self.n_kept += 1
        if isinstance(self.memory, ReplayMemory):
            action = self._joined(self._actions[index])
            step = (before, action, slot.reward, slot.observation, slot.terminated)
            self.memory.add(slot.episode, *step)

    def finished(self, slot: Slot) -> None:
        """Ends an episode in memory too."""
        super().finished(slot)
        self._remember(slot)

    def _remember(self, slot: Slot) -> None:
        self.returns.append(slot.total)
        if isinstance(self.memory, ReplayMemory):
            self.memory.finish(slot.episode)
        else:
            self.memory.add_episodes(self._declared([self._episodes[slot.episode]]))

    def cut(self, slots: Sequence[Slot]) -> None:
        """Ends episodes that run as a time-out does; those without a step leave no trace."""
        for slot in slots:
            if self._running.get(slot.episode):
                slot.terminated = False
                self.finished(slot)
            self._running.pop(slot.episode, None)
        self.active = [slot for slot in self.active if slot not in slots]

    def keep_sound(self) -> None:
        """Ends the episodes that run, after an error, without last rows of which no dataset can be made."""
        for slot in list(self.active):
            if self._running.get(slot.episode):
                steps = self._running.pop(slot.episode)
                slot.terminated = False
                while steps and not self._is_sound(slot, steps):
                    slot.observation, _, reward, _ = steps.pop()
                    slot.total -= reward
                    self.n_steps = self.n_kept = self.n_kept - 1
            self._running.pop(slot.episode, None)
        self.active = []

    def _is_sound(self, slot: Slot, steps: list[tuple[Any, ...]]) -> bool:
        """Keeps an episode that was cut if its steps make a dataset; returns whether they do."""
        self._running[slot.episode] = list(steps)
        try:
            Recorder.finished(self, slot)
            self._declared([self._episodes[slot.episode]])
            self._remember(slot)
        except Exception:
            self._episodes.pop(slot.episode, None)
            self._running.pop(slot.episode, None)
            return False
        return True

    def take_episodes(self) -> tuple[MDPDataset, list[int]] | None:
        """Returns the episodes that have ended since the last call, and how many each stretch has; None without any.

        A stretch lies between two moments at which no episode runs.
        """
        numbers, stretches = sorted(self._episodes), self._stretches
        episodes = [self._episodes[i] for i in numbers]
        self._episodes, self._stretches = {}, []
        if not episodes:
            return None
        ends = [bisect_left(numbers, first) for first in (*stretches[1:], self.n_started)]
        sizes = [end - start for start, end in pairwise((0, *ends))]
        return self._declared(episodes), [size for size in sizes if size]

    def _joined(self, action: Array) -> Array:
        """Returns an action as the dataset has it, of several parts one number."""
        space = self.example.action_space
        return space.join(action) if isinstance(space, JointDiscrete) else action

    def _declared(self, episodes: list[Episode]) -> MDPDataset:
        dataset = as_dataset(episodes, self.envs[0]).with_options(action_space=self.example.action_space)
        dataset.observation_space = self.example.observation_space
        return dataset


def replay(
    memory: ReplayMemory | GrowingSampler, part: MDPDataset, stretches: Sequence[int], n_envs: int, first: int
) -> None:
    """Puts recorded steps into memory in the order in which they were taken, and whole episodes as they ended.

    Args:
        memory: Where they go.
        part: Episodes, in the order in which they started.
        stretches: How many episodes each stretch has, as `ActingLoop.take_episodes` gives them.
        n_envs: How many ran side by side.
        first: Number of the first of them.
    """
    lengths = part.episode_lengths().tolist()
    taken = [step for stretch in _stretches(lengths, stretches, n_envs) for step in stretch]
    if not isinstance(memory, ReplayMemory):
        ended = [episode for episode, step in taken if step + 1 == lengths[episode]]
        memory.add_episodes(part[ended])
        return
    for episode, step in taken:
        row, is_last = part.episode_starts[episode] + step, step + 1 == lengths[episode]
        after = part.final_observations if is_last else part.observations
        where = episode if is_last else row + 1
        before, following = rows(part.observations, row), rows(after, where)
        end = bool(part.terminals[row])
        memory.add(first + episode, before, part.actions[row], float(part.rewards[row]), following, end)
        if is_last:
            memory.finish(first + episode)


def _stretches(
    lengths: Sequence[int], sizes: Sequence[int], n_envs: int
) -> Iterator[Iterator[tuple[int, int]]]:
    """Yields the steps (episode, step) of each stretch, in which no environment waits for another."""
    for start, end in pairwise(accumulate(sizes, initial=0)):
        yield ((start + episode, step) for episode, step in interleaved(lengths[start:end], n_envs))


def interleaved(lengths: Sequence[int], n_envs: int) -> Iterator[tuple[int, int]]:
    """Yields (episode, step) in the order in which environments side by side take them.

    Args:
        lengths: Of the episodes of a stretch, in the order in which they start.
        n_envs: Environments; where an episode ends in one the next starts.
    """
    running, started = [(i, 0) for i in range(min(n_envs, len(lengths)))], min(n_envs, len(lengths))
    while running:
        kept = []
        for episode, step in running:
            yield episode, step
            if step + 1 < lengths[episode]:
                kept.append((episode, step + 1))
            elif started < len(lengths):
                kept.append((started, 0))
                started += 1
        running = kept

"""A population that goes online: each member acts in environments of its own, and all learn together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from offlinekit.core.populations.online_groups import OnlineGroup, SingleOnlineRun, StackedOnlineRuns
from offlinekit.core.populations.population_run import Rows, RunsSideBySide
from offlinekit.core.populations.program import NotStackable
from offlinekit.core.populations.run_groups import log_refusal
from offlinekit.envs.given_env import GivenEnv
from offlinekit.training.online.online_run import OnlineRun

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from offlinekit.ground.progress import Progress


class OnlinePopulationRun(RunsSideBySide[OnlineRun, OnlineGroup]):
    """Trains members that act, each with a run of its own, whose events come when none of its episodes runs."""

    @property
    def interrupted(self) -> bool:
        """Whether a signal has come, so that no member starts another episode."""
        return any(run.interrupted for run in self.runs)

    @interrupted.setter
    def interrupted(self, value: bool) -> None:
        for run in self.runs:
            run.interrupted = value

    def _steps(self) -> Generator[tuple[int, Rows], None, None]:
        try:
            yield from super()._steps()
        finally:
            for group in self.run_groups:
                group.separate()

    def _make_groups(self, runs: Mapping[int, OnlineRun]) -> list[OnlineGroup]:
        """Returns what advances runs of one structure; those that are to end soon do so by themselves."""
        is_ending = any(run.out_of_time or run.interrupted for run in runs.values())
        if len(runs) > 1 and not is_ending:
            return [StackedOnlineRuns(runs, self.kept)]
        return [SingleOnlineRun(number, run) for number, run in runs.items()]

    def _advance(self, group: OnlineGroup, bar: Progress) -> list[tuple[OnlineGroup, list[int]]]:
        """Acts and learns; returns the group, or what is left of it, with the members of which no episode runs."""
        try:
            failures = group.advance(bar)
        except NotStackable as error:
            log_refusal(group.runs, error)
            self._unstack(group)
            return []
        resting: list[tuple[OnlineGroup, list[int]]] = []
        for left in self._without_failures(group, failures):
            numbers = [number for number, run in left.runs.items() if not run.is_playing]
            for number in numbers:
                self.runs[number].engine.end()
            resting.append((left, numbers))
        return [(left, numbers) for left, numbers in resting if numbers]

    def _replace(self, group: OnlineGroup, gone: Collection[int]) -> list[OnlineGroup]:
        group.separate()
        return super()._replace(group, gone)

    def _unstack(self, group: OnlineGroup) -> None:
        """Makes the members of a group act and learn one after another."""
        singles = [SingleOnlineRun(number, self.runs[number]) for number in group.runs]
        place, listed = self.run_groups.index(group), self.stacks.index(list(group.runs))
        self.run_groups[place : place + 1] = singles
        self.stacks[listed : listed + 1] = [[number] for number in group.runs]

    def _leave(self, bar: Progress) -> None:
        """Ends the episodes that run, each member by itself, then saves all and says how to go on."""
        for group in list(self.run_groups):
            for single in self._replace(group, ()):
                if any(run.is_playing for run in single.runs.values()):
                    self._without_failures(single, single.advance(bar))
        if self.run_groups:
            super()._leave(bar)


def check_members(env: GivenEnv, resume: object, n_members: int) -> list[Path | None]:
    """Returns the folder that each member goes on with, or None.

    Args:
        env: Function that makes an environment, or a name that gymnasium knows; each member has its own.
        resume: A run folder or None for each member, or None.
        n_members: How many there are.

    Raises:
        ValueError: For one environment in place of a function, or folders that are not one a member.
    """
    if env.factory is None:
        raise ValueError(
            f"{n_members} members need {n_members} environments; give env=lambda: gymnasium.make(...)"
        )
    if resume is None:
        return [None] * n_members
    if isinstance(resume, (str, Path)) or not isinstance(resume, Sequence) or len(resume) != n_members:
        raise ValueError(
            f"resume must give the folder of an online run, or None, for each of {n_members} members, such as "
            f"population.run_dirs, got {resume!r}"
        )
    return [None if folder is None else Path(folder) for folder in resume]

"""A run whose clock counts environment steps: it acts, remembers and learns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, TypeVar

from torch import nn

from offlinekit.errors import TrainingError
from offlinekit.events import get_logger
from offlinekit.ground.progress import Progress
from offlinekit.ground.schedules import value_at
from offlinekit.nn.random import derive
from offlinekit.training.engines.engine import CHECK_EVERY
from offlinekit.training.online.acting import ActingLoop
from offlinekit.training.online.before_after import BeforeAfter
from offlinekit.training.online.experience import Experience
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.run import Run

log = get_logger()
T = TypeVar("T")


def way_on_after(is_written: bool) -> str:
    """Returns what to do after an environment or a policy has failed, by whether the run has a folder."""
    if is_written:
        return "mend it and go on with resume="
    return (
        "what was played is in the algorithm's `experience`: mend what failed and begin a run with "
        "dataset=algo.experience; only one with out= can be resumed"
    )


class OnlineRun(Run):
    """Acts in environments and trains an algorithm on what it sees.

    Rows, evaluations and checkpoints come when no environment is within an episode, so that a run that is killed
    goes on from a state that follows from its checkpoint and its experience alone.

    Args:
        loop: What acts.
        experience: What was played, where the run keeps it.
        settings: Of the run.
        state: Of the checkpoint to go on from, or None.
        eval_seed: Of evaluations, which the state notes.
        given: Further arguments of `Run`.

    Attributes:
        n_due: Updates that belong to the steps so far and are still to be taken.
        before_saving: Is called before each checkpoint, of a member whose stack holds its newest numbers.
    """

    unit: ClassVar[str] = "step"

    def __init__(
        self,
        loop: ActingLoop,
        experience: Experience,
        *,
        settings: OnlineSettings,
        state: dict[str, Any] | None,
        eval_seed: int,
        **given: Any,
    ) -> None:
        self.loop, self.experience, self.online, self.eval_seed = loop, experience, settings, eval_seed
        self.first_update = given["algo"].grad_step
        self.settled = self.n_due = 0
        if state:
            loop.n_steps = loop.n_kept = state["acted"]
            loop.n_started = state["episodes"]
            loop.returns = list(state["returns"])
            self.first_update, self.settled = state["first_update"], state["settled"]
        super().__init__(settings=settings, state=state, **given)
        loop.is_closed = self._is_closed
        self.schedule_start = self.algo.impl.schedule_start = self.first_update
        if self.last_update == self.first_update:
            log.warning("no update in this run", steps=self.n_steps, warmup_steps=settings["warmup_steps"])
        self._drops_out = any(isinstance(module, nn.Dropout) for module in self.algo.impl.modules())
        self._unchecked, self._is_finished = 0, False
        self.before_saving: Callable[[], None] = lambda: None

    @property
    def clock(self) -> int:
        """What the run counts: environment steps so far."""
        return int(self.loop.n_steps)

    @property
    def last_update(self) -> int:
        """The number of the update with which the run ends."""
        return int(self.first_update) + self._updates_by(self.n_steps)

    def _updates_by(self, step: int) -> int:
        """Returns how many updates belong to the environment steps up to a number."""
        learned = max(step - self.online["warmup_steps"], 0)
        if step < self.n_steps:
            learned -= learned % self.online["update_every"]
        return int(
            learned * self.online["updates_per_step"] + 1e-6
        )  # 0.29 of 100 steps are 28.999999999999996.

    @property
    def timing(self) -> tuple[int, ...]:
        """Numbers that members of a stack have in common; one that went on from fewer updates catches up."""
        return self.start, self.first_update, self.end

    def row_is_due(self) -> bool:
        """Returns whether the history is to have a row of this step, the one before the first as well."""
        if self.history and self.history[-1]["step"] == self.clock:
            return False
        return self._due(self.settings["log_interval"]) or self._evaluation_is_due()

    def state(self) -> dict[str, Any]:
        """Returns what a resumed run needs beyond the algorithm's own state and the experience."""
        return {
            **super().state(),
            "acted": self.clock,
            "episodes": self.loop.n_started,
            "returns": self.loop.returns,
            "parts": len(self.experience.parts),
            "stretches": self.experience.stretches,
            "first_update": self.first_update,
            "settled": self.settled,
            "eval_seed": self.eval_seed,
        }

    def checkpoint(self) -> None:
        """Writes what was played since the last checkpoint, and then the whole state."""
        self.before_saving()
        self.experience.add(self.loop.take_episodes(), f"{self.label}, online")
        super().checkpoint()

    def close(self) -> None:
        """Closes the loggers and lets the run folder go."""
        if self.is_over:
            self.algo.sampler = None
        if not self._is_finished:
            self._keep_played()
        super().close()

    def _keep_played(self) -> None:
        """Leaves what was played in `experience` of the algorithm, with episodes that an error or a kill has cut."""
        try:
            self.loop.keep_sound()
            self.experience.add(self.loop.take_episodes(), f"{self.label}, online", is_written=False)
        except Exception as error:  # It must not hide what has ended the run.
            log.warning("the last episodes are not kept", error=f"{type(error).__name__}: {error}")
        if self.experience.parts:
            self.algo.experience = self.experience.dataset()

    def way_on(self) -> str:
        """Returns how to go on from the last checkpoint, for a message."""
        return super().way_on() if self.folder else f"out=None: {way_on_after(False)}"

    def finish(self) -> None:
        """Writes the last policy, and says how the score went."""
        if not self.out_of_time:  # Rows that a later run may draw are others.
            self.algo.sampler = self.algo.sampler_state = None
        super().finish()
        self._is_finished = True
        self.algo.experience = (
            self.experience.dataset()
        )  # With what the checkpoint of a run out of time has added.
        report = BeforeAfter.of(self.history)
        if report is not None:
            log.info("before and after", **report.row())

    def _advance(self, bar: Progress) -> None:
        """Acts and learns until something is due and no episode runs."""
        self.begin()
        self.play(bar)
        self.leaving = self.interrupted

    def begin(self) -> None:
        """Prepares for acting up to the next event; an episode starts in each environment with the first step."""
        self.settled = self.done
        self.loop.behaviour.seed(derive(self.algo.seed or 0, f"acting from episode {self.loop.n_started}"))
        self._guarded("environment", self.loop.begin)

    def play(self, bar: Progress) -> None:
        """Acts and learns until no episode runs."""
        with self.engine.session():
            while self.loop.active or self.n_due:
                before = self.clock
                if self.n_due:
                    self.learn(self.n_due)
                else:
                    self.act()
                bar.advance(self.clock - before)
        self.engine.sum_up()

    def act(self) -> None:
        """Takes one step in each environment in which an episode runs, and counts the updates that are due then."""
        self.loop.cut(self.loop.active[self.end - self.clock :])
        if self.loop.active:
            self.loop.behaviour.epsilon = value_at(
                "epsilon", self.online["epsilon"], self.clock / self.n_steps
            )
            self._act()
            self.n_due = self._due_by_now()
        self.out_of_time = self.out_of_time or self.is_late()

    def learn(self, n_updates: int) -> None:
        """Takes updates that are due."""
        taken = self.engine.take(n_updates, lambda: False)
        self.n_due -= taken
        self._unchecked += taken
        if self._unchecked >= CHECK_EVERY:
            self._unchecked = 0
            self.engine.sum_up()

    @property
    def is_playing(self) -> bool:
        """Whether an episode runs, or updates of its steps are still to be taken."""
        return bool(self.loop.active or self.n_due)

    def _is_closed(self) -> bool:
        """Returns whether no other episode starts, so that what is due can be done."""
        if self.interrupted or self.out_of_time or self.clock >= self.end:
            return True
        return self.clock > self.start + self.settled and (
            self._due(self.settings["log_interval"])
            or self._due(self.settings["eval_interval"])
            or self._due(self._checkpoint_interval)
        )

    def _due(self, every: int) -> bool:
        """Returns whether a multiple of an interval was passed since the last rows, or nothing was done yet."""
        return self.done == 0 or self.done // every > self.settled // every

    def _act(self) -> None:
        """Takes one step in each environment; without dropout."""
        if self._drops_out:
            self.algo.impl.train(False)
        seen = self._guarded("environment", self.loop.seen)
        actions = self._guarded("policy that acts", partial(self.loop.choose, seen, self.loop.active))
        self._guarded("environment", partial(self.loop.move, actions))
        if self._drops_out:
            self.algo.impl.train()

    def _guarded(self, whose: str, act: Callable[[], T]) -> T:
        """Calls a function of an environment or a policy; of one that fails, keeps what was played.

        Raises:
            TrainingError: If it raises an error, or gives what is not finite.
        """
        try:
            return act()
        except Exception as error:
            self.loop.n_steps = self.loop.n_kept
            self.loop.keep_sound()
            self.engine.sum_up()
            self.checkpoint()
            raise TrainingError(
                f"the {whose} failed after step {self.clock}: {type(error).__name__}: {error}; "
                f"{way_on_after(self.folder is not None)}"
            ) from error

    def _due_by_now(self) -> int:
        """Returns how many updates of the steps so far are not taken yet; 0 without a row to learn from."""
        due = self._updates_by(self.done) - (self.algo.grad_step - self.first_update)
        return max(due, 0) if self.loop.memory.n_usable else 0

    def _row(self) -> dict[str, Any]:
        returns, self.loop.returns = self.loop.returns, []
        row = super()._row()
        row["updates"] = self.algo.grad_step - self.first_update
        if returns:
            row["online/return_mean"] = sum(returns) / len(returns)
            row["online/episodes"] = len(returns)
        return row

    def _check_monitored(self) -> None:
        if self.done:
            super()._check_monitored()

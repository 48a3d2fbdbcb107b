"""A run whose policy learns inside a model: the model learns first, then rollouts and updates take turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from offlinekit.errors import UnsupportedError
from offlinekit.events import get_logger
from offlinekit.sampling.replay.imagined_rows import ImaginationSampler
from offlinekit.training.loggers import Logger
from offlinekit.training.model_based.model_phase import trained_model
from offlinekit.training.run import Run

log = get_logger()


class ModelBasedRun(Run):
    """Trains an algorithm on recorded rows and on rollouts in its model, renewed every `rollout_interval` updates.

    The clock counts updates of the policy; those of the model are a run of their own, `dynamics/` beside this one.
    """

    def prepare(self, state: dict[str, Any] | None) -> None:
        """Refuses what rows of a model do not have, and takes up the last rollouts of a run that goes on.

        Raises:
            UnsupportedError: For several processes, priorities and weights of rows.
        """
        refused = [name for name in ("team", "priorities", "weights") if self.settings.get(name) is not None]
        if refused:
            raise UnsupportedError(
                f"{type(self.algo).__name__} draws rows that its model made, by one process, equally often and of "
                f"equal weight; leave out {' and '.join(refused)}"
            )
        self.learner: Any = self.algo
        self.sampler = cast("ImaginationSampler", self.algo.sampler)
        self.rolled: dict[str, float] = dict(state["rolled"]) if state else {}

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        if self.is_over:  # Of a member of a population; its last checkpoint holds rows.
            self.sampler.memory.clear()

    def open(self, *loggers: Logger) -> None:
        """Starts the run, with the model's if it has not learned yet; one that runs out of time is not taken.

        Raises:
            KeyboardInterrupt: If the user interrupts the model's run; this one has a checkpoint to go on from.
        """
        super().open(*loggers)
        impl = self.learner.impl
        if not self.sampler.imagines or bool(impl.model_is_trained):
            return
        place = self.folder.parent if self.folder is not None else None
        model = self.learner.new_model()
        dataset, settings = self.sampler.dataset, dict(self.settings)
        self.save_initial()  # The model has checkpoints of its own.
        try:
            networks = trained_model(model, self.algo, dataset, settings, place, self._deadline)
        except KeyboardInterrupt as stop:
            raise type(stop)(f"interrupted while the model learned: {self.way_on()}") from stop
        if networks is None:
            return
        impl.model.load_state_dict(networks)
        impl.model_is_trained.fill_(True)
        impl.learn_model(self.sampler.starts)
        log.info("model ready", holdout_error=float(impl.model.best_errors.mean()))

    def take(self, n_updates: int, stop: Callable[[], bool]) -> int:
        """Rolls out if it is time, then takes updates up to the next rollouts; neither if it is to stop."""
        if stop():
            return 0
        every: int = self.learner.rollout_interval
        since = self.clock - max(self.start, self.learner.impl.first_rollout)
        self.sampler.is_cloning = since < 0
        is_new = self.rolled.get("at") != self.clock
        is_due = since >= 0 and ((is_new and since % every == 0) or self.sampler.memory.n_usable == 0)
        if self.sampler.imagines and is_due:
            self._roll_out()
        return super().take(min(n_updates, every - since % every), stop)

    def _roll_out(self) -> None:
        """Rolls the policy out from recorded states, and adds the rows to those that updates draw."""
        learner, memory = self.learner, self.sampler.memory
        total, n_alive = 0.0, []
        for rows, alive in learner.impl.roll_out(self.sampler, learner.n_rollouts, learner.rollout_length):
            memory.add_rows(rows, alive)
            n_alive.append(int(alive.sum()))
            total += float(rows.rewards[alive].sum())
        self.rolled = {
            "at": self.clock,
            "imagined_reward": total / max(sum(n_alive), 1),
            "imagined_steps": sum(n_alive) / learner.n_rollouts,
        }

    def state(self) -> dict[str, Any]:
        """Returns what a resumed run needs beyond the algorithm's own state."""
        return {**super().state(), "rolled": self.rolled}

    def finish(self) -> None:
        """Writes the last policy; rows that the model made go, since a later policy makes others."""
        if not self.out_of_time:
            self.sampler.memory.clear()
        super().finish()

    def _row(self) -> dict[str, Any]:
        made = {name: value for name, value in self.rolled.items() if name != "at"}
        return {**super()._row(), **made}

    def _keep_best(self) -> None:
        with self.sampler.memory.without_rows():
            super()._keep_best()

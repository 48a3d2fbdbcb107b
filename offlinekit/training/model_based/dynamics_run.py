"""A run of dynamics: it ends with an epoch, once no member improves on held-out rows."""

from __future__ import annotations

from typing import Any, Protocol, cast

from torch import Tensor

from offlinekit.sampling.batch import Batch
from offlinekit.training.model_based.epochs import EpochSampler
from offlinekit.training.run import Run


class Dynamic(Protocol):
    """Dynamics, as their run stops them.

    Attributes:
        best_errors: Of each member on held-out rows, [K]; infinity before the first epoch.
        epochs_waited: Since a member was better, [].
    """

    best_errors: Tensor
    epochs_waited: Tensor

    def holdout_errors(self, batch: Batch) -> Tensor:
        """Returns each member's error, [K]."""

    def keep_best(self, errors: Tensor, newest: bool) -> None:
        """Ends an epoch with the errors of the members."""

    def take_best(self) -> None:
        """Ends training."""


class DynamicsRun(Run):
    """Trains dynamics epoch by epoch, with a row of the history at the end of each.

    With `patience` each member ends as it was at its best, else as it is; the one of the lowest error comes first.
    """

    def prepare(self, state: dict[str, Any] | None) -> None:
        """Reads how epochs end the run, and counts them anew unless it goes on."""
        self.sampler = cast("EpochSampler", self.algo.sampler)
        self.model = cast("Dynamic", self.algo.impl)
        self.patience, self.max_epochs = (
            self.algo.config["patience"],
            self.algo.config["max_epochs"],
        )
        if not self.done:
            self.model.epochs_waited.zero_()
        self._measured = self.clock

    def ahead(self) -> int:
        """Returns the number of updates up to the next event or end of an epoch."""
        epoch = int(self.sampler.updates_per_epoch)
        return min(super().ahead(), epoch - self.done % epoch)

    def settle(self) -> dict[str, Any] | None:
        """Measures held-out rows at the end of an epoch, then does what else is due."""
        if self._ends_epoch():
            self._measure()
        return super().settle()

    def _measure(self) -> None:
        if len(self.sampler.held_out) and self._measured != self.clock:
            errors = self.model.holdout_errors(self.sampler.gather(self.sampler.held_out))
            self.model.keep_best(errors, self.patience is None)
            self._measured = self.clock

    def row_is_due(self) -> bool:
        """Returns whether the history is to have a row of this update, and has none yet."""
        has_row = bool(self.history) and self.history[-1]["step"] == self.clock
        return super().row_is_due() or (self._ends_epoch() and not has_row)

    def goes_on(self) -> bool:
        """Returns whether epochs are left."""
        waited = self.patience is not None and int(self.model.epochs_waited) >= self.patience
        enough = self.max_epochs is not None and self._epochs() >= self.max_epochs
        return super().goes_on() and not waited and not enough

    def finish(self) -> None:
        """Takes the members that were kept, the best first, and writes the model."""
        if not self.out_of_time:
            if self.patience is None:
                self._measure()
            self.checkpoint()  # As the rule ends it, at an update that nobody could foresee.
            self.model.take_best()
        super().finish()

    def _epochs(self) -> int:
        return self.done // int(self.sampler.updates_per_epoch)

    def _ends_epoch(self) -> bool:
        return self.done > 0 and self.done % self.sampler.updates_per_epoch == 0

    def _row(self) -> dict[str, Any]:
        row = {**super()._row(), "epoch": self._epochs()}
        if bool(self.model.best_errors.isfinite().all()):
            row["holdout_error"] = float(self.model.best_errors.mean())
        return row

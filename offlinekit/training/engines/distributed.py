"""The engine of a run that several processes share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from offlinekit.errors import NotFiniteError, TrainingError
from offlinekit.events import get_logger
from offlinekit.interfaces import Sampler
from offlinekit.training.engines.engine import Engine
from offlinekit.training.engines.updates import Updatable
from offlinekit.training.process_group import ProcessGroup
from offlinekit.training.setup.settings import EngineName, Precision

log = get_logger()

AGREE_EVERY = 10
"""Updates between two checks whether another process has failed or is to stop."""


class DistributedEngine(Engine):
    """Takes the same updates in all processes: each has its own batches, the gradients are averaged.

    Args:
        team: The processes.
        impl: What is updated, the same in all of them.
        sampler: Of this process.
        engine: As for `Engine`; on GPUs "auto" and "graph" are "eager".
        precision: As for `Engine`.
    """

    def __init__(
        self,
        team: ProcessGroup,
        impl: Updatable,
        sampler: Sampler,
        engine: EngineName,
        precision: Precision,
        deterministic: bool = False,
    ) -> None:
        if impl.device.type == "cuda" and engine in ("auto", "graph"):
            engine = "eager"
            log.info(
                "engine chosen", engine="eager", reason="gradients cross processes between loss and optimizer"
            )
        super().__init__(impl, sampler, engine, precision, deterministic)
        self.team, self.sampler = team, sampler

    def run(self, n_updates: int, stop: Callable[[], bool]) -> int:
        """Takes a few updates, and exchanges whether all could; `stop` is checked in `agrees`.

        Raises:
            TrainingError: If a metric is no longer finite, here or elsewhere.
        """
        done, failure = 0, None
        for objective in self.impl.objectives:
            objective.combine = self.team.average
        try:
            done = super().run(min(n_updates, AGREE_EVERY), lambda: False)
        except NotFiniteError as error:
            failure = error
        finally:
            for objective in self.impl.objectives:
                objective.combine = None
        (failed,) = self.team.any(failure is not None)
        if failed:
            raise failure or TrainingError(
                "the loss of another process is no longer finite; its message says which"
            )
        return done

    def agrees(self, *asked: bool) -> list[bool]:
        """Returns for each request whether it was made in any process."""
        return self.team.any(*asked)

    def together(self, measured: dict[str, float]) -> dict[str, float]:
        """Returns the means over the processes that have measured something."""
        return self.team.means(measured)

    def take_means(self) -> dict[str, float]:
        """Returns the mean of each metric since the last call over all processes, and resets them."""
        return self.together(super().take_means())

    def state(self) -> dict[str, Any]:
        """Returns the sums as plain numbers, each the mean over the processes, and the states of all streams."""
        state, own = super().state(), (self.sampler.state(), self.impl.random.state())
        ranks = self.team.gather([bytes(stream.cpu().numpy()).hex() for stream in own])
        return {**state, "sums": self.together(state["sums"]), "ranks": ranks}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Restores what `state` returned in as many processes."""
        super().load_state(state, device)
        ranks = state.get("ranks", [])
        if len(ranks) != self.team.size:
            warnings.warn(
                f"the run had {len(ranks) or 1} processes and goes on with {self.team.size}: batches and noise are "
                "drawn anew",
                stacklevel=5,
            )
            return
        streams = (bytearray.fromhex(stream) for stream in ranks[self.team.rank])
        batches, noise = (torch.frombuffer(stream, dtype=torch.uint8) for stream in streams)
        self.sampler.set_state(batches)
        self.impl.random.set_state(noise)

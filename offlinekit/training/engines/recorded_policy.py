"""A policy that is recorded and replayed as objectives are, for the steps between updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from offlinekit.events import get_logger
from offlinekit.training.engines.kernel_recording import Recording
from offlinekit.training.engines.replay import RECORD_AT, uncounted
from offlinekit.training.engines.tape import NotRecordableError, Tape
from offlinekit.training.engines.updates import Updatable, recording_key
from offlinekit.types import leaves, map_tree

if TYPE_CHECKING:
    from offlinekit.sampling.batch import TensorTree

log = get_logger()

Choose: TypeAlias = "Callable[[TensorTree], Tensor]"
"""Scaled observations [B, ...] to actions [B, ...]."""


class RecordedPolicy:
    """The actions of a policy, after a while without Python on as many observations as were recorded.

    The first calls are ordinary. One is recorded, and the next is made both ways, from the same random numbers; if
    both give the same bits the recording is replayed from then on, else the policy stays as it is written.

    Args:
        choose: The policy.
        impl: Whose policy it is; acting changes its random numbers and nothing else.
    """

    def __init__(self, choose: Choose, impl: Updatable) -> None:
        self.choose, self.impl = choose, impl
        self.recorded_from: object = None
        self.start()

    def start(self) -> None:
        """Begins anew if networks have moved in memory or hyperparameters have changed since the last call."""
        before, self.recorded_from = self.recorded_from, recording_key(self.impl)
        if before != self.recorded_from:
            self.inputs: TensorTree | None = None
            self.recording: Recording[Tensor] | None = None
            self.calls, self.checked, self.refused = 0, False, False

    def __call__(self, observations: TensorTree) -> Tensor:
        """Returns the actions."""
        if self.checked and self._placed(observations):
            assert self.recording is not None  # For the type checker: `checked` says so.
            return self.recording.replay().clone()
        self.calls += 1
        if self.refused or self.checked or self.calls < RECORD_AT:
            return self.choose(observations)
        return self._record(observations) if self.recording is None else self._check(observations)

    def _placed(self, observations: TensorTree) -> bool:
        """Writes observations to where the recorded ones lie; returns whether they are as many."""
        assert self.inputs is not None  # For the type checker, as above.
        places, values = leaves(self.inputs), leaves(observations)
        if places[0].shape != values[0].shape:
            return False
        for place, value in zip(places, values, strict=True):
            place.copy_(value)
        return True

    def _record(self, observations: TensorTree) -> Tensor:
        self.inputs = map_tree(torch.clone, observations)
        state = self.impl.random.state()
        try:
            with uncounted(self.impl), Tape() as tape:
                actions = self.choose(self.inputs)
            self.recording = Recording(tape, actions)
            return actions.clone()
        except (AttributeError, NotImplementedError, RuntimeError, NotRecordableError) as error:
            self._refuse(str(error))
        self.impl.random.set_state(state)
        return self.choose(observations)

    def _check(self, observations: TensorTree) -> Tensor:
        if not self._placed(observations):
            return self.choose(observations)
        assert self.recording is not None  # For the type checker, as above.
        state = self.impl.random.state()
        expected = self.choose(observations)
        after = self.impl.random.state()
        self.impl.random.set_state(state)
        same = torch.equal(self.recording.replay(), expected)
        self.checked = same and torch.equal(self.impl.random.state(), after)
        self.impl.random.set_state(after)
        if not self.checked:
            self._refuse(
                "a replay gave another action; a policy must depend on networks and self.random alone"
            )
        return expected

    def _refuse(self, reason: str) -> None:
        """Makes the policy act as it is written."""
        self.refused = True
        log.info("policy stays eager", reason=reason)

"""Runs updates in the way that suits the machine, and sums metrics on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from offlinekit.errors import NotFiniteError
from offlinekit.events import get_logger
from offlinekit.interfaces import BatchSource
from offlinekit.nn.isolation import trainable
from offlinekit.training.engines.cuda_graph import CudaGraphUpdates
from offlinekit.training.engines.process_settings import BFLOAT16_PRODUCTS, DETERMINISTIC
from offlinekit.training.engines.recorded_policy import Choose, RecordedPolicy
from offlinekit.training.engines.replay import RecordedUpdates
from offlinekit.training.engines.updates import Compiled, Eager, Updatable, Updates
from offlinekit.training.setup.settings import EngineName, Precision

log = get_logger()

CHECK_EVERY = 100
"""Updates between two looks at whether the metrics are still finite."""


class Engine:
    """One update after another, without a look at any number on the device in between.

    Args:
        impl: What is updated.
        sampler: Of its batches.
        engine: "eager" takes updates as they are written; "graph" repeats them without Python: as a CUDA graph,
            or on the CPU as a list of kernels; "compile" runs losses and gradients through torch.compile;
            "auto" is "graph".
        precision: Of matrix products: "float32", or "bfloat16" if the machine multiplies these faster; all
            else, the parameters above all, stays float32.
        deterministic: Whether torch takes only kernels that give the same bits each time, while updates run.
    """

    def __init__(
        self,
        impl: Updatable,
        sampler: BatchSource,
        engine: EngineName = "auto",
        precision: Precision = "float32",
        deterministic: bool = False,
    ) -> None:
        self.impl, self.precision, self.deterministic = impl, precision, deterministic
        self.updates = make_updates(impl, sampler, engine)
        self.policies: list[RecordedPolicy] = []
        self.seen: dict[str, list[Tensor]] = {}
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def run(self, n_updates: int, stop: Callable[[], bool]) -> int:
        """Takes updates until `n_updates` are done or `stop` returns True, and returns how many.

        Raises:
            TrainingError: If a metric is no longer finite.
        """
        with self.session():
            done = self.take(n_updates, stop)
        self.sum_up()
        return done

    @contextmanager
    def session(self) -> Iterator[None]:
        """Gets ready for calls of `take`, between which nothing but the policy is used, and leaves all as it was."""
        self.begin()
        try:
            with self.settings():
                yield
        finally:
            self.end()

    def begin(self) -> None:
        """Gets ready for updates and for acting, within `settings`."""
        self.impl.train()
        self.updates.start()
        for policy in self.policies:
            policy.start()

    def end(self) -> None:
        """Leaves the impl as it was before `begin`."""
        self.updates.stop()
        self.impl.train(False)

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Has torch record gradients, in the precision and with the kernels asked for."""
        with trainable(), matmul_precision(self.precision), deterministic_algorithms(self.deterministic):
            yield

    def acting(self, choose: Choose) -> Choose:
        """Returns a policy of the impl for use within sessions, recorded if updates are."""
        if not isinstance(self.updates, RecordedUpdates):
            return choose
        self.policies.append(RecordedPolicy(choose, self.impl))
        return self.policies[-1]

    def take(self, n_updates: int, stop: Callable[[], bool]) -> int:
        """Takes updates within a session until `n_updates` are done or `stop` returns True, and returns how many."""
        done = 0
        while done < n_updates and not stop():
            taken = self.updates.take(n_updates - done)
            done += taken.updates
            for name, value in taken.sums.items():
                self.seen.setdefault(name, []).append(value)
                self.counts[name] = self.counts.get(name, 0) + taken.counts[name]
        return done

    def sum_up(self) -> None:
        """Adds up what was seen since the last call.

        Raises:
            TrainingError: If a metric is no longer finite.
        """
        self._sum()
        self._check_finite()

    def agrees(self, *asked: bool) -> list[bool]:
        """Returns for each request, such as to stop, whether it was made here or in another process of the run."""
        return list(asked)

    def together(self, measured: dict[str, float]) -> dict[str, float]:
        """Returns what was measured of the algorithm, here and in other processes of the run."""
        return measured

    def take_means(self) -> dict[str, float]:
        """Returns the mean of each metric since the last call, and resets them."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state(self) -> dict[str, Any]:
        """Returns the sums as plain numbers."""
        return {"sums": {name: float(v) for name, v in self.sums.items()}, "counts": dict(self.counts)}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Restores sums that `state` returned."""
        self.sums = {
            name: torch.tensor(v, dtype=torch.float64, device=device) for name, v in state["sums"].items()
        }
        self.counts = dict(state["counts"])

    def _sum(self) -> None:
        """Adds up what was seen, on the device and in double precision."""
        for name, values in self.seen.items():
            total = torch.stack(values).double().sum(0)
            self.sums[name] = self.sums[name] + total if name in self.sums else total
        self.seen = {}

    def _check_finite(self) -> None:
        if not self.sums or bool(torch.stack(list(self.sums.values())).isfinite().all()):
            return
        names = ", ".join(sorted(name for name, v in self.sums.items() if not bool(v.isfinite())))
        raise NotFiniteError(
            f"{names} is no longer finite, seen at update {self.impl.grad_step}; lower the learning rate, "
            "clip gradients (clip_grad_norm=1.0) or scale the rewards (reward_scaler='standard')"
        )


def make_updates(impl: Updatable, sampler: BatchSource, engine: EngineName) -> Updates:
    """Returns the way of taking updates that an engine's name stands for; logs what "auto" stands for."""
    if engine == "eager":
        return Eager(impl, sampler)
    if engine == "compile":
        return Compiled(impl, sampler)
    on_gpu = impl.device.type == "cuda"
    if engine == "auto":
        how = "updates captured as CUDA graphs" if on_gpu else "objectives recorded as kernels and replayed"
        log.info("engine chosen", engine="graph", reason=f"{how}, on {impl.device}")
    return CudaGraphUpdates(impl, sampler) if on_gpu else RecordedUpdates(impl, sampler)


def matmul_precision(precision: Precision) -> AbstractContextManager[None]:
    """Multiplies matrices in a precision, and afterwards in that of before."""
    return BFLOAT16_PRODUCTS.held(precision == "bfloat16")


def deterministic_algorithms(wanted: bool) -> AbstractContextManager[None]:
    """Has torch refuse kernels whose bits vary, and afterwards do as before."""
    return DETERMINISTIC.held(wanted)

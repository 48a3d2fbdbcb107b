"""Processes that train one algorithm together: their communication, and the data of each."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, TrainingError
from offlinekit.sampling.block_reader import is_mapped

if TYPE_CHECKING:
    pass

PLACES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets for each process."""


def is_launched() -> bool:
    """Returns whether torchrun started this process."""
    return all(name in os.environ for name in PLACES)


class ProcessGroup:
    """The processes of one run. Every method that sends or receives must be called by all of them.

    Args:
        device: Where the gradients are, of this process.

    Attributes:
        rank: The number of this process, from 0 on; 0 evaluates and writes.
        size: How many there are.
    """

    def __init__(self, device: torch.device) -> None:
        from torch import distributed

        self.distributed, self.device = distributed, device
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    @classmethod
    @contextmanager
    def join(cls, device: str = "auto") -> Iterator[ProcessGroup]:
        """Joins the processes that torchrun has started, by NCCL on GPUs and gloo elsewhere, and leaves at the end.

        Args:
            device: "auto" takes the GPU of this process if there is one; "cpu", "cuda".

        Raises:
            ValueError: If torchrun did not start this process.
        """
        from torch import distributed

        if not is_launched():
            raise ValueError(
                f"a team needs {', '.join(PLACES)} in the environment; start the program with "
                "torchrun --nproc-per-node N"
            )
        chosen = local_device(device)
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo")
        failed = True
        try:
            yield cls(chosen)
            failed = False
        finally:
            if not (failed and chosen.type == "cuda"):  # NCCL would wait for a process that is gone.
                distributed.destroy_process_group()

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process evaluates and writes."""
        return self.rank == 0

    # Communication.

    def average(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Returns the means over all processes, by one message for all tensors."""
        present = [gradient for gradient in gradients if gradient is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in present])
        with self._reporting_lost_processes():
            self.distributed.all_reduce(flat)
        parts = iter(torch.split_with_sizes(flat.div_(self.size), [gradient.numel() for gradient in present]))
        return [None if gradient is None else next(parts).view(gradient.shape) for gradient in gradients]

    def any(self, *flags: bool) -> list[bool]:
        """Returns for each flag whether it is set in at least one process."""
        sent = torch.tensor(flags, dtype=torch.int32)
        with self._reporting_lost_processes():
            self.distributed.all_reduce(sent, op=self.distributed.ReduceOp.MAX)
        return [bool(flag) for flag in sent]

    def gather(self, data: object) -> list[Any]:
        """Returns the plain data that each process gave, by rank; they travel as JSON."""
        sent = torch.frombuffer(bytearray(json.dumps(data).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with self._reporting_lost_processes():
            self.distributed.all_gather(sizes, torch.tensor([len(sent)]))
            longest = int(torch.stack(sizes).max())
            received = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
            self.distributed.all_gather(received, torch.nn.functional.pad(sent, (0, longest - len(sent))))
        return [
            json.loads(bytes(text[: int(n)].numpy().tobytes()))
            for text, n in zip(received, sizes, strict=True)
        ]

    def means(self, values: dict[str, float]) -> dict[str, float]:
        """Returns the mean of each number over the processes that have it, the same dict in all of them."""
        everyone: list[dict[str, float]] = self.gather(values)
        names = dict.fromkeys(name for each in everyone for name in each)
        present = {name: [each[name] for each in everyone if name in each] for name in names}
        return {name: sum(present_values) / len(present_values) for name, present_values in present.items()}

    def check_same(self, what: str, data: object, remedy: str) -> None:
        """Checks that all processes have the same data: plain ones, or tensors by name.

        Raises:
            ValueError: If they differ; says which ranks are not as rank 0 is.
        """
        digests = self.gather(_digest(data))
        others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        if others:
            raise ValueError(
                f"{what} must be the same in all processes; ranks {others} differ from 0: {remedy}"
            )

    @contextmanager
    def _reporting_lost_processes(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise TrainingError(
                f"rank {self.rank} of {self.size} lost another process of its run ({error}); its own message "
                "says why it ended"
            ) from error

    # Data.

    def shard(self, dataset: MDPDataset) -> MDPDataset:
        """Returns the episodes of this process: neighbours, of about as many rows as each other process has.

        A dataset that is mapped stays so, of another one the rows are copied, so that the whole may be let go.

        Raises:
            DatasetError: For fewer episodes than processes.
        """
        if dataset.n_episodes < self.size:
            raise DatasetError(
                f"{self.size} processes need at least one episode each, {dataset.name!r} has "
                f"{dataset.n_episodes}; start fewer"
            )
        first, last = bounds(dataset.episode_ends, self.size)[self.rank]
        part = dataset[first:last]
        return part if is_mapped(dataset) else copy.deepcopy(part)


def bounds(ends: np.ndarray[Any, Any], n_parts: int) -> list[tuple[int, int]]:
    """Returns the range of episodes of each part, so that rows are spread evenly and no part is empty.

    Args:
        ends: int [E], the row after each episode.
        n_parts: At most E.
    """
    wanted = ends[-1] * np.arange(1, n_parts) / n_parts
    cuts = np.abs(ends[:-1, None] - wanted).argmin(0) + 1 if n_parts > 1 else np.zeros(0, int)
    least = np.arange(1, n_parts)
    cuts = np.maximum.accumulate(np.maximum(cuts, least) - least) + least
    cuts = np.minimum(cuts, len(ends) - n_parts + least)
    edges = [0, *map(int, cuts), len(ends)]
    return list(itertools.pairwise(edges))


def local_device(device: str) -> torch.device:
    """Returns the device of this process: "cuda" is the GPU of its number on this machine."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    number = f":{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else ""
    return torch.device(device + number)


def _digest(data: object) -> str:
    """Returns a hash of plain data, or of tensors by name."""
    sha256 = hashlib.sha256()
    if isinstance(data, dict) and any(isinstance(value, Tensor) for value in data.values()):
        for name, value in sorted(data.items()):
            sha256.update(name.encode())
            sha256.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    else:
        sha256.update(json.dumps(data, sort_keys=True).encode())
    return sha256.hexdigest()

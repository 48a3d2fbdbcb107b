"""Minibatches a second from a dataset that stays in its file, in blocks and row by row.

    python benchmarks/sampler_file.py --gigabytes 4 --folder /tmp

Writes a file of hopper's shape (11 observations, 3 actions), takes one epoch of minibatches of 256 from it, first
with nothing of it in the page cache, then again, and removes it. Row by row is what a mapped file gives without a
reader: 256 random rows of each column.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from shared import csv_option, show, write

from offlinekit.datasets import MDPDataset
from offlinekit.sampling.blocks import BlockSampler
from offlinekit.sampling.scalers import Scaling

BATCH, EPISODE, AT_ONCE, ROW_BYTES = 256, 1_000, 1_000_000, 62
COLUMNS = ("how", "page_cache", "batches_per_second", "cpu_us_per_batch", "anonymous_mb")


def write_file(folder: Path, n_rows: int) -> Path:
    """Writes a dataset of n_rows without holding it in memory, and returns its path."""
    rng = np.random.default_rng(0)
    columns = {}
    for name, size in (("observations", 11), ("actions", 3)):
        columns[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (n_rows, size))
        part = rng.random((AT_ONCE, size), np.float32)
        for i in range(0, n_rows, AT_ONCE):
            columns[name][i : i + AT_ONCE] = part[: n_rows - i]
    ends = np.arange(n_rows) % EPISODE == EPISODE - 1
    rewards = rng.random(n_rows, np.float32)
    path = MDPDataset(**columns, rewards=rewards, terminals=ends).save(folder / "data.h5", compress=False)
    for name in columns:
        (folder / f"{name}.npy").unlink()
    return path


def forget(path: Path) -> None:
    """Takes a file out of the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(how: str, cache: str, draw: Callable[[], Any], goes_on: Callable[[int], bool]) -> dict[str, Any]:
    """Draws minibatches while it goes on, and returns a row of the table."""
    began, cpu, done = time.perf_counter(), time.process_time(), 0
    while goes_on(done):
        draw()
        done += 1
    rate = round(done / (time.perf_counter() - began), 1)
    spent = round((time.process_time() - cpu) / done * 1e6, 1)
    return dict(zip(COLUMNS, (how, cache, rate, spent, anonymous_mb()), strict=True))


def anonymous_mb() -> int:
    """Returns the memory of this process that is no part of a file, which the system can drop."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("RssAnon:") + 1]) // 1024


def by_blocks(path: Path, cache: str) -> dict[str, Any]:
    """Draws one epoch, its first pool included."""
    sampler = BlockSampler(
        MDPDataset.open(path),
        batch_size=BATCH,
        gamma=0.99,
        n_step=1,
        device=torch.device("cpu"),
        seed=0,
        scaling=Scaling(),
    )
    return timed("blocks", cache, sampler.sample, lambda _: sampler.number < sampler.n_pools)


def by_rows(path: Path, cache: str, n_batches: int) -> dict[str, Any]:
    """Gathers random rows of the mapped columns."""
    data, rng = MDPDataset.open(path), np.random.default_rng(0)

    def draw() -> Any:
        index = rng.integers(0, len(data) - 1, BATCH)
        return data.observations[index], data.actions[index], data.observations[index + 1]

    return timed("rows", cache, draw, lambda done: done < n_batches)


@click.command()
@click.option("--gigabytes", default=4.0, show_default=True, help="Size of the file.")
@click.option("--folder", default=tempfile.gettempdir(), show_default=True, help="Where it is written.")
@csv_option
def main(gigabytes: float, folder: str, path: Path | None) -> None:
    """Prints minibatches a second."""
    table = []
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        file = write_file(Path(inside), int(gigabytes * 1e9) // ROW_BYTES)
        forget(file)
        table.append(by_rows(file, "cold", 100))
        forget(file)
        table += [by_blocks(file, "cold"), by_blocks(file, "warm"), by_rows(file, "warm", 10_000)]
    show(table, dict.fromkeys(COLUMNS, 18))
    write(path, table)


if __name__ == "__main__":
    main()

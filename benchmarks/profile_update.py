"""Where the time of one update goes, and what share of the machine's arithmetic it reaches.

python benchmarks/profile_update.py --algo td3_plus_bc --algo iql
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
import torch
from torch.utils.flop_counter import FlopCounterMode
from updates import ALGOS
from worker import OPTIONS, random_data

from offlinekit.algos import MLPEncoder, get_algo
from offlinekit.datasets import MDPDataset
from offlinekit.training.setup.start import start_run

SIZE = 2048
"""Of the square matrices whose product is the measure of the machine."""


def seconds(function: Callable[[], Any], n: int) -> float:
    """Returns the least of five means over n calls."""
    means = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(n):
            function()
        means.append((time.perf_counter() - began) / n)
    return min(means)


def matmul_peak() -> float:
    """Returns the operations a second of a big product of matrices."""
    left, right, out = (torch.randn(SIZE, SIZE) for _ in range(3))
    return 2 * SIZE**3 / seconds(lambda: torch.mm(left, right, out=out), 10)


def profile(name: str, peak: float) -> dict[str, str]:
    """Returns microseconds of each part of an update in a steady run; parts that are delayed count by their share."""
    algo = get_algo(name)(encoder=MLPEncoder((256, 256)), seed=0, device="cpu", **OPTIONS.get(name, {}))
    settings: dict[str, Any] = {"out": None, "progress": False, "log_interval": 10**9, "engine": "graph"}
    run = start_run(algo, MDPDataset(**random_data(name)), 10**9, **settings)
    impl, updates, n = algo.impl, run.engine.updates, 10 if name == "cql" else 100
    impl.train()
    updates.start()
    for _ in range(30):
        updates.take(1)
    parts = {
        "sampling": seconds(updates.placed.sample, n),
        "losses and gradients": 0.0,
        "optimizers": 0.0,
        "targets": sum(seconds(target.follow, n) / target.every for target in impl.targets),
    }
    for objective, replayed in zip(impl.objectives, updates.replayed, strict=True):
        gradients, _ = replayed(updates.placed.batch)
        parts["losses and gradients"] += seconds(lambda: replayed(updates.placed.batch), n) / objective.every  # noqa: B023
        parts["optimizers"] += seconds(lambda: objective.optimizer.step(gradients), n) / objective.every  # noqa: B023
    whole = seconds(lambda: [updates.take(1) for _ in range(2)], n) / 2
    updates.stop()
    with FlopCounterMode(display=False) as counter:
        for _ in range(2):
            impl.update(updates.sampler.sample())
    operations = counter.get_total_flops() / 2
    found = {part: f"{value * 1e6:.0f}" for part, value in parts.items()}
    found["the rest"] = f"{max(whole - sum(parts.values()), 0.0) * 1e6:.0f}"
    found |= {"update": f"{whole * 1e6:.0f}", "MFLOP": f"{operations / 1e6:.0f}"}
    return found | {
        "GFLOP/s": f"{operations / whole / 1e9:.0f}",
        "of peak": f"{operations / whole / peak:.0%}",
    }


@click.command()
@click.option("--algo", "algos", multiple=True, type=click.Choice(ALGOS), help="Repeatable; all by default.")
@click.option("--threads", default=2, show_default=True)
def main(algos: tuple[str, ...], threads: int) -> None:
    """Prints microseconds of the parts of an update, and its arithmetic beside that of a big matrix product."""
    torch.set_num_threads(threads)
    for name in algos or ALGOS:
        peak = matmul_peak()
        found = profile(name, peak) | {"peak GFLOP/s": f"{peak / 1e9:.0f}"}
        click.echo(f"{name:>13}  " + "  ".join(f"{part} {value}" for part, value in found.items()))


if __name__ == "__main__":
    main()

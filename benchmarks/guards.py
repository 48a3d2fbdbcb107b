"""Cost of the guard against losses that are not finite: runs with it and without take turns.

python benchmarks/guards.py --turns 15
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import click
import torch

from offlinekit.algos import BC, TD3PlusBC
from offlinekit.testing import small_dataset
from offlinekit.training.engines.engine import Engine
from offlinekit.training.setup.start import start_run


def seconds_of(make: Any, n_updates: int, guarded: bool) -> float:
    """Returns how long a run takes."""
    algo, data = make(), small_dataset("continuous")
    algo.fit(data, 50, out=None, progress=False)
    check = Engine._check_finite
    if not guarded:
        Engine._check_finite = lambda self: None  # type: ignore[method-assign]
    try:
        began = time.process_time()
        algo.fit(data, n_updates, out=None, progress=False, log_interval=n_updates)
        return time.process_time() - began
    finally:
        Engine._check_finite = check  # type: ignore[method-assign]


@click.command()
@click.option("--turns", default=15)
@click.option("--updates", default=600)
def main(turns: int, updates: int) -> None:
    """Prints the median of the ratios, and the share of the guard timed alone, which noise hides in the ratio."""
    torch.set_num_threads(1)
    for make in (lambda: BC(seed=0), lambda: TD3PlusBC(seed=0)):
        ratios, updates_us = [], []
        for turn in range(turns):
            order = (True, False) if turn % 2 else (False, True)
            took = {guarded: seconds_of(make, updates, guarded) for guarded in order}
            ratios.append(took[True] / took[False])
            updates_us.append(took[False] / updates * 1e6)
        algo = make()
        run = start_run(algo, small_dataset("continuous"), 100, out=None, progress=False)
        run.engine.run(100, lambda: False)
        began = time.process_time()
        for _ in range(1000):
            run.engine._check_finite()
        alone = (time.process_time() - began) / 1000 / 100 * 1e6
        ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
        update = statistics.median(updates_us)
        click.echo(
            f"{type(algo).__name__}: with / without {ratio:.4f} ({low:.3f} to {high:.3f}); the guard alone {alone:.3f} "
            f"of an update's {update:.0f} microseconds, {alone / update:.4%}"
        )


if __name__ == "__main__":
    main()

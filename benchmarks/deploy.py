"""Microseconds of one action: `predict` of torch beside each exported format, taking turns."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import gymnasium
import numpy as np
import torch

from offlinekit.algos import get_algo
from offlinekit.core.export import FORMATS
from offlinekit.datasets import MDPDataset


def dataset(observation_size: int, action_size: int) -> MDPDataset:
    """Makes random data of a shape, actions in [-1, 1]."""
    rng, n = np.random.default_rng(0), 100
    space = gymnasium.spaces.Box(-1.0, 1.0, (action_size,))
    columns = rng.normal(size=(n, observation_size)), rng.uniform(-1, 1, (n, action_size))
    return MDPDataset(*columns, rng.normal(size=n), np.arange(n) % 20 == 19, action_space=space)


def microseconds(act: Callable[[], object], calls: int) -> float:
    """Returns the mean time of a call."""
    start = time.perf_counter()
    for _ in range(calls):
        act()
    return (time.perf_counter() - start) / calls * 1e6


@click.command()
@click.option("--algo", "name", default="td3", show_default=True, help="Of continuous actions.")
@click.option("--batch", default=1, show_default=True, help="Observations a call.")
@click.option("--calls", default=200, show_default=True, help="Of one turn.")
@click.option("--rounds", default=7, show_default=True, help="Turns of each.")
def main(name: str, batch: int, calls: int, rounds: int) -> None:
    """Print the median time of a call on one thread, and the size of each file."""
    torch.set_num_threads(1)
    algo = get_algo(name)(seed=0, observation_scaler="standard", device="cpu").build(dataset(11, 3))
    seen = np.random.default_rng(1).normal(size=(batch, 11)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        policy = algo.save(Path(folder) / "policy.okt")
        ways, sizes = {"predict": algo.predict}, {"predict": policy.stat().st_size}
        for form, known in FORMATS.items():
            path = algo.export(Path(folder) / f"policy{known.suffix}", form)
            ways[form], sizes[form] = known.open(path, algo.impl.observation_space), path.stat().st_size
        times: dict[str, list[float]] = {way: [] for way in ways}
        for way, act in [*ways.items()] * rounds:
            times[way].append(microseconds(lambda act=act: act(seen), calls))
    click.echo("| way | microseconds a call | file, bytes |\n|---|---|---|")
    for way, found in times.items():
        click.echo(f"| `{way}` | {statistics.median(found):.0f} | {sizes[way]:,} |")


if __name__ == "__main__":
    main()

"""Updates a second of a population against its members one after another, in the same process.

    python benchmarks/population.py                                # 8 members, the four sizes of the table
    python benchmarks/population.py --algo iql --width 64 --batch 64 --members 16 --threads 1
    python benchmarks/population.py --device cuda --members 1 --members 8 --members 32 --members 128

Rounds of the two take turns, so that a machine that slows down slows both; the ratio is the median over rounds.
Rates are in updates of members: a population of 8 that takes 100 updates a second counts 800.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from offlinekit.algos import MLPEncoder, Population, get_algo
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset

RESULTS = Path(__file__).parent / "results" / "population.csv"
SIZES = ((256, 256), (256, 64), (64, 256), (64, 64))
COLUMNS = (
    "date", "torch", "device", "threads", "algo", "width", "batch", "members", "differing",
    "population_per_s", "one_after_another_per_s", "ratio", "first_update_s",
)  # fmt: skip


def hopper_shaped(n_rows: int, discrete: bool) -> MDPDataset:
    """Makes random rows of the shape of hopper: 11 observations, 3 actions."""
    rng = np.random.default_rng(0)
    ends = np.arange(n_rows) % 1_000 == 999
    actions = rng.integers(0, 3, n_rows) if discrete else rng.uniform(-1, 1, (n_rows, 3)).astype(np.float32)
    observations = rng.normal(size=(n_rows, 11)).astype(np.float32)
    return MDPDataset(observations, actions, rng.normal(size=n_rows), ends, name="hopper-shaped")


def make_members(
    algo: str, width: int, batch: int, n_members: int, differing: bool, device: str
) -> list[Algo]:
    """Makes members of other seeds, and of other learning rates and discounts where they differ."""
    front = get_algo(algo)
    rate = next(n for n in ("learning_rate", "critic_learning_rate") if n in front.hyperparameters())

    def make(seed: int) -> Algo:
        numbers: dict[str, Any] = {rate: 3e-4 * (1 + seed), "weight_decay": 1e-4 * seed} if differing else {}
        encoder = MLPEncoder(hidden_sizes=(width, width))
        return front(seed=seed, batch_size=batch, encoder=encoder, device=device, **numbers)

    return [make(seed) for seed in range(n_members)]


def seconds_of(rounds: list[Iterator[Any]]) -> float:
    """Returns the seconds that one round of each run takes, one run after another."""
    began = time.perf_counter()
    for steps in rounds:
        next(steps)  # The run's metrics have become floats by then: the device has finished.
    return time.perf_counter() - began


def measure(
    members: list[Algo], twins: list[Algo], data: MDPDataset, n_updates: int, n_rounds: int
) -> dict[str, Any]:
    """Returns the rates of a population and of its twins trained one after another."""
    settings: dict[str, Any] = {"out": None, "progress": False, "log_interval": n_updates}
    n_steps = n_updates * (n_rounds + 2)
    settings["eval_interval"] = n_steps
    population = Population(members)
    stacked: list[Iterator[Any]] = [population.fitter(data, n_steps, **settings)]
    alone: list[Iterator[Any]] = [twin.fitter(data, n_steps, **settings) for twin in twins]
    first = seconds_of(stacked)
    seconds_of(alone)
    rounds = [(seconds_of(stacked), seconds_of(alone)) for _ in range(n_rounds)]
    if len(population.stacks) > 1:
        raise click.ClickException(f"the members do not stack: {population.stacks}")
    done = n_updates * len(members)
    return {
        "population_per_s": round(done / statistics.median(s for s, _ in rounds)),
        "one_after_another_per_s": round(done / statistics.median(a for _, a in rounds)),
        "ratio": round(statistics.median(a / s for s, a in rounds), 2),
        "first_update_s": round(max(first - statistics.median(s for s, _ in rounds), 0.0), 2),
    }


def updates_in(seconds: float, algo: Algo, data: MDPDataset) -> int:
    """Returns how many updates of one member take about so many seconds."""
    steps = algo.fitter(data, 60, out=None, progress=False, log_interval=20, eval_interval=60)
    next(steps)
    return max(5, round(20 * seconds / seconds_of([steps])))


@click.command()
@click.option("--algo", "algos", multiple=True, default=("td3_plus_bc",), show_default=True)
@click.option("--width", type=int, help="Units of the two hidden layers.  [default: 256 and 64]")
@click.option("--batch", type=int, help="Rows of a batch.  [default: 256 and 64]")
@click.option("--members", "sizes", type=int, multiple=True, default=(8,), show_default=True)
@click.option("--differing", is_flag=True, help="Members differ in learning rate and weight decay.")
@click.option("--threads", type=int, help="Of torch.  [default: as torch chooses]")
@click.option("--rounds", default=7, show_default=True, help="Of which the median counts.")
@click.option("--seconds", default=0.5, show_default=True, help="Of a round of one member, about.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--save", is_flag=True, help="Append to benchmarks/results/population.csv.")
def main(
    algos: tuple[str, ...],
    width: int | None,
    batch: int | None,
    sizes: tuple[int, ...],
    differing: bool,
    threads: int | None,
    rounds: int,
    seconds: float,
    device: str,
    save: bool,
) -> None:
    """Prints the rates of populations and of their members one after another, and the ratio."""
    if threads:
        torch.set_num_threads(threads)
    chosen = [(w, b) for w, b in SIZES if width in (None, w) and batch in (None, b)] or [(width, batch)]
    click.echo(f"{'algorithm':<13} width batch members  population/s  one after another/s  ratio  start s")
    rows = []
    for algo in algos:
        data = hopper_shaped(100_000, get_algo(algo).action_kind == "discrete")
        for w, b in chosen:
            n_updates = updates_in(seconds, make_members(algo, w, b, 1, False, device)[0], data)
            for n in sizes:
                members, twins = (make_members(algo, w, b, n, differing, device) for _ in range(2))
                found = measure(members, twins, data, max(2, n_updates // n), rounds)
                what = (
                    date.today().isoformat(),
                    torch.__version__,
                    device,
                    torch.get_num_threads(),
                    algo,
                    w,
                    b,
                    n,
                )
                rows.append({**dict(zip(COLUMNS, (*what, differing), strict=False)), **found})
                numbers = f"{found['population_per_s']:>12,}  {found['one_after_another_per_s']:>19,}"
                click.echo(
                    f"{algo:<13} {w:>5} {b:>5} {n:>7}  {numbers}  {found['ratio']:>5.2f}  {found['first_update_s']:>7}"
                )
    if save:
        keep(rows)


def keep(rows: list[dict[str, Any]]) -> None:
    """Appends rows to the table of results."""
    RESULTS.parent.mkdir(exist_ok=True)
    is_new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

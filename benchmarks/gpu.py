"""Updates a second on a GPU, in one run of under 10 minutes: engines, populations, Cal-QL, and a whole run.

    python benchmarks/gpu.py --csv benchmarks/results/gpu.csv
    python benchmarks/gpu.py --small                              # the same on a CPU, in seconds, to see that it runs

Each part has a share of `--seconds`, and ends with it: eager beside graph for four algorithms, populations of 1, 8, 32
and 128 members, Cal-QL with 10 critics (to beat: 78 updates a second on an RTX 4090), and a million updates
of TD3+BC, or as many as its share allows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from population import hopper_shaped, make_members
from shared import csv_option, write

from offlinekit.algos import Population, get_algo
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset

ENGINES = ("eager", "graph")
COMPARED = ("td3_plus_bc", "iql", "sac", "cql")
MEMBERS = (1, 8, 32, 128)
WHOLE = 1_000_000
Row = dict[str, Any]


class Plan(NamedTuple):
    """What is run."""

    device: str
    data: MDPDataset
    width: int  # Units of each hidden layer.
    batch: int
    block: int  # Updates between two looks at the clock.
    members: tuple[int, ...]  # Of populations.
    seconds: float  # Of all parts together.


def plan_of(device: str, seconds: float, small: bool) -> Plan:
    """Returns a plan; a small one has networks, batches and blocks that a CPU takes in no time."""
    if small:
        return Plan("cpu", hopper_shaped(2_000, discrete=False), 8, 8, 3, (1, 2), 0.0)
    return Plan(device, hopper_shaped(1_000_000, discrete=False), 256, 256, 500, MEMBERS, seconds)


def made(plan: Plan, algo: str, **settings: Any) -> Algo:
    """Makes an algorithm with the networks and batches of a plan."""
    hidden = [plan.width, plan.width]
    return get_algo(algo)(
        seed=0,
        device=plan.device,
        batch_size=plan.batch,
        encoder={"type": "mlp", "hidden_sizes": hidden},
        **settings,
    )


def timed(
    plan: Plan, learner: Algo | Population, seconds: float, engine: str = "graph", most: int = WHOLE
) -> Row:
    """Returns updates and seconds of a run behind its first block, in which kernels are recorded."""
    steps: Iterator[Any] = learner.fitter(
        plan.data, most, out=None, progress=False, engine=engine, log_interval=plan.block, eval_interval=most
    )
    began = time.perf_counter()
    next(steps)
    first, done = time.perf_counter(), 0
    for _ in steps:  # Metrics have become floats by then: the device has finished.
        done += plan.block
        if time.perf_counter() - first >= seconds:
            break
    spent = time.perf_counter() - first
    return {
        "updates": done,
        "seconds": round(spent, 2),
        "start_s": round(first - began, 2),
        "rate": done / spent,
    }


def engines(plan: Plan) -> Iterator[Row]:
    """Yields rates of four algorithms, eager and as graphs."""
    for algo in COMPARED:
        for engine in ENGINES:
            found = timed(plan, made(plan, algo), 0.03 * plan.seconds, engine)
            yield {"part": "engine", "algo": algo, "engine": engine, "members": 1, **found}


def populations(plan: Plan) -> Iterator[Row]:
    """Yields rates of populations, in updates of members."""
    for n in plan.members:
        members = make_members("td3_plus_bc", plan.width, plan.batch, n, False, plan.device)
        found = timed(plan, Population(members), 0.05 * plan.seconds)
        yield {
            **{"part": "population", "algo": "td3_plus_bc", "engine": "graph", "members": n},
            **{**found, "updates": n * found["updates"], "rate": n * found["rate"]},
        }


def cal_ql(plan: Plan) -> Iterator[Row]:
    """Yields the rate of Cal-QL with 10 critics."""
    found = timed(plan, made(plan, "cal_ql", n_critics=10), 0.1 * plan.seconds)
    yield {"part": "cal-ql, 10 critics", "algo": "cal_ql", "engine": "graph", "members": 1, **found}


def whole_run(plan: Plan) -> Iterator[Row]:
    """Yields the rate of a million updates of TD3+BC, or of as many as the time allows."""
    found = timed(plan, made(plan, "td3_plus_bc"), 0.35 * plan.seconds)
    yield {"part": "1M updates", "algo": "td3_plus_bc", "engine": "graph", "members": 1, **found}


PARTS = {"engines": engines, "populations": populations, "cal_ql": cal_ql, "whole": whole_run}


@click.command()
@click.option("--device", default="cuda", show_default=True)
@click.option(
    "--seconds", default=500.0, show_default=True, help="Of all parts together, without their starts."
)
@click.option(
    "--part", "parts", multiple=True, type=click.Choice(list(PARTS)), help="Repeatable.  [default: all]"
)
@click.option("--small", is_flag=True, help="A few updates of small networks on the CPU.")
@csv_option
def main(device: str, seconds: float, parts: tuple[str, ...], small: bool, path: Path | None) -> None:
    """Prints updates a second of each part, and writes them after each."""
    plan = plan_of(device, seconds, small)
    is_gpu = torch.device(plan.device).type == "cuda"
    where = torch.cuda.get_device_name() if is_gpu else f"CPU, {torch.get_num_threads()} threads"
    rows: list[Row] = []
    for name in parts or PARTS:
        for row in PARTS[name](plan):
            rows.append({**row, "rate": round(row["rate"], 1), "device": where, "torch": torch.__version__})
            click.echo("  ".join(f"{key} {value}" for key, value in rows[-1].items()))
            write(path, rows)


if __name__ == "__main__":
    main()

"""Updates a second of our algorithms, beside d3rlpy's where it is installed, in one run.

The processes take turns, so that each round sees the same machine: hopper-shaped data, batch 256, networks of
2 x 256 units; CQL with 10 actions of each kind, SAC with 10 critics; discrete algorithms on cartpole's shape.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import click
from shared import Process, csv_option, peer_option, write

HERE = Path(__file__).parent
ALGOS = ("bc", "td3_plus_bc", "iql", "awac", "cql", "sac", "double_dqn", "discrete_cql")
MORE = (
    *("ddpg", "td3", "bcq", "bear", "plas", "crr", "rebrac", "prdc", "cal_ql", "discrete_bc", "discrete_bcq"),
    *("discrete_sac", "dqn", "qrdqn", "nfq", "decision_transformer", "tacr"),
)
"""Algorithms that d3rlpy has as well, trained with its settings."""


@click.command()
@click.option("--algo", "algos", multiple=True, type=click.Choice(ALGOS + MORE), help="Repeatable.")
@click.option(
    "--all", "every", is_flag=True, help="Every algorithm that d3rlpy has too, not the first eight."
)
@click.option("--threads", multiple=True, type=int, default=(1, 2), show_default=True)
@click.option("--device", default="cpu", show_default=True, help="Of both libraries, such as cuda:0.")
@click.option("--rounds", default=5, show_default=True, help="Turns of each library.")
@click.option("--seconds", default=2.0, show_default=True, help="Of one turn.")
@click.option("--fit", "settings", multiple=True, help="Keyword of our fit, such as precision=bfloat16.")
@peer_option
@click.option(
    "--jax-python",
    type=click.Path(exists=True),
    help="Python of one with jax and optax: TD3+BC and IQL alone.",
)
@csv_option
def main(
    algos: tuple[str, ...],
    every: bool,
    threads: tuple[int, ...],
    device: str,
    rounds: int,
    seconds: float,
    settings: tuple[str, ...],
    peer_python: str | None,
    jax_python: str | None,
    path: Path | None,
) -> None:
    """Prints updates a second: medians, the best turn in brackets, and the median ratio of the turns."""
    where = [] if device == "cpu" else [f"device={device}"]
    libraries = {"offlinekit": Process(sys.executable, str(HERE / "ours.py"), *settings, *where)}
    if peer_python:
        libraries["d3rlpy"] = Process(peer_python, str(HERE / "peer_d3rlpy.py"), *where)
    if jax_python:
        libraries["jax"] = Process(jax_python, str(HERE / "peer_jax.py"))
    rows = []
    for algo in algos or (ALGOS + MORE if every else ALGOS):
        for n in threads:
            question = {"algo": algo, "threads": n, "seconds": seconds}
            turns = [[one.ask(**question) for one in libraries.values()] for _ in range(rounds)]
            row: dict[str, Any] = {"algo": algo, "threads": n}
            for name, rates in zip(libraries, zip(*turns, strict=True), strict=True):
                row |= {name: round(statistics.median(rates), 1), f"{name}_best": round(max(rates), 1)}
            for i, name in enumerate(list(libraries)[1:], 1):
                row[f"times_{name}"] = round(statistics.median(turn[0] / turn[i] for turn in turns), 2)
            rows.append(row)
            click.echo("  ".join(f"{key} {value}" for key, value in row.items()))
    for process in libraries.values():
        process.close()
    write(path, rows)


if __name__ == "__main__":
    main()

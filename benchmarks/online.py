"""Environment steps a second of `fit_online` with an update in each, beside d3rlpy's, in one run.

The processes take turns, so that each round sees the same machine. The environment costs next to nothing: hopper's
shape, for DQN cartpole's; batch 256, networks of 2 x 256 units. The cost of acting is that of a run without updates.
Time is that of the processor, on one thread, which other programs on the machine disturb little.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import click
from shared import Process, csv_option, peer_option, write

HERE = Path(__file__).parent
ALGOS = ("sac", "td3", "dqn")


@click.command()
@click.option("--algo", "algos", multiple=True, type=click.Choice(ALGOS), help="Repeatable.")
@click.option("--rounds", default=5, show_default=True, help="Turns of each library.")
@click.option("--steps", default=1_000, show_default=True, help="Measured ones of one turn.")
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16"]),
    help="Of our matrix products; d3rlpy knows float32 alone.",
)
@peer_option
@csv_option
def main(
    algos: tuple[str, ...],
    rounds: int,
    steps: int,
    precision: str,
    peer_python: str | None,
    path: Path | None,
) -> None:
    """Prints medians: steps a second, microseconds of acting and of learning, and the ratio of the turns."""
    libraries = {"offlinekit": Process(sys.executable, str(HERE / "online_ours.py"), precision)}
    if peer_python:
        libraries["d3rlpy"] = Process(peer_python, str(HERE / "online_d3rlpy.py"))
    rows = []
    for algo in algos or ALGOS:
        turns = [[_turn(one, algo, steps) for one in libraries.values()] for _ in range(rounds)]
        row: dict[str, Any] = {"algo": algo}
        for name, mine in zip(libraries, zip(*turns, strict=True), strict=True):
            whole, acting = (statistics.median(column) for column in zip(*mine, strict=True))
            row |= {
                f"{name}_steps": round(1 / whole, 1),
                f"{name}_acting_us": round(1e6 * acting),
                f"{name}_learning_us": round(1e6 * (whole - acting)),
            }
        if peer_python:
            for i, part in enumerate(("times", "times_acting")):
                row[part] = round(statistics.median(peer[i] / ours[i] for ours, peer in turns), 2)
        rows.append(row)
        click.echo("  ".join(f"{key} {value}" for key, value in row.items()))
    for process in libraries.values():
        process.close()
    write(path, rows)


def _turn(library: Process, algo: str, steps: int) -> tuple[float, float]:
    """Returns the seconds of a step with an update, and of one without."""
    whole, acting = (
        float(library.ask(algo=algo, threads=1, steps=steps, learns=learns)) for learns in (True, False)
    )
    return whole, acting


if __name__ == "__main__":
    main()

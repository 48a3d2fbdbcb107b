"""Seconds from the start of a process to its first update, and resident memory in training on 1M rows.

    python benchmarks/start.py --peer-python ENV/bin/python --csv benchmarks/results/start.csv

TD3+BC on hopper's shape, batch 256. Each figure is from a process of its own, and libraries take turns.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
from shared import csv_option, peer_option, write

HERE = Path(__file__).parent
SCRIPTS = {"offlinekit": "ours.py", "d3rlpy": "peer_d3rlpy.py"}

CODE = """
import sys, time
sys.path.insert(0, {here!r})
import worker
worker.ROWS = {rows}
import {module}
next({module}.make("td3_plus_bc", {updates}))
reached = time.time()
line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(reached, int(line.split()[1]) / 1024)
"""


def run(python: str, library: str, rows: int, updates: int) -> tuple[float, float]:
    """Returns the seconds to the last of some updates, and the resident memory in MB after it."""
    module = SCRIPTS[library].removesuffix(".py")
    code = CODE.format(here=str(HERE), rows=rows, module=module, updates=updates)
    began = time.time()
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    reached, resident = map(float, done.stdout.split()[-2:])
    return reached - began, resident


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Processes of each library.")
@peer_option
@csv_option
def main(rounds: int, peer_python: str | None, path: Path | None) -> None:
    """Prints medians, and how many times as much the peer takes."""
    pythons = {"offlinekit": sys.executable} | ({"d3rlpy": peer_python} if peer_python else {})
    rows = []
    for what, n_rows, updates in (("start_seconds", 10_000, 1), ("resident_mb", 1_000_000, 200)):
        column = 0 if what == "start_seconds" else 1
        turns = [
            [run(p, name, n_rows, updates)[column] for name, p in pythons.items()] for _ in range(rounds)
        ]
        row = {"what": what}
        row |= {
            name: f"{statistics.median(values):.2f}"
            for name, values in zip(pythons, zip(*turns, strict=True), strict=True)
        }
        if peer_python:
            row["ratio"] = f"{statistics.median(turn[0] / turn[1] for turn in turns):.2f}"
        rows.append(row)
        click.echo("  ".join(f"{key} {value}" for key, value in row.items()))
    write(path, rows)


if __name__ == "__main__":
    main()

"""Seconds and memory to read a file of D4RL, and to build a dataset from arrays, beside D4RL's and d3rlpy's way.

    python benchmarks/reading.py
    python benchmarks/reading.py --peer-python ENV/bin/python --csv benchmarks/results/reading.csv

The file is shaped as hopper's: 1M rows of 11 observations and 3 actions, compressed as D4RL's are, written anew to
a temporary folder. D4RL's way is `qlearning_dataset`: a loop over the rows in Python, told again here, with and
without reading the columns. Each measurement is a process of its own, and they take turns. `peak_ratio` is what
the process grew by at most, over the size of the arrays that it ends up with.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click
import h5py
import numpy as np
import numpy.typing as npt
from shared import csv_option, peer_option, show, write

Array: TypeAlias = npt.NDArray[Any]
EPISODE = 1_000
COLUMNS = ("observations", "actions", "rewards", "terminals", "timeouts")
TABLE = {
    "task": 12,
    "library": 10,
    "seconds": 8,
    "ratio": 7,
    "cpu_seconds": 12,
    "cpu_ratio": 10,
    "peak_mb": 8,
    "arrays_mb": 10,
    "peak_ratio": 11,
}
"""Name and width of each column; `ratio` is how many times as fast as it offlinekit is; `cpu_ratio` compares what
all threads took, which a busy machine changes less."""


def random_columns(n_rows: int) -> dict[str, Array]:
    """Returns columns of episodes of 1,000 rows, every other of which ends in a terminal."""
    rng = np.random.default_rng(0)
    ends = np.arange(n_rows) % EPISODE == EPISODE - 1
    terminals = ends & (np.arange(n_rows) // EPISODE % 2 == 0)
    return {
        "observations": rng.standard_normal((n_rows, 11), np.float32),
        "actions": rng.random((n_rows, 3), np.float32) * 2 - 1,
        "rewards": rng.standard_normal(n_rows, np.float32),
        "terminals": terminals,
        "timeouts": ends & ~terminals,
    }


def write_file(path: Path, n_rows: int) -> None:
    """Writes a file in the layout of D4RL's v2: gzip, next observations, positions, velocities, log-probabilities."""
    columns = random_columns(n_rows)
    following = np.roll(columns["observations"], -1, axis=0)
    ends = columns["terminals"] | columns["timeouts"]
    following[ends] += 1
    rng = np.random.default_rng(1)
    infos = {"qpos": 6, "qvel": 6, "action_log_probs": 1}
    columns |= {
        f"infos/{name}": rng.standard_normal((n_rows, size), np.float32) for name, size in infos.items()
    }
    columns["infos/action_log_probs"] = columns["infos/action_log_probs"][:, 0]
    with h5py.File(path, "w") as file:
        for name, column in {**columns, "next_observations": following}.items():
            file.create_dataset(name, data=column, compression="gzip")


def read_ours(path: str) -> Any:
    """Returns an MDPDataset of the whole file."""
    from offlinekit.datasets import get_dataset

    return get_dataset(path)[0]


def read_plainly(path: str) -> dict[str, Array]:
    """Returns the columns that D4RL's loop goes over."""
    with h5py.File(path) as file:
        return {name: file[name][()] for name in COLUMNS}


def read_as_d4rl(path: str) -> dict[str, Array]:
    """Returns all columns of a file, as D4RL's `get_dataset` reads them."""
    names: list[str] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        return {name: file[name][()] for name in names}


def loop_of_d4rl(columns: dict[str, Array]) -> dict[str, Array]:
    """Returns transitions as D4RL collects them: row by row, and without the rows that a timeout ends."""
    kept: dict[str, list[Any]] = {name: [] for name in ("obs", "next_obs", "actions", "rewards", "dones")}
    steps = 0
    for i in range(len(columns["rewards"]) - 1):
        row = {
            "obs": columns["observations"][i].astype(np.float32),
            "next_obs": columns["observations"][i + 1].astype(np.float32),
            "actions": columns["actions"][i].astype(np.float32),
            "rewards": columns["rewards"][i].astype(np.float32),
            "dones": bool(columns["terminals"][i]),
        }
        steps += 1
        if columns["timeouts"][i] or row["dones"]:
            steps = 0
        if columns["timeouts"][i]:
            continue
        for name, value in row.items():
            kept[name].append(value)
    return {name: np.array(values) for name, values in kept.items()}


def build_ours(columns: dict[str, Array]) -> Any:
    """Returns an MDPDataset of arrays."""
    from offlinekit.datasets import MDPDataset

    return MDPDataset(**columns)


def build_d3rlpy(columns: dict[str, Array]) -> Any:
    """Returns d3rlpy's dataset of arrays."""
    from d3rlpy import ActionSpace
    from d3rlpy.dataset import MDPDataset

    return MDPDataset(**columns, action_space=ActionSpace.CONTINUOUS, action_size=3)


TASKS: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], Any]]] = {
    "read/offlinekit": ("offlinekit", str, read_ours),
    "read+loop/D4RL": ("offlinekit", str, lambda path: loop_of_d4rl(read_as_d4rl(path))),
    "loop alone/D4RL": ("offlinekit", read_plainly, loop_of_d4rl),
    "from arrays/offlinekit": ("offlinekit", read_plainly, build_ours),
    "from arrays/d3rlpy": ("d3rlpy", read_plainly, build_d3rlpy),
}
"""Name: package to import first, what to prepare, what to measure."""


def memory(field: str) -> int:
    """Returns VmRSS, what the process takes, or VmHWM, the most it took, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def measure(task: str, path: str) -> dict[str, float]:
    """Returns seconds and the growth of memory of one task, in this process."""
    package, prepare, run = TASKS[task]
    if package == "offlinekit":
        from offlinekit.datasets import known_datasets

        known_datasets()  # Imports all readers.
    else:
        __import__("d3rlpy.dataset")
    subject = prepare(path)
    Path("/proc/self/clear_refs").write_text("5")  # The most it took begins anew.
    before, began, cpu_began = memory("VmRSS"), time.perf_counter(), time.process_time()
    result = run(subject)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    grown = memory("VmHWM") - before
    names = ("observations", "actions", "rewards", "terminals", "timeouts", "final_observations")
    held = [getattr(result, name, None) for name in names] if task == "read/offlinekit" else []
    held += list(result.extras.values()) if held else []
    size = sum(array.nbytes for array in held if array is not None)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mb": grown / 1024,
        "arrays_mb": size / 2**20,
    }


def ask(python: str, task: str, path: Path) -> dict[str, float]:
    """Returns what `measure` says in a process of its own.

    Raises:
        click.ClickException: Where the process fails.
    """
    command = [python, __file__, "--serve", task, "--file", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if run.returncode:
        raise click.ClickException(f"{' '.join(command)} failed: {run.stderr[-500:]}")
    answer: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return answer


def summarised(answers: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Returns a row of the table for each task: medians over the rounds."""
    table = []
    for task, turns in answers.items():
        kind, library = task.split("/")
        own = answers[("from arrays" if kind == "from arrays" else "read") + "/offlinekit"]
        middle = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
        row: dict[str, Any] = {"task": kind, "library": library}
        for seconds, ratio in (("seconds", "ratio"), ("cpu_seconds", "cpu_ratio")):
            pairs = zip(turns, own, strict=True)
            row[seconds] = round(middle[seconds], 3)
            row[ratio] = round(statistics.median(turn[seconds] / mine[seconds] for turn, mine in pairs), 1)
        row["peak_mb"], row["arrays_mb"] = round(middle["peak_mb"], 1), round(middle["arrays_mb"], 1)
        row["peak_ratio"] = round(middle["peak_mb"] / middle["arrays_mb"], 2) if middle["arrays_mb"] else ""
        table.append(row)
    return table


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Of the file.")
@click.option("--rounds", default=5, show_default=True, help="Turns of each task.")
@peer_option
@csv_option
@click.option("--serve", type=click.Choice(list(TASKS)), hidden=True)
@click.option("--file", hidden=True)
def main(
    rows: int, rounds: int, peer_python: str | None, path: Path | None, serve: str | None, file: str | None
) -> None:
    """Prints seconds, how many times as fast as the others ours are, and peak memory."""
    if serve:
        click.echo(json.dumps(measure(serve, file or "")))
        return
    pythons = {"offlinekit": sys.executable} | ({"d3rlpy": peer_python} if peer_python else {})
    tasks = [task for task, (package, _, _) in TASKS.items() if package in pythons]
    answers: dict[str, list[dict[str, float]]] = {task: [] for task in tasks}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "hopper-like.hdf5"
        write_file(data, rows)
        for _ in range(rounds):
            for task in tasks:
                answers[task].append(ask(str(pythons[TASKS[task][0]]), task, data))
    table = summarised(answers)
    show(table, TABLE)
    write(path, table)


if __name__ == "__main__":
    main()

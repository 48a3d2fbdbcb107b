"""Minibatches a second of our sampler, beside d3rlpy's where it is installed, in one run.

    python benchmarks/sampler.py
    python benchmarks/sampler.py --peer-python ENV/bin/python --csv benchmarks/results/sampler.csv

Each library works in a process of its own, and the processes take turns, so that each round sees the same machine.
`vectors` are shaped as hopper's: 1M rows of 11 observations and 3 actions, minibatches of 256. `frames` are
images of 84 x 84, kept singly and stacked by four when they are sampled, minibatches of 32.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
import numpy.typing as npt
from shared import Process, csv_option, peer_option, show, write

Array: TypeAlias = npt.NDArray[Any]
EPISODE = 1_000
BATCH = {"vectors": 256, "frames": 32}
STACK = 4
ROWS = {"vectors": 1_000_000, "frames": 20_000}
COLUMNS = {
    "shape": 8,
    "library": 10,
    "threads": 7,
    "batches_per_second": 18,
    "ratio": 8,
    "build_seconds": 13,
    "peak_mb": 8,
    "torch": 12,
}
"""Name and width of each column; `ratio` is how many times as many minibatches offlinekit draws."""


def random_data(shape: str, n_rows: int) -> dict[str, Array]:
    """Returns columns of episodes of 1,000 rows, every other of which ends in a terminal."""
    rng = np.random.default_rng(0)
    ends = np.arange(n_rows) % EPISODE == EPISODE - 1
    terminals = ends & (np.arange(n_rows) // EPISODE % 2 == 0)
    columns = {"terminals": terminals, "timeouts": ends & ~terminals}
    columns["rewards"] = rng.standard_normal(n_rows, np.float32)
    if shape == "vectors":
        columns["observations"] = rng.standard_normal((n_rows, 11), np.float32)
        return columns | {"actions": rng.random((n_rows, 3), np.float32) * 2 - 1}
    columns["observations"] = rng.integers(0, 255, (n_rows, 1, 84, 84), np.uint8)
    return columns | {"actions": rng.integers(0, 4, n_rows)}


def ours(shape: str, data: Mapping[str, Any]) -> Callable[[], Any]:
    """Returns what draws the next minibatch."""
    import torch

    from offlinekit.datasets import MDPDataset
    from offlinekit.sampling.sampler import TransitionSampler
    from offlinekit.sampling.scalers import Scaling

    return TransitionSampler(
        MDPDataset(**data),
        batch_size=BATCH[shape],
        gamma=0.99,
        n_step=1,
        device=torch.device("cpu"),
        seed=0,
        scaling=Scaling(),
        frame_stack=STACK if shape == "frames" else 1,
    ).sample


def d3rlpy(shape: str, data: Mapping[str, Any]) -> Callable[[], Any]:
    """Returns what draws the next minibatch of d3rlpy, as numpy arrays."""
    from d3rlpy import ActionSpace
    from d3rlpy.dataset import FrameStackTransitionPicker, MDPDataset

    options: dict[str, Any] = {"action_space": ActionSpace.CONTINUOUS, "action_size": 3}
    if shape == "frames":
        picker = FrameStackTransitionPicker(n_frames=STACK)
        options = {"action_space": ActionSpace.DISCRETE, "action_size": 4, "transition_picker": picker}
    dataset = MDPDataset(**data, **options)
    return lambda: dataset.sample_transition_batch(BATCH[shape])


LIBRARIES = {"offlinekit": ours, "d3rlpy": d3rlpy}


def answer_questions(library: str, shape: str, n_rows: int) -> None:
    """Builds a dataset, then answers {"threads", "seconds"} on stdin with what it measures."""
    answers, sys.stdout = sys.stdout, sys.stderr  # What a library prints is no answer.
    import torch

    data = random_data(shape, n_rows)
    began = time.perf_counter()
    draw = LIBRARIES[library](shape, data)
    build = time.perf_counter() - began
    del data
    for line in sys.stdin:
        question = json.loads(line)
        torch.set_num_threads(question["threads"])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer = {"rate": rate(draw, question["seconds"]), "build": build, "peak": peak}
        answers.write(json.dumps({**answer, "torch": torch.__version__}) + "\n")
        answers.flush()


def rate(draw: Callable[[], Any], seconds: float) -> float:
    """Returns calls a second."""
    began, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        for _ in range(8):
            draw()
        done += 8
    return done / spent


def measure(
    shape: str, libraries: dict[str, Process], threads: int, rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Returns a row of the table for each library: medians over the rounds."""
    turns = [
        [process.ask(threads=threads, seconds=seconds) for process in libraries.values()]
        for _ in range(rounds)
    ]
    table = []
    for i, library in enumerate(libraries):
        mine = [turn[i] for turn in turns]
        row = {"shape": shape, "library": library, "threads": threads}
        row["batches_per_second"] = round(statistics.median(answer["rate"] for answer in mine), 1)
        row["ratio"] = round(statistics.median(turn[0]["rate"] / turn[i]["rate"] for turn in turns), 2)
        row["build_seconds"], row["peak_mb"] = round(mine[0]["build"], 3), round(mine[-1]["peak"])
        table.append(row | {"torch": mine[0]["torch"]})
    return table


@click.command()
@click.option(
    "--shape", "shapes", multiple=True, type=click.Choice(list(BATCH)), help="Repeatable; all by default."
)
@click.option("--threads", multiple=True, type=int, default=(1, 2), show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Turns of each library.")
@click.option("--seconds", default=1.0, show_default=True, help="Of one turn.")
@click.option("--rows", type=int, help="Of the dataset; by default 1,000,000 vectors, 20,000 frames.")
@peer_option
@csv_option
@click.option("--serve", type=click.Choice(list(LIBRARIES)), hidden=True)
def main(
    shapes: tuple[str, ...],
    threads: tuple[int, ...],
    rounds: int,
    seconds: float,
    rows: int | None,
    peer_python: str | None,
    path: Path | None,
    serve: str | None,
) -> None:
    """Prints minibatches a second, and how many times as many as the others ours are."""
    if serve:
        answer_questions(serve, shapes[0], rows or 0)
        return
    show([], COLUMNS)
    table: list[dict[str, Any]] = []
    for shape in shapes or tuple(BATCH):
        pythons = {"offlinekit": sys.executable} | ({"d3rlpy": peer_python} if peer_python else {})
        settings = ("--shape", shape, "--rows", str(rows or ROWS[shape]))
        libraries = {
            name: Process(python, __file__, "--serve", name, *settings) for name, python in pythons.items()
        }
        for n in threads:
            table += measure(shape, libraries, n, rounds, seconds)
            show(table[-len(libraries) :], COLUMNS, head=False)
        for process in libraries.values():
            process.close()
    write(path, table)


if __name__ == "__main__":
    main()

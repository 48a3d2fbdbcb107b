"""Tables of runs by task, algorithm and seed: resumable, and summed up over seeds."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from scipy import stats

from offlinekit.metrics.statistics.means import standard_error

Command = TypeVar("Command", bound=Callable[..., Any])
KEY = ("task", "algorithm", "seed")


def read_runs(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a table; none if it is not there."""
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def missing_seeds(path: Path, task: str, name: str, seeds: int) -> list[int]:
    """Returns which seeds from 0 on a table lacks of a task and algorithm."""
    there = {tuple(row[column] for column in KEY) for row in read_runs(path)}
    return [seed for seed in range(seeds) if (task, name, str(seed)) not in there]


def append_rows(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Appends rows to a table as they come, and prints them.

    Args:
        path: Of the table.
        columns: Its names.
        rows: Of finished runs.
    """
    for row in rows:
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, columns)
            if not file.tell():  # Of a table that is not there, or empty.
                writer.writeheader()
            writer.writerow(row)
        click.echo(row)


def table_options(tasks: Iterable[str], results: Path) -> Callable[[Command], Command]:
    """Adds the options of a benchmark whose rows are runs: which of them, and where the table lies."""
    options = (
        click.option(
            "--task", "tasks", multiple=True, type=click.Choice(list(tasks)), help="Only this task."
        ),
        click.option("--algorithm", "names", multiple=True, help="Only this algorithm."),
        click.option("--seeds", default=3, show_default=True, help="Runs of each algorithm."),
        click.option(
            "--out",
            default=str(results),
            show_default=True,
            type=click.Path(path_type=Path),
            help="CSV file.",
        ),
        click.option(
            "--table", "shows", is_flag=True, help="Print the table of what is there, and run nothing."
        ),
    )

    def decorated(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def append_runs(
    path: Path,
    columns: Sequence[str],
    seeds: int,
    tasks: Iterable[str],
    names_of: Callable[[str], Iterable[str]],
    run: Callable[[str, str, int], dict[str, Any]],
) -> None:
    """Appends the runs that a table lacks, all tasks and algorithms of a seed before the next seed.

    Args:
        path: Of the table.
        columns: Its names.
        seeds: How many, from 0.
        tasks: Which.
        names_of: Task -> its algorithms.
        run: Task, algorithm and seed -> the row.
    """
    for seed in range(seeds):
        for task in tasks:
            for name in names_of(task):
                if seed in missing_seeds(path, task, name, seeds):
                    append_rows(path, columns, [run(task, name, seed)])


def by_algorithm(path: Path) -> Iterator[tuple[str, str, list[dict[str, str]]]]:
    """Yields task, algorithm and the rows of all seeds."""
    rows = read_runs(path)
    for task, name in dict.fromkeys((row["task"], row["algorithm"]) for row in rows):
        yield task, name, [row for row in rows if (row["task"], row["algorithm"]) == (task, name)]


def mean_cell(rows: list[dict[str, str]], column: str) -> str:
    """Returns the mean over seeds with its 95% interval of Student's t, which one seed does not have."""
    values = np.array([float(row[column]) for row in rows])
    if len(values) < 2:
        return f"{values.mean():.0f}"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * standard_error(values)
    return f"{values.mean():.0f} ± {half:.0f}"

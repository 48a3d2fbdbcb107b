"""Writes what the documents say of runs of full length, from the CSV files of reproductions/.

These are docs/results.md, the table in README.md and one on the page of each algorithm that was run. Run it when rows
are added; a test fails until the documents agree with the files.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from offlinekit.algos import catalogue

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("<!-- results -->", "<!-- end of results -->")
TASKS = ("maze2d-umaze", "maze2d-medium", "maze2d-large", "hopper-medium")
ALGOS = ("bc", "percent_bc", "td3_plus_bc", "awac", "iql", "rebrac")
SEEDS = (0, 1)
UPDATES = 500_000
"""Of the first table: tasks, algorithms, seeds and updates."""
Row = dict[str, str]


def rows_of(table: str) -> list[Row]:
    """Returns the rows of a CSV file of reproductions/, none if it is not there."""
    path = ROOT / "reproductions" / f"{table}.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Returns a table in Markdown."""
    lines: list[tuple[str, ...]] = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def select(rows: list[Row], **values: object) -> list[Row]:
    """Returns the rows that have these values."""
    return [row for row in rows if all(row[name] == str(value) for name, value in values.items())]


def recorded(task: str) -> Row:
    """Returns the figures of the recording of a task."""
    return select(rows_of("record"), task=task)[0]


def heading(task: str) -> str:
    """Returns what a column of scores on a recording is called."""
    return f"recorded here ({task}, mujoco {recorded(task)['mujoco']})"


def published(task: str, algo: str) -> str:
    """Returns the published score and its spread over seeds."""
    (row,) = select(rows_of("published"), dataset=recorded(task)["stands_for"], algo=algo)
    return f"{float(row['score']):.1f} ± {float(row['spread']):.1f}"


def scored(task: str, algo: str) -> str:
    """Returns the mean score here over seeds, with their deviation, or of one seed with the error over its episodes."""
    rows = select(rows_of("benchmark"), task=task, algo=algo)
    scores = [float(row["score"]) for row in rows]
    if not scores:
        return "not run yet"
    spread = stdev(scores) if len(scores) > 1 else float(rows[0]["standard_error"])
    seeds = "1 seed" if len(scores) == 1 else f"{len(scores)} seeds"
    return f"**{fmean(scores):.1f}** ± {spread:.1f} ({seeds})"


def link(algo: str, folder: str) -> str:
    """Returns a link to the page of an algorithm."""
    return f"[{catalogue()[algo].__name__}]({folder}{algo}.md)"


def hours(rows: list[Row]) -> str:
    """Returns the mean hours of a seed."""
    return f"{fmean(float(row['seconds']) for row in rows) / 3600:.2f}"


def verdicts(task: str, algo: str) -> tuple[str, str]:
    """Returns the gain estimated from the data alone, and what offlinekit would do, of the first seed that has them."""
    rows = select(rows_of("benchmark_selection"), task=task, algo=algo)
    if not rows:
        return "not run yet", "not run yet"
    row = rows[0]
    decision = "deploys it" if row["chosen"] == algo else row["held_back"] or "another has the higher bound"
    return f"{row['gain']} (at least {row['lower_bound']})", decision


def finished(task: str) -> Sequence[tuple[str, ...]]:
    """Returns the finished rows of a task."""
    lines = []
    for algo in ALGOS:
        rows = select(rows_of("benchmark"), task=task, algo=algo)
        if rows:
            updates = f"{int(rows[0]['n_steps']):,}"
            own = (scored(task, algo), updates, hours(rows), *verdicts(task, algo))
            lines.append((link(algo, "algos/"), published(task, algo), *own))
    return lines


def missing() -> str:
    """Returns what of the first table has not been run, by algorithm and seed."""
    done = {(row["task"], row["algo"], int(row["seed"])) for row in rows_of("benchmark")}
    lines = []
    for task in TASKS:
        for seed in SEEDS:
            left = [algo for algo in ALGOS if (task, algo, seed) not in done]
            if left:
                names = ", ".join(catalogue()[algo].__name__ for algo in left)
                lines.append((task, str(seed), names))
    return table(("task", "seed", "not run yet"), lines) if lines else "Nothing."


def recordings() -> str:
    """Returns the table of what was recorded."""
    head = (
        "recording",
        "stands for",
        "rows",
        "episodes",
        "behaviour",
        "D4RL's maximum",
        "random",
        "D4RL's minimum",
    )
    lines = []
    for row in rows_of("record"):
        counts = (f"{int(row['rows']):,}", f"{int(row['episodes']):,}")
        behaviour = f"{row['behaviour']} ± {row['behaviour_error']}"
        chance = f"{row['random']} ± {row['random_error']}"
        ends = (behaviour, row["d4rl_maximum"], chance, f"{float(row['d4rl_minimum']):.2f}")
        lines.append((f"`{row['task']}`", row["stands_for"], *counts, *ends))
    return table(head, lines)


def results(text: str) -> str:
    """Returns docs/results.md with what stands between its marks written anew."""
    parts = ["## What was recorded", recordings(), "## Scores"]
    for task in TASKS:
        head = (
            "algorithm",
            f"published ({recorded(task)['stands_for']})",
            heading(task),
            "updates",
            "hours a seed",
        )
        rows = finished(task)
        parts += [f"### {task}"]
        parts += [
            table((*head, "gain by the data alone", "offlinekit"), rows)
            if rows
            else "No row is finished yet."
        ]
    return between(text, "\n\n".join([*parts, "## Not run yet", missing()]))


def readme(text: str) -> str:
    """Returns README.md with its table written anew."""
    lines = [
        (f"`{task}`", link(algo, "docs/algos/"), published(task, algo), scored(task, algo))
        for task in TASKS
        for algo in ALGOS
        if select(rows_of("benchmark"), task=task, algo=algo)
    ]
    versions = {recorded(task)["mujoco"] for task in TASKS}
    head = (
        "data",
        "algorithm",
        "published",
        f"recorded here (D4RL's recipe, mujoco {', '.join(sorted(versions))})",
    )
    return between(text, table(head, lines) if lines else "No run of full length is finished yet.")


def page(text: str, algo: str) -> str:
    """Returns the page of an algorithm with its table written anew."""
    rows = [(f"`{task}`", published(task, algo), scored(task, algo)) for task in TASKS]
    versions = {recorded(task)["mujoco"] for task in TASKS}
    own = f"recorded here (D4RL's recipe, mujoco {', '.join(sorted(versions))})"
    return between(text, table(("data", "published on D4RL's file", own), rows))


def between(text: str, block: str) -> str:
    """Returns a text with a block between its marks."""
    whole = f"{MARKS[0]}\n{block}\n{MARKS[1]}"
    return re.sub(f"{MARKS[0]}.*?{MARKS[1]}", lambda _: whole, text, flags=re.DOTALL)


def written() -> dict[Path, Callable[[str], str]]:
    """Returns the documents, and what writes each anew."""
    pages = {ROOT / "docs" / "algos" / f"{algo}.md": partial(page, algo=algo) for algo in ALGOS}
    return {ROOT / "docs" / "results.md": results, ROOT / "README.md": readme, **pages}


def main() -> None:
    """Writes all of them."""
    for path, write in written().items():
        path.write_text(write(path.read_text()))


if __name__ == "__main__":
    main()

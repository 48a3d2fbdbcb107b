"""Tools of the benchmarks: tables on the screen and as CSV, and libraries that answer from processes of their own.

It needs click alone, so that it runs in the environment of any library.
"""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import click

csv_option = click.option(
    "--csv", "path", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the table."
)
peer_option = click.option(
    "--peer-python", type=click.Path(exists=True), help="Python of an environment with d3rlpy 2.8.1."
)


def show(rows: Iterable[Mapping[str, Any]], widths: Mapping[str, int], head: bool = True) -> None:
    """Prints a table, below the names of its columns.

    Args:
        rows: Of the table.
        widths: Of each column, in characters.
        head: Whether the names are printed.
    """
    for row in [*([{name: name for name in widths}] if head else []), *rows]:
        click.echo("  ".join(f"{row[name]!s:>{width}}" for name, width in widths.items()))


def write(path: Path | None, rows: list[dict[str, Any]]) -> None:
    """Writes a table as CSV, where a path is given."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class Process:
    """A library at work in a process of its own, which answers a line of JSON with one.

    Args:
        command: Starts it.
    """

    def __init__(self, *command: str) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.command = command
        self.process = subprocess.Popen(command, text=True, **pipes)
        self.questions = cast(IO[str], self.process.stdin)
        self.answers = cast(IO[str], self.process.stdout)

    def ask(self, **question: Any) -> Any:
        """Returns the answer to a question.

        Raises:
            click.ClickException: Where the process has ended.
        """
        self.questions.write(json.dumps(question) + "\n")
        self.questions.flush()
        reply = self.answers.readline()
        if not reply:
            raise click.ClickException(f"this ended without an answer, run it by itself: {self.command}")
        return json.loads(reply)

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()

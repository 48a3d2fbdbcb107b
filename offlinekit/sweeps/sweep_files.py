"""Files shared by processes that work on one sweep: claims, and a file a trial."""

from __future__ import annotations

import csv
import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from offlinekit.errors import FileFormatError
from offlinekit.io import atomic_write, read_small
from offlinekit.training.run_folder import write_json


@contextmanager
def claimed(path: Path, wait: bool = False) -> Iterator[bool]:
    """Yields whether this process has a claim alone; it ends with the block, or with the process.

    Args:
        path: Of the lock file.
        wait: Whether to wait until it is free.
    """
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def write_trial(folder: Path, trial: dict[str, Any]) -> None:
    """Writes what is known of a trial, atomically."""
    write_json(folder / "trials" / f"{trial['number']:06d}.json", trial)


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """Returns what is known of all trials, by number.

    Raises:
        FileFormatError: For a file that is none.
    """
    trials = []
    for path in sorted((folder / "trials").glob("*.json")):
        try:
            trial = json.loads(read_small(path))
        except FileFormatError:
            raise
        except (ValueError, RecursionError) as error:
            raise FileFormatError(
                f"{path} is not JSON ({error}); remove it to run the trial again"
            ) from error
        if not isinstance(trial, dict):
            raise FileFormatError(f"{path} describes no trial; remove it to run the trial again")
        trials.append(trial)
    return trials


def write_table(folder: Path, names: Sequence[str], trials: Sequence[dict[str, Any]]) -> None:
    """Writes results.csv: a row for each run of each trial."""
    head = ["trial", *names, "seed", "value", "state", "run", "error"]
    with atomic_write(folder / "results.csv") as beside, beside.open("w", newline="") as file:
        table = csv.DictWriter(file, head)
        table.writeheader()
        for trial in trials:
            own = {name: json.dumps(value) for name, value in trial["values"].items()}
            for run in trial["runs"]:
                table.writerow({"trial": trial["number"], "state": trial["state"], **own, **run})

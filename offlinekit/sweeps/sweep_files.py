"""Files shared by processes that work on one sweep: claims, and a file a trial."""

from __future__ import annotations

import csv
import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from offlinekit.errors import FileFormatError
from offlinekit.io import atomic_write
from offlinekit.metrics.reporting.markup import csv_text
from offlinekit.training import run_config
from offlinekit.training.run_config import REGISTERED, Check, is_number, is_object, is_text, is_whole
from offlinekit.training.run_folder import write_json

HASH = "dataset_hash"
"""Entry of plan.json that names what the data hold; earlier versions wrote none."""
STATES = ("running", "done", "failed")


def _is_run(value: object) -> bool:
    kinds: dict[str, Check] = {"seed": is_whole, "run": is_text, "value": is_number, "error": is_text}
    return is_object(value) and all(
        name in value and (fits(value[name]) or (value[name] is None and name != "seed"))
        for name, fits in kinds.items()
    )


PLAN: Mapping[str, tuple[Check, str]] = {
    "eval_env": REGISTERED,
    **dict.fromkeys(("algo", "dataset", "metric", "device", HASH), (is_text, "a text")),
    **dict.fromkeys(("vary", "set", "dataset_options"), (is_object, "an object")),
}
"""What plan.json may hold, beside the settings of a run."""
TRIAL: Mapping[str, tuple[Check, str]] = {
    "number": (is_whole, "a whole number"),
    "values": (is_object, "an object"),
    "value": (is_number, "a number"),
    "state": (lambda value: value in STATES, f"one of {STATES}"),
    "runs": (lambda value: isinstance(value, list) and all(map(_is_run, value)), "a list of runs"),
}
"""What the file of a trial may hold."""


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
        trial = run_config.read(path, TRIAL)
        inside = all(
            (folder / run["run"]).resolve().is_relative_to((folder / "runs").resolve())
            for run in trial.get("runs") or []
            if run["run"] is not None
        )
        named = path.stem == f"{trial.get('number') or 0:06d}"
        complete = all(trial.get(name) is not None for name in ("number", "values", "runs"))
        valued = trial.get("value") is None or (
            trial["runs"] and all(run["value"] is not None for run in trial["runs"])
        )
        if not (complete and inside and named and valued):
            raise FileFormatError(
                f"{path} describes no trial of this sweep; remove it to run the trial again"
            )
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
                row = {"trial": trial["number"], "state": trial["state"], **own, **run}
                table.writerow(
                    {name: csv_text(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
                )

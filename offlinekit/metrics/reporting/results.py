"""Results read from a run folder: its config, its machine, and every evaluated episode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offlinekit.datasets.fingerprint import distinct
from offlinekit.envs.evaluation import normalized_score
from offlinekit.errors import FileFormatError
from offlinekit.metrics.reporting.curves import (
    algo_of,
    options_of,
    read_column,
    read_config,
    read_each,
    read_table,
    setting_labels,
    settings_of_run,
)
from offlinekit.metrics.statistics.aggregates import Floats, score_of
from offlinekit.metrics.statistics.budget import Budget
from offlinekit.training import run_config


@dataclass(frozen=True)
class RunResult:
    """One run.

    Attributes:
        folder: Of the run.
        config: Its config.json: algorithm, hyperparameters, dataset with hash, seed.
        system: Its system.json: versions, device, command; empty where it is missing.
        steps: [E], updates taken before each evaluation; of an online run environment steps.
        returns: [E], mean return of each evaluation.
        times: [E], seconds of training before each evaluation.
        episodes: Of each evaluation the returns of its episodes [n]; empty for runs that kept none.
        start_values: [E], estimated value of the start states; NaN if the policy has none.
        updates: Taken in all.
        seconds: Of training in all.
    """

    folder: Path
    config: dict[str, Any]
    system: dict[str, Any]
    steps: Floats
    returns: Floats
    times: Floats
    episodes: tuple[Floats, ...]
    start_values: Floats
    updates: int
    seconds: float

    @property
    def is_evaluated(self) -> bool:
        """Whether the policy was ever evaluated in an environment."""
        return len(self.steps) > 0

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Of the algorithm and, if it went online, how."""
        return options_of(self.config)

    @property
    def settings(self) -> dict[str, Any]:
        """What its results depend on beside its data and its length: hyperparameters among them."""
        return settings_of_run(self.config)

    @property
    def is_online(self) -> bool:
        """Whether it acted in an environment and learned from that."""
        return bool(self.config.get("online"))

    @property
    def algo(self) -> str:
        """Name of the algorithm; one that went online is apart from what it was before."""
        return algo_of(self.config)

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        data = self.config["dataset"]
        return str(data["name"] if isinstance(data, dict) else data)

    @property
    def dataset_hash(self) -> str | None:
        """Hash of the data, see `fingerprint`; None for runs that did not note it."""
        data = self.config["dataset"]
        return data.get("hash") if isinstance(data, dict) else None

    @property
    def seed(self) -> int | None:
        """Seed of the run."""
        return self.config.get("seed")

    @property
    def budget(self) -> Budget:
        """Duration of the run."""
        each = int(self.config.get("eval_episodes") or 0)
        played = sum(map(len, self.episodes)) or each * len(self.steps)
        return Budget(1, self.updates, len(self.steps), played)

    def score(self, kind: str = "final") -> float:
        """Returns the mean return that counts for the run: of its last evaluation, or "best-over-training"."""
        return score_of(self.returns, kind)

    def normalized(self, kind: str = "final") -> float | None:
        """Returns the normalised score; None if the dataset has no reference returns."""
        pair = self.config.get("reference_scores")
        score = normalized_score(self.score(kind), tuple(pair) if pair else None)
        return None if score is None else float(score)


def read_run(folder: str | Path) -> RunResult:
    """Reads a run folder.

    Raises:
        FileNotFoundError: For a folder that is none of a run.
        ValueError: For a run that has logged nothing yet.
        FileFormatError: For files that are damaged.
    """
    folder = Path(folder)
    config = read_config(folder)
    if not config:
        raise FileNotFoundError(f"{folder} is no run folder: it has no config.json")
    logged = read_column(folder, "step", "time")
    updates = read_column(folder, "step", "updates" if config.get("online") else "step")[1]
    steps, returns = _read_if_there(folder, "eval/return_mean")
    values = dict(zip(*_read_if_there(folder, "eval/value_start"), strict=True))
    file = folder / "system.json"
    return RunResult(
        folder,
        config,
        run_config.read(file, run_config.SYSTEM) if file.is_file() else {},
        steps,
        returns,
        np.interp(steps, *logged),
        _read_episodes(folder / "returns.csv"),
        np.array([values.get(step, np.nan) for step in steps]),
        int(updates[-1]),
        float(logged[1][-1]),
    )


def read_runs(paths: Iterable[str | Path]) -> tuple[list[RunResult], list[str]]:
    """Returns the runs of paths, as `find_runs` finds them, and for each that cannot be read why it is left out.

    Raises:
        ValueError, OSError: For the first run or path, if none can be read.
    """
    folders, unread = read_each(map(Path, paths), lambda path: find_runs([path]))
    found = dict.fromkeys(folder for each in folders for folder in each)
    runs, damaged = read_each(found, read_run) if found else ([], [])
    return runs, [*unread, *damaged]


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """Returns the run folders among paths and one level below them; each once, in order.

    Raises:
        FileNotFoundError: For a path that is no run folder and holds none.
    """
    folders: dict[Path, None] = {}
    for path in map(Path, paths):
        inside = (
            [path]
            if (path / "config.json").is_file()
            else sorted(file.parent for file in path.glob("*/config.json"))
        )
        if not inside:
            raise FileNotFoundError(f"{path} is no run folder and holds none: expected a config.json")
        folders.update(dict.fromkeys(inside))
    return list(folders)


def by_group(runs: Sequence[RunResult]) -> dict[tuple[str, str], list[RunResult]]:
    """Returns {(dataset, algorithm): runs}, sorted by name, runs in the order of their seeds.

    Runs of one algorithm that differ in settings that change results are apart, and these named beside the algorithm.

    Raises:
        ValueError: If runs of one name learned from data that differ, or are normalised by other references.
    """
    labels = setting_labels([(run.algo, run.dataset) for run in runs], [run.settings for run in runs])
    groups: dict[tuple[str, str], list[RunResult]] = {}
    named = [(run.dataset, label, run) for label, run in zip(labels, runs, strict=True)]
    for dataset, label, run in sorted(named, key=lambda each: (*each[:2], each[2].seed or 0)):
        groups.setdefault((dataset, label), []).append(run)
    for name in {dataset for dataset, _ in groups}:
        hashes = distinct(run.dataset_hash for run in runs if run.dataset == name and run.dataset_hash)
        if len(hashes) > 1:
            raise ValueError(
                f"runs on {name!r} learned from {len(hashes)} different datasets of that name (their hashes differ); "
                "report them apart, or name the datasets apart"
            )
        references = {
            tuple(run.config.get("reference_scores") or ()) for run in runs if run.dataset == name
        } - {()}
        if len(references) > 1:
            raise ValueError(
                f"runs on {name!r} are normalised by {len(references)} different pairs of reference returns: "
                f"{', '.join(map(str, sorted(references)))}; report them apart, or train again with one of them"
            )
    return groups


def check_evaluated(runs: Iterable[RunResult]) -> None:
    """Checks that each run has a return.

    Raises:
        ValueError: For a run that was never evaluated in an environment.
    """
    if silent := [str(run.folder) for run in runs if not run.is_evaluated]:
        raise ValueError(
            f"expected runs that were evaluated in an environment, got {', '.join(silent)} without an evaluation; "
            "leave them out, or evaluate their policies by `offlinekit ope`"
        )


def score_matrix(groups: dict[tuple[str, str], list[RunResult]], algo: str, kind: str) -> Floats | None:
    """Returns the normalised scores [runs, tasks] of an algorithm on all datasets of the groups.

    With other numbers of runs on other datasets, the first of each, by seed, are taken.

    Returns:
        None if the algorithm lacks a dataset, or a dataset has no reference returns.
    """
    tasks = sorted({dataset for dataset, _ in groups})
    columns = [
        [run.normalized(kind) for run in groups.get((task, algo), ()) if run.is_evaluated] for task in tasks
    ]
    n = min(map(len, columns))
    if n == 0 or any(score is None for column in columns for score in column):
        return None
    return np.stack([np.array(column[:n], np.float64) for column in columns], axis=1)


def _read_if_there(folder: Path, y: str) -> tuple[Floats, Floats]:
    """Returns the steps and values of a column; both empty for a run that never measured it."""
    try:
        return read_column(folder, "step", y)
    except FileFormatError:
        raise
    except ValueError:
        return np.empty(0), np.empty(0)


def _read_episodes(path: Path) -> tuple[Floats, ...]:
    """Returns the returns of the episodes of each evaluation."""
    if not path.is_file():
        return ()
    returns_at: dict[int, list[float]] = {}
    try:
        for row in read_table(path)[1]:
            returns_at.setdefault(int(str(row["step"])), []).append(float(str(row["return"])))
    except (KeyError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{path} is damaged: {error!r}; expected the columns step and return"
        ) from error
    return tuple(np.array(returns) for _, returns in sorted(returns_at.items()))

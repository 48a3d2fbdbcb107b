"""Learning curves out of run folders: read, grouped by algorithm and dataset, put on common steps."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from offlinekit.errors import FileFormatError, OfflineKitError, did_you_mean
from offlinekit.training import manifest, run_config
from offlinekit.training.online.online_settings import BEGAN_WITH, OWN, OnlineSettings
from offlinekit.training.setup.settings import RunSettings, SharedSettings, result_names, settings_of

Floats: TypeAlias = npt.NDArray[np.float64]
Runs: TypeAlias = "Mapping[str, Iterable[str | Path]] | Iterable[str | Path]"

STEPS = {False: "updates", True: "environment steps"}
"""What steps count, by whether a run went online."""

POLICY = "first_policy"
"""Setting of an online run: the beginning of the hash of the policy that it began with."""
WEIGHTING = {"weights": "loss_weights", "priorities": "prioritised"}
"""Settings that may have no name, and the entries of a config that describe them then."""

T = TypeVar("T")


class Curve(NamedTuple):
    """One line of a plot."""

    label: str
    x: Floats  # [T], increasing.
    y: Floats  # [S, T], one row a seed.


def read_curves(runs: Runs, x: str = "step", y: str = "eval/return_mean") -> list[Curve]:
    """Reads one curve for each group of runs.

    Args:
        runs: {label: paths}, or paths of run folders, which are grouped by algorithm and dataset. A path is
            a run folder or a metrics.csv.
        x: Column of the horizontal axis; "time" puts the mean of each step at the mean time at which its runs took it.
        y: Column of the vertical axis; rows if it was not measured are left out.

    Raises:
        ValueError: For no runs, an unknown column, or runs of one group without a common stretch of x.
        FileFormatError: For a file that is no metrics table.
    """
    groups = _as_groups(runs)
    if not groups:
        raise ValueError("expected at least one run to plot, got none")
    read = _over_time if x == "time" else partial(_over_column, x)
    return [read(label, paths, y) for label, paths in groups.items()]


def read_each(paths: Iterable[Path], read: Callable[[Path], T]) -> tuple[list[T], list[str]]:
    """Returns what paths hold, and for each that cannot be read, or has nothing yet, why it is left out.

    Raises:
        OfflineKitError, ValueError, OSError: For the first path, if none can be read.
    """
    results: list[T] = []
    errors: list[tuple[Path, Exception]] = []
    for path in paths:
        try:
            results.append(read(path))
        except (OfflineKitError, ValueError, OSError) as error:
            errors.append((path, error))
    if errors and not results:
        raise errors[0][1]
    return results, [f"{path.name} is left out: {error}" for path, error in errors]


def readable_runs(runs: Runs, x: str, y: str) -> tuple[Runs, list[str]]:
    """Returns the runs of which columns can be read, labelled as they came, and why each of the others is left out.

    Args:
        runs: As `read_curves` takes them; of a folder of run folders those are taken.
        x: Column of the horizontal axis.
        y: Column of the vertical axis.

    Raises:
        ValueError, OSError: For the first run, if none can be read.
    """

    def tried(path: Path) -> Path:
        _read_names(path)
        read_column(path, "step" if x == "time" else x, y)
        return path

    if not isinstance(runs, Mapping):
        listed = [runs] if isinstance(runs, (str, Path)) else runs
        return read_each((run for path in map(Path, listed) for run in _inside(path)), tried)
    groups = {label: [Path(path) for path in group] for label, group in runs.items()}
    read, left_out = read_each(dict.fromkeys(path for group in groups.values() for path in group), tried)
    kept = {label: [path for path in group if path in read] for label, group in groups.items()}
    return {label: group for label, group in kept.items() if group}, left_out


def _inside(path: Path) -> list[Path]:
    """Returns the run folders in a folder that is none itself; any other path as it is."""
    runs = (
        [] if (path / "metrics.csv").exists() else sorted(file.parent for file in path.glob("*/config.json"))
    )
    return runs or [path]


def read_column(path: str | Path, x: str, y: str) -> tuple[Floats, Floats]:
    """Reads two columns of a run folder's metrics.csv; returns x [T], increasing, and y [T]."""
    path = Path(path)
    table = path / "metrics.csv" if path.is_dir() else path
    if not table.exists():
        raise FileNotFoundError(f"no metrics at {table}; expected a run folder with a metrics.csv")
    columns, rows = read_table(table)
    for name in (x, y):
        if name not in columns:
            raise ValueError(_unknown_column(table, name, columns))
    points = {}
    for row in rows:
        if row[x] and row[y]:
            points[_number(table, str(row[x]))] = _number(table, str(row[y]))
    if not points:
        raise ValueError(f"{table} holds no value of {y!r} yet")
    order = sorted(points)
    return np.array(order), np.array([points[step] for step in order])


def read_table(path: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """Returns the columns and rows of a CSV file of a run folder.

    Raises:
        FileFormatError: For a file that leads out of the folder, is not as its manifest says, or no table.
    """
    reader = csv.DictReader(io.StringIO(manifest.read_text(path), newline=""))
    try:
        return list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise FileFormatError(f"{path} is no table ({error}); restore it from a copy") from error


def _as_groups(runs: Runs) -> dict[str, list[Path]]:
    """Returns {label: paths}; runs of several datasets have the dataset in the label."""
    if isinstance(runs, Mapping):
        return {label: [Path(path) for path in paths] for label, paths in runs.items()}
    paths = [Path(path) for path in ([runs] if isinstance(runs, str | Path) else runs)]
    names = [_read_names(path) for path in paths]
    labels = setting_labels(names, [settings_of_run(read_config(path)) for path in paths])
    several = len({dataset for _, dataset in names}) > 1
    groups: dict[str, list[Path]] = {}
    for path, label, (_, dataset) in zip(paths, labels, names, strict=True):
        groups.setdefault(f"{label}, {dataset}" if several else label, []).append(path)
    return groups


def setting_labels(names: Sequence[tuple[str, str]], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a label for each run, by which runs of other settings are never taken for seeds of one.

    Args:
        names: (algorithm, dataset) of each run.
        settings: Of each run, as `settings_of_run` gives them; one that a run lacks may be any.

    Returns:
        The algorithm; if its runs on that dataset differ in settings other than the seed, with these:
        "IQL, expectile=0.9". Each seed may go online with a policy of its own, so policies are named only where
        one seed has several.
    """
    held: dict[tuple[str, str], dict[str, set[str]]] = {}
    for name, own in zip(names, settings, strict=True):
        for key, value in own.items():
            held.setdefault(name, {}).setdefault(key, set()).add(json.dumps(value, sort_keys=True))
    labels = []
    for name, own in zip(names, settings, strict=True):
        differing = [key for key in own if key not in ("seed", POLICY) and len(held[name][key]) > 1]
        labels.append(", ".join([name[0], *(f"{key}={own[key]}" for key in differing)]))
    begun: dict[tuple[str, str, Any], set[str]] = {}
    places = [
        (label, dataset, own.get("seed"))
        for label, (_, dataset), own in zip(labels, names, settings, strict=True)
    ]
    for place, own in zip(places, settings, strict=True):
        begun.setdefault(place, set()).update({own[POLICY]} if POLICY in own else ())
    several = {place[:2] for place, policies in begun.items() if len(policies) > 1}
    return [
        f"{label}, {POLICY}={own[POLICY]}" if place[:2] in several and POLICY in own else label
        for label, place, own in zip(labels, places, settings, strict=True)
    ]


def algo_of(config: Mapping[str, Any]) -> str:
    """Returns the algorithm of a run; one that went online is apart from what it was before."""
    return f"{config['algo']} online" if config.get("online") else str(config["algo"])


def options_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the hyperparameters of a run and, if it went online, how."""
    how = {name: config[name] for name in OWN if name in config} if config.get("online") else {}
    return {**(config.get("hyperparameters") or {}), **how}


def settings_of_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the results of a run depend on beside its data and its length; empty without a config.

    A setting that is younger than the run has its default. Without an environment, and for an online run of an earlier
    version without its first policy, these are left out, which makes the run differ from no other in them.
    """
    if not config:
        return {}
    record: type[SharedSettings] = OnlineSettings if config.get("online") else RunSettings
    known = settings_of(record)
    found = {name: config.get(name, known[name].default) for name in result_names(record)}
    for name, described in WEIGHTING.items():
        found[name] = found[name] or config.get(described)
    if config.get("env_id") or config.get("env_note"):
        found |= {"env_id": config.get("env_id") or config["env_note"]}
        found |= {"env_kwargs": config.get("env_kwargs") or {}}
    if BEGAN_WITH in config:
        begun = config[BEGAN_WITH] or {"updates": 0, "sha256": "none"}
        found |= {"began_after": begun["updates"], POLICY: begun["sha256"][:8]}
    return {**found, **options_of(config)}


def dataset_name(runs: Runs) -> str | None:
    """Returns the dataset that all runs were trained on; None if they differ or do not say."""
    paths = [path for group in _as_groups(runs).values() for path in group]
    names = {_read_names(path)[1] for path in paths}
    return names.pop() if len(names) == 1 else None


def step_name(runs: Runs) -> str:
    """Returns what the steps of runs count."""
    paths = [path for group in _as_groups(runs).values() for path in group]
    kinds = {bool(read_config(path).get("online")) for path in paths}
    return STEPS[kinds.pop()] if len(kinds) == 1 else f"{STEPS[False]} ({STEPS[True]} of online runs)"


def behaviour_return(runs: Iterable[str | Path]) -> float | None:
    """Returns the mean return of the data of all runs; None if they differ or do not say."""
    returns = {read_config(Path(path)).get("behaviour_return") for path in runs}
    shared = returns.pop() if len(returns) == 1 else None
    return None if shared is None else float(shared)


def _read_names(path: Path) -> tuple[str, str]:
    """Returns a run's algorithm and dataset; its folder's name if it has no config."""
    config = read_config(path)
    if not config:
        return path.name if path.is_dir() else path.parent.name, ""
    data = config["dataset"]
    return algo_of(config), data["name"] if isinstance(data, dict) else data


def read_config(path: Path) -> dict[str, Any]:
    """Returns the config.json beside a metrics.csv; empty if there is none."""
    file = (path if path.is_dir() else path.parent) / "config.json"
    if not file.is_file():
        return {}
    config = run_config.read(file, run_config.CONFIG)
    if config.get("algo") is None or config.get("dataset") is None:
        raise FileFormatError(f"{file} is not the config of a run: it names no algo and dataset")
    return config


def _over_column(x: str, label: str, paths: list[Path], y: str) -> Curve:
    return _common(label, [read_column(path, x, y) for path in paths])


def _over_time(label: str, paths: list[Path], y: str) -> Curve:
    """Returns the curve over steps, each step at the mean time at which the runs took it."""
    curve = _over_column("step", label, paths, y)
    times = [np.interp(curve.x, *read_column(path, "step", "time")) for path in paths]
    return curve._replace(x=np.mean(times, axis=0))


def _common(label: str, lines: list[tuple[Floats, Floats]]) -> Curve:
    """Interpolates lines at the union of their x, within the range that all of them cover."""
    low, high = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    if low > high:
        raise ValueError(
            f"the runs of {label!r} have no common stretch of steps, so no mean; plot them apart"
        )
    x = np.unique(np.concatenate([x for x, _ in lines]))
    x = x[(x >= low) & (x <= high)]
    return Curve(label, x, np.stack([np.interp(x, *line) for line in lines]))


def _number(table: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FileFormatError(f"{table} is damaged: expected a number, got {text!r}") from None


def _unknown_column(table: Path, name: str, columns: list[str]) -> str:
    hint = did_you_mean(name, columns) or f"; it has: {', '.join(columns)}"
    return f"{table} has no column {name!r}{hint}"

"""The folder of one run: config, system, metrics, checkpoints."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from offlinekit.errors import FileFormatError, TrainingError, WriteError
from offlinekit.ground.processor import processor_name
from offlinekit.io import atomic_write, reraise_as_write_error, sync_folder
from offlinekit.training import manifest, policy_file, run_config
from offlinekit.training.setup.settings import RunSettings, comparable

BITS = ("offlinekit", "torch", "numpy")
"""Packages whose version may change the numbers of a run."""

ROOMS = ("sampling", "nn", "training", "core", "algos")
"""Rooms whose code may change the numbers of a run."""

PACKAGES = ("offlinekit", "torch", "numpy", "gymnasium", "mujoco", "h5py", "safetensors")


def create(root: Path, algo: str, dataset: str, name: str | None = None) -> Path:
    """Makes runs/<algo>_<dataset>_<time>_<suffix>/, or <name>_<time>_<suffix>/, never one that exists."""
    title = f"{algo}_{_safe(dataset.replace('_', '-')) or 'dataset'}" if name is None else _safe(name)
    while True:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = root / f"{title}_{stamp}_{secrets.token_hex(3)}"
        try:
            with reraise_as_write_error(folder):
                root.mkdir(parents=True, exist_ok=True)
                folder.mkdir(exist_ok=False)
                (folder / "checkpoints").mkdir()
                sync_folder(root)
        except WriteError as error:
            if isinstance(error.__cause__, FileExistsError) and root.is_dir():
                continue
            raise
        return folder


def _safe(text: str) -> str:
    """Returns a text without what may not stand in the name of a folder."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "-", text).strip("-._")


def write_json(path: Path, data: Mapping[str, Any] | Sequence[Any]) -> None:
    """Writes JSON atomically."""
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(data, indent=2) + "\n")


def describe(folder: Path, config: dict[str, Any], system: dict[str, Any]) -> None:
    """Writes what a run is and where it runs."""
    write_json(folder / "config.json", config)
    write_json(folder / "system.json", system)
    manifest.write(folder)


def rewrite_config(folder: Path, config: dict[str, Any]) -> None:
    """Replaces what a run is, as it goes on with other settings."""
    write_json(folder / "config.json", config)
    manifest.write(folder)


def environment(device: torch.device) -> dict[str, Any]:
    """Returns what the bits of a run depend on beside its config and data."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        "versions": _versions(PACKAGES),
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "default dtype": str(torch.get_default_dtype()),
        "code": _code(),
        "device": str(device),
        "gpu": gpu,
    }


@cache
def _code() -> str:
    """Returns a hash of the code that takes updates, which separates states of the code under one version number."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(path for room in ROOMS for path in (package / room).rglob("*.py")):
        digest.update(f"{path.relative_to(package)} ".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Returns the versions of packages, of those that are installed."""
    versions = {}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


@cache
def _all_versions() -> dict[str, str]:
    """Returns the versions of everything that offlinekit needs or can use."""
    try:
        needed = metadata.requires("offlinekit") or []
    except metadata.PackageNotFoundError:
        needed = []
    names = {match.group() for text in needed if (match := re.match(r"[\w.-]+", text))}
    return _versions(tuple(sorted({*PACKAGES, *names})))


def warn_of_changes(folder: Path | None, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Warns if a run goes on under other conditions, so that its bits may differ."""
    changes = [
        f"{name} was {before[name]}, is {now.get(name)}"
        for name in before
        if name != "versions" and before[name] != now.get(name)
    ]
    old, new = before.get("versions", {}), now["versions"]
    changes += [
        f"{name} was {old.get(name)}, is {new.get(name)}"
        for name in BITS
        if old and old.get(name) != new.get(name)
    ]
    if changes:
        warnings.warn(
            f"{folder} goes on under other conditions than it was begun, so it may not be bit by bit the run that "
            f"it would have been: {'; '.join(changes)}",
            stacklevel=6,
        )


def system_info(seed: int, system: dict[str, Any]) -> dict[str, Any]:
    """Returns what a run's system.json holds: its environment and how it was started."""
    return {
        **system,
        "versions": _all_versions(),
        "cuda": torch.version.cuda,
        "platform": platform.platform(),
        "processor_count": os.cpu_count(),
        "seed": seed,
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns where the checkpoint of an update lies."""
    return folder / "checkpoints" / f"step_{step:09d}.okt"


def checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints of a run, oldest first."""
    return sorted((folder / "checkpoints").glob("step_*.okt"))


def common_steps(folders: Sequence[Path | None]) -> list[int | None]:
    """Returns the update that each of several runs goes on from, so that they go on together if they can.

    A process that was killed has saved some of its members an update before the others. Each run takes the oldest
    of the newest checkpoints of all runs that it holds one of too: its own newest, or one that the others reached.

    Args:
        folders: Of the runs; None for those that begin anew.
    """
    held = [
        set() if folder is None else {path.stem[len("step_") :] for path in checkpoints(folder)}
        for folder in folders
    ]
    newest = {max(steps) for steps in held if steps}
    return [int(min(newest & steps)) if steps else None for steps in held]


def latest_checkpoint(folder: Path) -> Path:
    """Returns the newest checkpoint of a run.

    Raises:
        FileNotFoundError: If the folder has none; says what a run folder is.
    """
    saved = checkpoints(folder)
    if not saved:
        raise FileNotFoundError(f"{folder} holds no checkpoints/step_*.okt; {_runs_within(folder)}")
    return saved[-1]


def _runs_within(folder: Path) -> str:
    """Returns the remedy for a folder that is no run, or saved nothing: one of the runs that it holds, if any."""
    if (folder / "config.json").is_file():
        return "its run failed or was stopped before the first one; start it again"
    runs = sorted(folder.glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        return "give the folder of a run, runs/<name>"
    if len(runs) == 1:
        return f"it holds one run, give that: {runs[0].parent}"
    return f"it holds {len(runs)} runs, give one of them: {runs[-1].parent} is the newest"


def newest_sound(folder: Path, step: int | None = None) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
    """Reads the newest checkpoint of a run that is not damaged, and warns if that is not the newest of all.

    Args:
        folder: Of the run.
        step: Update of the checkpoint to begin with; None for the newest.

    Returns:
        Its path, header and tensors, on the CPU.

    Raises:
        FileNotFoundError: If the folder has none.
        FileFormatError: If all of them are damaged.
    """
    newest = latest_checkpoint(folder) if step is None else checkpoint_path(folder, step)
    older = [path for path in checkpoints(folder) if path < newest]
    try:
        return newest, *policy_file.read(newest, torch.device("cpu"))
    except FileFormatError as error:
        for path in reversed(older):
            with suppress(FileFormatError):
                content = policy_file.read(path, torch.device("cpu"))
                warnings.warn(f"{error}; going on from {path.name}, the one before", stacklevel=5)
                return path, *content
        raise


def policy_of(folder: Path) -> Path:
    """Returns the last policy of a run folder, or its newest sound checkpoint if it is not finished.

    Raises:
        FileNotFoundError: If the folder has neither.
        FileFormatError: For a link out of the folder, or if all checkpoints are damaged.
    """
    finished = is_finished(folder)
    for path in [folder / "policy.okt"] if finished else checkpoints(folder):
        manifest.check_inside(path)
    return folder / "policy.okt" if finished else newest_sound(folder)[0]


def prune(folder: Path, keep: int, step: int) -> None:
    """Removes checkpoints beyond the newest few, and parts of some that a killed process left.

    Args:
        folder: Of the run.
        keep: How many stay.
        step: Of the newest; those of later updates were damaged, and the run went on from one before them.
    """
    newest, earlier = checkpoint_path(folder, step), checkpoints(folder)
    later = [path for path in earlier if path > newest]
    earlier = [path for path in earlier if path <= newest]
    for old in [*earlier[:-keep], *later, *(folder / "checkpoints").glob(".step_*.tmp")]:
        old.unlink(missing_ok=True)


def is_finished(folder: Path) -> bool:
    """Returns whether a run has come to its end."""
    return (folder / "policy.okt").is_file()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a run folder for this process; a process that ends in any way unlocks it.

    Raises:
        FileNotFoundError: If there is no such folder.
        TrainingError: If another process trains in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no run folder {folder}; give one that a run has made, such as runs/<name>"
        )
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"another process trains in {folder}; wait for it, or begin a new run"
            ) from None
        yield


def find(
    root: Path,
    config: dict[str, Any],
    apart: Sequence[str],
    finished: bool,
    taken: Sequence[Path | None],
    migrate: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    record: type[Any] = RunSettings,
) -> Path | None:
    """Returns the run of a config that went on last and has no process; None without one.

    Args:
        root: Folder of run folders.
        config: Of the run to look for.
        apart: Entries of it that may differ.
        finished: Whether it has come to its end.
        taken: Runs to leave out.
        migrate: Config of a run as an earlier version wrote it -> as this one would.
        record: Where its settings are declared.
    """
    wanted = _comparable(config, apart, record)
    folders = []
    for path in root.glob("*/config.json"):
        folder = path.parent
        if folder in taken or is_finished(folder) is not finished or not checkpoints(folder):
            continue
        try:
            alike = _comparable(migrate(read_config(folder)), apart, record) == wanted
            with locked(folder):
                pass
        except (FileFormatError, TrainingError):
            continue
        if alike:
            folders.append(folder)
    return max(folders, key=lambda folder: checkpoints(folder)[-1].stat().st_mtime_ns, default=None)


def _comparable(config: dict[str, Any], apart: Sequence[str], record: type[Any]) -> dict[str, Any]:
    plain = json.loads(json.dumps(config))
    kept = {name: value for name, value in comparable(plain, record).items() if name not in apart}
    if isinstance(kept.get("hyperparameters"), dict):
        kept["hyperparameters"] = {k: v for k, v in kept["hyperparameters"].items() if k not in apart}
    return kept


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the config of a run.

    Raises:
        FileNotFoundError: If there is no such run.
        FileFormatError: For a config that is damaged, or none of a run.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no run folder: it has no config.json; {_runs_within(folder)}")
    return run_config.read(path, run_config.CONFIG)

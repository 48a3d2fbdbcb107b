"""Finds the run to go on with, and brings an algorithm to its newest checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offlinekit.datasets.fingerprint import same_data
from offlinekit.envs.env_facts import ENV_FACTS, differ_in_wrappers
from offlinekit.errors import DatasetError
from offlinekit.fields import Steps, checked
from offlinekit.interfaces import Trainable
from offlinekit.training import policy_file, run_folder
from offlinekit.training.run import nothing_left
from offlinekit.training.setup.settings import EARLIER, RunSettings, SharedSettings, result_names

Record = type[SharedSettings]
WEIGHTING = ("loss_weights", "prioritised")
"""Entries of a config that describe the settings `weights` and `priorities`."""
ALONE = "load its newest checkpoint with offlinekit.load"
"""What else there is to do, beside going on with the same; an action follows."""
CALLS = {True: "fit_online(env, n_steps, resume=...)", False: "fit(dataset, n_steps, resume=...)"}
"""The call that goes on with a run, by whether it went online."""


def resume(algo: Trainable, folder: Path, step: int | None = None, online: bool = False) -> dict[str, Any]:
    """Restores an algorithm from the newest checkpoint of a run and returns the run's state.

    Args:
        algo: What goes on.
        folder: Of the run.
        step: Of the checkpoint, or None for the newest.
        online: Whether it goes on as an online run.

    Raises:
        FileNotFoundError: If the folder holds no checkpoint.
        FileFormatError: If all of them are damaged.
        ValueError: If the run has another class or other hyperparameters, or goes on by another call.
    """
    path, header, tensors = run_folder.newest_sound(folder, step)
    with policy_file.refused(path):
        state = _checked_state(header["run"])
    if was_online(state) is not online:
        raise ValueError(
            f"{folder} is a run of another call: go on with it by {CALLS[not online]}; or take its policy alone, "
            f"algo = offlinekit.load({str(folder)!r}), and begin a new run"
        )
    others = differing(algo, header["config"])
    if header["algo"] != type(algo).__name__ or others:
        raise ValueError(
            f"{folder} is a run of {header['algo']} with other {others or 'hyperparameters'}; "
            "resume with the same ones, or load the checkpoint with offlinekit.load and call fit"
        )
    algo.begin_anew(header["config"])
    algo.restore(path, header, tensors)
    return state


def differing(algo: Trainable, config: Mapping[str, Any]) -> list[str]:
    """Returns the hyperparameters that an algorithm has otherwise than the config of a run, whose seed it takes."""
    begun = algo.migrated(config)
    own = {**algo.config, "seed": begun["seed"]}
    return sorted(k for k, v in begun.items() if _as_json(own.get(k)) != _as_json(v))


def _checked_state(state: dict[str, Any]) -> dict[str, Any]:
    """Returns the state of a run once its entries are of their kinds; a file may hold any others."""
    kinds: dict[str, Any] = {"start": int, "elapsed": (int, float), "history": list, "engine": dict}
    for name, kind in kinds.items():
        if not isinstance(state[name], kind):
            raise TypeError(f"{name} of its run is a {type(state[name]).__name__}")
    checked("schedule_start", state.get("schedule_start", 0), Steps)
    for row in state["history"]:
        checked("step", row["step"], Steps)
    return state


def was_online(state: Mapping[str, Any]) -> bool:
    """Returns whether the state of a checkpoint is that of an online run, which counts environment steps."""
    return "acted" in state


def check_length(algo: Trainable, folder: Path, state: Mapping[str, Any], n_steps: int) -> None:
    """Checks that a run has not gone beyond its new length; at its end it may be, since a killed one only has to end.

    Args:
        algo: At the checkpoint that it goes on from.
        folder: Of the run.
        state: Of the run.
        n_steps: Of the whole run, environment steps if it went online.

    Raises:
        ValueError: For a length below what it has taken.
    """
    reached, unit = (state["acted"], "step") if was_online(state) else (algo.grad_step, "update")
    if (done := reached - state["start"]) > n_steps:
        raise nothing_left(str(folder), done, n_steps, unit)


def compare_config(
    algo: Trainable, folder: Path, config: dict[str, Any], record: Record = RunSettings
) -> dict[str, Any] | None:
    """Compares what a run was with what it goes on as.

    Args:
        algo: At the checkpoint that it goes on from.
        folder: Of the run.
        config: What it goes on as.
        record: Where its settings are declared.

    Returns:
        What config.json is to say once it goes on, which notes what was otherwise; None if nothing was.

    Raises:
        DatasetError: For other data than those that the run has learned from, or another environment.
    """
    if not (folder / "config.json").is_file():
        warnings.warn(
            f"{folder} has no config.json any more, so that nothing says whether it has learned from "
            f"{config['dataset']['name']!r}; go on only if it has",
            stacklevel=5,
        )
        return None
    before, now = run_folder.read_config(folder), _as_json(config)
    refuse_other_data(folder, before, now)
    refuse_other_environment(folder, before, now)
    names = ("n_steps", *result_names(record))
    changed = {name: before[name] for name in names if name in before and before[name] != now.get(name)}
    others = (*WEIGHTING, *_judged_otherwise(before, now))
    changed |= {name: before.get(name) for name in others if before.get(name) != now.get(name)}
    if not changed:
        return None
    if weighting := [name for name in WEIGHTING if name in changed]:
        warnings.warn(
            f"{folder} goes on with other {' and '.join(weighting)} of its rows than it was begun with; "
            "its config.json says until when",
            stacklevel=5,
        )
    if "n_steps" in changed and any(o.schedule != "constant" for o in algo.impl.objectives):
        warnings.warn(
            f"{folder} was begun with n_steps={changed['n_steps']} and goes on with {now['n_steps']}: learning rates "
            "follow another schedule from here on",
            stacklevel=5,
        )
    earlier = [*before.get(EARLIER, []), {"until": algo.grad_step, **changed}]
    return {**before, **{name: now.get(name) for name in changed}, EARLIER: earlier}


def _judged_otherwise(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns the entries of where and by what a run is judged that may have changed.

    A run that goes on without its environment keeps what names it. Metrics are in the config of the command line alone.
    """
    was, is_now = ((c.get("env_id"), c.get("env_note"), c.get("env_kwargs") or {}) for c in (before, now))
    had_gone = before.get("env_id") and before.get("eval_env") == "none"
    names = ["metrics"] if now.get("metrics") else []
    if now.get("online") or was != is_now or had_gone:
        names.append("eval_env")
    if was != is_now and any(is_now[:2]):
        names += ENV_FACTS
    return names


def refuse_other_data(
    folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], otherwise: str = ALONE
) -> None:
    """Refuses data of another hash; a run without one is not compared, one of an earlier version by its form of it."""
    old, new = ((each.get("dataset") or {}).get("hash") for each in (before, now))
    if old and new and not same_data(old, new):
        raise DatasetError(
            f"{folder} has learned from other data than {now['dataset']['name']!r} (hashes {old} and {new}); "
            f"resume with the same data, or {otherwise} and call fit"
        )


def refuse_other_environment(
    folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], otherwise: str = ALONE
) -> None:
    """Refuses to go on in another environment; without one there are no spaces, and a run may go on with or without.

    If its wrappers alone are others, and the spaces are not, it warns: what was wrong may have been mended there.
    """
    if not before.get("env_spaces") or not now.get("env_spaces"):
        return
    changes = [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in ENV_FACTS
        if before.get(name) != now.get(name)
    ]
    if changes and differ_in_wrappers(before, now):
        was, is_now = (facts.get("env_note") or facts.get("env_id") for facts in (before, now))
        warnings.warn(
            f"{folder} was begun in {was} and goes on in {is_now}, with the same spaces: its figures are of both from "
            "here on",
            stacklevel=6,
        )
    elif changes:
        raise DatasetError(
            f"{folder} was begun with another environment: {'; '.join(changes)}; resume with the same one, or "
            f"{otherwise} and begin a run"
        )


def find_run(
    algo: Trainable,
    out: Path | None,
    config: dict[str, Any],
    finished: bool = False,
    taken: Sequence[Path | None] = (),
    record: Record = RunSettings,
) -> Path | None:
    """Returns the run folder in `out` that a run of this config would go on with, or None.

    Args:
        algo: What would go on.
        out: Folder of run folders.
        config: Of the run.
        finished: Whether to look for one that has come to its end.
        taken: Runs to leave out.
        record: Where its settings are declared.

    Raises:
        ValueError: Without a folder to look in.
    """
    if out is None:
        raise ValueError("resume='auto' looks for runs in the folder `out`; give out='runs'")
    apart = ("seed",) if algo.seed_was_drawn else ()

    def migrated(found: dict[str, Any]) -> dict[str, Any]:
        own = found.get("algo") == config["algo"] and isinstance(found.get("hyperparameters"), dict)
        if not own:
            return found
        hyperparameters = algo.migrated(found["hyperparameters"])
        return {**found, "hyperparameters": hyperparameters, "dataset": _named_anew(found, config)}

    return run_folder.find(out, config, apart, finished, taken, migrated, record)


def _named_anew(found: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Returns what the config of a run says of its data, by the hash of another config if both are of the same."""
    data, wanted = found.get("dataset"), config["dataset"].get("hash")
    if not isinstance(data, dict) or not data.get("hash") or not wanted:
        return data
    return {**data, "hash": wanted} if same_data(data["hash"], wanted) else data


def _as_json(value: Any) -> Any:
    """Returns a value as it comes back from JSON."""
    if isinstance(value, Mapping):
        return {key: _as_json(part) for key, part in value.items()}
    return [_as_json(part) for part in value] if isinstance(value, (tuple, list)) else value

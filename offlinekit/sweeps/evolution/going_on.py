"""Compares an evolution with its folder before it goes on, and reads its members."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from offlinekit.core.algo import Algo
from offlinekit.errors import FileFormatError
from offlinekit.io import read_small
from offlinekit.metrics.reporting.lineage import Lineage
from offlinekit.nn.encoders import CNNEncoder, MLPEncoder
from offlinekit.training import run_folder
from offlinekit.training.setup.resuming import (
    differing,
    refuse_other_data,
    refuse_other_environment,
)
from offlinekit.training.setup.settings import EARLIER

CONFIG = "evolution.json"
SAME = ("scheduler", "fitness", "steps")
"""What a run that goes on may not change, beside data, environment and members."""
MOVABLE = (MLPEncoder, CNNEncoder)
"""Encoders whose layers mutations change; files hold these whole."""
ALONE = "load a member with offlinekit.load"
REMEDY = "go on with members as they were given, or begin a new run"
LIMITS = ("generations", "target", "budget")
"""What it may change; its evolution.json notes what was before."""


def compared(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a run was begun with, once it is known that it goes on with the same.

    Args:
        folder: Of the run.
        config: What it goes on as.

    Raises:
        ValueError: For another scheduler or fitness, or other numbers of updates.
        DatasetError: For other data than those that the run has learned from, or another environment.
        FileFormatError: If its evolution.json is damaged.
    """
    now = json.loads(json.dumps(config))
    try:
        before = json.loads(read_small(folder / CONFIG))
        earlier = {
            **before,
            "dataset": _data_of(before),
            "members": [dict(each) for each in before["members"]],
            EARLIER: list(before.get(EARLIER, [])),
        }
        kept = {name: _common(name, earlier, now) for name in SAME}
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise FileFormatError(f"{folder / CONFIG} is damaged ({error}); restore it from a copy") from error
    for name, (old, new) in kept.items():
        _refuse(folder, name, old, new)
    refuse_other_data(folder, earlier, now, ALONE)
    if not earlier["dataset"].get("hash"):
        _refuse(folder, "dataset", earlier["dataset"]["name"], now["dataset"]["name"])
    refuse_other_environment(folder, earlier, now, ALONE)
    return earlier


def _refuse(folder: Path, name: str, old: object, new: object) -> None:
    if old != new:
        raise ValueError(
            f"{folder} ran with {name}={old!r}, not {new!r}; go on with the same, or begin a new run"
        )


def _data_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a config says of the data; before there was a hash it said their name alone."""
    data = config["dataset"]
    return {"name": data} if isinstance(data, str) else {"name": None, **data}


def _common(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[object, object]:
    """Returns an entry of two configs without what one of them does not know, since it is of another version.

    An environment is known by its facts where both have them, whether a name or an object gave it.
    """
    old, new = before[name], now[name]
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return old, new
    apart = {"env"} if before.get("env_spaces") and now.get("env_spaces") else set()
    known = [key for key in old if key in new and key not in apart]
    return {key: old[key] for key in known}, {key: new[key] for key in known}


def restored(
    folder: Path,
    lineage: Lineage,
    members: Sequence[Algo],
    begun: Sequence[Mapping[str, Any]],
    searched: Collection[str],
) -> list[Algo]:
    """Returns the members of the last generation of a lineage.

    Args:
        folder: Of the run.
        lineage: Up to that generation.
        members: As they are given; factories, which files do not hold, are theirs.
        begun: Configs of the members that the run began with; those given must be these, or those of the generation.
        searched: Hyperparameters that may differ.

    Raises:
        FileFormatError: If a member is missing or damaged.
        ValueError: If a member has other hyperparameters, or is of another class.
    """
    held = []
    for place, (member, before) in enumerate(zip(members, begun, strict=True)):
        if before.get("algo") != type(member).__name__:
            raise ValueError(
                f"member {place} of {folder} is of {before.get('algo')}, not of {type(member).__name__}; {REMEDY}"
            )
        path = place_of(folder, lineage.last) / f"member_{place:02d}.okt"
        if not path.is_file():
            raise FileFormatError(f"{path} is missing; go on from another generation by from_generation=")
        first = members[_first_of(lineage, place) % len(members)]
        algo = type(first).load(
            path, device=member.device, impl_class=first.impl_class, **_own_encoders(first)
        )
        if others := _others(folder, member, before, algo) - {*searched}:
            raise ValueError(
                f"member {place} of {folder} was begun with other {', '.join(sorted(others))}; {REMEDY}"
            )
        held.append(algo)
    return held


def place_of(folder: Path, number: int) -> Path:
    """Returns the folder of a generation."""
    return folder / "generations" / f"{number:06d}"


def _others(folder: Path, member: Algo, before: Mapping[str, Any], held: Algo) -> set[str]:
    """Returns the hyperparameters of a given member that neither the first nor the last member of its place had."""
    config = {name: value for name, value in before.items() if name != "algo"}
    try:
        return {*differing(member, config)} & {*differing(member, held.config)}
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise FileFormatError(f"{folder / CONFIG} is damaged ({error}); restore it from a copy") from error


def _first_of(lineage: Lineage, place: int) -> int:
    """Returns the place in the first generation whose class and encoders a member of the last one has."""
    parents = {(row.generation, row.member): row.parent for row in lineage.rows}
    for number in range(lineage.last, 1, -1):
        parent = parents.get((number, place))
        place = place if parent is None else parent  # One that began anew has the encoders of its place.
    return place


def _own_encoders(algo: Algo) -> dict[str, Any]:
    """Returns the encoders that files name alone, such as factories; no mutation changes them."""
    values = {field.name: getattr(algo, field.name) for field in dataclasses.fields(algo)}
    plain = (str, Mapping, list, tuple, type(None))
    return {
        name: value
        for name, value in values.items()
        if name.endswith("encoder") and not isinstance(value, plain) and type(value) not in MOVABLE
    }


def note(folder: Path, before: Mapping[str, Any], config: Mapping[str, Any], number: int) -> None:
    """Writes limits that a run goes on with into its evolution.json, and until when it had others.

    Args:
        folder: Of the run.
        before: As `compared` returns it.
        config: What it goes on as.
        number: Of the generation that it goes on from.
    """
    changed = {name: before.get(name) for name in LIMITS if before.get(name) != config[name]}
    if changed:
        earlier = [*before[EARLIER], {"until": number, **changed}]
        now = {name: config[name] for name in LIMITS}
        run_folder.write_json(folder / CONFIG, {**before, **now, EARLIER: earlier})

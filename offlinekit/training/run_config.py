"""What config.json and system.json of a run may hold; a run folder may come from anybody."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from gymnasium.envs.registration import registry

from offlinekit.errors import FileFormatError
from offlinekit.training import manifest

Check = Callable[[object], bool]


def is_text(value: object) -> TypeGuard[str]:
    """Returns whether a value of a file is a text."""
    return isinstance(value, str)


def is_whole(value: object) -> bool:
    """Returns whether it is a whole number, of 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64


def is_number(value: object) -> bool:
    """Returns whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_pair(value: object) -> TypeGuard[list[Any]]:
    """Returns whether it is a list of two numbers."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Returns whether it is an object."""
    return isinstance(value, dict)


def is_first_policy(value: object) -> bool:
    """Returns whether it is what an online run notes of the policy that it began with."""
    return isinstance(value, dict) and is_whole(value.get("updates")) and is_text(value.get("sha256"))


def is_dataset(value: object) -> bool:
    """Returns whether it names a dataset."""
    if not isinstance(value, dict):
        return is_text(value)
    texts = all(value.get(key) is None or is_text(value[key]) for key in ("hash", "source"))
    return texts and is_text(value.get("name")) and is_object(value.get("options", {}))


def is_known_environment(value: object) -> bool:
    """Returns whether a name, without the module that gymnasium would import for it, is one that it knows then."""
    return is_text(value) and (":" not in value or value.rpartition(":")[2] in registry)


REGISTERED = (is_known_environment, "an environment that is registered: a file has no module imported")
"""Of each entry that names an environment."""
ENVIRONMENTS = ("env_id", "eval_env")
CONFIG: Mapping[str, tuple[Check, str]] = {
    "algo": (is_text, "a name"),
    "dataset": (is_dataset, "a name, or an object with one"),
    "hyperparameters": (is_object, "an object"),
    "seed": (is_whole, "a whole number"),
    "n_steps": (is_whole, "a whole number"),
    "eval_episodes": (is_whole, "a whole number"),
    "reference_scores": (is_pair, "two numbers"),
    "behaviour_return": (is_number, "a number"),
    "env_id": REGISTERED,
    "eval_env": REGISTERED,
    "env_kwargs": (is_object, "an object"),
    "began_with": (is_first_policy, "an object of updates and a sha256"),
    "metrics": (lambda value: isinstance(value, list) and all(map(is_text, value)), "names"),
}
"""Entries that other commands read: what they must be, where they are there and not null."""
SYSTEM: Mapping[str, tuple[Check, str]] = {
    "versions": (lambda value: is_object(value) and all(map(is_text, value.values())), "names of versions"),
}


def read(path: Path, entries: Mapping[str, tuple[Check, str]]) -> dict[str, Any]:
    """Returns the object that a JSON file of a run folder holds.

    Args:
        path: Of the file.
        entries: What some of its entries must be.

    Raises:
        FileFormatError: For a file that leads out of the folder, is not as its manifest says or no JSON object, and
            for an entry of another kind.
    """
    text = manifest.read_text(path)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is not JSON ({error}); restore it from a copy") from error
    if not isinstance(config, dict):
        raise FileFormatError(f"{path} is not of a run: it must hold an object, got {type(config).__name__}")
    return checked(config, entries, f"{path} is not of a run:", "restore it from a copy")


def checked(
    found: Mapping[str, Any], entries: Mapping[str, tuple[Check, str]], where: str, remedy: str
) -> dict[str, Any]:
    """Returns the entries of a file, environments without a module.

    Args:
        found: The file's object.
        entries: What some of its entries must be, where they are there and not null.
        where: Begins the message of an error.
        remedy: Ends it.

    Raises:
        FileFormatError: For an entry of another kind.
    """
    for name, (fits, wanted) in entries.items():
        if found.get(name) is not None and not fits(found[name]):
            raise FileFormatError(f"{where} its {name} must be {wanted}, got {found[name]!r:.100}; {remedy}")
    named = {
        name: found[name].rpartition(":")[2] for name in ENVIRONMENTS if found.get(name) and name in entries
    }
    return {**found, **named}

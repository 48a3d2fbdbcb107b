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


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_pair(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_dataset(value: object) -> bool:
    if not isinstance(value, dict):
        return _is_text(value)
    texts = all(value.get(key) is None or _is_text(value[key]) for key in ("hash", "source"))
    return texts and _is_text(value.get("name")) and _is_object(value.get("options", {}))


def _is_known_environment(value: object) -> bool:
    """Returns whether a name, without the module that gymnasium would import for it, is one that it knows then."""
    return _is_text(value) and (":" not in value or value.rpartition(":")[2] in registry)


ENVIRONMENTS = ("env_id", "eval_env")
CONFIG: Mapping[str, tuple[Check, str]] = {
    "algo": (_is_text, "a name"),
    "dataset": (_is_dataset, "a name, or an object with one"),
    "hyperparameters": (_is_object, "an object"),
    "seed": (_is_whole, "a whole number"),
    "n_steps": (_is_whole, "a whole number"),
    "eval_episodes": (_is_whole, "a whole number"),
    "reference_scores": (_is_pair, "two numbers"),
    "behaviour_return": (_is_number, "a number"),
    "env_id": (_is_known_environment, "an environment that is registered: a file has no module imported"),
    "eval_env": (_is_known_environment, "an environment that is registered: a file has no module imported"),
    "env_kwargs": (_is_object, "an object"),
    "metrics": (lambda value: isinstance(value, list) and all(map(_is_text, value)), "names"),
}
"""Entries that other commands read: what they must be, where they are there and not null."""
SYSTEM: Mapping[str, tuple[Check, str]] = {
    "versions": (lambda value: _is_object(value) and all(map(_is_text, value.values())), "names of versions"),
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
    for name, (fits, wanted) in entries.items():
        if config.get(name) is not None and not fits(config[name]):
            raise FileFormatError(
                f"{path} is not of a run: its {name} must be {wanted}, got {config[name]!r:.100}; restore it "
                "from a copy"
            )
    named = {
        name: config[name].rpartition(":")[2] for name in ENVIRONMENTS if config.get(name) and name in entries
    }
    return {**config, **named}

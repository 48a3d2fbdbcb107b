"""Features of steps as TensorFlow Datasets records them, and what its `features.json` states of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from offlinekit.datasets.formats.images import are_images, channels_first, decoded
from offlinekit.datasets.formats.json_files import read_object
from offlinekit.datasets.formats.protobuf import Feature
from offlinekit.errors import FileFormatError
from offlinekit.types import Array


class Stated(NamedTuple):
    """What is stated of one feature of a step."""

    shape: tuple[int, ...]  # Of a step; -1 where it varies.
    dtype: str


def read_features(folder: Path) -> dict[str, Stated]:
    """Returns what is stated of the features of steps, by names such as "observation/state"; nothing without the file.

    Raises:
        FileFormatError: For a file that describes no features.
    """
    path = folder / "features.json"
    if not path.is_file():
        return {}
    features: dict[str, Stated] = {}
    try:
        _walk(read_object(path), "", features)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path} describes no features ({error!r}); fetch it again") from error
    return {
        name.removeprefix("steps/"): stated for name, stated in features.items() if name.startswith("steps/")
    }


def _walk(node: dict[str, Any], name: str, found: dict[str, Stated]) -> None:
    if "featuresDict" in node:
        for key, part in node["featuresDict"]["features"].items():
            _walk(part, f"{name}/{key}".lstrip("/"), found)
    elif "sequence" in node:
        _walk(node["sequence"]["feature"], name, found)
    else:
        kind: dict[str, Any] = next(
            (node[kind] for kind in ("tensor", "image", "scalar", "text") if kind in node), {}
        )
        sizes = [int(size) for size in kind.get("shape", {}).get("dimensions", [])]
        found[name] = Stated(tuple(sizes), str(kind.get("dtype", "")))


def array_of(
    values: Feature | list[Feature], n_steps: int, stated: Stated | None, place: str
) -> Array | None:
    """Returns a feature [T, ...], or None for texts and for steps of varying size.

    Args:
        values: All steps as one feature, or a feature for each.
        n_steps: T.
        stated: Of a step, if it is stated.
        place: Of the feature, for messages.

    Raises:
        FileFormatError: For numbers that do not fit the steps, and damaged images.
    """
    joined = _joined(values, n_steps, place)
    if isinstance(joined, list):
        return decoded(joined, place) if len(joined) == n_steps and are_images(joined) else None
    return None if joined is None else _shaped(joined, n_steps, stated, place)


def _joined(values: Feature | list[Feature], n_steps: int, place: str) -> Feature | None:
    """Returns all steps of a feature as one, or None if they vary in size."""
    if isinstance(values, np.ndarray):
        return values
    steps = [value for value in values if not isinstance(value, bytes)]
    if not steps:
        return [value for value in values if isinstance(value, bytes)]
    if len(steps) != n_steps:
        raise FileFormatError(f"{place} has {len(steps)} steps, expected {n_steps}")
    if len({len(step) for step in steps}) > 1:
        return None
    arrays = [step for step in steps if isinstance(step, np.ndarray)]
    return np.concatenate(arrays) if arrays else [value for step in steps for value in step]


def _shaped(values: Array, n_steps: int, stated: Stated | None, place: str) -> Array:
    shape = (-1,) if stated is None or -1 in stated.shape else stated.shape
    if n_steps == 0 or len(values) % n_steps:
        raise FileFormatError(
            f"{place} has {len(values)} numbers for {n_steps} steps; is it one of varying size?"
        )
    try:
        array = values.reshape(n_steps, *shape)
    except ValueError as error:
        raise FileFormatError(
            f"{place} does not fit the shape {list(shape)} that features.json states"
        ) from error
    if stated is not None and stated.dtype == "uint8":
        array = array.astype(np.uint8)
    return array[:, 0] if stated is None and array.shape[1] == 1 else channels_first(array)

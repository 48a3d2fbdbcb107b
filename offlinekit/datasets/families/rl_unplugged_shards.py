"""Shards of RL Unplugged, shared by its readers: their places, and episodes of control tasks as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from offlinekit.datasets.download import data_root, download
from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.formats.protobuf import Feature, parse_example
from offlinekit.datasets.formats.tfrecord import is_tfrecord, read_examples, read_parsed
from offlinekit.errors import FileFormatError
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

BUCKET = "https://storage.googleapis.com/rl_unplugged"
JOIN_AT = 4096
"""Parts that are kept apart before they are joined."""
Tree: TypeAlias = "dict[str, Any]"


def shard_name(prefix: str, shard: int, n_shards: int) -> str:
    """Returns the path of a shard in the bucket.

    Raises:
        ValueError: For a shard that is not there.
    """
    if not 0 <= shard < n_shards:
        raise ValueError(f"shard must be in [0, {n_shards}), got {shard}")
    return f"{prefix}-{shard:05d}-of-{n_shards:05d}"


def fetch(name: str) -> Path:
    """Returns a file of the bucket, downloaded to the same path under `data_root()`/rl_unplugged.

    Raises:
        DownloadError: If it cannot be fetched; says where to put it.
    """
    return download(f"{BUCKET}/{name}", data_root() / "rl_unplugged" / name, check=check_records)


def check_records(path: Path) -> None:
    """Raises FileFormatError for a file that is no TFRecord."""
    if not is_tfrecord(path):
        raise FileFormatError(f"{path} does not begin as a TFRecord")


def has_features(path: Path, *names: str) -> bool:
    """Returns whether the first Example of a file has these features."""
    if not is_tfrecord(path):
        return False
    try:
        first = next(iter(read_examples(path)), None)
    except FileFormatError:
        return False
    return first is not None and all(name in first[1] for name in names)


def number(features: dict[str, Feature], name: str) -> Array:
    """Returns a feature that must be a list of numbers.

    Raises:
        FileFormatError: If it is missing or something else.
    """
    values = features.get(name)
    if not isinstance(values, np.ndarray):
        names = ", ".join(sorted(features))
        raise FileFormatError(f"expected the numbers {name!r} in each Example, got those of {names}")
    return values


def steps(features: dict[str, Feature], name: str, n_steps: int) -> Array:
    """Returns a feature of numbers as [n_steps, size].

    Raises:
        FileFormatError: If its length is no multiple of n_steps.
    """
    values = number(features, name)
    if n_steps == 0 or len(values) % n_steps or not len(values):
        raise FileFormatError(f"{name!r} has {len(values)} numbers, expected a multiple of {n_steps} steps")
    return values.reshape(n_steps, -1)


def joined(parts: Iterable[Tree]) -> Tree:
    """Returns trees of columns as one, the parts one after another.

    Raises:
        FileFormatError: If there are none, or they differ in their columns.
    """
    blocks: list[Tree] = []
    waiting: list[Tree] = []
    shape = None
    for part in parts:
        shape = shape or _shape(part)
        if _shape(part) != shape:
            raise FileFormatError("Examples differ in the names or sizes of their features; read them apart")
        budget_of().take(_bytes(part), "all Examples")
        waiting.append(part)
        if len(waiting) == JOIN_AT:
            blocks, waiting = [*blocks, join(waiting)], []
    if shape is None:
        raise FileFormatError("there is no Example in the data; is this the right file?")
    return dict(join([*blocks, *([join(waiting)] if waiting else [])]))


def _bytes(tree: Tree | Array) -> int:
    return sum(map(_bytes, tree.values())) if isinstance(tree, dict) else tree.nbytes


def _shape(tree: Tree | Array) -> object:
    if isinstance(tree, dict):
        return {name: _shape(branch) for name, branch in tree.items()}
    return tree.shape[1:]


def converted(paths: Iterable[Path], convert: Callable[[dict[str, Feature]], Tree | None]) -> Iterator[Tree]:
    """Yields what `convert` makes of every Example of some files, in order, but for None.

    Raises:
        FileFormatError: For damaged files, and what `convert` raises, with the record and where it begins.
    """
    for path in paths:
        for _, part in read_parsed(path, lambda data: convert(parse_example(data))):
            if part is not None:
                yield part

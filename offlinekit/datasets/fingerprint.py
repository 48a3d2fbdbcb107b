"""Names for what datasets hold, so that results say what they were learned from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets import schema
from offlinekit.datasets.spaces import space_to_json
from offlinekit.datasets.validation import named_leaves
from offlinekit.types import Array, leaves

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

FULL_BYTES = 1 << 26
"""Up to this size a column is read whole; of a larger one, evenly spaced rows of about this size together."""
PREFIX = "data2"
"""Begins the names of this version; those of before begin with "sha256"."""
STEPS = ("observations", "actions", "rewards", "terminals", "timeouts")
"""Columns that the names of before follow from."""


def fingerprint(dataset: MDPDataset) -> str:
    """Returns "data2:.../sha256:..." of a dataset; equal data give equal names, whatever file they lie in.

    The first part follows from every column that a dataset keeps, with the names of the leaves, dtypes and shapes, and
    from both spaces; name and metadata do not count. The second part is the name that versions before gave, which
    follows from observations, actions, rewards, terminals and timeouts alone: by it their run folders are found again.
    Columns of more than 64 MiB (images) are read at evenly spaced rows, so that a run on mapped frames starts at once;
    the name then begins with "data2-sampled:", and a change between these rows goes unseen.

    Args:
        dataset: An MDPDataset.
    """
    steps, sampled = steps_fingerprint(dataset)
    digest = hashlib.sha256(steps.encode())
    for name in schema.names(is_kept=True):
        for path, column in _named_columns(dataset, name):
            digest.update(f"\n{path} ".encode())
            if name not in STEPS:
                sampled |= _update(digest, "", _little_endian(column))
    facts = [space_to_json(dataset.observation_space), space_to_json(dataset.action_space)]
    digest.update(f"\nspaces {json.dumps(facts, sort_keys=True)}".encode())
    return f"{PREFIX}{'-sampled' if sampled else ''}:{digest.hexdigest()}/{steps}"


def steps_fingerprint(dataset: MDPDataset) -> tuple[str, bool]:
    """Returns "sha256:..." of the steps of a dataset, as versions before named it, and whether columns were sampled."""
    digest, sampled = hashlib.sha256(), False
    for name in STEPS:
        for column in leaves(getattr(dataset, name)):
            sampled |= _update(digest, f"{name} ", column)
    return f"{'sha256-sampled' if sampled else 'sha256'}:{digest.hexdigest()}", sampled


def same_data(first: str, second: str) -> bool:
    """Returns whether two names are of the same data; one of before is compared with what another has of it."""
    if first == second:
        return True
    return second == _of_steps(first) or first == _of_steps(second)


def distinct(names: Iterable[str]) -> list[str]:
    """Returns one name of each of several data, in order, whichever versions gave them."""
    kept: list[str] = []
    for name in sorted(set(names)):
        kept += [] if any(same_data(name, other) for other in kept) else [name]
    return kept


def digits(name: str, n: int) -> str:
    """Returns the first n digits of a name, for people."""
    _, colon, digest = name.partition(":")
    return (digest if colon else name)[:n]


def _of_steps(name: str) -> str | None:
    """Returns the part of a name that versions before gave; None for one of theirs."""
    return name.partition("/")[2] or None


def _named_columns(dataset: MDPDataset, name: str) -> Iterator[tuple[str, Array]]:
    """Yields the leaves of a column, each with its place; those that stand by name in the order of their names."""
    tree: Any = getattr(dataset, name)
    if schema.BY_NAME[name].kind == "named":
        tree = {key: tree[key] for key in sorted(tree)}
    if tree is not None:
        yield from named_leaves(tree, name)


def _little_endian(column: Array) -> Array:
    """Returns a column with the bytes that it has in a file, whichever way round they were given."""
    return column.astype(column.dtype.newbyteorder("<"), copy=False)


def _update(digest: Any, name: str, column: Array) -> bool:
    """Adds a column to a digest, and returns whether some of its rows were left out."""
    every = -(-column.nbytes // FULL_BYTES) or 1
    digest.update(f"{name}{column.dtype} {column.shape} ".encode())
    digest.update(np.ascontiguousarray(column[::every]).reshape(-1).view(np.uint8))
    return every > 1

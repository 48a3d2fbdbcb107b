"""Which observations are like those of the data: a rule of distances, saved as numbers beside an exported policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from offlinekit.core.sharing.beside import rule_of
from offlinekit.datasets.download import sha256_of
from offlinekit.envs.legal_actions import LEGAL_ACTIONS
from offlinekit.errors import FileFormatError, UnsupportedError
from offlinekit.io import atomic_write, read_small
from offlinekit.types import Array, leaves
from offlinekit.types import rows as tree_rows

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.types import ArrayTree

MOST_ROWS = 2_000
"""Rows of the data that are kept to compare with."""
QUANTILE = 0.999
"""Share of the kept rows whose nearest other one lies within the radius."""
ROUNDING = 1e-4
"""Standard deviations that float32 may be off."""
KEY = "offlinekit.seen_rows"
NAMES = ("rows", "scale", "radius")


@dataclass(frozen=True)
class SeenRows:
    """Rows of the data, and how far from the nearest of them an observation may lie.

    Attributes:
        rows: [M, D], in the units of the data; legal actions are not among the columns.
        scale: Standard deviation of each column [D]; 0 for one that never changes, which then must be equal.
        radius: Largest distance to the nearest row, in standard deviations.
    """

    rows: Array
    scale: Array
    radius: float

    @classmethod
    def of(cls, dataset: MDPDataset, seed: int = 0) -> SeenRows:
        """Keeps rows of a dataset; the radius is that within which 99.9% of them have another one.

        Args:
            dataset: With numbers as observations, at least two rows.
            seed: Of the rows that are drawn, if there are more than 2,000.

        Raises:
            UnsupportedError: For images, and for a single row.
        """
        chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:MOST_ROWS])
        rows = as_vectors(tree_rows(dataset.observations, chosen))
        if len(rows) < 2:
            raise UnsupportedError(
                "the rule of seen rows takes two rows or more, got one; record more of them"
            )
        scale = rows.std(0)
        kept = cls(rows, np.where(scale > 1e-6 * np.abs(rows).max(0), scale, np.float32(0)), 0.0)
        apart = np.sqrt(np.array([np.partition(kept._squares(row), 1)[1] for row in rows]))
        return cls(kept.rows, kept.scale, float(np.quantile(apart, QUANTILE)))

    @property
    def limit(self) -> float:
        """The largest distance that is like the data: the radius, and what float32 may be off."""
        return self.radius + ROUNDING

    def distances(self, observations: ArrayTree) -> Array:
        """Returns how far each observation of [B, ...] lies from the nearest row, in standard deviations, [B].

        It is infinite if a column differs that never changes in the data.
        """
        vectors = as_vectors(observations)
        if vectors.shape[1:] != self.scale.shape:
            raise ValueError(f"observations must have {len(self.scale)} numbers, got {vectors.shape[1]}")
        return np.sqrt(np.array([self._squares(vector).min() for vector in vectors], np.float32))

    def refused(self, observations: ArrayTree) -> Array:
        """Returns which observations of [B, ...] are not like the data, bool [B]."""
        return np.asarray(self.distances(observations) > self.limit)

    def __str__(self) -> str:
        return (
            f"a row is like the data if it lies within {self.radius:.4g} standard deviations of one of "
            f"{len(self.rows):,} kept rows, as {QUANTILE:.1%} of these do of another, and equal to them in what never "
            "changes"
        )

    def save(self, path: Path, policy: Path | None = None) -> Path:
        """Writes the rule as tensors, with the SHA-256 of the policy file that it is for, if it is given."""
        tensors = {"rows": self.rows, "scale": self.scale, "radius": np.array([self.radius])}
        facts = {"format": 1} | ({} if policy is None else {"policy": sha256_of(policy)})
        with atomic_write(path) as beside:
            save_file(tensors, str(beside), metadata={KEY: json.dumps(facts)})
        return path

    @classmethod
    def load(cls, path: Path, policy: Path | None = None) -> SeenRows:
        """Reads what `save` wrote.

        Args:
            path: Of the rule.
            policy: File that it must be for, if it notes one; those of earlier versions do not.

        Raises:
            FileFormatError: For a file that is damaged or holds something else, and for the rule of another policy.
        """
        try:
            content = read_small(path)
            tensors = load(content)
            rows, scale, radius = (tensors[name] for name in NAMES)
            fits = rows.ndim == 2 and len(rows) and scale.shape == rows.shape[1:] and radius.shape == (1,)
            if not fits or not all(np.isfinite(tensor).all() for tensor in (rows, scale, radius)):
                raise ValueError("its tensors do not fit one another")
            noted = _facts(content).get("policy")
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise FileFormatError(
                f"{path} holds no rows that a policy has seen ({error}); export the policy again with dataset="
            ) from error
        if policy is not None and noted is not None and noted != sha256_of(policy):
            raise FileFormatError(
                f"{path} is the rule of another policy than {policy.name}; export the policy again with dataset="
            )
        return cls(rows, scale, float(radius[0]))

    @classmethod
    def beside(cls, policy: Path) -> SeenRows | None:
        """Reads the rule that lies beside a policy file; None without one.

        Raises:
            FileFormatError: For one that is damaged, or of another policy.
        """
        path = rule_of(policy)
        return None if path is None else cls.load(path, policy)

    def _squares(self, vector: Array) -> Array:
        """Returns the squared distances of a vector [D] to all rows, [M]."""
        apart = np.abs(self.rows - vector)
        varies = self.scale > 0
        changed = (apart[:, ~varies] > 1e-6 * np.abs(self.rows[:, ~varies])).any(1)
        squares = np.square(apart[:, varies] / self.scale[varies]).sum(1)
        return np.asarray(np.where(changed, np.float32(np.inf), squares))


def _facts(content: bytes) -> dict[str, str]:
    """Returns what a file of a rule notes beside its tensors; nothing of one that was made otherwise."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts: dict[str, str] = json.loads(header.get("__metadata__", {}).get(KEY, "{}"))
    return facts


def as_vectors(observations: ArrayTree) -> Array:
    """Returns observations [B, ...] without their legal actions as float32 [B, D].

    Raises:
        UnsupportedError: For images.
    """
    parts = list(_leaves(observations))
    if is_image_tree(observations):
        raise UnsupportedError(
            "distances of images say little, so no rule of seen rows is kept for them; leave dataset= out"
        )
    return np.concatenate([part.reshape(len(part), -1) for part in parts], 1)


def is_image_tree(observations: ArrayTree) -> bool:
    """Returns whether a leaf of observations [B, ...] has more axes than a vector."""
    return any(np.ndim(leaf) > 2 for leaf in leaves(observations))


def _leaves(observations: ArrayTree) -> Iterator[Array]:
    """Yields the leaves but legal actions, those of dicts by their names, whatever order they are given in."""
    if isinstance(observations, dict):
        for key in sorted(observations, key=str):
            if key != LEGAL_ACTIONS:
                yield from _leaves(observations[key])
    elif isinstance(observations, tuple):
        for branch in observations:
            yield from _leaves(branch)
    else:
        yield np.asarray(observations, np.float32)

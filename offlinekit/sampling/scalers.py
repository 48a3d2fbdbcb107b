"""Scalers of observations, actions and rewards: fitted on a dataset, saved with the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np

from offlinekit.errors import did_you_mean
from offlinekit.ground.hints import answers_keywords
from offlinekit.naming import register
from offlinekit.tables.table_schema import TableSchema
from offlinekit.types import Array, ArrayTree, Tree, map_tree

if TYPE_CHECKING:
    from offlinekit.types import Json

ROWS_AT_ONCE = 1 << 16
"""Rows whose deviations are summed at once."""


class ScalableDataset(Protocol):
    """A dataset, as scalers read it."""

    observations: ArrayTree
    actions: Array
    rewards: Array
    action_space: Any

    @property
    def schema(self) -> TableSchema | None:
        """The schema of the table that the dataset was read from, or None."""

    def episode_returns(self) -> Array:
        """Returns the undiscounted return of each episode, [E]."""


@dataclass(frozen=True)
class Affine:
    """y = clip((x - shift) / scale, low, high), elementwise on the last axes.

    Works on numpy arrays and torch tensors alike, as the numbers are plain floats if `shift` is a scalar.
    """

    shift: Array
    scale: Array
    low: float = -np.inf
    high: float = np.inf

    def transform(self, values: Array) -> Array:
        """Returns the scaled values, float32."""
        scaled = (np.asarray(values, np.float64) - self.shift) / self.scale
        return np.clip(scaled, self.low, self.high).astype(np.float32)

    def inverse(self, values: Array) -> Array:
        """Returns values in the units of the data, float32."""
        return (np.asarray(values, np.float64) * self.scale + self.shift).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers as lists."""
        bounds = {k: v for k, v in (("low", self.low), ("high", self.high)) if np.isfinite(v)}
        return {"shift": self.shift.tolist(), "scale": self.scale.tolist(), **bounds}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Affine:
        """Returns what `to_json` described."""
        bounds = {k: float(data[k]) for k in ("low", "high") if k in data}
        return Affine(np.asarray(data["shift"], np.float64), np.asarray(data["scale"], np.float64), **bounds)


AffineTree: TypeAlias = "Tree[Affine | None]"
"""One `Affine` a leaf of the observations; None leaves a leaf as it is."""


@dataclass(frozen=True)
class Scaler:
    """Scales one quantity; `fit` finds the numbers."""

    kinds: ClassVar[dict[str, dict[str, type[Scaler]]]] = {"observation": {}, "action": {}, "reward": {}}
    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    needs_data: ClassVar[bool] = (
        True  # Whether `fit` looks at the data; else it serves runs that begin without any.
    )

    def __init_subclass__(cls, overwrite: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.name:
            register(Scaler.kinds[cls.kind], cls.name, cls, overwrite)

    def fit(self, dataset: ScalableDataset) -> AffineTree:
        """Returns the fitted `Affine`, or a tree of them beside the observations."""
        raise TypeError(f"{type(self).__name__} must define fit()")

    def to_json(self) -> dict[str, Any]:
        """Returns its name and options."""
        return {"type": self.name, **asdict(self)}


@answers_keywords
@dataclass(frozen=True)
class StandardObservationScaler(Scaler):
    """(x - mean) / (std + eps), each dimension over the whole dataset; images are left to the network."""

    kind, name = "observation", "standard"
    eps: float = 1e-3  # Added to the standard deviation. Source: TD3+BC, arXiv:2106.06860, section 5.

    def fit(self, dataset: ScalableDataset) -> AffineTree:
        """Returns one `Affine` a leaf of the observations; None for images."""

        def fit_leaf(leaf: Array) -> Affine | None:
            if leaf.dtype == np.uint8:
                return None
            mean, std = _moments(leaf)
            return Affine(mean, std + self.eps)

        return map_tree(fit_leaf, dataset.observations)


@answers_keywords
@dataclass(frozen=True)
class MinMaxObservationScaler(Scaler):
    """Maps each dimension's range in the dataset to [-1, 1]; images are left to the network."""

    kind, name = "observation", "minmax"

    def fit(self, dataset: ScalableDataset) -> AffineTree:
        """Returns one `Affine` a leaf of the observations; None for images."""

        def fit_leaf(leaf: Array) -> Affine | None:
            return None if leaf.dtype == np.uint8 else _range_to_unit(leaf.min(0), leaf.max(0))

        return map_tree(fit_leaf, dataset.observations)


@answers_keywords
@dataclass(frozen=True)
class MinMaxActionScaler(Scaler):
    """Maps the bounds of the action space to [-1, 1]; those of the data if the space has none."""

    kind, name = "action", "minmax"

    def fit(self, dataset: ScalableDataset) -> Affine:
        """Returns the `Affine` of the actions."""
        low, high = np.asarray(dataset.action_space.low), np.asarray(dataset.action_space.high)
        known = np.isfinite(low) & np.isfinite(high)
        low = np.where(known, low, dataset.actions.min(0))
        high = np.where(known, high, dataset.actions.max(0))
        return _range_to_unit(low, high)


@answers_keywords
@dataclass(frozen=True)
class StandardRewardScaler(Scaler):
    """(r - mean) / (std + eps)."""

    kind, name = "reward", "standard"
    eps: float = 1e-3  # Added to the standard deviation, in units of reward.

    def fit(self, dataset: ScalableDataset) -> Affine:
        """Returns the `Affine` of the rewards."""
        rewards = dataset.rewards.astype(np.float64)
        return Affine(np.asarray(rewards.mean()), np.asarray(rewards.std() + self.eps))


@answers_keywords
@dataclass(frozen=True)
class MinMaxRewardScaler(Scaler):
    """Maps the range of rewards in the dataset to [0, multiplier]."""

    kind, name = "reward", "minmax"
    multiplier: float = 1.0  # The largest reward after scaling.

    def fit(self, dataset: ScalableDataset) -> Affine:
        """Returns the `Affine` of the rewards."""
        low, high = float(dataset.rewards.min()), float(dataset.rewards.max())
        return Affine(np.asarray(low), np.asarray((high - low or 1.0) / self.multiplier))


@answers_keywords
@dataclass(frozen=True)
class ReturnBasedRewardScaler(Scaler):
    """r * multiplier / (highest - lowest episode return).

    Source: the locomotion setting of IQL, arXiv:2110.06169, appendix A, with multiplier 1000.
    """

    kind, name = "reward", "return"
    multiplier: float = 1.0  # Difference of the best and worst returns after scaling.

    def fit(self, dataset: ScalableDataset) -> Affine:
        """Returns the `Affine` of the rewards."""
        returns = dataset.episode_returns()
        spread = float(returns.max() - returns.min()) or 1.0
        return Affine(np.asarray(0.0), np.asarray(spread / self.multiplier))


@answers_keywords
@dataclass(frozen=True)
class ConstantShiftRewardScaler(Scaler):
    """(r + shift) * multiplier; -1 and 1 are IQL's settings on AntMaze, -0.5 and 10 those of CQL and Cal-QL."""

    kind, name, needs_data = "reward", "shift", False
    shift: float = -1.0  # Added to each reward.
    multiplier: float = 1.0  # Factor of the sum, not 0.

    def fit(self, dataset: ScalableDataset) -> Affine:
        """Returns the `Affine` of the rewards."""
        return Affine(np.asarray(-self.shift), np.asarray(1.0 / _factor(self.multiplier)))


@answers_keywords
@dataclass(frozen=True)
class MultiplyRewardScaler(Scaler):
    """r * multiplier."""

    kind, name, needs_data = "reward", "multiply", False
    multiplier: float = 1.0  # Factor of each reward, not 0.

    def fit(self, dataset: ScalableDataset) -> Affine:
        """Returns the `Affine` of the rewards."""
        return Affine(np.asarray(0.0), np.asarray(1.0 / _factor(self.multiplier)))


@answers_keywords
@dataclass(frozen=True)
class ClipRewardScaler(Scaler):
    """min(max(r, low), high)."""

    kind, name, needs_data = "reward", "clip", False
    low: float = -1.0  # Lower bound.
    high: float = 1.0  # Upper bound.

    def fit(self, dataset: ScalableDataset) -> Affine:
        """Returns the `Affine` of the rewards."""
        return Affine(np.asarray(0.0), np.asarray(1.0), self.low, self.high)


ScalerLike: TypeAlias = "str | Mapping[str, Any] | Scaler | None"


def resolve_scaler(scaler: ScalerLike, kind: str) -> Scaler | None:
    """Returns the scaler that a name, a dict of JSON or a scaler stands for.

    Args:
        scaler: "standard", {"type": "standard", "eps": 1e-3}, a `Scaler`, or None for no scaling.
        kind: "observation", "action" or "reward".

    Raises:
        ValueError: For an unknown name, or a scaler of another quantity.
    """
    if scaler is None:
        return None
    if isinstance(scaler, Scaler):
        if scaler.kind != kind:
            raise ValueError(f"{kind}_scaler must scale {kind}s, got {type(scaler).__name__}")
        return scaler
    options = {"type": scaler} if isinstance(scaler, str) else dict(scaler)
    name, known = str(options.pop("type", "")), Scaler.kinds[kind]
    if name not in known:
        hint = did_you_mean(name, known)
        raise ValueError(f"{kind}_scaler must be None or one of {sorted(known)}, got {name!r}{hint}")
    try:
        return known[name](**options)
    except TypeError as error:
        raise ValueError(f"{kind}_scaler {name!r} does not take {sorted(options)}: {error}") from error


def _factor(multiplier: float) -> float:
    if multiplier == 0:
        raise ValueError("multiplier must not be 0: every reward would be the same")
    return multiplier


def _moments(leaf: Array) -> tuple[Array, Array]:
    """Returns mean and standard deviation over the rows; what is in memory beside them is bounded."""
    mean = leaf.mean(0, dtype=np.float64)
    total = np.zeros_like(mean)
    for i in range(0, len(leaf), ROWS_AT_ONCE):
        total += np.square(leaf[i : i + ROWS_AT_ONCE] - mean).sum(0)
    return mean, np.sqrt(total / len(leaf))


def _range_to_unit(low: Array, high: Array) -> Affine:
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    half = np.where(high > low, (high - low) / 2, 1.0)
    return Affine((low + high) / 2, half)


@dataclass(frozen=True)
class Scaling:
    """The fitted scalers of one policy; None leaves a quantity as it is.

    With the schema of the table that the policy has learned from, if there is one: rows become observations by it.
    """

    observation: AffineTree = None
    action: Affine | None = None
    reward: Affine | None = None
    schema: TableSchema | None = None

    @staticmethod
    def fit(
        dataset: ScalableDataset, observation: ScalerLike, action: ScalerLike, reward: ScalerLike
    ) -> Scaling:
        """Fits scalers to a dataset."""
        wanted = {"observation": observation, "action": action, "reward": reward}
        scalers = {kind: resolve_scaler(scaler, kind) for kind, scaler in wanted.items()}
        fitted: dict[str, Any] = {kind: s.fit(dataset) for kind, s in scalers.items() if s is not None}
        return Scaling(**fitted, schema=dataset.schema)

    def observations(self, tree: ArrayTree) -> ArrayTree:
        """Returns scaled observations; images stay as they are."""
        if self.observation is None:
            return tree
        return map_tree(
            lambda leaf, affine: affine.transform(leaf) if affine else leaf, tree, self.observation
        )

    def to_json(self) -> dict[str, Any]:
        """Returns all numbers as JSON; a leaf without scaling is null."""
        return {
            "observation": None if self.observation is None else _tree_to_json(self.observation),
            "action": self.action.to_json() if self.action else None,
            "reward": self.reward.to_json() if self.reward else None,
            **({} if self.schema is None else {"schema": self.schema.to_json()}),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Scaling:
        """Returns what `to_json` described."""
        observation = data["observation"]
        return Scaling(
            None if observation is None else _tree_from_json(observation),
            Affine.from_json(data["action"]) if data["action"] else None,
            Affine.from_json(data["reward"]) if data["reward"] else None,
            TableSchema.from_json(data["schema"]) if data.get("schema") else None,
        )


def _tree_to_json(tree: AffineTree) -> Json:
    if isinstance(tree, tuple):
        return {"tuple": [_tree_to_json(branch) for branch in tree]}
    if isinstance(tree, dict):
        return {"dict": {key: _tree_to_json(branch) for key, branch in tree.items()}}
    return {"leaf": tree.to_json() if tree else None}


def _tree_from_json(data: Mapping[str, Any]) -> AffineTree:
    if "tuple" in data:
        return tuple(_tree_from_json(branch) for branch in data["tuple"])
    if "dict" in data:
        return {key: _tree_from_json(branch) for key, branch in data["dict"].items()}
    return Affine.from_json(data["leaf"]) if data["leaf"] else None

"""Whether a front can learn from a dataset."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.families.dialogue_columns import IS_ACTION
from offlinekit.envs.env_spaces import same_range
from offlinekit.envs.legal_actions import space_of_rest
from offlinekit.envs.past.layouts import image_remedy
from offlinekit.envs.past.sight import row_space, seen_space, space_leaves
from offlinekit.errors import DatasetWarning, UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete
from offlinekit.nn.encoders import convolves, resolve_encoder
from offlinekit.sampling.loss_weights import weights_of
from offlinekit.sampling.scalers import Affine
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.core.impl import Impl
    from offlinekit.tables.table_schema import TableSchema

FAR_APART = 100.0
"""Standard deviations of columns that differ by more than this factor are worth a warning."""


def check_dataset(algo: Algo, impl: Impl | None, dataset: object, known: Iterable[type[Algo]]) -> None:
    """Checks that an algorithm can learn from a dataset.

    Args:
        algo: The front.
        impl: Its implementation, or None before it has networks.
        dataset: What it would learn from.
        known: All fronts, to name those that could.

    Raises:
        TypeError: For something that is no dataset.
        UnsupportedError: For the other kind of actions, or shapes that the networks were not built for.
    """
    name = type(algo).__name__
    if not isinstance(dataset, MDPDataset):
        how = (
            "get_dataset(name) returns a pair: dataset, env = get_dataset(name)"
            if isinstance(dataset, (str, tuple))
            else "make one of arrays: MDPDataset(observations, actions, rewards, terminals)"
        )
        raise TypeError(f"{name}.fit takes an MDPDataset, got {type(dataset).__name__}; {how}")
    discrete = isinstance(dataset.action_space, spaces.Discrete)
    if discrete != (algo.action_kind == "discrete"):
        fitting = ", ".join(
            sorted(other.__name__ for other in known if other.action_kind != algo.action_kind)
        )
        raise UnsupportedError(
            f"{name} learns {algo.action_kind} actions, but {dataset.name!r} has {dataset.action_space}; "
            f"algorithms for it: {fitting}"
        )
    if impl is None:
        warn_of_scales(name, algo.observation_scaler, dataset)
    else:
        given = seen_space(algo, dataset.observation_space)
        check_same_schema(name, algo.scaling.schema, dataset)
        check_same_shapes(name, impl.observation_space, given, "observations")
        check_same_shapes(name, impl.action_space, dataset.action_space, "actions")


def space_to_learn(algo: Algo, dataset: MDPDataset) -> spaces.Space[Any]:
    """Returns the space of what new networks see; warns of images that "auto" does not take for such.

    Args:
        algo: Without networks; those of a file are as they were saved.
        dataset: To learn from.

    Raises:
        UnsupportedError: For an encoder that would convolve nothing.
    """
    space = seen_space(algo, dataset.observation_space)
    observed = [
        (leaf.dtype, leaf.shape or ()) for leaf in space_leaves(row_space(space) or space_of_rest(space))
    ]
    if any(dtype == np.uint8 and len(shape) == 3 for dtype, shape in observed):
        return space
    given = {
        field.name: getattr(algo, field.name) for field in fields(algo) if field.name.endswith("encoder")
    }
    described = ", ".join(f"{dtype} {list(shape)}" for dtype, shape in observed)
    for name, encoder in given.items():
        if encoder is not None and convolves(resolve_encoder(encoder, space)):
            kind = encoder if isinstance(encoder, str) else type(resolve_encoder(encoder, space)).__name__
            remedy = image_remedy(observed, "")
            raise UnsupportedError(
                f"{name}={kind!r} convolves images, uint8 of three axes, and the observations are {described}; "
                + (f"{remedy}; or " if remedy else "")
                + f"give {name}='mlp', which flattens"
            )
    if "auto" in given.values() and any(len(shape) == 3 for _, shape in observed):
        warnings.warn(
            f"observations of {described} are flattened, as images are uint8 here; to have them convolved, "
            f"{image_remedy(observed, '')}; encoder='mlp' flattens without this warning",
            DatasetWarning,
            stacklevel=7,  # Of fit.
        )
    return space


def warn_of_scales(name: str, scaler: object, dataset: MDPDataset) -> None:
    """Warns if the columns of a table with a schema vary by very different amounts, and nothing scales them."""
    schema = dataset.schema
    if schema is None or scaler is not None:
        return
    numbers = dataset.observations
    numbers = numbers["observations"] if isinstance(numbers, dict) else numbers
    spreads = {
        feature: float(std) for feature, std in zip(schema.features, numbers.std(0), strict=False) if std > 0
    }
    if not spreads:
        return
    widest, narrowest = max(spreads, key=spreads.__getitem__), min(spreads, key=spreads.__getitem__)
    if spreads[widest] > FAR_APART * spreads[narrowest]:
        warnings.warn(
            f"the scales of the columns lie far apart: {widest!r} has a standard deviation of {spreads[widest]:.3g}, "
            f"{narrowest!r} of {spreads[narrowest]:.3g}, so the first drowns the second; give "
            f"{name}(observation_scaler='standard')",
            DatasetWarning,
            stacklevel=7,  # Of fit.
        )


def warn_of_foreign_actions(algo: Algo, dataset: MDPDataset) -> None:
    """Warns if a dataset says which actions are the agent's, and the algorithm learns the others like them."""
    if IS_ACTION in algo.impl_class.needs or (own := dataset.extras.get(IS_ACTION)) is None:
        return
    n_foreign = int((np.asarray(own) == 0).sum())
    if n_foreign:
        warnings.warn(
            f"{type(algo).__name__} does not read the column {IS_ACTION!r} of {dataset.name!r}: it learns all "
            f"{len(dataset):,} actions as the agent's, where {n_foreign:,} are not; TextBC and ILQL tell them apart",
            DatasetWarning,
            stacklevel=8,  # Of fit.
        )


def check_targets(name: str, dataset: MDPDataset, known: Array, why: str, rows: Array | bool = True) -> None:
    """Checks that critics have something to learn from, and warns if it is less than half the rows.

    Args:
        name: Of the algorithm.
        dataset: N rows, with the loss weights of a run if it has any.
        known: bool [N], the rows whose target follows from the data.
        why: What a row must have, and the remedy.
        rows: bool [N], those that are learned from at all.

    Raises:
        UnsupportedError: If no row has a target.
    """
    weights = weights_of(dataset)
    drawn = np.broadcast_to(rows, known.shape) & (True if weights is None else weights > 0)
    n_known, n_rows = int((known & drawn).sum()), int(drawn.sum())
    if not n_known:
        raise UnsupportedError(
            f"critics of {name} would learn from none of the {n_rows:,} rows of {dataset.name!r}: {why}"
        )
    if n_known < n_rows / 2:
        warnings.warn(
            f"critics of {name} learn from {n_known:,} of the {n_rows:,} rows of {dataset.name!r} "
            f"({n_known / n_rows:.0%}): {why}",
            DatasetWarning,
            stacklevel=8,  # Of fit.
        )


def check_same_schema(name: str, built: TableSchema | None, dataset: MDPDataset) -> None:
    """Checks that the rows of a table were encoded as those that a policy has learned from.

    Raises:
        UnsupportedError: For other columns, labels, values for gaps or first times.
    """
    given = dataset.schema
    if built is None or given is None:
        return
    for difference in built.differences(given):
        raise UnsupportedError(
            f"this {name} has learned from a table with another schema than {dataset.name!r}: {difference}; read the "
            "table by the policy's own: get_dataset(path, schema='policy.okt'), on the command line --schema policy.okt"
        )


def check_same_shapes(name: str, built: spaces.Space[Any], given: spaces.Space[Any], what: str) -> None:
    """Checks that data fit networks that were built before.

    Raises:
        UnsupportedError: For other shapes, bytes in place of floats or floats of bytes, or discrete actions that
            are more, or numbered otherwise.
    """
    shapes = [
        [(leaf.shape, leaf.dtype == np.uint8) for leaf in space_leaves(space)] for space in (built, given)
    ]
    if shapes[0] != shapes[1] or _numbers_otherwise(built, given):
        raise UnsupportedError(f"this {name} was built for {what} of {built}, got {given}; make a new {name}")


def _numbers_otherwise(built: spaces.Space[Any], given: spaces.Space[Any]) -> bool:
    """Returns whether data have more discrete actions, another first one, or other parts than networks know."""
    if not (isinstance(built, spaces.Discrete) and isinstance(given, spaces.Discrete)):
        return False
    if isinstance(built, JointDiscrete) or isinstance(given, JointDiscrete):
        return built != given
    return bool(built.n < given.n or built.start != given.start)


def check_same_range(name: str, built: spaces.Space[Any], scaler: Affine | None, dataset: MDPDataset) -> None:
    """Checks that networks that were built before can take the actions of data; warns of other bounds within theirs.

    Args:
        name: Of the algorithm.
        built: The actions that they were built for.
        scaler: Of these, to [-1, 1], or None.
        dataset: To go on with.

    Raises:
        UnsupportedError: For actions beyond their range.
    """
    given = dataset.action_space
    if not isinstance(built, spaces.Box) or not isinstance(given, spaces.Box):
        return
    is_same = same_range(built, given)
    if is_same and (scaler is None or built.is_bounded()):
        return
    low, high = built.low, built.high
    if scaler is not None:
        low, high = scaler.inverse(np.full_like(low, -1.0)), scaler.inverse(np.full_like(high, 1.0))
    lowest, highest = dataset.actions.min(0), dataset.actions.max(0)
    slack = 1e-3 * np.where(np.isfinite(high - low), high - low, 0.0)
    if (lowest < low - slack).any() or (highest > high + slack).any():
        raise UnsupportedError(
            f"this {name} was built for actions from {low.tolist()} to {high.tolist()}, and cannot take those of "
            f"{dataset.name!r}, from {lowest.tolist()} to {highest.tolist()}; make a new {name}, or scale "
            "the actions of the data alike"
        )
    if not is_same:
        warnings.warn(
            f"this {name} was built for actions of {built}, {dataset.name!r} declares {given}: it acts in the first; "
            f"make a new {name} to act in the second",
            DatasetWarning,
            stacklevel=8,  # Of fit.
        )

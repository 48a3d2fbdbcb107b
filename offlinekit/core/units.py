"""Between numpy in the units of the data and scaled tensors on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.deploy import NO_ACTION, shape_error, with_legal_actions
from offlinekit.envs.callable_policies import GreedyPolicy
from offlinekit.envs.legal_actions import legal_choices
from offlinekit.envs.past.sight import Image, Window
from offlinekit.envs.text.token_space import TokenSpace
from offlinekit.ground.action_spaces import from_numbers, joined_actions, numbers_from_0
from offlinekit.ground.box_actions import box_actions
from offlinekit.nn.isolation import acting
from offlinekit.sampling.scalers import Scaling
from offlinekit.types import Array, ArrayTree, first_leaf, leaves, map_tree

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.core.algo import Algo
    from offlinekit.core.impl import Impl
    from offlinekit.sampling.batch import TensorTree
    from offlinekit.training.engines.recorded_policy import Choose
    from offlinekit.types import ArrayTreeLike, RowsLike

NO_LABELS = (
    "labels=True needs the labels of the actions, and this policy did not learn from a table with a schema: leave it "
    "out, or read the table by one: get_dataset(path, schema=...)"
)


@dataclass(frozen=True)
class Converter:
    """Converts for one policy; a single observation passes as a batch of one."""

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    scaling: Scaling
    device: torch.device

    def act(
        self,
        observations: RowsLike,
        choose: Callable[[TensorTree], Tensor],
        legal_actions: ArrayLike | None = None,
        labels: bool = False,
    ) -> Array:
        """Returns the chosen actions in the units of the data, [B, A] of their Box's dtype or int64 [B], or labels.

        Raises:
            ValueError: For observations that are refused, and where no action comes out that is a number.
        """
        if labels and self.scaling.schema is None:
            raise ValueError(NO_LABELS)
        inputs, single = self.observations(observations, legal_actions)
        with torch.no_grad(), acting():
            actions = self.unscaled(_answered(inputs, choose))
        chosen: Array = actions[0] if single else actions
        return self.scaling.schema.decode(chosen) if labels and self.scaling.schema is not None else chosen

    def unscaled(self, scaled: Tensor) -> Array:
        """Returns actions in the units of the data, inside their space and of its dtype.

        Raises:
            ValueError: If one is not finite, or was chosen by values that are not, `acting` as they were chosen.
        """
        actions: Array = scaled.detach().cpu().numpy()
        if not isinstance(self.action_space, spaces.Box):
            _check_chosen(actions >= 0)
            return from_numbers(actions, self.action_space)
        if self.scaling.action is not None:
            actions = self.scaling.action.inverse(actions)
        _check_chosen(np.isfinite(actions))
        return box_actions(actions, self.action_space)

    def value(
        self,
        observations: RowsLike,
        actions: ArrayLike | None,
        predict: Callable[[TensorTree, Tensor | None], Tensor],
        legal_actions: ArrayLike | None = None,
    ) -> Array:
        """Returns the values [B], float32; `actions` None stands for the greedy ones."""
        inputs, single = self.observations(observations, legal_actions)
        chosen = None
        if actions is not None:
            chosen = self.actions(np.asarray(actions)[None] if single else np.asarray(actions), inputs)
        with torch.no_grad():
            outputs = _answered((inputs, chosen), lambda given: predict(*given))
            values: Array = outputs.float().cpu().numpy()
        return values[0] if single else values

    def observations(
        self, observations: RowsLike, legal_actions: ArrayLike | None = None
    ) -> tuple[TensorTree, bool]:
        """Returns scaled tensors with a batch axis, and whether it had to be added.

        Raises:
            ValueError: For observations of another shape, or that are not finite; for legal actions that lack or
                that are of no use.
        """
        tree, single = as_arrays(self.encoded(observations, legal_actions), self.observation_space)
        if single:
            tree = map_tree(lambda leaf: leaf[None], tree)
        return map_tree(self._tensor, self.scaling.observations(tree)), single

    def encoded(self, observations: RowsLike, legal_actions: ArrayLike | None) -> ArrayTreeLike:
        """Returns observations with their legal actions as a leaf; rows of a table as the numbers they become."""
        if isinstance(observations, MDPDataset):
            raise TypeError("expected observations, got an MDPDataset; give dataset.observations")
        schema = self.scaling.schema
        if schema is not None and schema.is_table(observations):
            observations = schema.encode(observations)
        choices = legal_choices(self.observation_space, self.action_space)
        given: ArrayTreeLike = with_legal_actions(observations, legal_actions, choices)
        return given

    def actions(self, actions: Array, observations: TensorTree) -> Tensor:
        """Returns scaled actions beside observations of B rows.

        Raises:
            ValueError: For actions of another shape, or that are none of a discrete space.
        """
        if self.scaling.schema is not None and actions.dtype.kind in "OU":
            actions = self.scaling.schema.numbers_of(actions)
        actions = joined_actions(actions, self.action_space)
        shape = (len(first_leaf(observations)), *(self.action_space.shape or ()))
        if actions.shape != shape:
            raise ValueError(f"actions must have shape {list(shape)}, got {list(actions.shape)}")
        if isinstance(self.action_space, spaces.Discrete):
            return self._tensor(_as_numbers(actions, self.action_space))
        _check_numbers("actions", actions)
        _check_finite("actions", actions)
        return self._tensor(
            np.asarray(actions, np.float32)
            if self.scaling.action is None
            else self.scaling.action.transform(actions)
        )

    def _tensor(self, array: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), device=self.device)


class GreedyActions(GreedyPolicy):
    """The greedy discrete actions of an algorithm, each taken for certain.

    Args:
        algo: With networks.
    """

    def __init__(self, algo: Algo) -> None:
        super().__init__(algo.predict)
        self.frame_stack, self.frame_pad = algo.frame_stack, algo.frame_pad
        self.history_length, self.impl = algo.history_length, algo.impl


class SampledPolicy:
    """The drawn actions of an algorithm and, if their law is known, their log-probabilities.

    A density in the units of the data; where draws are clipped, a dimension at a bound has the mass that lies beyond.

    Args:
        algo: With networks.
    """

    def __init__(self, algo: Algo) -> None:
        self.predict, self.is_stateful = algo.sample_action, algo.is_stateful
        self.as_stateful = partial(algo.as_stateful, sample=True)
        self.frame_stack, self.frame_pad = algo.frame_stack, algo.frame_pad
        self.history_length, self.impl, self._scaling = algo.history_length, algo.impl, algo.scaling
        self._converter = Converter(
            self.impl.observation_space, self.impl.action_space, algo.scaling, self.impl.device
        )
        if not algo.is_stateful and has_density(self.impl):
            self.log_prob = self._log_prob

    def _log_prob(self, observations: ArrayTreeLike, actions: Array) -> Array:
        """Returns the log-probabilities [B] of actions: densities in units of the data, masses at clipped bounds."""
        scale = np.ones((), np.float32) if self._scaling.action is None else self._scaling.action.scale
        shape = () if isinstance(self.impl.action_space, spaces.Discrete) else actions.shape[1:]
        log_scale = torch.as_tensor(np.log(np.broadcast_to(scale, shape)), device=self.impl.device)
        told: Any = self.impl.sampled_log_prob
        return self._converter.value(observations, actions, partial(told, log_scale=log_scale))


def has_density(impl: Impl) -> bool:
    """Returns whether what an impl draws has probabilities that are known.

    A class that draws actions in a way of its own, such as the best of some by the critics, without saying their
    probabilities, has none: those of the policy network are not theirs.
    """
    if not hasattr(getattr(impl, "policy", None), "log_prob"):
        return False
    for cls in type(impl).__mro__:
        if "sampled_log_prob" in vars(cls):
            return True
        if "sample_action" in vars(cls):
            return False
    return False


def prepared_policy(
    algo: Algo, base: type[Algo], sample: bool, prepare: Callable[[Choose], Choose]
) -> Callable[[ArrayTreeLike], Array]:
    """Returns `algo.sample_action`, or `predict`, by the policy that `prepare` makes of the impl's.

    Args:
        algo: With networks; if its class acts in a way of its own, other than the base's, it is left at that.
        base: `Algo`.
        sample: Whether actions are drawn.
        prepare: Takes and returns a policy of scaled observations.
    """
    name = "sample_action" if sample else "predict"
    if getattr(type(algo), name) is not getattr(base, name):
        own: Callable[[ArrayTreeLike], Array] = getattr(algo, name)
        return own
    impl = algo.impl
    converter = Converter(impl.observation_space, impl.action_space, algo.scaling, impl.device)
    return partial(converter.act, choose=prepare(impl.sample_action if sample else impl.predict_best_action))


def _answered(inputs: Any, answer: Callable[[Any], Tensor]) -> Tensor:
    """Returns the answer to B rows of inputs; to no rows that to one of zeros, cut, as some models need a row."""
    if len(first_leaf(inputs)):
        return answer(inputs)
    row = map_tree(lambda leaf: None if leaf is None else leaf.new_zeros((1, *leaf.shape[1:])), inputs)
    return answer(row)[:0]


def as_arrays(observations: ArrayTreeLike, space: spaces.Space[Any]) -> tuple[ArrayTree, bool]:
    """Returns observations as arrays of a space, and whether they are one, without an axis of batches.

    Raises:
        ValueError: For another tree, another shape, or numbers that are not finite.
    """
    tree = _arrays(observations, space)
    for leaf in leaves(tree):
        _check_finite("observations", leaf)
    single = _is_single(tree, space)
    sizes = sorted({1 if single else len(leaf) for leaf in leaves(tree)})
    if len(sizes) > 1:
        raise ValueError(f"observations must have as many rows in each part, got {sizes}")
    return tree, single


def _arrays(observations: ArrayTreeLike, space: spaces.Space[Any]) -> ArrayTree:
    if isinstance(space, spaces.Dict):
        branches = _by_name(observations)
        if sorted(branches) != sorted(space.spaces):
            got = f"keys {sorted(branches)}" if branches else f"{observations!r:.100}"
            raise ValueError(f"observations must be a dict with keys {sorted(space.spaces)}, got {got}")
        return {key: _arrays(branches[key], part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        if not isinstance(observations, tuple) or len(observations) != len(space.spaces):
            raise ValueError(
                f"observations must be a tuple of {len(space.spaces)}, got {observations!r:.100}"
            )
        return tuple(_arrays(o, part) for o, part in zip(observations, space.spaces, strict=True))
    if np.ma.is_masked(observations):
        raise ValueError("observations have masked values; fill them as in the data, e.g. x.filled(0)")
    given = np.asarray(observations)
    _check_numbers("observations", given)
    if isinstance(space, TokenSpace) and np.any(wrong := space.foreign(given)):
        raise ValueError(
            f"observations must be whole numbers below {space.n}, one a token, got {given[wrong][0]:g}; encode the "
            "text by the tokenizer of the policy: algo.tokenizer"
        )
    if space.dtype == np.uint8:
        return _as_bytes(given)
    with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite, and is refused.
        return given.astype(np.float32)


def _by_name(observations: object) -> dict[str, Any]:
    """Returns the branches of a dict by the names that a dataset has them under, where numbers become texts."""
    if not isinstance(observations, Mapping):
        return {}
    named = {str(key): branch for key, branch in observations.items()}
    return named if len(named) == len(observations) else {}


def _check_numbers(name: str, array: Array) -> None:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold numbers, as those of the data, got dtype {array.dtype}")


def _as_numbers(actions: Array, space: spaces.Discrete) -> Array:
    """Returns discrete actions as int64 from 0.

    Raises:
        ValueError: If that changes one, or if one lies outside the space.
    """
    _check_numbers("actions", actions)
    with np.errstate(invalid="ignore"):
        whole: Array = actions.astype(np.int64)
    first, last = int(space.start), int(space.start + space.n) - 1
    wrong = (whole != actions) | (whole < first) | (whole > last)
    if wrong.any():
        raise ValueError(
            f"actions must be whole numbers from {first} to {last}, as those of the data, got {actions[wrong][0]}"
        )
    return numbers_from_0(whole, space)


def _as_bytes(given: Array) -> Array:
    """Returns observations as uint8.

    Raises:
        ValueError: If that changes a value.
    """
    if given.dtype == np.uint8:
        return given
    with np.errstate(invalid="ignore"):
        cast: Array = given.astype(np.uint8)
    changed = cast != given
    if given.dtype == np.bool_:  # Pixels that are on would be nearly black.
        changed = given
    if changed.any():
        raise ValueError(
            f"observations must be uint8, as those of the data, got {given.dtype} with the value "
            f"{given[changed][0]}; images scaled to [0, 1] go back by np.round(x * 255).astype(np.uint8)"
        )
    return cast


def _check_finite(name: str, array: Array) -> None:
    """Refuses numbers that are not finite, of which a greedy policy would make an action like any other."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{name} must be finite, got {array[place]} at {list(place)}; fill the number in as in the data, or leave "
            "the row out"
        )


def _check_chosen(is_action: Array) -> None:
    """Refuses actions [B, ...] that are none; a diverged network, or numbers beyond its own, gives such."""
    if not is_action.all():
        raise ValueError(NO_ACTION.format(int(np.argwhere(~is_action)[0][0])))


def _is_single(tree: Any, space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict):
        parts = [_is_single(tree[key], part) for key, part in space.spaces.items()]
        return all(parts)
    if isinstance(space, spaces.Tuple):
        parts = [_is_single(leaf, part) for leaf, part in zip(tree, space.spaces, strict=True)]
        return all(parts)
    shape = space.shape or ()
    if tree.shape == shape:
        return True
    if tree.shape[1:] == shape and tree.ndim == len(shape) + 1:
        return False
    raise shape_error(shape, tree.shape, space.shape[0] if isinstance(space, Window) else _stack_of(space))


def _stack_of(space: spaces.Space[Any]) -> int:
    return space.stack if isinstance(space, Image) else 1

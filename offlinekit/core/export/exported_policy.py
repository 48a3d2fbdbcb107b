"""The greedy policy of an algorithm as one module: scalers, networks and bounds, units of the data on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves

from offlinekit.envs.legal_actions import legal_of
from offlinekit.envs.past.sight import space_leaves
from offlinekit.envs.text.token_space import TokenWindow
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete, part_sizes
from offlinekit.ground.box_actions import box_bounds
from offlinekit.nn.dispatch import Dispatch
from offlinekit.nn.networks import Ensemble
from offlinekit.nn.policies import ActionParts
from offlinekit.nn.trunks import observation_leaves
from offlinekit.sampling.scalers import Affine
from offlinekit.types import Array, map_tree

if TYPE_CHECKING:
    from torch._ops import OpOverload

    from offlinekit.core.algo import Algo
    from offlinekit.core.impl import Impl
    from offlinekit.sampling.batch import TensorTree
    from offlinekit.types import ArrayTree, T, Tree


class ExportedPolicy(nn.Module):
    """Observations -> actions, as `predict` gives them; a leaf of the observations is an argument.

    It holds a copy on the CPU, without the parameters that do not act, such as those of critics.

    Args:
        algo: With networks.
    """

    def __init__(self, algo: Algo) -> None:
        super().__init__()
        impl = algo.impl
        self.name, self.updates, self.history_length = (
            type(algo).__name__,
            impl.grad_step,
            algo.history_length,
        )
        self.frame_stack, self.frame_pad = algo.frame_stack, algo.frame_pad
        self.observation_space, self.action_space = space_of(algo), impl.action_space
        self.impl = _copy(algo)
        self.schema = algo.scaling.schema
        tree = algo.scaling.observation
        n_leaves = len(space_leaves(self.observation_space))
        affines = [None] * n_leaves if tree is None else observation_leaves(self.observation_space, tree)
        self._observed = [_numbers(affine) for affine in affines]
        self._acted = _numbers(algo.scaling.action)
        box = self.action_space if isinstance(self.action_space, spaces.Box) else None
        joint = self.action_space if isinstance(self.action_space, JointDiscrete) else None
        self._parts = None if joint is None else ActionParts(joint.sizes)
        starts = (
            joint.starts if joint is not None else (int(getattr(self.action_space, "start", 0)),)
        )  # Of a Discrete.
        self._starts = torch.tensor(starts) if any(starts) else None
        self._dtype = None if box is None else torch_dtype(box)
        computed = torch.float32 if self._dtype == torch.float32 else torch.float64
        self._bounds = [] if box is None else [torch.tensor(b, dtype=computed) for b in box_bounds(box)]
        with torch.no_grad(), _Touched() as touched:
            self(*self.examples())
        touched.remove_others(self.impl)

    def forward(self, *leaves: Tensor) -> Tensor:
        """Returns actions [B, A] of the dtype of their Box, or int64, of observations in the order of `names`."""
        scaled = [_scale(leaf, numbers) for leaf, numbers in zip(leaves, self._observed, strict=True)]
        actions: Tensor = self.impl.exported_actions(_tree(self.observation_space, iter(scaled)))
        if self._dtype is None:
            numbers = actions.reshape(-1)  # ArgMax of onnxruntime keeps its axis if there are no rows.
            own = numbers if self._parts is None else torch.stack(self._parts.choices(numbers), -1)
            return own if self._starts is None else own + self._starts
        if self._acted is not None:
            actions = (actions.double() * self._acted["scale"] + self._acted["shift"]).float()
        if self._dtype == torch.float32:
            return actions.clamp(*self._bounds)
        wide = actions.double() if self._dtype.is_floating_point else actions.double().round()
        return wide.clamp(*self._bounds).to(self._dtype)

    @property
    def names(self) -> list[str]:
        """The names of the arguments: "observations", or a name for each leaf such as "observations.camera"."""
        return list(_names(self.observation_space, "observations"))

    def examples(self) -> tuple[Tensor, ...]:
        """Returns arguments of three rows of zeros."""
        return tuple(
            torch.zeros(
                (3, *(leaf.shape or ())), dtype=torch.uint8 if leaf.dtype == np.uint8 else torch.float32
            )
            for leaf in space_leaves(self.observation_space)
        )

    def facts(self) -> dict[str, str]:
        """Returns what a file notes of the policy."""
        from offlinekit.version import __version__

        facts = {"algorithm": self.name, "updates": str(self.updates), "offlinekit": __version__}
        space = self.observation_space
        held = {
            "schema": self.schema,
            "tokenizer": space.tokenizer if isinstance(space, TokenWindow) else None,
        }
        data = {name: json.dumps(part.to_json()) for name, part in held.items() if part is not None}
        return {**facts, **data}


class _Held(nn.Module):
    """Stand-in for a parametrisation, such as a spectral norm, of weights that no longer change."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, _: Tensor) -> Tensor:
        """Returns the weights."""
        return self.value


class _Members(nn.Module):
    """The members of an ensemble one after another, as vmap is in no graph."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.members = nn.ModuleList(ensemble.unstacked())
        self.size = getattr(self.members[0], "size", None)

    def forward(self, inputs: TensorTree) -> Tensor:
        """Returns what the ensemble does, [K, ...]."""
        return torch.stack([member(inputs) for member in self.members])


class _Touched(Dispatch):
    """Records which tensors are computed with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        self.seen.update(x.data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor))
        return func(*args, **(kwargs or {}))

    def remove_others(self, module: nn.Module) -> None:
        """Removes from a module the parameters and buffers that were not used."""
        for part in module.modules():
            for held in (part._parameters, part._buffers):
                for name, value in held.items():
                    if value is not None and value.data_ptr() not in self.seen:
                        held[name] = None


def space_of(algo: Algo) -> spaces.Space[Any]:
    """Returns the space of what an exported policy sees.

    Raises:
        UnsupportedError: For a policy that remembers its episode.
    """
    space = algo.impl.exported_space
    if space is None:
        raise UnsupportedError(
            f"{type(algo).__name__} remembers the steps of an episode, which an exported policy cannot; act with "
            "algo.as_stateful(), or clone it: offlinekit datasets collect, then train and export BC"
        )
    return space


def torch_dtype(space: spaces.Box) -> torch.dtype:
    """Returns the dtype of torch that a Box of actions has.

    Raises:
        UnsupportedError: If torch has none.
    """
    dtype: torch.dtype | None = getattr(torch, np.dtype(space.dtype).name, None)
    if dtype is None:
        raise UnsupportedError(
            f"actions of dtype {space.dtype} cannot be exported, as torch has no such dtype; declare a Box of float64"
        )
    return dtype


def predicted(algo: Algo, observations: ArrayTree) -> Array:
    """Returns the greedy actions of observations as an exported policy sees them, by the algorithm itself."""
    if not algo.is_stateful:
        return algo.predict(observations)
    with torch.no_grad():
        given = map_tree(lambda leaf: torch.from_numpy(leaf).to(algo.impl.device), observations)
        actions: Array = algo.impl.exported_actions(given).cpu().numpy()
    return actions


def examples(algo: Algo, n_rows: int) -> ArrayTree:
    """Draws observations [n_rows, ...] in the units of the data, always the same, with which to compare policies."""
    rng = np.random.default_rng(0)
    space, scaling = space_of(algo), algo.scaling.observation
    leaves = space_leaves(space)
    affines = [None] * len(leaves) if scaling is None else observation_leaves(space, scaling)
    tree = _tree(space, iter([_draw(rng, leaf, a, n_rows) for leaf, a in zip(leaves, affines, strict=True)]))
    legal = legal_of(tree)
    if legal is not None:
        assert isinstance(algo.impl.action_space, spaces.Discrete)
        for part in np.split(legal, np.cumsum(part_sizes(algo.impl.action_space))[:-1], 1):
            part[:, 0] |= ~part.any(1)  # A row has a legal action, or a choice in each part.
    return tree


def arguments(space: spaces.Space[Any], observations: ArrayTree) -> list[Array]:
    """Returns the leaves of observations [B, ...] as the policy takes them."""
    pairs = zip(observation_leaves(space, observations), space_leaves(space), strict=True)
    return [np.ascontiguousarray(o, np.uint8 if leaf.dtype == np.uint8 else np.float32) for o, leaf in pairs]


def _copy(algo: Algo) -> Impl:
    """Returns an implementation with the same networks on the CPU, parametrised weights as plain numbers."""
    impl = algo.impl
    copy: Impl = algo.impl_class(algo, impl.observation_space, impl.action_space, torch.device("cpu"))
    copy.load_state_dict(impl.state_dict())
    copy.grad_step, copy.horizon = impl.grad_step, impl.horizon
    copy.requires_grad_(False).eval()
    for module in list(copy.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, Ensemble):
                setattr(module, name, _Members(part))
        if isinstance(module, parametrize.ParametrizationList):
            value = module()
            for i in range(len(module)):
                module[i] = _Held(value)
    return copy


def _numbers(affine: Affine | None) -> dict[str, Any] | None:
    """Returns the numbers of a scaler, float64 as `Affine` computes."""
    if affine is None:
        return None
    numbers = {"shift": torch.tensor(affine.shift), "scale": torch.tensor(affine.scale)}
    return {**numbers, "low": affine.low, "high": affine.high}


def _scale(leaf: Tensor, numbers: dict[str, Any] | None) -> Tensor:
    if numbers is None:
        return leaf
    scaled: Tensor = (leaf.double() - numbers["shift"]) / numbers["scale"]
    if np.isfinite(numbers["low"]) or np.isfinite(numbers["high"]):
        scaled = scaled.clamp(numbers["low"], numbers["high"])
    return scaled.float()


def _tree(space: spaces.Space[Any], leaves: Iterator[T]) -> Tree[T]:
    """Returns the leaves as observations of a space, in the order of `space_leaves`."""
    if isinstance(space, spaces.Dict):
        return {key: _tree(part, leaves) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_tree(part, leaves) for part in space.spaces)
    return next(leaves)


def _names(space: spaces.Space[Any], name: str) -> Iterator[str]:
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, part in parts:
            yield from _names(part, f"{name}.{key}")
    else:
        yield name


def _draw(rng: np.random.Generator, leaf: spaces.Space[Any], affine: Affine | None, n_rows: int) -> Array:
    shape = (n_rows, *(leaf.shape or ()))
    if isinstance(leaf, TokenWindow):
        return leaf.draw(rng, n_rows)
    if leaf.dtype == np.uint8:
        assert isinstance(leaf, spaces.Box)
        return rng.integers(leaf.low, leaf.high, shape, np.uint8, endpoint=True)
    values = rng.normal(size=shape).astype(np.float32)
    return values if affine is None else affine.inverse(values)

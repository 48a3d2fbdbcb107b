"""Batches for a whole stack: each member draws its own rows, one gather fetches them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from offlinekit.core.hyperparameters import views_of
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.interfaces import BatchSource, Sampler
from offlinekit.nn.random import derive
from offlinekit.sampling.batch import Minibatch
from offlinekit.sampling.blocks import BlockSampler
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.types import Array, map_tree

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo


@runtime_checkable
class Shareable(Sampler, Protocol):
    """A sampler whose columns serve several members: one of transitions, or one of windows of steps."""

    device: torch.device
    batch_size: int

    @property
    def columns(self) -> object:
        """The columns shared with its twins."""

    def twin(self, batch_size: int, seed: int, *sampling_weights: Array) -> Shareable:
        """Returns a sampler of the same columns that draws by a generator of its own, and by weights if given."""

    def next_rows(self) -> Tensor:
        """Draws the rows of the next minibatch, int64 [B]."""

    def gather(self, index: Tensor) -> Minibatch:
        """Returns the minibatch of rows, int64 [B], or with an axis of members before B that every field then has."""


class SharedColumns:
    """Makes the members' samplers; those of equal columns share them.

    Args:
        together: Whether the rows of all members come by one gather, which some samplers do not offer.
    """

    def __init__(self, together: bool = True) -> None:
        self.together = together
        self._made: list[
            tuple[dict[str, Any], bool, Shareable]
        ] = []  # The flag: whether by weights of its own.

    def __call__(self, algo: Algo, dataset: MDPDataset, **settings: Any) -> Sampler:
        """Returns a sampler with a generator of its own."""
        impl = algo.impl
        if not impl.stackable:
            return algo.make_sampler(dataset, **settings)
        wanted = {
            "gamma": algo.gamma,
            "n_step": algo.n_step,
            "scaling": algo.scaling.to_json(),
            "device": impl.device,
            "needs": (type(impl).__name__, *impl.needed),
            "views": views_of(algo, impl.observation_space),
            "make_sampler": type(algo).make_sampler,
            "options": [getattr(algo, name) for name in algo.sampler_options],
        }
        seed, weights = derive(algo.seed or 0, "batches"), algo.sampling_weights_for(dataset)
        for columns, by_weights, sampler in self._made:
            if columns == wanted and weights is not None:
                return sampler.twin(algo.batch_size, seed, weights)
            if columns == wanted and not by_weights:
                return sampler.twin(algo.batch_size, seed)
        made = algo.make_sampler(dataset, **settings)
        shift: int = getattr(made, "image_shift", 0)
        if self.together and shift:
            raise UnsupportedError(
                "members of a population gather their rows together, without the shifts of random_shift; use "
                "random_shift=0, or train them one by one"
            )
        if self.together and isinstance(made, BlockSampler):
            raise UnsupportedError(
                "a population gathers rows for each of its members, which needs the dataset in memory; "
                "use MDPDataset.load in place of open"
            )
        if isinstance(made, Shareable):
            self._made.append((wanted, weights is not None, made))
        return made


class StackedSource(BatchSource, Protocol):
    """Batches with a leading axis of members, [M, B, ...]."""

    def example(self) -> Minibatch:
        """Returns a batch to see its shapes; the next ones are those that would come without it."""


class StackedSampler:
    """Batches with a leading axis of members, [M, B, ...]; member i draws the rows it would draw alone.

    Args:
        samplers: One a member, of equal batch sizes.
    """

    def __init__(self, samplers: Sequence[Shareable]) -> None:
        self.samplers = samplers
        self.holders: dict[int, list[int]] = {}  # Members by the columns they share.
        for member, sampler in enumerate(samplers):
            self.holders.setdefault(id(sampler.columns), []).append(member)
        order = [member for members in self.holders.values() for member in members]
        self.places = None
        if order != sorted(order):
            self.places = torch.tensor(order, device=samplers[0].device).argsort()

    def sample(self) -> Minibatch:
        """Draws the next minibatch of every member."""
        return self._joined(
            [_drawn([self.samplers[m] for m in members]) for members in self.holders.values()]
        )

    def example(self) -> Minibatch:
        """Returns a batch without drawing one, to see its shapes: each row is the first."""
        first = self.samplers[0]
        rows = torch.zeros(first.batch_size, dtype=torch.int64, device=first.device)
        return self.gather([rows for _ in self.samplers])

    def gather(self, rows: Sequence[Tensor]) -> Minibatch:
        """Returns what the given rows stand for, [B] for each member."""
        parts = [
            self.samplers[members[0]].gather(torch.stack([rows[member] for member in members]))
            for members in self.holders.values()
        ]
        return self._joined(parts)

    def _joined(self, parts: Sequence[Minibatch]) -> Minibatch:
        """Returns what the holders of each table drew as one batch, in the order of the members."""
        if len(parts) == 1:
            return parts[0]
        # FQE of the behaviour also carries next actions, by which it leaves rows out; the losses read what all have.
        like = min(parts, key=len)

        def join(*leaves: Tensor | None) -> Tensor | None:
            parts = [leaf for leaf in leaves if leaf is not None]
            if not parts:
                return None
            joined = torch.cat(parts)
            return joined if self.places is None else joined[self.places]

        fields = {name: map_tree(join, *(getattr(part, name) for part in parts)) for name in like._fields}
        return type(like)(**fields)


class SeparateSamplers:
    """Batches with a leading axis of members, [M, B, ...], each of which draws from rows of its own.

    Args:
        samplers: One a member, of batches with the same fields and shapes.
    """

    def __init__(self, samplers: Sequence[Sampler]) -> None:
        self.samplers = samplers

    def sample(self) -> Minibatch:
        """Draws the next minibatch of every member."""
        batches = [sampler.sample() for sampler in self.samplers]

        def join(*parts: Tensor | None) -> Tensor | None:
            leaves = [part for part in parts if part is not None]
            return torch.stack(leaves) if leaves else None

        names = batches[0]._fields
        return type(batches[0])(*(map_tree(join, *(getattr(b, name) for b in batches)) for name in names))

    def example(self) -> Minibatch:
        """Returns a batch to see its shapes; the next ones are those that would come without it."""
        states = [sampler.state() for sampler in self.samplers]
        batch = self.sample()
        for sampler, state in zip(self.samplers, states, strict=True):
            sampler.set_state(state)
        return batch


def _drawn(twins: Sequence[Shareable]) -> Minibatch:
    """Draws the next minibatch of samplers that share columns, [M, B, ...]."""
    samplers: Sequence[object] = twins  # For the type checker, to which `Shareable` excludes the class.
    ahead = [each for each in samplers if isinstance(each, TransitionSampler) and each.locates_ahead]
    if len(ahead) == len(twins):
        return ahead[0].sample_with(ahead[1:])
    return twins[0].gather(torch.stack([sampler.next_rows() for sampler in twins]))


def unflatten(tensors: Sequence[Tensor], like: Minibatch) -> Minibatch:
    """Returns a batch built as another one from the tensors that `tensors_of` returned."""
    rest = iter(tensors)
    return type(like)(*map_tree(lambda leaf: None if leaf is None else next(rest), tuple(like)))

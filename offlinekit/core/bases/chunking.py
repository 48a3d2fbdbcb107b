"""Base of algorithms that choose several actions at once: front and implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from offlinekit.core.algo import Algo
from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.compatibility import check_targets
from offlinekit.core.hyperparameters import Count
from offlinekit.datasets import MDPDataset
from offlinekit.interfaces import Sampler
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.sampling.chunks import chunked
from offlinekit.training.objectives import Loss
from offlinekit.types import rows


class Chunking(Algo):
    """An action is a chunk of those of several steps, played out one after another; it acts by `as_stateful`."""

    n_step: Annotated[Count, "Actions in a chunk, which are also the steps joined before bootstrapping."] = 5

    def make_sampler(self, dataset: MDPDataset, **settings: Any) -> Sampler:
        """Makes what draws transitions of chunks."""
        return super().make_sampler(chunked(dataset, self.n_step), **settings)

    def training_sampler(self, recorded: Sampler, dataset: MDPDataset) -> Sampler:
        """Returns the sampler as it is; warns if few chunks are whole, as critics learn from these alone.

        Raises:
            UnsupportedError: If none is.
        """
        whole = chunked(dataset, self.n_step).extras["whole"]
        check_targets(type(self).__name__, dataset, whole, _why_not_whole(dataset, self.n_step))
        return super().training_sampler(recorded, dataset)


def _why_not_whole(dataset: MDPDataset, n_step: int) -> str:
    """Returns what keeps chunks from being whole, and the length at which half the rows begin one."""
    lengths = dataset.episode_lengths()
    usable = lengths - ~(dataset.terminals[dataset.episode_ends - 1] | dataset.final_known)
    counts = [
        int((usable - length).clip(0).sum()) for length in range(n_step)
    ]  # Of whole chunks of length + 1.
    enough = [length + 1 for length, count in enumerate(counts) if count and count >= len(dataset) / 2]
    some = [length + 1 for length, count in enumerate(counts) if count]
    fit = max(enough or some[:1], default=0)
    remedy = (
        f"set n_step={fit} or less" if fit else "give final_observations, which say what follows the last row"
    )
    return (
        f"a row must begin a chunk of n_step={n_step} steps within its episode, and the longest episode has "
        f"{lengths.max():,} rows; {remedy}"
    )


class ChunkingImpl(ActorCriticImpl):
    """Put before an implementation, makes its actions chunks of H = `n_step` steps; arXiv:2507.07969, section 4.

    Networks see chunks [B, H * A]. Batches hold them beside `valid` [B, H], which of the actions are cloned,
    and `whole` [B], whether all steps are of the episode and what follows is known. Outside, actions are those of one
    step.
    """

    needs: ClassVar[tuple[str, ...]] = (*ActorCriticImpl.needs, "valid", "whole")
    is_stateful: ClassVar[bool] = True

    @property
    def step_size(self) -> int:
        """A, dimensions of the action of one step."""
        return super().action_size

    @property
    def action_size(self) -> int:
        """H * A, dimensions of a chunk."""
        return self.step_size * int(self.config.n_step)

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss of the chunks that are whole."""
        whole = batch.whole.float().expand(self.q.members, -1)
        masks = whole if batch.masks is None else whole * batch.masks
        return super().compute_critic_loss(batch.with_columns(masks=masks), q_tpn)

    def cloning_weights(self, batch: Batch) -> Tensor:
        """Returns 1 for the actions [B, H * A] to clone, 0 for those behind an episode's end or of loss weight 0."""
        return batch.valid.float().repeat_interleave(self.step_size, -1)

    def best_chunk(self, observations: TensorTree) -> Tensor:
        """Returns the greedy chunks [B, H * A]."""
        return super().predict_best_action(observations)

    def draw_chunk(self, observations: TensorTree) -> Tensor:
        """Returns chunks [B, H * A] drawn from the policy."""
        return super().sample_action(observations)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the first actions [B, A] of the greedy chunks."""
        return self.best_chunk(observations)[:, : self.step_size]

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns the first actions [B, A] of drawn chunks."""
        return self.draw_chunk(observations)[:, : self.step_size]

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns the mean over members of Q [B] of the greedy chunks, begun by actions [B, A] if given."""
        chunks = self.best_chunk(observations)
        if actions is not None:
            chunks = torch.cat([actions, chunks[:, self.step_size :]], -1)
        return self.q.values(observations, chunks).mean(0)

    def take_steps(
        self, observations: TensorTree, rewards: Tensor, memories: Sequence[Any], sample: bool
    ) -> tuple[Tensor, Sequence[Any]]:
        """Returns the next actions [B, A] of the chunks under way, and what is left of each; None for nothing."""
        chunks = list(memories)
        begun = [i for i, chunk in enumerate(chunks) if chunk is None]
        if begun:
            choose = self.draw_chunk if sample else self.best_chunk
            begun_chunks = choose(rows(observations, torch.tensor(begun, device=rewards.device)))
            for i, chunk in zip(begun, begun_chunks.view(len(begun), -1, self.step_size), strict=True):
                chunks[i] = chunk
        left = [chunk[1:] if len(chunk) > 1 else None for chunk in chunks]
        return torch.stack([chunk[0] for chunk in chunks]), left

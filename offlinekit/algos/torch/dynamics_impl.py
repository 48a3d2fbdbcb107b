"""An ensemble of probabilistic models of one step: the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor

from offlinekit.core.impl import Impl
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.interfaces import Sampler
from offlinekit.nn import losses
from offlinekit.nn.encoders import MLPEncoder, ResidualEncoder, resolve_encoder
from offlinekit.nn.networks import MLP
from offlinekit.nn.rows import bootstrapped
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.loss_weights import learned_rows
from offlinekit.training.objectives import Loss, Objective
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.algos.dynamics import DiscreteDynamics, Dynamics

LOG_STDS = (-5.0, 1.0)


class Outcomes(NamedTuple):
    """Predictions of K members for a step, all scaled; the last of D + 1 numbers is the reward.

    Attributes:
        means: [K, B, D + 1], of the change of the observation and the reward.
        log_stds: [K, B, D + 1].
        logits: [K, B], of the MDP's end.
    """

    means: Tensor
    log_stds: Tensor
    logits: Tensor


class DynamicsImpl(Impl):
    """-log N(s' - s, r; mean(s, a), std(s, a)) - log P(end | s, a) of K members; arXiv:1805.12114, eq. (1).

    If the MDP ended, nothing follows, and only reward and end are learned. With `resample` `batch.bootstrap_counts`
    [B, K] say how often each member learns from a row.
    """

    config: Dynamics
    has_value: ClassVar[bool] = False
    is_discrete: ClassVar[bool] = False
    lowest: Tensor
    highest: Tensor

    def build(self) -> None:
        """Makes the members, and the range of what the data show, scaled, [D + 1].

        Raises:
            UnsupportedError: For observations that are no vectors, and encoders of anything else.
            ValueError: For joined steps, and for a discount of 0, which would hide the end of the MDP.
        """
        space, encoder = self.observation_space, resolve_encoder(self.config.encoder, self.observation_space)
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise UnsupportedError(f"dynamics are learned of vector observations, got {space}")
        if type(encoder) not in (MLPEncoder, ResidualEncoder):
            raise UnsupportedError(
                f"dynamics are layers over a vector, encoder='mlp' or 'residual', got {self.config.encoder!r}"
            )
        size, acted = space.shape[0], self.n_actions if self.is_discrete else self.action_size
        self.mlp = MLP(encoder, size + acted, 2 * (size + 1) + 1, self.random, self.config.n_members)
        self.register_buffer("lowest", torch.full((size + 1,), -torch.inf))
        self.register_buffer("highest", torch.full((size + 1,), torch.inf))

    def build_objectives(self) -> list[Objective]:
        """Returns the members' loss."""
        return [self.objective("model", self.compute_model_loss, [self.mlp], self.config.learning_rate)]

    def learn_data(self, dataset: MDPDataset, sampler: Sampler) -> None:
        """Records the range of observations and rewards."""
        rows = learned_rows(dataset)
        scaling, observations, rewards = self.config.scaling, first_leaf(rows.observations), rows.rewards
        ranges = scaling.observations(np.stack([observations.min(0), observations.max(0)]))
        earned = np.stack([rewards.min(), rewards.max()])
        earned = earned if scaling.reward is None else scaling.reward.transform(earned)
        sorted_ranges = torch.from_numpy(np.concatenate([ranges, earned[:, None]], 1)).sort(0).values
        self.lowest.copy_(sorted_ranges[0])
        self.highest.copy_(sorted_ranges[1])

    def outcomes(self, observations: Tensor, actions: Tensor, per_member: bool = False) -> Outcomes:
        """Returns what the members say of steps: of [B, D] all of each, or of [K, B, D] each of its own."""
        if self.is_discrete:
            numbers = torch.arange(self.n_actions, device=actions.device)
            actions = (actions.unsqueeze(-1) == numbers).float()
        outputs = self.mlp(torch.cat([observations, actions], -1), per_member)
        means, log_stds = outputs[..., :-1].chunk(2, -1)
        return Outcomes(means, losses.softly_bounded(log_stds, *LOG_STDS), outputs[..., -1])

    def compute_model_loss(self, batch: Batch) -> Loss:
        """Returns the negative log-likelihood of each member and row, of the rows that the member learns from."""
        means, log_stds, logits = self.outcomes(batch.observations, batch.actions)  # type: ignore[arg-type]
        following = batch.next_observations - batch.observations  # type: ignore[operator]  # Vectors.
        outcomes = torch.cat([following, batch.rewards[:, None]], -1).expand_as(means)
        moved, earned = (
            losses.normal_log_prob(outcomes[..., part], means[..., part], log_stds[..., part])
            for part in (slice(-1), slice(-1, None))
        )
        goes_on = (batch.discounts > 0).float()
        ends = (1.0 - goes_on).expand_as(logits)
        ended = F.binary_cross_entropy_with_logits(logits, ends, reduction="none")
        errors = (means[..., :-1] - following).square().mean(-1) * goes_on
        counts = batch.bootstrap_counts.T if self.config.resample else None
        loss = bootstrapped(ended - goes_on * moved - earned, counts)
        return loss, {"observation_error": errors.detach().mean(0)}


class DiscreteDynamicsImpl(DynamicsImpl):
    """The same, of discrete actions: one input each."""

    config: DiscreteDynamics
    is_discrete: ClassVar[bool] = True

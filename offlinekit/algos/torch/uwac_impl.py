"""UWAC: BEAR whose losses count values by how certain the critics' dropout leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from offlinekit.algos.torch.bear_impl import BEARImpl
from offlinekit.nn import losses
from offlinekit.nn.networks import QFunction, StackedLinear
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.uwac import UWAC


class SpectralNorm(nn.Module):
    """Weights [K, inputs, outputs] -> the same divided by each member's largest singular value."""

    def forward(self, weights: Tensor) -> Tensor:
        """Returns weights of spectral norm 1, or zeros."""
        return weights / losses.largest_singular_value(weights).clamp(min=1e-12)[:, None, None]


class UWACImpl(BEARImpl):
    """Temporal differences and the actor's values times exp(-weight * variance); arXiv:2105.08140.

    Means and variances are those of many passes with dropout, of the target critics too. Order: as BEAR.
    """

    config: UWAC

    def make_q(self) -> QFunction:
        """Makes the critics of BEAR, with normalised layers if the front says so."""
        q = super().make_q()
        for layer in q.network.mlp.layers:
            if self.config.spectral_norm and isinstance(layer, StackedLinear):
                register_parametrization(layer, "weight", SpectralNorm())
        return q

    def train(self, mode: bool = True) -> UWACImpl:
        """Switches dropout on or off, that of the target critics with the others."""
        super().train(mode)
        self.target_q.train(mode)
        return self

    def passes(self, q: QFunction, observations: TensorTree, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and variance over passes of each critic's values: actions [..., B, A] -> [K, ..., B]."""
        values = q.values(
            observations, actions.expand(self.config.n_passes, *actions.shape)
        )  # [K, P, ..., B]
        return values.mean(1), values.var(1)

    def certainty(self, variances: Tensor) -> Tensor:
        """Returns exp(-variance_weight * variance), in (0, 1], without gradient."""
        certainty: Tensor = (-self.config.variance_weight * variances.detach()).exp()
        return certainty

    def certain_target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns r + gamma max_i of the mixed means at actions a_i of the target policy, and its certainty, [B]."""
        actions, _ = self.target_policy.sample(batch.next_observations, self.config.n_actions)
        means, variances = self.passes(self.target_q, batch.next_observations, actions)  # [K, M, B]
        values = losses.mixed_members(means, self.config.min_weight).amax(0)
        return batch.rewards + batch.discounts * values, self.certainty(variances.sum(0).amax(0))

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the target alone."""
        targets, _ = self.certain_target(batch)
        return self.q.as_target(targets)

    def critic_loss(self, batch: Batch) -> Loss:
        """Returns the loss of temporal differences times the certainty of their target; squares square it."""
        with torch.no_grad():
            targets, certainty = self.certain_target(batch)
        outputs = self.q(batch.observations, batch.actions)
        loss = self.q.loss(certainty * outputs, self.q.as_target(certainty * targets), batch.masks)
        return loss, {"certainty": certainty}

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns alpha times the discrepancy less the certainty times min_k of the mean value, row by row."""
        raw = self.draw(batch.observations)
        distances = self.discrepancies(batch.observations, raw)
        means, variances = self.passes(self.q, batch.observations, torch.tanh(raw[0]))
        values = self.certainty(variances.sum(0)) * means.amin(0)
        return self.alpha() * distances - values, {"mmd": distances.detach()}

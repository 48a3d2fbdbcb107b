"""MOBILE: targets lowered by the deviation of the elites' Bellman backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.core.bases.model_based import ModelBasedImpl
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.interfaces import Sampler
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.loss_weights import learned_rows
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.mobile import MOBILE


class MOBILEImpl(ModelBasedImpl, SACImpl):
    """y = max(floor, r - penalty u(s, a) + gamma min_k Q_target_k(s', a')), without entropy; Sun et al. 2023."""

    config: MOBILE
    needs: ClassVar[tuple[str, ...]] = (*SACImpl.needs, "imagined")
    floor: Tensor

    def build(self) -> None:
        """Makes the networks and the lower bound of targets, which data raise."""
        super().build()
        self.register_buffer("floor", torch.tensor(-torch.inf))

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of SAC, without the temperature's if it stays as it is."""
        objectives = super().build_objectives()
        return objectives if self.config.learns_temperature else objectives[1:]

    def learn_data(self, dataset: MDPDataset, sampler: Sampler) -> None:
        """Records the value of the lowest reward, or of an end if that is lower, for ever."""
        rewards, scaler = learned_rows(dataset).rewards, self.config.scaling.reward
        lowest = min(float((rewards if scaler is None else scaler.transform(rewards)).min()), 0.0)
        known = self.config.target_floor == "data" and self.config.gamma < 1.0
        self.floor.fill_(lowest / (1.0 - self.config.gamma) if known else -torch.inf)

    def inconsistency(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Returns std_i mean_j min_k Q_target_k(s'_ij, a'), [B], of next states j that elite i draws.

        Args:
            observations: [B, D].
            actions: [B, A].
        """
        e, n = self.model.n_elites, self.config.n_samples
        outcomes = self.model.outcomes(observations, actions, members=e)
        means, stds = outcomes.means[..., :-1], outcomes.log_stds[..., :-1].exp()
        after = observations + means + stds * self.random.normal(n, *means.shape)  # [n, E, B, D]
        flat = after.flatten(0, 2)
        chosen, _ = self.policy.sample(flat)
        values = self.target_q.values(flat, chosen).amin(0).view(n, e, -1).mean(0)  # [E, B]
        spread: Tensor = values.std(0, correction=min(e - 1, 1))
        return spread

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the target [B] or [N, B], lowered for rows that the model made."""
        actions, _ = self.policy.sample(batch.next_observations)
        values = self.q.lowest(self.target_q(batch.next_observations, actions))
        unsure = self.inconsistency(batch.observations, batch.actions)  # type: ignore[arg-type]  # Vectors.
        lowered = batch.rewards - self.config.penalty * batch.imagined * unsure
        return torch.maximum(lowered + batch.discounts * values, self.floor)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns min(temperature, 1) log pi(a|s) - min_k Q_k(s, a) of each row."""
        actions, log_probs = self.policy.sample(batch.observations)
        values = self.q.values(batch.observations, actions).amin(0)
        return self.log_temperature.detach().exp().clamp(max=1.0) * log_probs - values

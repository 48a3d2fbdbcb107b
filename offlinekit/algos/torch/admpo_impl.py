"""ADMPO: rollouts whose steps are predicted from states some steps back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.any_step_dynamics_impl import Histories
from offlinekit.algos.torch.dynamics_impl import Imagined
from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.core.bases.model_based import ModelBasedImpl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.replay.imagined_rows import ImaginationSampler
from offlinekit.training.objectives import Objective
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.algos.admpo import ADMPO
    from offlinekit.core.bases.model_based import StepDrawer


class ADMPOImpl(ModelBasedImpl, SACImpl):
    """r - penalty * u, u = (mean_dim Var_k mu_k)^(1/2) over lengths k; arXiv:2405.17031."""

    config: ADMPO

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of SAC, without the temperature's if it stays as it is."""
        objectives = super().build_objectives()
        return objectives if self.config.learns_temperature else objectives[1:]

    @torch.no_grad()
    def roll_out(self, sampler: ImaginationSampler, n: int, length: int) -> Iterator[tuple[Batch, Tensor]]:
        """Returns `rollouts` from n recorded states, in which predictions begin up to m - 1 steps before these too."""
        recorded, n_before = sampler.draw_histories(n, self.model.config.max_steps_back - 1)
        *before, starts = first_leaf(recorded.observations)
        histories = Histories(self.model, starts, self.random)
        for observations, actions in zip(before, recorded.actions, strict=False):
            histories.take(observations, actions)
        histories.n_known = n_before
        return self.rollouts(starts, length, histories.imagined_step)

    def rollouts(
        self, starts: Tensor, length: int, imagined_step: StepDrawer | None = None
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Yields the rows of rollouts, whose histories begin with them unless steps are drawn by others."""
        own = Histories(self.model, starts, self.random)
        return super().rollouts(starts, length, imagined_step or own.imagined_step)

    def outcome(self, step: Imagined) -> tuple[Tensor, Tensor]:
        """Returns the penalised rewards and the ends."""
        assert step.outcomes is not None  # For the type checker: histories bring them.
        unsure = losses.mean_variance_root(step.outcomes.means[..., :-1], step.counted)
        return step.rewards - self.config.penalty * unsure, step.ends

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma min_k Q_target_k(s', a'), with SAC's entropy term if the front says so."""
        if self.config.soft_backup:
            return super().compute_target(batch)
        actions, _ = self.policy.sample(batch.next_observations)
        values: Tensor = self.q.lowest(self.target_q(batch.next_observations, actions))
        return batch.rewards + batch.discounts * values

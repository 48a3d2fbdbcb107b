"""Implicit diffusion Q-learning: IQL's values, a diffusion that clones, a choice among its actions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.bfn_impl import BestOf, BestOfImpl
from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.core.bases.behaviour_models import make_diffusion
from offlinekit.nn.diffusion import ClippedDiffusion, TimeFeatures
from offlinekit.sampling.batch import TensorTree

if TYPE_CHECKING:
    from offlinekit.algos.idql import IDQL


class IDQLImpl(BestOfImpl, IQLImpl):  # type: ignore[misc]  # A policy in place of IQL's Gaussian.
    """IQL whose policy is one of N actions of a diffusion, by the values; arXiv:2304.10573, algorithms 1 and 2."""

    config: IDQL  # type: ignore[assignment]  # It has what IQL's losses read.

    def build(self) -> None:
        """Makes the critics, the state value, the diffusion and its average, which acts."""
        super().build()
        self.target_policy = self.make_target(self.policy, "actor_tau")

    def build_policy(self) -> BestOf:  # type: ignore[override]  # As above.
        """Makes the diffusion and the choice among its actions."""
        width = self.config.time_width
        frequencies = 2.0 * math.pi * 0.2 * torch.randn(width // 4)
        times = TimeFeatures(frequencies, (width, width), learned=True)
        return BestOf(make_diffusion(self, times, ClippedDiffusion), self.config.n_candidates)

    def action_values(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the lowest of the target critics' values [N, B] of actions [N, B, A]."""
        values: Tensor = self.target_q.values(observations, actions)
        return values.amin(0)

    def log_weight(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns log |expectile - 1[Q < V]| [N, B], the critic's own policy beside the behaviour; section 4.1."""
        above = self.action_values(observations, actions) > self.value(observations).squeeze(-1)
        expectile = self.config.expectile
        return torch.where(above, expectile, 1.0 - expectile).log()

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the best [B, A] of N actions from noise that is always the same."""
        actions: Tensor = self.target_policy.mode(observations, self.action_values)
        return actions

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Draws one of N new actions [B, A] by the weights that the expectile gives them."""
        actions: Tensor = self.target_policy.draw(observations, self.log_weight)
        return actions

"""Discrete batch-constrained Q-learning: a behaviour model limits the greedy choice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.core.bases.q_learning import QLearningImpl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.discrete_bcq import DiscreteBCQ


class DiscreteBCQImpl(QLearningImpl):
    """Double DQN over {a : G(a|s) / max G(.|s) >= threshold}; arXiv:1910.01708, algorithm 1.

    Of several parts each has to be likely enough, as in arXiv:2411.11088, section 4.
    """

    config: DiscreteBCQ

    def build(self) -> None:
        """Makes the critics, their target and the behaviour model: observations -> logits [B, A]."""
        super().build()
        self.imitator = self.make_logits()

    def build_objectives(self) -> list[Objective]:
        """Returns the critics' loss, then the behaviour model's."""
        rate = self.config.learning_rate
        imitation = self.objective("imitator", self.compute_imitator_loss, [self.imitator], rate)
        return [*super().build_objectives(), imitation]

    def compute_imitator_loss(self, batch: Batch) -> Loss:
        """Returns the negative log-likelihood of the action of each row, plus the penalty on logits."""
        penalised = partial(losses.imitation_loss, penalty=self.config.logits_penalty)
        return self.parts.total(penalised, self.imitator(batch.observations), batch.actions)

    def constrained_values(self, observations: TensorTree) -> Tensor:
        """Returns the mean over critics of Q [B, A], minus infinity for actions that are not allowed."""
        likely = partial(losses.likely_actions, threshold=self.config.threshold)
        allowed = self.parts.map(likely, self.parts.log_softmax(self.imitator(observations)))
        return self.q.values(observations).mean(0).masked_fill(~allowed, -torch.inf)

    def next_actions(self, observations: TensorTree, outputs: Tensor) -> Tensor:
        """Returns the best allowed actions [B] by the online critics."""
        return self.predict_best_action(observations)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the best allowed actions [B]."""
        return self.parts.best(self.constrained_values(observations))

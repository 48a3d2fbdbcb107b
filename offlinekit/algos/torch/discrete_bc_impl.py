"""Behaviour cloning of discrete actions: the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.core.impl import Impl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.discrete_bc import DiscreteBC


class DiscreteBCImpl(Impl):
    """A classifier of the data's actions."""

    config: DiscreteBC
    has_value: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def build(self) -> None:
        """Makes the classifier: observations -> logits [B, A]."""
        self.policy = self.make_logits()

    def build_objectives(self) -> list[Objective]:
        """Returns the cloning loss."""
        rate = self.config.learning_rate
        return [self.objective("actor", self.compute_actor_loss, [self.policy], rate)]

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the negative log-likelihood of the action of each row, plus the penalty on logits."""
        logits = self.policy(batch.observations)
        return losses.imitation_loss(logits, batch.actions, self.config.logits_penalty)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the likeliest actions [B]."""
        logits: Tensor = self.policy(observations)
        return logits.argmax(-1)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B] drawn from the classifier's probabilities."""
        return self.random.categorical(torch.log_softmax(self.policy(observations), -1))

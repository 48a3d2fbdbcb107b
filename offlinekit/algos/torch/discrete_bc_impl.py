"""Behaviour cloning of discrete actions: the loss."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

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
        penalised = partial(losses.imitation_loss, penalty=self.config.logits_penalty)
        return self.parts.total(penalised, self.policy(batch.observations), batch.actions)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the likeliest actions [B]."""
        return self.parts.best(self.policy(observations))

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B] drawn from the classifier's probabilities."""
        return self.parts.draw(self.parts.log_softmax(self.policy(observations)), self.random)

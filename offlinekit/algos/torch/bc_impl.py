"""Behaviour cloning: the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from offlinekit.core.impl import Impl
from offlinekit.nn import losses
from offlinekit.nn.policies import DeterministicPolicy, GaussianPolicy, drawn_log_prob
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.bc import BC


class BCImpl(Impl):
    """A policy fitted to the data's actions."""

    config: BC
    has_value: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def build(self) -> None:
        """Makes the policy."""
        network = self.make_network(self.action_size)
        self.policy: DeterministicPolicy | GaussianPolicy
        if self.config.policy == "gaussian":
            self.policy = GaussianPolicy(network, self.random, self.action_size)
        else:
            self.policy = DeterministicPolicy(network)

    def build_objectives(self) -> list[Objective]:
        """Returns the cloning loss."""
        rate = self.config.learning_rate
        return [self.objective("actor", self.compute_actor_loss, [self.policy], rate)]

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the squared error of the action of each row, or its negative log-likelihood."""
        if isinstance(self.policy, GaussianPolicy):
            return -self.policy.log_prob(batch.observations, batch.actions)
        return losses.squared_error(self.policy(batch.observations), batch.actions)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the policy's mode [B, A]."""
        return self.policy.mode(observations)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B, A] drawn from the policy; the mode of a deterministic one."""
        return self.policy.sample(observations)[0]

    def sampled_log_prob(self, observations: TensorTree, actions: Tensor, log_scale: Tensor) -> Tensor:
        """Returns the log-probabilities [B] of actions as `sample_action` draws them; see `drawn_log_prob`."""
        return drawn_log_prob(self.policy, observations, actions, log_scale)

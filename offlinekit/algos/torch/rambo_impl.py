"""RAMBO: a model that lowers what the policy gains in it, as far as the data allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.algos.torch.dynamics_impl import Imagined
from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.core.bases.model_based import ModelBasedImpl
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective, Rows

if TYPE_CHECKING:
    from offlinekit.algos.rambo import RAMBO


class RAMBOImpl(ModelBasedImpl, SACImpl):
    """L_model = weight E_rollouts[A log p(s', r|s, a)] + L_data against the policy's; arXiv:2204.12581, algorithm 1.

    Order: the policy clones the data for `warmup_steps` updates, then temperature, actor, critics and model.
    At a weight of 0 the model stays as it was fitted.
    """

    config: RAMBO
    needs: ClassVar[tuple[str, ...]] = (*SACImpl.needs, "imagined", "next_known")

    @property
    def first_rollout(self) -> int:
        """Updates before the first rollouts: cloning has no use for them."""
        return int(self.config.warmup_steps)

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of cloning and, after that, those of SAC and of the model, if that is to turn."""
        config, steps = self.config, self.config.warmup_steps
        cloning = self.objective(
            "cloning", self.compute_cloning_loss, [self.policy], config.warmup_learning_rate, last=steps
        )
        first = steps + 1
        late = [self.temperature_objective(first), self.actor_objective(first=first)]
        late.append(self.critic_objective(first=first))
        if config.adversarial_weight > 0:  # The authors leave the model as it is at 0.
            parts, rate = self.model.learned_parts, config.adversarial_learning_rate
            late.append(self.objective("model", self.compute_model_loss, parts, rate, first=first))
        return [cloning, *late]

    def compute_cloning_loss(self, batch: Batch) -> Loss:
        """Returns -log pi(a|s) of recorded rows."""
        return Rows(-self.policy.log_prob(batch.observations, batch.actions), 1.0 - batch.imagined)

    def compute_model_loss(self, batch: Batch) -> Loss:
        """Returns the loss of recorded rows, summed over members, and the weighted advantages of steps from the others.

        Both are means over their own rows.
        """
        observations: Tensor = batch.observations  # type: ignore[assignment]  # Vectors.
        imagined = batch.imagined
        with torch.no_grad():
            drawn, _ = self.policy.sample(observations)
            actions = torch.where(imagined.unsqueeze(-1) > 0, drawn, batch.actions)
            step = self.model.imagine(observations, actions, self.random)
            advantages = self.advantages(observations, actions, step, imagined)
        outcomes = self.model.outcomes(observations, actions)
        changes = torch.cat([step.next_observations - observations, step.rewards.unsqueeze(-1)], -1)
        log_probs = self.model.log_density(outcomes, changes)
        fits = self.model.fits(outcomes, *self.model.changes(batch), batch.discounts).sum(0)
        adversarial = _as_share(imagined) * advantages * log_probs
        rows = _as_share(1.0 - imagined) * fits + self.config.adversarial_weight * adversarial
        metrics = {
            "adversarial_loss": adversarial.detach(),
            "likelihood_loss": Rows(fits.detach(), 1.0 - imagined),
        }
        return Rows(rows, extra=self.model.regularisation()), metrics

    def advantages(self, observations: Tensor, actions: Tensor, step: Imagined, imagined: Tensor) -> Tensor:
        """Returns r + gamma V(s') - Q(s, a) of drawn steps, [B], of mean 0 and deviation 1 over imagined rows.

        V(s') is the value of the policy's mode.

        Args:
            observations: [B, D].
            actions: [B, A].
            step: What followed.
            imagined: [B], 1 for these rows, else 0.
        """
        after = self.policy.mode(step.next_observations)
        discounts = self.config.gamma * (~step.ends).float()
        worth = step.rewards + discounts * self.q.values(step.next_observations, after).amin(0)
        gained = worth - self.q.values(observations, actions).amin(0)
        shares = _as_share(imagined)
        centred = gained - (shares * gained).mean()
        return centred / ((shares * centred.square()).mean().sqrt() + 1e-6)


def _as_share(chosen: Tensor) -> Tensor:
    """Returns factors [B] by which a mean over all rows becomes one over the chosen ones; zeros if there are none."""
    return chosen / chosen.mean().clamp(min=1e-6)

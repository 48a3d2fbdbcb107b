"""Implicit language Q-learning: values of tokens by expectiles, beside a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.algos.torch.text_bc_impl import TextBCImpl
from offlinekit.core.bases.text_model import Pasts, first_steps, past_of
from offlinekit.core.bases.token_transformer import TokenHeads
from offlinekit.nn import losses
from offlinekit.nn.rows import window_rows
from offlinekit.sampling.batch import TensorTree, TrajectoryBatch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.ilql import ILQL


class ILQLImpl(TextBCImpl):
    """Values V and Q on one trunk, whose targets have a trunk of their own; arXiv:2206.11871, section 4.

    Means are over the agent's tokens. A state is where the agent chooses its next token: of the last token of an
    utterance the next state lies behind the answer of the environment.
    """

    config: ILQL  # type: ignore[assignment]  # Both are language models.
    has_value: ClassVar[bool] = True

    def build(self) -> None:
        """Makes the language model, the trunk of the values, their heads, and targets of trunk and Q."""
        super().build()
        width = self.config.width
        self.trunk = self.make_trunk()
        self.value, self.q = TokenHeads(width, 1, 1), TokenHeads(width, self.n_actions, 2)
        self.target_trunk, self.target_q = self.make_target(self.trunk), self.make_target(self.q)

    def build_objectives(self) -> list[Objective]:
        """Returns the loss of the values, then that of the language model."""
        config = self.config
        rate, steps = config.learning_rate, config.warmup_steps
        owners = [self.trunk, self.value, self.q]
        critic = self.objective("critic", self.compute_values_loss, owners, rate, warmup_steps=steps)
        if config.policy_beta == 0:
            return [critic, *super().build_objectives()]
        loss = self.compute_weighted_loss
        return [critic, self.objective("weighted", loss, [self.policy], rate, warmup_steps=steps)]

    # Values.

    def values(
        self, observations: TensorTree, valid: Tensor, pasts: Pasts | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns V [B, K], and Q [2, B, K, A] of the same trunk."""
        features = self.trunk(observations, valid, past_of(pasts, "trunk"))
        return self.value(features)[0].squeeze(-1), losses.floored(self.q(features), observations)

    def row_values(self, batch: TrajectoryBatch) -> tuple[Tensor, Tensor]:
        """Returns V, and the mean of both Q of the data's actions, [B, K] each."""
        values, outputs = self.values(batch.observations, batch.valid)
        return values, of_actions(outputs, batch.actions).mean(0)

    def target_values(self, observations: TensorTree, valid: Tensor, pasts: Pasts | None = None) -> Tensor:
        """Returns the lower one of both targets of Q, [B, K, A]."""
        features = self.target_trunk(observations, valid, past_of(pasts, "target_trunk"))
        return losses.floored(self.target_q(features).amin(0), observations)

    def compute_values_loss(self, batch: TrajectoryBatch) -> Loss:
        """Returns the sum over terms of V, Q and unseen tokens, of the agent's tokens in each dialogue."""
        config = self.config
        values, outputs = self.values(batch.observations, batch.valid)
        taken = of_actions(outputs, batch.actions)  # [2, B, K].
        with torch.no_grad():
            lowest = of_actions(self.target_values(batch.observations, batch.valid), batch.actions)
            targets, known = self.q_targets(batch, values)
        terms = {
            "value": losses.expectile_loss(lowest - values, config.expectile),
            "q": torch.where(known, (targets - taken).square().sum(0), 0.0),
            "conservative": self._cross_entropy(outputs, batch.actions),
        }
        total = terms["value"] + terms["q"] + config.alpha * terms["conservative"]
        is_action = batch.is_action & batch.valid
        metrics = {f"{name}_loss": window_rows(term.detach(), is_action) for name, term in terms.items()}
        return window_rows(total, is_action), {**metrics, "value": window_rows(values.detach(), is_action)}

    def _cross_entropy(self, outputs: Tensor, actions: Tensor) -> Tensor:
        scaled = outputs / self.config.temperature
        return -of_actions(scaled.log_softmax(-1), actions).sum(0)

    def cross_entropies(self, batch: TrajectoryBatch) -> Tensor:
        """Returns -log softmax Q of the data's tokens, summed over both Q, [B, K]."""
        return self._cross_entropy(self.values(batch.observations, batch.valid)[1], batch.actions)

    def q_targets(self, batch: TrajectoryBatch, values: Tensor) -> tuple[Tensor, Tensor]:
        """Returns r + gamma V(s') [B, K], and where it is known, bool [B, K].

        It is not behind the last token of a recording that was cut; behind that of an ended dialogue V is 0.
        """
        has_next = batch.state_steps > 0
        places = torch.arange(values.shape[1], device=values.device)
        following = values.gather(1, (places + batch.state_steps).clamp(max=values.shape[1] - 1))
        targets = batch.rewards + self.config.gamma * torch.where(has_next, following, 0.0)
        return targets, has_next | batch.terminals[:, -1:]

    # The language model.

    def compute_weighted_loss(self, batch: TrajectoryBatch) -> Loss:
        """Returns -exp(beta (min Q - V)) log pi of the agent's tokens, the weight bounded."""
        with torch.no_grad():
            lowest = of_actions(self.target_values(batch.observations, batch.valid), batch.actions)
            advantages = lowest - self.values(batch.observations, batch.valid)[0]
        weights = losses.exponential_weights(advantages, self.config.policy_beta, self.config.max_weight)
        is_action = batch.is_action & batch.valid
        metrics = {"weight": window_rows(weights, is_action), "advantage": window_rows(advantages, is_action)}
        return window_rows(-weights * self.log_probs(batch), is_action), metrics

    @property
    def beta(self) -> float:
        """Weight of the advantages in decoding."""
        return self.config.beta

    def advantages(self, observations: TensorTree, valid: Tensor, pasts: Pasts | None = None) -> Tensor:
        """Returns min Q - V of each action at each step [B, K, A]."""
        values, _ = self.values(observations, valid, pasts)
        return self.target_values(observations, valid, pasts) - values.unsqueeze(-1)

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns min Q [B], each observation taken for the first of an episode; of greedy actions if they are None."""
        chosen = self.predict_best_action(observations) if actions is None else actions
        lowest = self.target_values(*first_steps(observations))
        return of_actions(lowest, chosen.unsqueeze(1))[:, 0]


def of_actions(values: Tensor, actions: Tensor) -> Tensor:
    """Returns the values [..., B, K] of actions [B, K] among those of all, [..., B, K, A]."""
    index = actions.unsqueeze(-1).expand(*values.shape[:-1], 1)
    return values.gather(-1, index).squeeze(-1)

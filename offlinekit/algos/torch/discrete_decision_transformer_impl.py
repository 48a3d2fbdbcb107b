"""Decision Transformer for discrete actions: classification, conditioned on returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from offlinekit.core.bases.sequence_model import SequenceImpl
from offlinekit.nn.losses import floored
from offlinekit.nn.policies import ActionParts
from offlinekit.nn.rows import learned_steps, window_rows
from offlinekit.nn.transformer import TrajectoryTransformer, TransformerConfig, init_small
from offlinekit.sampling.batch import TrajectoryBatch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.discrete_decision_transformer import DiscreteDecisionTransformer


class WindowTransformer(TrajectoryTransformer):
    """Squashed tokens that carry their place in the window and the timestep at which the window begins.

    Source: the Atari model of Chen et al. 2021, arXiv:2106.01345, appendix A.1, and its code.
    """

    def build_places(self, config: TransformerConfig) -> None:
        """Makes both tables, of zeros."""
        self.place = nn.Parameter(torch.zeros(3 * config.context, config.width))
        self.time = nn.Parameter(torch.zeros(config.max_timestep, config.width))

    def placed(self, tokens: Tensor, timesteps: Tensor, masks: Tensor) -> Tensor:
        """Squashes the tokens and adds both embeddings; places count from the first real step."""
        steps = (masks.long().cumsum(1) - 1).clamp(min=0)
        begun = (timesteps - steps)[:, -1:].clamp(0, self.max_timestep - 1)
        places = 3 * steps.unsqueeze(-1) + torch.arange(3, device=steps.device)
        return (
            torch.tanh(tokens) + F.embedding(places, self.place) + F.embedding(begun, self.time).unsqueeze(2)
        )


class EmbeddedParts(nn.Module):
    """Actions [...] -> [..., W], the sum of an embedding of each part.

    Args:
        parts: Of the actions.
        width: W.
    """

    def __init__(self, parts: ActionParts, width: int) -> None:
        super().__init__()
        self.parts = parts
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in parts.sizes)

    def forward(self, actions: Tensor) -> Tensor:
        """Returns the embedded actions."""
        pairs = zip(self.tables, self.parts.choices(actions), strict=True)
        return torch.stack([table(choice) for table, choice in pairs]).sum(0)


def _gathered(log_probs: Tensor, actions: Tensor) -> Tensor:
    return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


class DiscreteDecisionTransformerImpl(SequenceImpl):
    """L = -log p(a_t | R_1, s_1, a_1, ..., R_t, s_t) over the real steps; arXiv:2106.01345, section 4.1."""

    config: DiscreteDecisionTransformer

    def build_policy(self) -> WindowTransformer:
        """Makes the transformer."""
        width = self.config.width
        networks = (self.make_embedding(), self.make_action_embedding())
        head = nn.Linear(width, sum(self.parts.sizes), bias=False).apply(init_small)
        return WindowTransformer(self.config, networks, nn.GELU, head, self.random)

    def make_action_embedding(self) -> nn.Module:
        """Makes the embedding of an action, the sum of those of its parts."""
        width, parts = self.config.width, self.parts
        if len(parts.sizes) == 1:
            return nn.Embedding(self.n_actions, width).apply(init_small)
        return EmbeddedParts(parts, width).apply(init_small)

    def build_objectives(self) -> list[Objective]:
        """Returns the classification loss; weights of linear maps and convolutions alone decay."""
        config, layers = self.config, (nn.Linear, nn.Conv2d)
        weights = nn.ParameterList(
            layer.weight for layer in self.policy.modules() if isinstance(layer, layers)
        )
        decaying = {id(weight) for weight in weights}
        others = [parameter for parameter in self.policy.parameters() if id(parameter) not in decaying]
        loss, steps = self.compute_actor_loss, config.warmup_steps
        return [self.objective("actor", loss, [weights, *others], config.learning_rate, warmup_steps=steps)]

    def outputs(self, batch: TrajectoryBatch, policy: nn.Module | None = None) -> Tensor:
        """Returns the logits at each step, [B, K, A], those of illegal actions at a floor."""
        return floored(super().outputs(batch, policy), batch.observations)

    def compute_actor_loss(self, batch: TrajectoryBatch) -> Loss:
        """Returns the negative log-likelihood of the actions in the real steps of each window."""
        log_probs = self.parts.log_softmax(self.outputs(batch))
        chosen = self.parts.total(_gathered, log_probs, batch.actions)
        return window_rows(-chosen, learned_steps(batch))

    def best_of(self, outputs: Tensor) -> Tensor:
        """Returns the likeliest actions [...]."""
        return self.parts.best(outputs)

    def drawn_from(self, outputs: Tensor) -> Tensor:
        """Returns actions drawn from the classifier's probabilities [...]."""
        return self.parts.draw(self.parts.log_softmax(outputs), self.random)

"""Decision Transformer: cloning of actions, conditioned on returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from offlinekit.core.bases.sequence_model import SequenceImpl
from offlinekit.nn.rows import learned_steps, window_rows
from offlinekit.nn.transformer import TimedTransformer
from offlinekit.sampling.batch import TrajectoryBatch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.decision_transformer import DecisionTransformer


class DecisionTransformerImpl(SequenceImpl):
    """L = (a_t - tanh f(R_1, s_1, a_1, ..., R_t, s_t))^2 over the real steps; arXiv:2106.01345, algorithm 1."""

    config: DecisionTransformer

    def build_policy(self) -> TimedTransformer:
        """Makes the transformer."""
        width = self.config.width
        networks = (self.make_embedding(), nn.Linear(self.action_size, width))
        return TimedTransformer(
            self.config, networks, nn.ReLU, nn.Linear(width, self.action_size), self.random
        )

    def build_objectives(self) -> list[Objective]:
        """Returns the cloning loss."""
        config = self.config
        return [
            self.objective(
                "actor",
                self.compute_actor_loss,
                [self.policy],
                config.learning_rate,
                warmup_steps=config.warmup_steps,
            )
        ]

    def compute_actor_loss(self, batch: TrajectoryBatch) -> Loss:
        """Returns the squared error of the actions in the real steps of each window."""
        errors = self.best_of(self.outputs(batch)) - batch.actions
        return window_rows(errors.square().mean(-1), learned_steps(batch))

    def best_of(self, outputs: Tensor) -> Tensor:
        """Returns the actions [..., A] in [-1, 1]."""
        return torch.tanh(outputs)

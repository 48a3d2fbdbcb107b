"""Behaviour cloning of text: the likelihood of the agent's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.core.bases.text_model import TextModelImpl
from offlinekit.nn.rows import window_rows
from offlinekit.sampling.batch import TrajectoryBatch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.text_bc import TextBC


class TextBCImpl(TextModelImpl):
    """L = -log p(a_t | s_1, ..., s_t) over the agent's tokens; those of the environment are seen and never learned."""

    config: TextBC

    def build_objectives(self) -> list[Objective]:
        """Returns the loss of the language model."""
        config = self.config
        steps = config.warmup_steps
        return [
            self.objective(
                "actor", self.compute_actor_loss, [self.policy], config.learning_rate, warmup_steps=steps
            )
        ]

    def compute_actor_loss(self, batch: TrajectoryBatch) -> Loss:
        """Returns the negative log-likelihood of the agent's tokens in each dialogue."""
        return window_rows(-self.log_probs(batch), batch.is_action & batch.valid)

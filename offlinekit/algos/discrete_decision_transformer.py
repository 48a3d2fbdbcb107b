"""Decision Transformer for discrete actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.torch.discrete_decision_transformer_impl import DiscreteDecisionTransformerImpl
from offlinekit.core.bases.sequence_model import SequenceModel
from offlinekit.core.hyperparameters import (
    Count,
    NonNegative,
    OptimizerName,
    Positive,
    Probability,
    Schedule,
    Steps,
)


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteDecisionTransformer(SequenceModel):
    """A causal transformer classifies the action by the steps before it and the return that is still to come.

    Source: Chen et al. 2021, arXiv:2106.01345, section 4.1 and appendix A.1 (Atari).
    """

    learning_rate: Positive = 6e-4  # Of the transformer, at its highest.
    context: Count = 30  # Steps of a window, the newest included; 50 for Pong.
    n_layers: Count = 6  # Blocks of the transformer.
    n_heads: Count = 8  # Heads of its attention; a divisor of the width.
    max_timestep: Count = 10_000  # Timesteps told apart; later ones look like the last.
    return_scale: Positive = 1.0  # What returns to go are divided by.
    warmup_steps: Steps = 3  # Updates over which the learning rate grows linearly to its full size.
    batch_size: Count = 128  # Windows in a minibatch.
    gamma: Probability = 1.0  # Discount factor of the returns to go.
    optimizer: OptimizerName = "adamw"  # Optimizer of the loss.
    weight_decay: NonNegative = 0.1  # Of the weights of linear maps and convolutions.
    clip_grad_norm: Positive | None = 1.0  # Largest norm of the loss's gradient; None for no limit.
    lr_schedule: Schedule = "cosine"  # Of the learning rate over the run; cosine ends at 0.

    family: ClassVar[str] = "SEQ"
    action_kind: ClassVar[str] = "discrete"
    paper: ClassVar[str] = "arXiv:2106.01345"
    impl_class = DiscreteDecisionTransformerImpl

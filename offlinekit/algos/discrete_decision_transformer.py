"""Decision Transformer for discrete actions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.discrete_decision_transformer_impl import DiscreteDecisionTransformerImpl
from offlinekit.core.bases.sequence_model import SequenceModel
from offlinekit.core.hyperparameters import Count, NonNegative, Positive, Rate


class DiscreteDecisionTransformer(SequenceModel):
    """A causal transformer that classifies discrete actions from past steps and the return to go.

    Source: Chen et al. 2021, arXiv:2106.01345, section 4.1 and appendix A.1 (Atari).
    """

    learning_rate: Annotated[Positive, "Of the transformer, at its highest."] = 6e-4
    context: Annotated[Count, "Steps of a window, the newest included; 50 for Pong."] = 30
    n_layers = 6
    n_heads = 8
    max_timestep = 10_000
    return_scale = 1.0
    warmup_steps = 3
    batch_size = 128
    gamma: Annotated[Rate, "Discount factor of the returns to go."] = 1.0
    optimizer = "adamw"
    weight_decay: Annotated[NonNegative, "Of the weights of linear maps and convolutions."] = 0.1
    clip_grad_norm = 1.0
    lr_schedule = "cosine"

    family: ClassVar[str] = "SEQ"
    action_kind: ClassVar[str] = "discrete"
    paper: ClassVar[str] = "arXiv:2106.01345"
    impl_class = DiscreteDecisionTransformerImpl

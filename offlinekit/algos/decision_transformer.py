"""Decision Transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.decision_transformer_impl import DecisionTransformerImpl
from offlinekit.core.bases.sequence_model import SequenceModel
from offlinekit.core.hyperparameters import NonNegative, OptimizerName, Positive, Probability
from offlinekit.sampling.scalers import StandardObservationScaler


@dataclass(kw_only=True, eq=False, repr=False)
class DecisionTransformer(SequenceModel):
    """A causal transformer predicts the action from the steps before it and the return that is still to come.

    Source: Chen et al. 2021, arXiv:2106.01345.
    """

    learning_rate: Positive = 1e-4  # Of the transformer.
    gamma: Probability = 1.0  # Discount factor of the returns to go.
    optimizer: OptimizerName = "adamw"  # Optimizer of the loss.
    weight_decay: NonNegative = 1e-4  # Of the optimizer; decoupled with adamw.
    clip_grad_norm: Positive | None = 0.25  # Largest norm of the loss's gradient; None for no limit.
    observation_scaler: Any = StandardObservationScaler(eps=1e-6)  # noqa: RUF009  # As the others take it.

    family: ClassVar[str] = "SEQ"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "arXiv:2106.01345"
    impl_class = DecisionTransformerImpl

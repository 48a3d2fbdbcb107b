"""Decision Transformer."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.decision_transformer_impl import DecisionTransformerImpl
from offlinekit.core.bases.sequence_model import SequenceModel
from offlinekit.core.hyperparameters import Positive, Rate
from offlinekit.sampling.scalers import StandardObservationScaler


class DecisionTransformer(SequenceModel):
    """A causal transformer that predicts actions from past steps and the return to go.

    Source: Chen et al. 2021, arXiv:2106.01345.
    """

    learning_rate: Annotated[Positive, "Of the transformer."] = 1e-4
    gamma: Annotated[Rate, "Discount factor of the returns to go."] = 1.0
    optimizer = "adamw"
    weight_decay = 1e-4
    clip_grad_norm = 0.25
    observation_scaler = StandardObservationScaler(eps=1e-6)

    family: ClassVar[str] = "SEQ"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "arXiv:2106.01345"
    impl_class = DecisionTransformerImpl

"""Transformer actor-critic with regularisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from offlinekit.algos.torch.tacr_impl import TACRImpl
from offlinekit.core.bases.sequence_model import SequenceModel
from offlinekit.core.hyperparameters import Count, NonNegative, OptimizerName, Positive, Rate
from offlinekit.sampling.scalers import StandardObservationScaler


@dataclass(kw_only=True, eq=False, repr=False)
class TACR(SequenceModel):
    """A causal transformer is the actor of TD3+BC: it sees the steps before, critics see single ones.

    Source: Lee and Moon 2023, "Transformer actor-critic with regularization", AAMAS 2023.
    """

    alpha: Positive = 2.5  # Weight of the value term against the cloning term; 0 would be behaviour cloning.
    condition: Literal["reward", "return"] = "reward"  # What the actor is told: the last reward, or a return.
    actor_learning_rate: Positive = 1e-4  # Of the transformer.
    critic_learning_rate: Positive = 1e-4  # Of the critics.
    critic_encoder: Any = "auto"  # Of the critics; None takes `encoder`.
    n_critics: Count = 2  # Critics in the ensemble.
    tau: Rate = 0.005  # Share of the online network that enters its target at each update.
    target_noise: NonNegative = 0.2  # Standard deviation of the noise on target actions, actions in [-1, 1].
    target_noise_clip: NonNegative = 0.5  # Bound of that noise.
    actor_clip_grad_norm: Positive | None = 0.25  # Of the actor's gradient; None takes `clip_grad_norm`.
    optimizer: OptimizerName = "adamw"  # Optimizer of both losses.
    weight_decay: NonNegative = 1e-4  # Of the optimizer; decoupled with adamw.
    observation_scaler: Any = StandardObservationScaler(eps=1e-6)  # noqa: RUF009  # As the others take it.

    family: ClassVar[str] = "SEQ"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "Lee and Moon 2023"
    impl_class = TACRImpl

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context < 2:
            raise ValueError(f"context must be at least 2, a step and its next one, got {self.context}")

    @property
    def reads_returns(self) -> bool:
        """Whether the actor is told returns to go."""
        return self.condition == "return"

    @property
    def to_go_gamma(self) -> float:
        """Discount factor of the returns to go: none; `gamma` is the critics'."""
        return 1.0

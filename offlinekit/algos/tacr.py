"""Transformer actor-critic with regularisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from offlinekit.algos.torch.tacr_impl import TACRImpl
from offlinekit.core.bases.sequence_model import SequenceModel
from offlinekit.core.compatibility import check_targets
from offlinekit.core.hyperparameters import Count, EncoderLike, NonNegative, Positive, Rate
from offlinekit.sampling.scalers import StandardObservationScaler

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.interfaces import Sampler


class TACR(SequenceModel):
    """Transformer actor-critic: TD3+BC whose actor is a causal transformer over past steps.

    Source: Lee and Moon 2023, "Transformer actor-critic with regularization", AAMAS 2023.
    """

    alpha: Annotated[Positive, "Weight of the value beside the cloning term; towards 0 it is cloning."] = 2.5
    condition: Annotated[Literal["reward", "return"], "What the actor sees: reward, or return."] = "reward"
    actor_learning_rate: Annotated[Positive, "Of the transformer."] = 1e-4
    critic_learning_rate: Annotated[Positive, "Of the critics."] = 1e-4
    critic_encoder: Annotated[EncoderLike | None, "Of the critics; None takes `encoder`."] = "auto"
    n_critics: Annotated[Count, "Critics in the ensemble."] = 2
    tau: Annotated[Rate, "Share of the online network that enters its target at each update."] = 0.005
    target_noise: Annotated[NonNegative, "Deviation of target actions' noise, actions in [-1, 1]."] = 0.2
    target_noise_clip: Annotated[NonNegative, "Bound of that noise."] = 0.5
    actor_clip_grad_norm: Annotated[Positive | None, "Of the actor; None takes `clip_grad_norm`."] = 0.25
    optimizer = "adamw"
    weight_decay = 1e-4
    observation_scaler = StandardObservationScaler(eps=1e-6)

    family: ClassVar[str] = "SEQ"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "Lee and Moon 2023"
    impl_class = TACRImpl

    def check_together(self) -> None:
        """Checks that windows hold a step and its next one, too."""
        super().check_together()
        if self.context < 2:
            raise ValueError(f"context must be at least 2, a step and its next one, got {self.context}")

    def training_sampler(self, recorded: Sampler, dataset: MDPDataset) -> Sampler:
        """Returns the sampler as it is; warns if few rows have a next one, by which critics learn.

        Raises:
            UnsupportedError: If no row has one, or ends the MDP.
        """
        known = dataset.terminals.astype(np.bool_)
        known[:-1] |= ~np.isin(np.arange(1, len(dataset)), dataset.episode_starts)
        why = "a row must have a next one in its episode, or end the MDP"
        check_targets(type(self).__name__, dataset, known, why)
        return super().training_sampler(recorded, dataset)

    @property
    def reads_returns(self) -> bool:
        """Whether returns to go are among the inputs of the actor."""
        return self.condition == "return"

    @property
    def to_go_gamma(self) -> float:
        """Discount factor of the returns to go: none; `gamma` is the critics'."""
        return 1.0

"""MOBILE."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.dynamics import Dynamics
from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.mobile_impl import MOBILEImpl
from offlinekit.core.bases.model_based import ModelBased
from offlinekit.core.hyperparameters import Count, NonNegative


class MOBILE(ModelBased, SAC):
    """SAC on model rollouts, with targets penalised by the disagreement of Bellman estimates across the ensemble.

    Source: Sun et al. 2023, "Model-Bellman inconsistency for model-based offline reinforcement learning", ICML.
    """

    penalty: Annotated[
        NonNegative, "Weight of the deviation of values over elites, in targets of rollouts."
    ] = 0.5
    n_samples: Annotated[Count, "Next states drawn of each elite to value them."] = 10
    target_floor: Annotated[
        Literal["data", "off"], "Lower bound of targets: what the lowest reward for ever is worth, or none."
    ] = "data"
    learns_temperature: Annotated[bool, "Whether the temperature is learned, up to 1, or stays as it is."] = (
        True
    )
    actor_learning_rate = 1e-4
    temperature_learning_rate = 1e-4
    log_std_min = -5.0
    actor_lr_schedule = "cosine"

    family: ClassVar[str] = "MB"
    paper: ClassVar[str] = "PMLR v202, Sun et al. 2023"
    dynamics_class = Dynamics
    impl_class = MOBILEImpl

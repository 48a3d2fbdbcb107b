"""Robust adversarial model-based offline reinforcement learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from offlinekit.algos.dynamics import Dynamics
from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.rambo_impl import RAMBOImpl
from offlinekit.core.bases.model_based import ModelBased
from offlinekit.core.hyperparameters import NonNegative, Positive, Steps


class RAMBO(ModelBased, SAC):
    """SAC on rollouts of a model trained adversarially to lower the policy's value, while it still fits the data.

    Source: Rigter et al. 2022, arXiv:2204.12581.
    """

    adversarial_weight: Annotated[
        NonNegative,
        "Of the model's advantage loss, beside its likelihood's 1; at 0 the model stays as it was fitted.",
    ] = 3e-4
    adversarial_learning_rate: Annotated[Positive, "Of the model, once the policy learns in it."] = 3e-4
    warmup_steps: Annotated[Steps, "First updates, in which the policy clones the data."] = 10_000
    warmup_learning_rate: Annotated[Positive, "Of the policy in these."] = 1e-4
    rollout_interval = 250
    retained_rounds = 20
    real_share = 0.5
    actor_learning_rate = 1e-4
    temperature_learning_rate = 1e-4
    log_std_min = -5.0
    observation_scaler = "standard"

    family: ClassVar[str] = "MB"
    paper: ClassVar[str] = "arXiv:2204.12581"
    short_name: ClassVar[str] = "rambo"
    model_settings: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 3e-4,
        "bound_weight": 1e-3,
        "holdout": 0.1,
        "patience": 10,
    }
    dynamics_class = Dynamics
    impl_class = RAMBOImpl

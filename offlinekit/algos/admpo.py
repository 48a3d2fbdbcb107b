"""Any-step dynamics model for policy optimisation."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.any_step_dynamics import AnyStepDynamics
from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.admpo_impl import ADMPOImpl
from offlinekit.core.bases.model_based import ModelBased
from offlinekit.core.hyperparameters import NonNegative


class ADMPO(ModelBased, SAC):
    """Any-step model-based policy optimisation: SAC in one recurrent model, penalised where its predictions disagree.

    Source: Lin et al. 2025, arXiv:2405.17031.
    """

    penalty: Annotated[
        NonNegative, "Weight of the deviation of next observations over lengths, in units of reward."
    ] = 1.0
    soft_backup: Annotated[bool, "Whether targets subtract the entropy term."] = True
    learns_temperature: Annotated[bool, "Whether the temperature is learned, or stays as it is."] = True
    actor_learning_rate = 1e-4
    temperature_learning_rate = 1e-4
    log_std_min = -5.0
    actor_lr_schedule = "cosine"

    family: ClassVar[str] = "MB"
    paper: ClassVar[str] = "arXiv:2405.17031"
    dynamics_class = AnyStepDynamics
    impl_class = ADMPOImpl

"""Conservative offline model-based policy optimisation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.cql import CQL
from offlinekit.algos.dynamics import Dynamics
from offlinekit.algos.torch.combo_impl import COMBOImpl
from offlinekit.core.bases.model_based import ModelBased


class COMBO(ModelBased, CQL):
    """Conservative model-based optimisation: CQL that lowers Q-values on model rollouts, raises them on the data.

    Source: Yu et al. 2021, arXiv:2102.08363.
    """

    pushed_rows: Annotated[
        Literal["all", "imagined"],
        "At whose states values are pushed down: of all rows, or of the model's; online of all.",
    ] = "all"
    real_share = 0.5
    temperature_learning_rate = 1e-4
    log_std_min = -5.0
    actor_lr_schedule = "cosine"

    family: ClassVar[str] = "MB"
    paper: ClassVar[str] = "arXiv:2102.08363"
    dynamics_class = Dynamics
    impl_class = COMBOImpl

    def check_together(self) -> None:
        """Checks that minibatches have rows of the model if values are pushed down at those alone."""
        super().check_together()
        if self.pushed_rows == "imagined" and round(self.real_share * self.batch_size) == self.batch_size:
            raise ValueError(
                f"pushed_rows='imagined' needs rows of the model, and with real_share={self.real_share} and "
                f"batch_size={self.batch_size} there are none; lower real_share, or give pushed_rows='all'"
            )

"""Neural fitted Q iteration."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.nfq_impl import NFQImpl
from offlinekit.core.bases.q_learning import QLearning
from offlinekit.core.hyperparameters import Count


class NFQ(QLearning):
    """Neural fitted Q iteration: regression on the targets of the network of the iteration before.

    Source: Riedmiller 2005, "Neural fitted Q iteration", ECML, doi:10.1007/11564096_32.
    """

    target_update_interval: Annotated[Count, "Updates of one iteration, in which targets stay fixed."] = 1_000
    td_loss = "mse"

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "Riedmiller 2005"
    impl_class = NFQImpl

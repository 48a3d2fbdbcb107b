"""Neural fitted Q iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from offlinekit.algos.torch.nfq_impl import NFQImpl
from offlinekit.core.bases.q_learning import QLearning
from offlinekit.core.hyperparameters import Count


@dataclass(kw_only=True, eq=False, repr=False)
class NFQ(QLearning):
    """Fitted Q iteration: a regression after another, each on targets of the network that the last one left.

    Source: Riedmiller 2005, "Neural fitted Q iteration", ECML, doi:10.1007/11564096_32.
    """

    target_update_interval: Count = 1_000  # Updates of one iteration, during which targets stay fixed.
    td_loss: Literal["huber", "mse"] = "mse"  # Of the temporal difference with q_function="mean".

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "Riedmiller 2005"
    impl_class = NFQImpl

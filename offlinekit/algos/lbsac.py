"""LB-SAC: SAC-N with large batches."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.sacn import SACN
from offlinekit.algos.torch.lbsac_impl import LBSACImpl
from offlinekit.core.hyperparameters import Positive


class LBSAC(SACN):
    """Large-batch SAC-N: large minibatches and learning rates, which need fewer critics and less time.

    Source: Nikulin et al. 2022, arXiv:2211.11092.
    """

    batch_size = 10_000
    actor_learning_rate: Annotated[Positive, "Of the policy: about 3e-4 * sqrt(batch_size / 256)."] = 1.8e-3
    critic_learning_rate = 1.8e-3
    temperature_learning_rate = 1.8e-3
    n_critics = 10
    critic_layer_norm: Annotated[bool, "Whether each critic normalises its hidden layers."] = True

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2211.11092"
    impl_class = LBSACImpl

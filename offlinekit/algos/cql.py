"""Conservative Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.core.hyperparameters import Count, Finite, NonNegative, Positive
from offlinekit.nn.encoders import MLPEncoder


class CQL(SAC):
    """Conservative Q-learning: SAC with a penalty that lowers the Q-values of actions outside of the data.

    Source: Kumar et al. 2020, arXiv:2006.04779, CQL(H) with importance sampling (appendix F).
    """

    alpha: Annotated[NonNegative, "Weight of the conservative gap; its start with `gap_threshold`."] = 5.0
    gap_threshold: Annotated[Finite | None, "Gap that alpha is learned to reach, in units of return."] = None
    alpha_learning_rate: Annotated[Positive, "Of alpha with `gap_threshold`."] = 3e-4
    n_actions: Annotated[Count, "Actions of each kind: random, of the policy, of the policy at s'."] = 10
    temperature: Annotated[Positive, "Of the logsumexp."] = 1.0
    soft_backup: Annotated[bool, "Whether targets subtract the entropy term."] = False
    max_backup: Annotated[bool, "Whether targets take the best of `n_actions` sampled next actions."] = False
    max_backup_order: Annotated[
        Literal["critic", "action"], "Best of each critic, the lowest; or best action by its lowest critic."
    ] = "critic"
    actor_learning_rate = 1e-4
    encoder = MLPEncoder(hidden_sizes=(256, 256, 256))

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "arXiv:2006.04779"
    impl_class = CQLImpl

    def check_together(self) -> None:
        """Checks that targets are backed up in one way."""
        if self.soft_backup and self.max_backup:
            raise ValueError(
                "soft_backup and max_backup exclude each other: the best of many actions has no entropy; "
                "set one of them to False"
            )

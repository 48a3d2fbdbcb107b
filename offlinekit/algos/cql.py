"""Conservative Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.core.hyperparameters import Count, NonNegative, Positive
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class CQL(SAC):
    """SAC whose critics are pushed down where the policy or chance would act and up at the data.

    Source: Kumar et al. 2020, arXiv:2006.04779, CQL(H) with importance sampling (appendix F).
    """

    alpha: NonNegative = 5.0  # Weight of the conservative gap; its starting point with `gap_threshold`.
    gap_threshold: float | None = None  # Aim of the gap, in units of return; alpha is learned to reach it.
    alpha_learning_rate: Positive = 3e-4  # Of alpha with `gap_threshold`.
    n_actions: Count = 10  # Sampled actions of each kind: random, of the policy, of the policy at s'.
    temperature: Positive = 1.0  # Of the logsumexp.
    soft_backup: bool = False  # Whether targets subtract the entropy term.
    max_backup: bool = False  # Whether targets take the best of `n_actions` sampled next actions.
    max_backup_order: Literal["critic", "action"] = (
        "critic"  # Best of each critic, or by the lowest of each action.
    )
    actor_learning_rate: Positive = 1e-4  # Of the policy.
    encoder: Any = MLPEncoder(hidden_sizes=(256, 256, 256))  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "arXiv:2006.04779"
    impl_class = CQLImpl

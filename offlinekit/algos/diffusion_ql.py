"""Diffusion Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.diffusion_ql_impl import DiffusionQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, NonNegative, Positive, Rate, Schedule, Steps
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class DiffusionQL(ActorCritic):
    """A diffusion clones the data and, through all its steps, moves towards actions of high value.

    Source: Wang et al. 2023, arXiv:2208.06193.
    """

    eta: NonNegative = 1.0  # Weight of the normalised value beside cloning; 0 is cloning.
    diffusion_steps: Count = 5  # Steps in which noise becomes an action.
    n_candidates: Count = 50  # Actions drawn when acting, of which one is taken.
    max_backup: bool = False  # Whether targets take the best of `n_actions` actions at s', for AntMaze.
    n_actions: Count = 10  # Actions drawn at s' with max_backup.
    actor_tau: Rate = 0.005  # Share of the policy that enters its average at each update of the average.
    actor_target_interval: Count = 5  # Updates between those of the policy's average.
    actor_target_start: Steps = 0  # Updates at the start in which the average stays the first policy.
    clip_grad_norm: Positive | None = 9.0  # Largest norm of a loss's gradient; the paper has 1 to 10 by task.
    lr_schedule: Schedule = "cosine"  # Of the learning rates over the run; cosine ends at 0.
    encoder: Any = MLPEncoder((256, 256, 256), "mish")  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2208.06193"
    impl_class = DiffusionQLImpl

"""Diffusion Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.diffusion_ql_impl import DiffusionQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, NonNegative, Positive, Rate, Steps
from offlinekit.nn.encoders import MLPEncoder


class DiffusionQL(ActorCritic):
    """Diffusion Q-learning: a diffusion policy trained to clone the data and to maximise Q through its sampling steps.

    Source: Wang et al. 2023, arXiv:2208.06193.
    """

    eta: Annotated[NonNegative, "Weight of the normalised value beside cloning; 0 is cloning."] = 1.0
    diffusion_steps: Annotated[Count, "Steps in which noise becomes an action."] = 5
    n_candidates: Annotated[Count, "Actions drawn when acting, of which one is taken."] = 50
    max_backup: Annotated[bool, "Whether targets take the best of `n_actions` at s', for AntMaze."] = False
    n_actions: Annotated[Count, "Actions drawn at s' with max_backup."] = 10
    actor_tau: Annotated[Rate, "Share of the policy that enters its average at each such update."] = 0.005
    actor_target_interval: Annotated[Count, "Updates between those of the policy's average."] = 5
    actor_target_start: Annotated[Steps, "Updates at the start before which the average stays as it is."] = 0
    clip_grad_norm: Annotated[Positive | None, "Largest norm of a gradient; 1 to 10 in the paper."] = 9.0
    lr_schedule = "cosine"
    encoder = MLPEncoder((256, 256, 256), "mish")

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2208.06193"
    impl_class = DiffusionQLImpl

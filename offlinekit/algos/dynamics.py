"""Dynamics: what follows an action, learned from data as an ensemble of probabilistic models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np
import torch
from gymnasium.spaces import Discrete

from offlinekit.algos.fqe import QUICK
from offlinekit.algos.torch.dynamics_impl import DiscreteDynamicsImpl, DynamicsImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Positive
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.interfaces import Sampler
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.nn.random import derive
from offlinekit.sampling.named_columns import with_extras
from offlinekit.sampling.scalers import Affine
from offlinekit.types import Array, ArrayTreeLike, first_leaf

if TYPE_CHECKING:
    from offlinekit.types import Array


class Dynamics(Algo):
    """Learns next observation, reward and end of a step: an ensemble of Gaussians, each on a bootstrap of the episodes.

    Source: Chua et al. 2018, arXiv:1805.12114; bounds of the deviations are fixed here, not learned.
    """

    n_members: Annotated[Count, "Models in the ensemble."] = 7
    resample: Annotated[bool, "Whether each model draws its own episodes, with replacement."] = True
    learning_rate: Annotated[Positive, "Of the models."] = 1e-3
    encoder = MLPEncoder((200,) * 4, "silu")
    observation_scaler = "standard"
    reward_scaler = "standard"

    family: ClassVar[str] = "OPE"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "arXiv:1805.12114"
    sampler_options: ClassVar[tuple[str, ...]] = ("n_members", "resample", "seed")
    impl_class = DynamicsImpl

    def check_together(self) -> None:
        """Checks that no steps are joined, and that discounts show the end of the MDP."""
        if self.n_step != 1:
            raise ValueError(f"dynamics are of single steps; n_step must be 1, got {self.n_step}")
        if self.gamma == 0.0:
            raise ValueError("gamma must be above 0: a discount of 0 says that the MDP ended; leave it out")

    def make_sampler(self, dataset: MDPDataset, *, needs: Sequence[str] = (), **settings: Any) -> Sampler:
        """Makes what draws the batches of a run, with a column of how often each model learns from a row."""
        if self.resample:
            counts = np.repeat(self.episode_counts(dataset), dataset.episode_lengths(), axis=1).T
            dataset = with_extras(dataset, {"bootstrap_counts": counts.astype(np.float32)})
            needs = (*needs, "bootstrap_counts")
        return super().make_sampler(dataset, needs=needs, **settings)

    def episode_counts(self, dataset: MDPDataset) -> Array:
        """Returns how often each episode stands in the data of each model, int64 [K, E]."""
        n = dataset.n_episodes
        rng = np.random.default_rng(derive(self.seed or 0, "episodes"))
        return rng.multinomial(n, np.full(n, 1 / n), size=self.n_members)

    def sample_steps(
        self, observations: Array, actions: Array, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Draws what follows, each member for states of its own; kept inside the range that the data show.

        Args:
            observations: [K, B, D], in the units of the data.
            actions: [K, B, A] or [K, B].
            rng: Draws noise and ends.

        Returns:
            Next observations float32 [K, B, D], rewards float32 [K, B], and bool [K, B] where the MDP ended.
        """
        impl = cast("DynamicsImpl", self.impl)
        shape = observations.shape[:2]
        inputs = first_leaf(self._converter.observations(observations.reshape(-1, observations.shape[-1]))[0])
        acted = self._converter.actions(actions.reshape(-1, *actions.shape[2:]), inputs)
        with torch.no_grad():
            inputs, acted = (part.reshape(*shape, *part.shape[1:]) for part in (inputs, acted))
            outcomes = impl.outcomes(inputs, acted, per_member=True)
            means, stds, ends = (
                outcomes.means.cpu(),
                outcomes.log_stds.exp().cpu(),
                outcomes.logits.sigmoid().cpu(),
            )
        drawn = means.numpy() + stds.numpy() * rng.standard_normal(means.shape, np.float32)
        drawn[..., :-1] += inputs.cpu().numpy()
        drawn = drawn.clip(impl.lowest.cpu().numpy(), impl.highest.cpu().numpy())
        scaling, following, rewards = self.scaling, drawn[..., :-1], drawn[..., -1]
        if isinstance(scaling.observation, Affine):
            following = scaling.observation.inverse(following)
        if scaling.reward is not None:
            rewards = scaling.reward.inverse(rewards)
        return following, rewards, rng.random(shape) < ends.numpy()

    def predict(self, observations: ArrayTreeLike) -> Array:
        """Refuses to act.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(f"{type(self).__name__} models what follows an action and does not act")

    sample_action = predict


class DiscreteDynamics(Dynamics):
    """Dynamics under discrete actions."""

    action_kind: ClassVar[str] = "discrete"
    impl_class = DiscreteDynamicsImpl


def fitted_dynamics(dataset: MDPDataset, n_steps: int = 10_000, **hyperparameters: Any) -> Dynamics:
    """Fits small dynamics to a dataset, as `estimate(..., dynamics=...)` takes them.

    Args:
        dataset: What to learn from.
        n_steps: Updates.
        hyperparameters: Of `Dynamics`.
    """
    front = DiscreteDynamics if isinstance(dataset.action_space, Discrete) else Dynamics
    return front(**{**QUICK, **hyperparameters}).fit(dataset, n_steps, out=None, progress=False)

"""Dynamics: what follows an action, learned from data as an ensemble of probabilistic models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from offlinekit.algos.fqe import QUICK
from offlinekit.algos.torch.dynamics_impl import DiscreteDynamicsImpl, DynamicsImpl, unscaled
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, NonNegative, OneRow, Positive
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.fields import Check, Interval
from offlinekit.ground.shares import share_of
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.nn.random import derive
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.scalers import Affine
from offlinekit.training.model_based.dynamics_run import DynamicsRun
from offlinekit.training.model_based.epochs import EpochSampler, Windows
from offlinekit.training.model_based.terminations import LEARNED, RULES, check_termination
from offlinekit.types import Array, RowsLike, first_leaf

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


MOST_HELD_OUT = 1_000
"""The most rows that are held out."""

FOR_VALUES: dict[str, Any] = {
    "bootstrap": "episodes",
    "patience": None,
    "observation_scaler": "standard",
    "reward_scaler": "standard",
}
"""Hyperparameters of dynamics that estimate the value of a policy, with an interval."""


class Dynamics(Algo):
    """Learns next observation and reward, and the end of a step: an ensemble of Gaussians with learned bounds.

    One class for policies that learn inside the model and for evaluation: `fit` ends once no member has
    improved on held-out rows by 1% for `patience` epochs, takes each member at its best, and sorts them, so that the
    first `n_elites` are those that steps are drawn from. Source: Chua et al. 2018, arXiv:1805.12114; holdout, elites
    and decays as in Yu et al. 2020, arXiv:2005.13239.
    """

    n_members: Annotated[Count, "Models in the ensemble."] = 7
    n_elites: Annotated[
        Count | None, "Members that steps are drawn from: the best on held-out rows; None: all."
    ] = 5
    bootstrap: Annotated[
        Literal["rows", "episodes", "none"],
        "What each model draws with replacement to learn from; estimates of values need episodes.",
    ] = "rows"
    termination: Annotated[
        str, Check(check_termination, "name of a termination rule, or 'learned'"), "What ends the MDP."
    ] = LEARNED
    learned_bounds: Annotated[bool, "Whether the bounds of the deviations are learned, or fixed."] = True
    bound_weight: Annotated[NonNegative, "Pull that narrows learned bounds."] = 0.01
    layer_decay: Annotated[
        NonNegative, "Times 2.5e-5, 5e-5, 7.5e-5..., 1e-4: decays of layers in the loss."
    ] = 1.0
    scales_inputs: Annotated[bool, "Whether inputs are standardised by the rows to learn from."] = True
    holdout: Annotated[
        float, Interval("[0, 1)"), "Share of the rows held out, at most 1,000; 0: no rule."
    ] = 0.2
    patience: Annotated[
        Count | None, "Epochs without a better member to stop after; None: all updates, newest members."
    ] = 5
    max_epochs: Annotated[
        Count | None, "The most epochs of a run, whatever `n_steps`; None for no bound."
    ] = None
    learning_rate: Annotated[Positive, "Of the models."] = 1e-3
    history_length: Annotated[OneRow, "Always 1: the models make single rows."] = 1
    encoder = MLPEncoder((200,) * 4, "silu", init="truncated_normal")

    family: ClassVar[str] = "OPE"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "arXiv:1805.12114"
    sampler_options: ClassVar[tuple[str, ...]] = ("n_members", "bootstrap", "holdout", "seed")
    impl_class = DynamicsImpl
    run_class = DynamicsRun

    def check_together(self) -> None:
        """Checks that no steps are joined, and that discounts show the end of the MDP."""
        if self.n_step != 1:
            raise ValueError(f"dynamics are of single steps; n_step must be 1, got {self.n_step}")
        if self.gamma == 0.0:
            raise ValueError("gamma must be above 0: a discount of 0 says that the MDP ended; leave it out")

    def make_sampler(
        self, dataset: MDPDataset, *, needs: Sequence[str] = (), **settings: Any
    ) -> EpochSampler:
        """Makes what draws the batches of a run: of each model rows of its own, epoch by epoch.

        Raises:
            UnsupportedError: For data that do not lie in memory, and draws by priorities.
        """
        source = super().make_sampler(dataset, needs=needs, **settings)
        if type(source) is not TransitionSampler:
            raise UnsupportedError(
                f"{type(self).__name__} draws each model's rows from a dataset in memory, in random order; leave out "
                "priorities, and load mapped data with MDPDataset.load"
            )
        rng = np.random.default_rng(derive(self.seed or 0, "holdout"))
        rows = rng.permutation(source.usable_rows().cpu().numpy())
        n_held = min(int(share_of(self.holdout, len(rows))), MOST_HELD_OUT)
        train = np.sort(rows[n_held:])
        drawn = self._drawn(train, dataset.episode_ends, rng)
        own, held, learned = (torch.from_numpy(part) for part in (drawn, rows[:n_held], train))
        seed = derive(self.seed or 0, "batches")
        windows = self.windows(dataset, source)
        return EpochSampler(source, own, held, learned, self.batch_size, seed, windows)

    def windows(self, dataset: MDPDataset, source: TransitionSampler) -> Windows | None:
        """Returns what stands for each row in minibatches; None for the row alone."""
        return None

    def _drawn(self, train: Array, ends: Array, rng: np.random.Generator) -> Array:
        """Returns the rows that each model learns from, int64 [K, T], of the T rows that are not held out."""
        n = len(train)
        if self.bootstrap == "none":
            return np.tile(train, (self.n_members, 1))
        if self.bootstrap == "rows":
            return train[rng.integers(n, size=(self.n_members, n))]
        episodes = np.split(train, np.flatnonzero(np.diff(np.searchsorted(ends, train, side="right"))) + 1)
        return np.stack([_of_episodes(episodes, n, rng) for _ in range(self.n_members)])

    @property
    def n_simulated(self) -> int:
        """How many of the members steps are drawn from."""
        return cast("DynamicsImpl", self.impl).n_elites

    def sample_steps(
        self, observations: Array, actions: Array, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Draws what follows, each of the first members for states of its own; kept inside the range of the data.

        Args:
            observations: [K, B, D], in the units of the data, of at most `n_members` members; K = `n_simulated` are
                the elites.
            actions: [K, B, A] or [K, B].
            rng: Draws noise and ends.

        Returns:
            Next observations float32 [K, B, D], rewards float32 [K, B], and bool [K, B] where the MDP ended.
        """
        impl = cast("DynamicsImpl", self.impl)
        shape = observations.shape[:2]
        inputs, acted = self._inputs(observations, actions)
        with torch.no_grad():
            outcomes = impl.outcomes(inputs, acted, per_member=True, members=shape[0])
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
        if impl.learns_ends:
            return following, rewards, rng.random(shape) < ends.numpy()
        before, after = (torch.tensor(part, dtype=torch.float32) for part in (observations, following))
        taken = unscaled(acted.cpu(), scaling.action)
        return following, rewards, RULES[self.termination](before, taken, after).numpy()

    def _inputs(self, observations: Array, actions: Array) -> tuple[Tensor, Tensor]:
        """Returns observations [..., D] and actions [..., A] or [...], scaled."""
        shape = observations.shape[:-1]
        flat = first_leaf(self._converter.observations(observations.reshape(-1, observations.shape[-1]))[0])
        acted = self._converter.actions(actions.reshape(-1, *actions.shape[len(shape) :]), flat)
        return flat.reshape(*shape, *flat.shape[1:]), acted.reshape(*shape, *acted.shape[1:])

    def predict_steps(self, observations: Array, actions: Array) -> tuple[Array, Array]:
        """Returns what each of the `n_simulated` members expects, as Gaussians in the units of the data.

        Args:
            observations: [B, D], or [K, B, D] if each member has steps of its own.
            actions: [B, A] or [B], likewise.

        Returns:
            Means and standard deviations of the next observation and, last, the reward, float32 [K, B, D + 1] each.
        """
        impl, per_member = cast("DynamicsImpl", self.impl), observations.ndim == 3
        inputs, acted = self._inputs(observations, actions)
        with torch.no_grad():
            outcomes = impl.outcomes(inputs, acted, per_member=per_member, members=self.n_simulated)
        means, stds = outcomes.means.cpu().numpy(), outcomes.log_stds.exp().cpu().numpy()
        means[..., :-1] += inputs.cpu().numpy()
        parts = ((slice(0, -1), self.scaling.observation), (slice(-1, None), self.scaling.reward))
        for part, scaler in parts:
            if isinstance(scaler, Affine):
                means[..., part] = scaler.inverse(means[..., part])
                stds[..., part] *= scaler.scale
        return means, stds

    def predict(
        self, observations: RowsLike, *, legal_actions: ArrayLike | None = None, labels: bool = False
    ) -> Array:
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


def _of_episodes(episodes: Sequence[Array], n: int, rng: np.random.Generator) -> Array:
    """Returns the rows of episodes that are drawn with replacement, the first n."""
    chosen: list[Array] = []
    while sum(map(len, chosen)) < n:
        chosen += [episodes[i] for i in rng.integers(len(episodes), size=len(episodes))]
    return np.concatenate(chosen)[:n]


def fitted_dynamics(dataset: MDPDataset, n_steps: int = 10_000, **hyperparameters: Any) -> Dynamics:
    """Fits small dynamics to a dataset, as `estimate(..., dynamics=...)` takes them: each of a bootstrap of episodes.

    Args:
        dataset: What to learn from.
        n_steps: Updates, at most.
        hyperparameters: Of `Dynamics`.
    """
    front = DiscreteDynamics if isinstance(dataset.action_space, Discrete) else Dynamics
    return front(**{**QUICK, **FOR_VALUES, **hyperparameters}).fit(dataset, n_steps, out=None, progress=False)

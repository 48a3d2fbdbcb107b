"""Fitted Q evaluation of several policies side by side, with a bootstrap over episodes, until values have settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from gymnasium.spaces import Discrete

from offlinekit.algos.fqe import FEWEST, FQE, QUICK, DiscreteFQE
from offlinekit.core.populations import Population
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.episodes import recorded_next
from offlinekit.ground.progress import Progress
from offlinekit.metrics.ope.fit_checks import DIVERGED, impossible, scaled_rewards
from offlinekit.training.setup.settings import RunSettings
from offlinekit.training.value_alarm import LATE
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.algos.torch.fqe_impl import FQEImpl
    from offlinekit.interfaces import PolicyLike

SMALL_BATCH = 64
"""Rows of a minibatch of small data, each of whose rows is drawn several times all the same."""
LARGE = 20_000
"""Rows of a dataset from which on minibatches are those of `FQE`."""
SETTLED = 4.0
"""Time constants of the first round: fewer than a fit alone takes, since its values begin near where they end."""
ROUNDS = 4  # Of updates at most, if a rule decides how many; each but the first has half as many.


@dataclass
class FittedPolicies:
    """Fits of several policies to one dataset.

    Attributes:
        members: Name to 1 + R fits: to the data as they are, then to bootstraps of their episodes.
        dataset: What they learn from.
        progress: Whether a terminal shows how far they are.
        earlier: Name to the start value by the first fit after three fifths of the last round.
        diverged: Names of policies with a value far beyond what rewards allow, whose fits train no more.
    """

    members: dict[str, list[FQE]]
    dataset: MDPDataset
    progress: bool = False
    earlier: dict[str, float] = field(default_factory=dict)
    diverged: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        policies: Mapping[str, PolicyLike | str],
        dataset: MDPDataset,
        *,
        n_resamples: int = 8,
        seed: int = 0,
        progress: bool = False,
        **hyperparameters: Any,
    ) -> FittedPolicies:
        """Makes the fits; none has learned yet.

        All values are `constant_value` to begin with, so that what updates have to pass on are differences from it:
        a fit that has not settled shows too small a gain, not too small a value.
        """
        front = DiscreteFQE if isinstance(dataset.action_space, Discrete) else FQE
        small = {"batch_size": SMALL_BATCH} if len(dataset) < LARGE else {}
        settings = {**QUICK, **small, **hyperparameters}
        members = {
            name: [
                front(policy=policy, seed=seed + draw, resample=draw > 0, **settings)
                for draw in range(1 + n_resamples)
            ]
            for name, policy in policies.items()
        }
        for member in (member for own in members.values() for member in own):
            member.build(dataset)
            cast("FQEImpl", member.impl).begin_at(constant_value(member, dataset))
        return cls(members, dataset, progress)

    def train(self, n_steps: int) -> None:
        """Takes further updates of all fits but the diverged as one stacked population, and records values on the way.

        Raises:
            KeyboardInterrupt: At Ctrl-C, with what was stopped.
        """
        learning = {name: own for name, own in self.members.items() if name not in self.diverged}
        everyone = [member for own in learning.values() for member in own]
        begun, self.earlier = everyone[0].grad_step, {}
        settings: RunSettings = {
            "out": None,
            "progress": self.progress,
            "log_interval": max(1, round(n_steps / 5)),
        }
        try:
            for step, _ in Population(everyone).fitter(self.dataset, n_steps, **settings):
                if not self.earlier and LATE * n_steps <= step - begun < n_steps:
                    self.earlier = {name: own[0].start_value(self.dataset) for name, own in learning.items()}
        except KeyboardInterrupt as error:
            taken = everyone[0].grad_step - begun
            raise type(error)(
                f"after {taken:,} of {n_steps:,} updates of {len(everyone)} fits "
                f"({', '.join(learning)}); no policy was compared, and nothing was saved"
            ) from error

    def train_until(self, enough: Callable[[], bool], n_steps: int | None) -> None:
        """Takes that many updates; if None, as many as values need, then more until a rule is met.

        Fits of a policy that have diverged take no further round: it is held back, and others need not wait for it.
        Source of what values need: `FQE.updates_needed`.
        """
        first = next(iter(self.members.values()))[0]
        needed = max(FEWEST, first.updates_needed(self.dataset, SETTLED)) if n_steps is None else n_steps
        more = max(1, needed // 2)
        rounds = [needed, *[more] * (ROUNDS - 1 if n_steps is None else 0)]
        label = f"values of {len(self.members)} policies"
        with Progress(label, sum(rounds), shown=self.progress) as progress:
            for number, n_updates in enumerate(rounds):
                if number and enough():
                    progress.advance(sum(rounds) - progress.done)
                    return
                with progress.span(n_updates):
                    self.train(n_updates)
                self.diverged = {name for name in self.members if self._has_diverged(name)}

    def _has_diverged(self, name: str) -> bool:
        return bool(impossible(self.values(name), self.members[name][0], self.dataset, DIVERGED))

    def values(self, name: str) -> Array:
        """Returns the start value of a policy by each of its fits, float64 [1 + R]."""
        return start_values(self.members[name], self.dataset)


def constant_value(fit: FQE, dataset: MDPDataset) -> float:
    """Returns the value c of one-step targets if states and actions made no difference: c = mean(r + discount c).

    So c = sum(r) / sum(1 - discount), over rows whose next observation is known, as often as the fit draws them; 0 if
    values have no end, with gamma 1 where no row ends the MDP.
    """
    drawn = fit.sampling_weights_for(dataset)
    known = recorded_next(dataset) | dataset.terminals
    counts = known * (1.0 if drawn is None else drawn)
    ends = float(counts @ (1 - fit.gamma * ~dataset.terminals))
    return float(counts @ scaled_rewards(fit, dataset)) / ends if ends > 0 else 0.0


def start_values(members: Sequence[FQE], dataset: MDPDataset) -> Array:
    """Returns the start value by each fit, float64 [1 + R]."""
    return np.array([member.start_value(dataset) for member in members])


def fits(
    policies: Mapping[str, PolicyLike | str],
    dataset: MDPDataset,
    *,
    n_steps: int | None = None,
    **settings: Any,
) -> dict[str, list[FQE]]:
    """Fits FQE of each policy to the data as they are, then to bootstraps of their episodes.

    All are fitted side by side as one stacked population. The r-th bootstrap draws the same episodes for every
    policy, so their differences are less noisy than they are. Source: Hao et al. 2021 (bootstrapping FQE),
    arXiv:2102.03607.

    Args:
        policies: Name to what `FQE` takes as `policy`; "behaviour" stands for what recorded the data.
        dataset: What to learn from.
        n_steps: Updates of each fit; None for as many as values need to settle.
        settings: `n_resamples`, the bootstraps R (8); `seed` of the first fit, each bootstrap has one of its own (0);
            `progress`, whether a terminal shows it (False); hyperparameters of `FQE`.

    Returns:
        Name to 1 + R algorithms.
    """
    fitted = FittedPolicies.of(policies, dataset, **settings)
    fitted.train_until(lambda: True, n_steps)
    return fitted.members


def fitted_values(
    policies: Mapping[str, PolicyLike | str], dataset: MDPDataset, **settings: Any
) -> dict[str, Array]:
    """Returns the start value of each policy by each of its `fits`, which take the same arguments.

    Returns:
        Name to float64 [1 + R].
    """
    return {name: start_values(own, dataset) for name, own in fits(policies, dataset, **settings).items()}

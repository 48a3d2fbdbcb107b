"""Whether a model's one-step errors average 0, as those of true values do: what shows wrong or unfinished fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from offlinekit.algos.fqe import FQE
from offlinekit.metrics.ope.logged import Logged
from offlinekit.metrics.ope.target import QFunction, TargetPolicy

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.interfaces import ValueModel

Mask: TypeAlias = npt.NDArray[np.bool_]

MOST_ERRORS = 3.0  # A mean of one-step errors so many standard errors from 0 is no accident.


@dataclass(frozen=True)
class ModelError:
    """Mean of r + gamma v(s') - q(s, a) over the data.

    Of the true values of a policy it is 0 for every state and action, whoever took it. A fit that has not settled, of
    another policy, or in other units leaves a rest, and each step of an episode adds it to the value of the start.

    Attributes:
        value: Mean over rows.
        standard_error: Of that mean, from the spread over episodes.
        n_steps: Mean discounted number of rows of an episode.
        return_error: Standard error of the mean return of the data.
    """

    value: float
    standard_error: float
    n_steps: float
    return_error: float

    @property
    def bias(self) -> float:
        """About how far it moves the value of a start."""
        return -self.value * self.n_steps

    @property
    def is_off(self) -> bool:
        """Whether it is too far from 0 for an accident, and moves values by more than chance moves returns."""
        return abs(self.value) > MOST_ERRORS * self.standard_error and abs(self.bias) > self.return_error

    def __str__(self) -> str:
        return (
            f"one-step errors of the model average {self.value:.3g} +- {self.standard_error:.2g} where 0 is due, which "
            f"moves values by about {self.bias:.3g}; fit it longer, or to this policy"
        )


def model_error(logged: Logged, known: Mask) -> ModelError:
    """Returns the mean one-step error of a model.

    Args:
        logged: With a model, and its values after the last rows that are known.
        known: bool [E, T], rows whose outcome is known.
    """
    sums = np.where(known, logged.td_errors, 0.0).sum(1) / max(known.sum(1).mean(), 1e-12)
    n = logged.n_episodes
    spread = (sums.std(ddof=1), logged.returns.std(ddof=1)) if n > 1 else (np.inf, np.inf)
    return ModelError(
        float(sums.mean()),
        float(spread[0] / np.sqrt(n)),
        float((logged.mask @ logged.discounts).mean()),
        float(spread[1] / np.sqrt(n)),
    )


def known_outcomes(target: TargetPolicy, dataset: MDPDataset, mask: Mask) -> Mask:
    """Returns bool [E, T], steps of episodes but for the last ones of those that were cut off without an observation.

    Args:
        target: Sees no final observation if it stacks frames.
        dataset: With episodes.
        mask: bool [E, T], its steps.
    """
    last = dataset.episode_ends - 1
    sees_final = getattr(target.source, "frame_stack", 1) == 1
    unknown = ~dataset.terminals[last] & ~(dataset.final_known & sees_final)
    known: Mask = mask.copy()
    known[unknown, mask.sum(1)[unknown] - 1] = False
    return known


def model_doubts(
    target: TargetPolicy, dataset: MDPDataset, modelled: Logged, unfinished: Sequence[str]
) -> tuple[str, ...]:
    """Returns the reasons against the values of a model.

    Args:
        target: Policy of the values.
        dataset: With episodes.
        modelled: Its padded episodes with the model, and its values behind their ends.
        unfinished: Why its fits have not settled, as `unsettled` returns it.
    """
    error = model_error(modelled, known_outcomes(target, dataset, modelled.mask))
    reasons = (next(filter(None, unfinished), ""), str(error) if error.is_off else "")
    return tuple(filter(None, reasons))


def unsettled(q_function: QFunction | ValueModel, dataset: MDPDataset) -> str:
    """Returns that fitted Q evaluation took too few updates; empty if it took enough, or values are of another kind."""
    fitted = getattr(q_function, "__self__", q_function)
    return fitted.too_few_updates(dataset) if isinstance(fitted, FQE) else ""


def noting_doubts(
    fit: Callable[[MDPDataset], QFunction], reasons: list[str]
) -> Callable[[MDPDataset], QFunction]:
    """Returns a function that fits as another does, and appends why what it fitted has not settled, or nothing."""

    def fit_and_note(part: MDPDataset) -> QFunction:
        fitted = fit(part)
        reasons.append(unsettled(fitted, part))
        return fitted

    return fit_and_note

"""What fine-tuning did to a score: before, the dip, after, regret, and the steps to recover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCORE = "eval/return_mean"


@dataclass(frozen=True)
class BeforeAfter:
    """The course of a score over an online run.

    Attributes:
        before: Score before the first step.
        lowest: The lowest of all evaluations.
        dip: How far it fell below `before`, at least 0.
        after: Score of the last evaluation.
        regret: Mean over the steps of max(reference - score, 0), the score linear between evaluations' steps.
        recovered_at: Step of the first evaluation after the lowest at which the score is at least `before`; 0 if
            it never fell below, None if it has not come back.
        steps: Environment steps of the run.
        updates: Updates of the run.
    """

    before: float
    lowest: float
    dip: float
    after: float
    regret: float
    recovered_at: int | None
    steps: int
    updates: int

    @classmethod
    def of(
        cls, history: Sequence[Mapping[str, Any]], reference: float | None = None, score: str = SCORE
    ) -> BeforeAfter | None:
        """Returns the report of a run's history; None unless there are two evaluations, one before the first step.

        Args:
            history: Rows of an online run.
            reference: Score that regret is measured against; None takes `after`.
            score: Column of the rows.
        """
        measured = [(int(row["step"]), float(row[score]), row) for row in history if score in row]
        if len(measured) < 2 or measured[0][0] != 0:
            return None
        steps, scores = [step for step, _, _ in measured], [value for _, value, _ in measured]
        before, after, lowest = scores[0], scores[-1], min(scores)
        goal = after if reference is None else reference
        short = [goal - value for value in scores]
        areas = [
            (steps[i + 1] - steps[i]) * _mean_short(short[i], short[i + 1]) for i in range(len(steps) - 1)
        ]
        worst = scores.index(lowest)
        back = [step for step, value in zip(steps[worst:], scores[worst:], strict=True) if value >= before]
        return cls(
            before,
            lowest,
            before - lowest,
            after,
            sum(areas) / (steps[-1] - steps[0]),
            back[0] if back else None,
            steps[-1],
            int(measured[-1][2].get("updates", 0)),
        )

    def row(self) -> dict[str, float | int | None]:
        """Returns the report as one row of a table."""
        return asdict(self)


def _mean_short(first: float, last: float) -> float:
    """Returns the mean of max(x, 0) along a line from one number to another: over a triangle if it crosses 0."""
    low, high = sorted((first, last))
    if high <= 0:
        return 0.0
    return (low + high) / 2 if low >= 0 else high**2 / (2 * (high - low))


def advice(policy: float, behaviour: float, random: float | None = None, margin: float = 0.05) -> str:
    """Returns what to go online with, by which of policy and behaviour scores better.

    Source of the three regimes: "Keep data, keep policy, or start anew", arXiv:2510.01460.

    Args:
        policy: Mean return of the policy learned offline, in the environment.
        behaviour: Mean return of the data.
        random: Mean return of random actions, or None.
        margin: Share of the larger distance from `random` (or of the larger size) below which scores count as equal.

    Returns:
        "policy": keep it, and act with it before updates begin; "data": keep them in every minibatch, the policy
        knows less; "anew": neither is better than random actions.
    """
    sizes = [abs(score - (random or 0.0)) for score in (policy, behaviour)]
    slack = margin * max(sizes)
    if random is not None and max(policy, behaviour) <= random:
        return "anew"
    return "policy" if policy >= behaviour - slack else "data"

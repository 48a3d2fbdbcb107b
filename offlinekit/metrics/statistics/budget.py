"""The budget behind a result, and the seeds that may be reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from offlinekit.ground.hints import answers_guesses, answers_keywords


@answers_keywords
@dataclass(frozen=True)
class Budget:
    """Budget spent on the numbers of a table.

    Attributes:
        policies: Policies trained, that is runs.
        updates: Updates of all of them.
        evaluations: Evaluations in an environment during training.
        episodes: Episodes of those evaluations.
    """

    policies: int = 0
    updates: int = 0
    evaluations: int = 0
    episodes: int = 0

    def __add__(self, other: Budget) -> Budget:
        return Budget(
            self.policies + other.policies,
            self.updates + other.updates,
            self.evaluations + other.evaluations,
            self.episodes + other.episodes,
        )

    def __str__(self) -> str:
        parts = (
            (self.policies, "policy", "policies"),
            (self.updates, "update", "updates"),
            (self.evaluations, "evaluation", "evaluations"),
            (self.episodes, "episode", "episodes"),
        )
        return "Budget: " + ", ".join(f"{n:,} {one if n == 1 else many}" for n, one, many in parts)


def check_seeds_apart(tuning: Iterable[int], reporting: Iterable[int]) -> None:
    """Checks that no seed on which hyperparameters were chosen is reported.

    A seed that was lucky in the choice is lucky in the report too, so the score would be flattered.

    Raises:
        ValueError: If the two overlap; names the seeds.
    """
    chosen_on, reported = set(tuning), set(reporting)
    if both := sorted(chosen_on & reported):
        raise ValueError(
            f"hyperparameters were chosen on seeds {both}, so these cannot be reported; "
            f"train with others, such as {max(chosen_on | reported) + 1}"
        )


@answers_guesses
def reporting_seeds(n: int, tuning: Iterable[int], first: int = 0) -> list[int]:
    """Returns the n smallest seeds from `first` on that are none of the tuning seeds.

    Raises:
        ValueError: For n below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    taken = set(tuning)
    seeds: list[int] = []
    while len(seeds) < n:
        if first not in taken:
            seeds.append(first)
        first += 1
    return seeds

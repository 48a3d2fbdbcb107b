"""Whether learned values have settled: enough updates, and no trend in the last of them."""

from __future__ import annotations

ADVICE = "train the fits longer (n_steps)"
LATE = 0.6  # Share of the updates after which values are noted, for their trend.
MOST_DRIFT = 1.0  # Standard errors that a value may move in the last two fifths of its updates.


def too_few_updates(taken: int, needed: int, gamma: float, tau: float) -> str:
    """Returns that a fit took fewer updates than values need to settle; empty if it took enough."""
    if taken >= needed:
        return ""
    return f"the fit took {taken:,} updates of the {needed:,} that gamma={gamma:g} and tau={tau:g} need: {ADVICE}"


def still_moving(before: float, after: float, error: float, share: float = 0.01) -> str:
    """Returns that a value moved too much between three fifths and all of the updates; empty if it had settled.

    Args:
        before: The value after three fifths of the updates.
        after: The value after all.
        error: Its standard error.
        share: Of the value that it may move, however small the error.
    """
    if abs(after - before) <= max(MOST_DRIFT * error, share * abs(after)):
        return ""
    return f"the fit still moves, from {before:.4g} to {after:.4g} with a standard error of {error:.2g}: {ADVICE}"

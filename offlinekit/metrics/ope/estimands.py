"""Estimands: the return to where recordings were cut, or beyond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset

Reach = Literal["rows", "corrected", "mixed", "model", "flow", "rollout"]
"""How far an estimator looks: at recorded rows; at them and a model whose errors they correct; at both, partly; at a
model's values; at the flow between states; at rollouts that are cut as recorded episodes are."""

WHOLE = "whole episodes"
TO_THE_CUT = "to the cut"
BEYOND = "beyond the cut"
BETWEEN = "between both"


@dataclass(frozen=True)
class Cuts:
    """Cuts of recordings.

    Attributes:
        n_cut: Episodes that ended without a terminal.
        n_unknown: Those of them whose final observation was not recorded.
        bootstrapped: Whether a model's values stand behind the cuts.
        clipped: Whether weights are clipped, so that they correct a model in part only.
    """

    n_cut: int
    n_unknown: int
    bootstrapped: bool
    clipped: bool

    @classmethod
    def of(cls, dataset: MDPDataset, bootstrapped: bool, clipped: bool) -> Cuts:
        """Returns the cuts of a dataset."""
        cut = ~dataset.terminals[dataset.episode_ends - 1]
        return cls(int(cut.sum()), int((cut & ~dataset.final_known).sum()), bootstrapped, clipped)

    def estimand(self, reach: Reach) -> str:
        """Returns what an estimator of some reach aims at."""
        if self.n_cut == 0:
            return WHOLE
        if reach in ("rows", "rollout"):
            return TO_THE_CUT
        if reach in ("model", "flow"):
            return BEYOND
        if self.bootstrapped:
            return BETWEEN if self.n_unknown else BEYOND
        return BETWEEN if reach == "mixed" or self.clipped else TO_THE_CUT

    def warning(self, estimand: str) -> str:
        """Returns the reasons against an estimate with an estimand; empty if there are none."""
        if estimand != BETWEEN:
            return ""
        if self.bootstrapped:
            return f"{self.n_unknown} of {self.n_cut} cut episodes have no final observation, and count to the cut"
        return (
            "weights aim at the return to the cut, the model beyond it; bootstrap_timeouts=True aims beyond"
        )

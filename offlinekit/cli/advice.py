"""Where to begin among the algorithms: by kind of actions, size, returns and rewards of a dataset, and by the goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from gymnasium.spaces import Discrete

from offlinekit.algos import catalogue

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset

GOALS = ("offline", "online", "imitate")
"""Act as learned; go on in an environment; do as the best of the data did."""


@dataclass(frozen=True)
class Facts:
    """What advice looks at.

    Attributes:
        kind: "discrete", "continuous" or "text".
        n_rows: Recorded steps.
        n_episodes: Episodes.
        mean: Mean return of an episode.
        best: Mean return of the best tenth of the episodes.
        spread: Standard deviation of the returns.
        rewarded: Share of rows whose reward is not 0.
        goal: One of `GOALS`.
    """

    kind: str
    n_rows: int
    n_episodes: int
    mean: float
    best: float
    spread: float
    rewarded: float
    goal: str

    @classmethod
    def of(cls, dataset: MDPDataset, goal: str) -> Facts:
        """Returns the facts of a dataset."""
        returns = np.sort(dataset.episode_returns())
        best = returns[-max(1, len(returns) // 10) :]
        discrete = isinstance(dataset.action_space, Discrete)
        is_text = hasattr(dataset.observation_space, "tokenizer") or hasattr(
            dataset.action_space, "tokenizer"
        )
        return cls(
            "text" if is_text else "discrete" if discrete else "continuous",
            len(dataset),
            dataset.n_episodes,
            float(returns.mean()),
            float(best.mean()),
            float(returns.std()),
            float(np.mean(np.asarray(dataset.rewards) != 0)),
            goal,
        )

    @property
    def is_narrow(self) -> bool:
        """Whether episodes score nearly alike, so that imitation is near the best that was seen."""
        return self.spread < 0.1 * max(abs(self.mean), 1e-9)

    @property
    def is_small(self) -> bool:
        """Whether there are few rows for functions of their values."""
        return self.n_rows < 20_000

    @property
    def is_sparse(self) -> bool:
        """Whether hardly any step is rewarded."""
        return self.rewarded < 0.05


class Rule(NamedTuple):
    """One piece of advice.

    Attributes:
        kinds: Of actions to the algorithm for them.
        fits: Whether it applies.
        reason: Why, with the figures of `Facts` in braces.
    """

    kinds: dict[str, str]
    fits: Callable[[Facts], bool]
    reason: str


BC = {"continuous": "bc", "discrete": "discrete_bc", "text": "text_bc"}
IN_SAMPLE = {"continuous": "iql", "discrete": "discrete_iql", "text": "ilql"}
RULES = (
    Rule(
        BC,
        lambda f: True,
        "the baseline that others must beat: imitates {n_rows:,} rows, with nothing to tune",
    ),
    Rule(
        {"continuous": "percent_bc"},
        lambda f: f.goal == "imitate" or not f.is_narrow,
        "the best tenth of {n_episodes:,} episodes returns {best:.4g}, all of them {mean:.4g}: imitate those alone",
    ),
    Rule(
        {"continuous": "td3_plus_bc", "discrete": "discrete_bcq"},
        lambda f: f.goal == "offline" and not f.is_narrow,
        "returns spread by {spread:.4g} around {mean:.4g}, so there is something to put together; quick, one setting",
    ),
    Rule(
        IN_SAMPLE,
        lambda f: f.goal != "imitate" and (f.is_sparse or f.is_narrow or f.is_small or f.kind == "text"),
        "values recorded actions alone, so keeps to what {n_rows:,} rows show, of which {rewarded:.0%} are rewarded",
    ),
    Rule(
        {"continuous": "rebrac", "discrete": "discrete_cql"},
        lambda f: f.goal == "offline" and not f.is_narrow,
        "stronger where coverage is wide, and with more to tune; compare with the lines above by `offlinekit select`",
    ),
    Rule(
        {"continuous": "edac"},
        lambda f: f.goal == "offline" and not f.is_small and not f.is_narrow and not f.is_sparse,
        "an ensemble that doubts what {n_rows:,} rows do not show; slow, best on large and mixed data",
    ),
    Rule(
        {"continuous": "cal_ql"},
        lambda f: f.goal == "online",
        "values on the scale of {mean:.4g}, so that learning online begins without a fall",
    ),
    Rule(
        {"continuous": "rlpd", "discrete": "double_dqn"},
        lambda f: f.goal == "online",
        "learns online from the start, with half of each batch from these {n_rows:,} rows (mixing='symmetric')",
    ),
)


def advise(dataset: MDPDataset, goal: str = "offline") -> list[tuple[str, str]]:
    """Returns algorithms to begin with, in the order to try them, each with its reason.

    Args:
        dataset: What is to be learned from.
        goal: One of `GOALS`.
    """
    facts, known = Facts.of(dataset, goal), catalogue()
    chosen = [
        (rule.kinds[facts.kind], rule) for rule in RULES if facts.kind in rule.kinds and rule.fits(facts)
    ]
    return [(name, rule.reason.format(**vars(facts))) for name, rule in chosen if name in known]

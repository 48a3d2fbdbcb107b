"""What a table says of a policy that no environment has judged: its own metrics, and how to estimate its return."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from offlinekit.cli.options import command_line
from offlinekit.cli.output import number
from offlinekit.errors import UnsupportedError
from offlinekit.metrics import get_evaluator

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset

EPISODES = 50
"""The most episodes on which metrics are measured."""


def own_metrics(algo: Algo, dataset: MDPDataset) -> list[tuple[str, str, str]]:
    """Returns rows of a table: metric, value, and what it is.

    Args:
        algo: Trained.
        dataset: What it has learned from.
    """
    data = dataset[:EPISODES]
    discrete = algo.action_kind == "discrete"
    wanted = [
        ("action_match", "share of its actions that are the recorded ones")
        if discrete
        else ("action_difference", "mean squared distance of its actions from the recorded ones"),
        *([("initial_value", "its own estimate at the starts of episodes")] if algo.has_value else []),
        *([("td_error", "squared error of its values by one step")] if algo.has_value else []),
    ]
    if algo.family == "TEXT":
        wanted = [("perplexity", "of recorded replies, by its policy")]
    lines = []
    for name, what in wanted:
        with suppress(UnsupportedError):  # Of a policy that another kind of metric measures.
            lines.append((name, number(float(str(get_evaluator(name)(algo, data)))), what))
    newest = algo.history[-1] if algo.history else {}  # A run may be out of time before its first row.
    losses = {name: value for name, value in newest.items() if name.endswith("_loss")}
    return [*lines, *((name, number(value), "mean of the last updates") for name, value in losses.items())]


def pointers(algos: Sequence[Algo], dataset: str) -> list[str]:
    """Returns the commands that estimate returns without an environment, for a shell; or why none does.

    Args:
        algos: Of one class, with their run folders.
        dataset: Its name or path.
    """
    if algos[0].is_stateful:
        return [
            "No environment has judged it. Recorded episodes cannot say what its return may be, since "
            f"{type(algos[0]).__name__} acts",
            "by what came before in its episode; compare runs by these metrics, or evaluate it in an environment.",
        ]
    runs = [algo.run_dir for algo in algos]
    data: list[object] = ["--dataset", dataset]
    if algos[0].scaling.schema is not None:  # Of a table, which is read by it.
        data += ["--schema", f"{algos[0].run_dir}/policy.okt"]
    return [
        "No environment has judged it; from recorded episodes:",
        f"  {command_line('ope', runs[0], *data, '--q', 'fqe')}    what its return may be",
        f"  {command_line('select', *runs, *data)}    whether to deploy it, or one of several",
    ]

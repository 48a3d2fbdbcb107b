"""A report on online runs says how their score went."""

from __future__ import annotations

from pathlib import Path

import gymnasium

from offlinekit.algos import SAC, MLPEncoder
from offlinekit.metrics.reporting.page import write_report
from offlinekit.metrics.reporting.plots import readable


def test_a_report_has_a_row_for_an_online_run(tmp_path: Path) -> None:
    algo = SAC(seed=0, batch_size=4, encoder=MLPEncoder((4,)))
    env = gymnasium.make("Pendulum-v1", max_episode_steps=10)
    algo.fit_online(env, 20, out=tmp_path / "runs", eval_episodes=1, progress=False)
    write_report([tmp_path / "runs"], tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    table = text.split("## Before and after going online")[1].split("\n\n")[1].splitlines()
    before, after = (row["eval/return_mean"] for row in algo.history if "eval/return_mean" in row)
    cells = [cell.strip() for cell in table[2].split("|")[1:-1]]
    # Two evaluations: the shortfall falls linearly from after - before, if it is any, to 0.
    assert cells[1:5] == [
        readable(x) for x in (before, min(before, after), after, max(after - before, 0.0) / 2)
    ]
    assert cells[-2:] == ["20", "20"]  # Steps, and an update in each.

"""A report on online runs says how their score went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium

import offlinekit
from offlinekit.algos import SAC, MLPEncoder
from offlinekit.datasets.recording.recorder import record_episodes
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.metrics.reporting.counted_runs import counted_runs
from offlinekit.metrics.reporting.page import write_report
from offlinekit.metrics.reporting.plots import plot_learning_curves, readable
from offlinekit.metrics.reporting.results import by_group, find_runs, read_run


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
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<h2>Pendulum-v1: going online</h2><svg" in page
    assert "environment steps" in page
    assert "learning curves by updates" not in page
    assert cells[-2:] == ["20", "20"]  # Steps, and an update in each.


def test_a_run_that_went_online_is_apart_from_those_on_the_data(tmp_path: Path) -> None:
    env = gymnasium.make("Pendulum-v1", max_episode_steps=10)
    settings: dict[str, Any] = {"out": tmp_path, "eval_env": env, "eval_episodes": 1, "progress": False}
    data = record_episodes(RandomPolicy(env.action_space), env, 40)
    algo = SAC(seed=0, batch_size=4, encoder=MLPEncoder((4,)))
    algo.fit(data, 20, eval_interval=10, value_alarm="off", **settings)
    for mixing in ("append", 0.5):
        offline = offlinekit.load(algo.run_dir or "")
        offline.fit_online(env, 20, dataset=data, mixing=mixing, updates_per_step=2.0, **settings)
    runs = [read_run(folder) for folder in find_runs([tmp_path])]
    # One seed, three measurements: on the data, and two ways online.
    assert len(counted_runs(runs).runs) == 3
    labels = [label for _, label in by_group(runs)]
    assert labels == ["SAC", "SAC online, mixing=0.5", "SAC online, mixing=append"]
    assert {run.updates for run in runs if run.is_online} == {40}
    plot_learning_curves(find_runs([tmp_path]), tmp_path / "a.svg")
    assert "updates (environment steps of online runs)" in (tmp_path / "a.svg").read_text()

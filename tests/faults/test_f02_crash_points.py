"""F2: a process that is killed at each named point of saving leaves the old checkpoint or the new one."""

from __future__ import annotations

import shutil
from pathlib import Path

import fault_children
import pytest
from fault_suite import Children

import offlinekit
from offlinekit.training import run_folder

STATES = {"first checkpoint": [], "second": [2], "with some to prune": [2, 4, 6]}


@pytest.fixture(scope="module")
def runs(children: Children, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for state, steps in STATES.items():
        assert children.call(fault_children.save_checkpoints, folder / state, steps) == 0
    return folder


@pytest.mark.parametrize("state", list(STATES))
@pytest.mark.parametrize("point", list(fault_children.POINTS))
def test_old_or_new(point: str, state: str, runs: Path, children: Children, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / state, tmp_path / "run"))
    new = max(STATES[state], default=0) + 3
    code = children.call(fault_children.crash_while_saving, run, point, new)
    reached = point in {"named, the folder not synced", "durable, nothing pruned", "half pruned"}
    survived = point == "half pruned" and state != "with some to prune"  # Nothing there to be removed.
    assert code == (0 if survived else -9)
    found = run_folder.checkpoints(run)
    steps = [offlinekit.load(path).grad_step for path in found]  # Each of them is whole.
    assert max(steps, default=0) == (new if reached else max(STATES[state], default=0))
    leftovers = [path for path in (run / "checkpoints").iterdir() if path not in found]
    assert len(leftovers) <= 1
    run_folder.prune(run, 2, max(steps, default=0))
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [path.name for path in found[-2:]]

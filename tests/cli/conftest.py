"""A tiny dataset file, a run trained on it, and a way to call the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner, Result

from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset

Call = Callable[..., Result]


@pytest.fixture(scope="session")
def call() -> Call:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="offlinekit")

    return run


@pytest.fixture(scope="session")
def says_how_far() -> Callable[[Result, str], None]:
    """Checks the progress of a command without a terminal: lines of one label, each with a share and a time."""

    def check(done: Result, label: str) -> None:
        assert done.exit_code == 0, done.output
        shown = [line for line in done.stderr.splitlines() if re.search(r" \d+%  ", line)]
        assert shown, done.stderr
        assert all(
            line.startswith(label) and re.search(r"\d:\d\d left|in \d:\d\d", line) for line in shown
        ), shown

    return check


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six CartPole episodes of a policy that leans against the pole's fall, mean return known to the file."""
    env = gymnasium.make("CartPole-v1")
    columns: dict[str, list[object]] = {"o": [], "a": [], "r": [], "terminal": [], "end": []}
    for seed in range(6):
        observation, _ = env.reset(seed=seed)
        for _ in range(40):
            action = int(observation[2] + observation[3] > 0)
            columns["o"].append(observation)
            columns["a"].append(action)
            columns["terminal"].append(False)
            observation, reward, *_ = env.step(action)
            columns["r"].append(reward)
            columns["end"].append(False)
        columns["end"][-1] = True
    dataset = MDPDataset(
        *(np.array(column) for column in columns.values()),
        name="tiny",
        metadata={"env_id": "CartPole-v1", "reference_min_score": 20.0, "reference_max_score": 60.0},
    )
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    dataset.save(path)
    return path


@pytest.fixture(scope="session")
def trained(call: Call, data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished run folder and what `train` printed."""
    out = tmp_path_factory.mktemp("runs")
    options = (
        "--set",
        "batch_size=16",
        "--set",
        "learning_rate=0.01",
        "--log-interval",
        20,
        "--eval-interval",
        30,
    )
    more = ("--metric", "action_match", "--eval-episodes", 3, "--steps", 60, "--seed", 5, "--out", out)
    result = call("train", "--algo", "discrete-bc", "--dataset", data_file, *options, *more)
    assert result.exit_code == 0, result.output
    (run,) = out.iterdir()
    return run, result

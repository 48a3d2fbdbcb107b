"""`offlinekit train --preset`: hyperparameters, options of the reader and steps, all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import Result

from offlinekit.cli.job import _with_preset

Call = Callable[..., Result]
TINY = ("--eval-env", "none", "--set", "batch_size=4", "--device", "cpu")


@pytest.fixture
def hopper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two episodes of three rows, each ended by a timeout, where D4RL's hopper-medium-v2 would lie."""
    monkeypatch.setenv("OFFLINEKIT_DATA", str(tmp_path))
    path = tmp_path / "hopper_medium-v2.hdf5"
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["observations"] = generator.normal(size=(6, 11)).astype(np.float32)
        file["actions"] = generator.uniform(-1, 1, (6, 3)).astype(np.float32)
        file["rewards"] = np.arange(6, dtype=np.float32)
        file["terminals"] = np.zeros(6, bool)
        file["timeouts"] = np.array([0, 0, 1, 0, 0, 1], bool)
    return path


def _config(result: Result, out: Path) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    (run,) = out.iterdir()
    config: dict[str, Any] = json.loads((run / "config.json").read_text())
    return config


def test_hyperparameters_and_the_options_of_the_reader_both_act(
    call: Call, hopper: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    of = ("--algo", "iql", "--dataset", "hopper-medium-v2", "--preset", "--steps", 2)
    result = call("train", *of, *TINY, "--out", out)
    config = _config(result, out)
    assert "on hopper-medium-v2: 4 rows" in result.output  # d4rl: the rows with a timeout are no transitions.
    assert config["dataset"]["options"] == {"transitions": "d4rl"}
    assert config["hyperparameters"]["reward_scaler"] == {"type": "return", "multiplier": 1000.0}
    assert config["preset"]["dataset"] == "hopper-medium-v2"
    assert config["preset"]["sources"][0] == "arXiv:2110.06169"


def test_what_is_given_rules_over_the_preset(call: Call, hopper: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    of = ("--algo", "iql", "--dataset", "hopper-medium-v2", "--preset", "--steps", 2, "--set", "beta=1.5")
    config = _config(call("train", *of, *TINY, "--dataset-option", "transitions=all", "--out", out), out)
    assert config["dataset"]["options"] == {"transitions": "all"}
    assert config["hyperparameters"]["beta"] == 1.5


def test_the_steps_of_a_preset_hold_unless_others_are_given() -> None:
    options = {"algo": "spot", "dataset": "hopper-medium-v2", "preset": ""}
    assert _with_preset(options)["steps"] == 1_100_000  # 100,000 of the VAE, then a million.
    assert _with_preset({**options, "steps": 7})["steps"] == 7


def test_the_reader_of_another_dataset_keeps_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    options = {"algo": "iql", "dataset": "pendulum-mixed", "preset": "hopper-medium-v2"}
    assert _with_preset(options)["dataset_options"] == {}
    assert "{'transitions': 'd4rl'} of the preset are left out" in capsys.readouterr().err
    assert _with_preset({**options, "quiet": True})["dataset_options"] == {}
    assert capsys.readouterr().err == ""

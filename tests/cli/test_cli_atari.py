"""A policy that stacks the frames of its data, trained and judged from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from click.testing import Result
from gymnasium.envs.registration import EnvSpec

from offlinekit.datasets import MDPDataset
from offlinekit.envs import environments
from offlinekit.envs.atari import described


class Dark(gymnasium.Env):
    """Shows one black frame, three times."""

    observation_space = gymnasium.spaces.Box(0, 255, (1, 84, 84), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)
    spec = EnvSpec("ALE/Freeway-v5")

    def reset(self, *, seed=None, options=None):
        self.left = 3
        return np.zeros((1, 84, 84), np.uint8), {}

    def step(self, action):
        self.left -= 1
        return np.zeros((1, 84, 84), np.uint8), 2.0, self.left == 0, False, {}


def test_single_frames_are_stacked_for_the_policy(
    call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "_register", lambda package: True)
    monkeypatch.setattr(environments.atari, "prepare", lambda make, frame_stack: Dark())
    frames, ends = np.zeros((20, 1, 84, 84), np.uint8), np.arange(20) % 10 == 9
    data = MDPDataset(frames, np.zeros(20, np.int64), np.ones(20), ends, **described("Freeway", 1))
    file, out = data.save(tmp_path / "freeway.h5"), tmp_path / "runs"
    options = ["--set", "frame_stack=4", "--set", "batch_size=2", "--steps", 2, "--eval-episodes", 1]
    trained = call("train", "--algo", "discrete_bc", "--dataset", file, *options, "--out", out)
    assert trained.exit_code == 0, trained.output
    told = [line.split()[:2] for line in trained.output.splitlines()]
    assert ["DiscreteBC", "6.0"] in told, trained.output
    [run] = out.iterdir()
    judged = call("evaluate", run, "--episodes", 1)
    assert judged.exit_code == 0, judged.output
    assert "return  6.0" in judged.output
    judged = call("evaluate", run, "--env", "ALE/Freeway-v5?frame_stack=1", "--episodes", 1)
    assert judged.exit_code == 0, judged.output
    assert "return  6.0" in judged.output
    refused = call("evaluate", run, "--env", "ALE/Freeway-v5?noop_max=30")
    assert refused.exit_code == 2
    assert "give frame_stack too" in refused.output
    refused = call("evaluate", run, "--env", "ALE/Freeway-v5?")
    assert refused.exit_code == 2

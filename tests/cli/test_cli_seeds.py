"""`offlinekit train --seeds N`: N runs, side by side."""

from __future__ import annotations

import json
import signal

import pytest

from offlinekit.cli import job

TRAIN = ("train", "--algo", "discrete_bc", "--eval-env", "CartPole-v1", "--steps", 6, "--dataset")


def test_seeds_make_a_run_each(call, data_file, tmp_path):
    done = call(*TRAIN, data_file, "--eval-episodes", 2, "--seed", 3, "--seeds", 3, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    configs = [json.loads(path.read_text()) for path in tmp_path.glob("*/config.json")]
    assert sorted(config["seed"] for config in configs) == [3, 4, 5]
    assert all((path / "policy.okt").is_file() for path in tmp_path.iterdir())
    for seed in (3, 4, 5):
        assert f"DiscreteBC, seed {seed}" in done.output
    assert done.output.count("Run folder:") == 3


@pytest.mark.parametrize("seed", [(), ("--seed", 3)])
def test_interrupted_seeds_go_on_by_the_same_command(seed, call, data_file, tmp_path, monkeypatch):
    calls = []

    def interrupting(algo, dataset):
        calls.append(algo.seed)
        if len(calls) == 4:  # The first calls are the command's check and one before each run.
            signal.raise_signal(signal.SIGINT)
        return 0.0

    words = ("train", "--algo", "discrete_bc", "--dataset", data_file, "--steps", 40, "--eval-interval", 20)
    words = (*words, *seed, "--seeds", 2, "--metric", "action_match", "--eval-env", "none", "--out", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(job, "get_evaluator", lambda name: interrupting)
        cut = call(*words, "--resume", "auto")
    assert cut.exit_code == 130
    saved = "Interrupted after update 20, saved; go on with: the same command and --resume auto"
    assert cut.stderr.splitlines()[-1] == saved
    runs = {path.name for path in tmp_path.iterdir()}
    assert len(runs) == 2
    done = call(*words, "--resume", "auto")
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == runs
    assert all((path / "policy.okt").is_file() for path in tmp_path.iterdir())
    assert call("train", "--resume", tmp_path / runs.pop()).exit_code == 1


def test_plot_draws_the_seeds_as_one_curve(call, data_file, tmp_path):
    options = ("--eval-interval", 2, "--eval-episodes", 1, "--seeds", 2)
    call(*TRAIN, data_file, *options, "--out", tmp_path / "runs")
    drawn = call("plot", *(tmp_path / "runs").iterdir(), "--out", tmp_path / "curve.png")
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_seeds_cannot_change_in_a_resumed_run(call, tmp_path):
    done = call("train", "--resume", tmp_path, "--seeds", 2)
    assert done.exit_code == 2
    assert "--seeds cannot change in a resumed run" in done.output

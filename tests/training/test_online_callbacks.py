"""What an online run calls, as one of `fit` does: evaluators, early stopping, loggers and the limit of time."""

from __future__ import annotations

import pytest
from walk_env import Walk, recorded_walk

from offlinekit.algos import SAC, MLPEncoder
from offlinekit.training import EarlyStopping
from offlinekit.training.online.online_run import OnlineRun

QUICK = {"eval_episodes": 1, "progress": False, "log_interval": 10, "eval_interval": 20}


def small():
    return SAC(seed=1, batch_size=8, device="cpu", encoder=MLPEncoder((8,)))


@pytest.mark.parametrize("data", [None, recorded_walk])
def test_evaluators_see_the_algorithm_and_the_data(data):
    seen = []

    def size(algo, dataset):
        seen.append((algo.grad_step, len(dataset)))
        return float(algo.grad_step)

    dataset = data() if data else None
    algo = small().fit_online(Walk(), 40, dataset=dataset, out=None, evaluators={"size": size}, **QUICK)
    rows = [row for row in algo.history if "size" in row]
    assert [row["size"] for row in rows] == [row["updates"] for row in rows]
    assert rows[0]["step"] == 0
    # Tried on one episode of four rows, or on the one row that shows what the environment is like; then on all.
    assert seen[0] == (0, 4 if data else 1)
    assert {length for _, length in seen[1:]} == {24 if data else 1}


def test_early_stopping_ends_the_run_with_a_policy(tmp_path):
    stopping = EarlyStopping("constant", patience=1, maximize=True)
    evaluators = {"constant": lambda algo, dataset: 1.0}
    algo = small().fit_online(
        Walk(), 200, out=tmp_path, evaluators=evaluators, early_stopping=stopping, **QUICK
    )
    assert 20 <= algo.history[-1]["step"] < 100
    assert (algo.run_dir / "policy.okt").is_file()
    assert len(algo.experience) == algo.history[-1]["step"]


def test_loggers_get_every_row(tmp_path):
    class Kept:
        def __init__(self, folder, config):
            made.append((folder, config["online"], self))
            self.rows, self.closed = [], False

        def log(self, row):
            self.rows.append(dict(row))

        def close(self):
            self.closed = True

    made = []
    algo = small().fit_online(Walk(), 40, out=tmp_path, loggers=[Kept], **QUICK)
    ((folder, name, logger),) = made
    assert (folder, name) == (algo.run_dir, "Walk")
    assert logger.rows == algo.history
    assert logger.closed


def test_a_run_out_of_time_goes_on_to_the_same_end(tmp_path, monkeypatch):
    whole = small().fit_online(Walk(), 40, out=tmp_path / "whole", **QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(OnlineRun, "is_late", lambda run: run.clock >= 11)
        algo = small().fit_online(Walk(), 40, out=tmp_path / "late", **QUICK)
    assert 11 <= len(algo.experience) <= 16  # To the end of the episode.
    assert not (algo.run_dir / "policy.okt").exists()
    again = small().fit_online(Walk(), 40, resume=algo.run_dir, **QUICK)
    assert again.history[-1]["step"] == 40
    assert len(again.experience) == 40
    assert whole.grad_step == again.grad_step == 40

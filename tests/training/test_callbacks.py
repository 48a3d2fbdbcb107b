"""Callbacks: functions at each row, objects at rows, checkpoints and the end; False ends a run."""

from __future__ import annotations

import pytest
from walk_env import Walk

from offlinekit.algos import IQL, SAC, Population
from offlinekit.testing import small_dataset

QUIET = {"progress": False, "log_interval": 2, "eval_interval": 4}


def small(front=IQL, seed=0):
    return front(seed=seed, encoder=[8], batch_size=8, device="cpu")


class Recorder:
    """Notes what it is called with."""

    def __init__(self):
        self.rows, self.paths, self.ended = [], [], []

    def on_row(self, algo, row):
        self.rows.append((algo.grad_step, row["step"]))

    def on_checkpoint(self, algo, path):
        self.paths.append((algo.grad_step, path.name, path.is_file()))

    def on_end(self, algo):
        self.ended.append((algo.grad_step, (algo.run_dir / "policy.okt").is_file()))


def test_the_moments_of_a_run(tmp_path):
    recorder = Recorder()
    small().fit(small_dataset("continuous"), 6, out=tmp_path, callbacks=[recorder], **QUIET)
    # Rows every 2 updates; checkpoints every 4 (as evaluations) and at the end.
    assert recorder.rows == [(2, 2), (4, 4), (6, 6)]
    assert recorder.paths == [(4, "step_000000004.okt", True), (6, "step_000000006.okt", True)]
    assert recorder.ended == [(6, True)]


def test_functions_are_called_at_rows_in_their_order():
    seen = []
    callbacks = [
        lambda algo, row: seen.append(("a", row["step"])),
        lambda algo, row: seen.append(("b", row["step"])),
    ]
    small().fit(small_dataset("continuous"), 4, out=None, callbacks=callbacks, **QUIET)
    assert seen == [("a", 2), ("b", 2), ("a", 4), ("b", 4)]


def test_false_ends_a_run_with_a_policy(tmp_path):
    algo = small()
    algo.fit(
        small_dataset("continuous"), 100, out=tmp_path, callbacks=[lambda algo, row: row["step"] < 4], **QUIET
    )
    assert algo.grad_step == 4
    assert (algo.run_dir / "policy.okt").is_file()


def test_none_and_zero_end_nothing():
    algo = small().fit(small_dataset("continuous"), 4, out=None, callbacks=[lambda algo, row: 0], **QUIET)
    assert algo.grad_step == 4


def test_a_callback_that_fails_leaves_a_checkpoint(tmp_path):
    def fail(algo, row):
        raise RuntimeError("of my own")

    algo = small()
    with pytest.raises(RuntimeError, match="of my own"):
        algo.fit(small_dataset("continuous"), 8, out=tmp_path, callbacks=[fail], **QUIET)
    again = small().fit(small_dataset("continuous"), 8, resume=next(tmp_path.iterdir()), **QUIET)
    assert again.history[0]["step"] == 2


def test_members_call_with_themselves():
    seen = []
    callbacks = [lambda algo, row: seen.append((algo.seed, row["step"]))]
    Population([small(seed=1), small(seed=2)]).fit(
        small_dataset("continuous"), 2, out=None, callbacks=callbacks, **QUIET
    )
    assert sorted(seen) == [(1, 2), (2, 2)]


def test_online_rows_call_too():
    seen = []
    algo = small(SAC)
    algo.fit_online(
        Walk(), 8, out=None, eval_episodes=1, callbacks=[lambda algo, row: seen.append(row["step"])], **QUIET
    )
    assert seen == [row["step"] for row in algo.history]


def test_a_rate_changed_midway_acts():
    def slower(algo, row):
        if row["step"] == 2:
            algo.actor_learning_rate = 1e-9

    weights = []
    small().fit(
        small_dataset("continuous"),
        4,
        out=None,
        callbacks=[
            slower,
            lambda algo, row: weights.append(next(algo.impl.policy.parameters()).detach().clone()),
        ],
        **QUIET,
    )
    # Adam moves each weight by at most about its rate; two updates of 1e-9 are below 1e-8.
    assert float((weights[1] - weights[0]).abs().max()) < 1e-8


@pytest.mark.parametrize("kind", [Population, None])
def test_callbacks_change_no_bits(kind):
    def run(callbacks):
        algo = small()
        fitted = (Population([algo]) if kind else algo).fit(
            small_dataset("continuous"), 4, out=None, callbacks=callbacks, **QUIET
        )
        del fitted
        return algo.history[-1]["critic_loss"]

    assert run([lambda algo, row: None]) == run([])

"""Learning rates over a run: by name, or a function of the share that is done."""

from __future__ import annotations

import math

import pytest

import offlinekit
from offlinekit.algos import IQL
from offlinekit.errors import FileFormatError, TrainingError
from offlinekit.ground.schedules import check_schedule, factor_at
from offlinekit.testing import small_dataset

QUIET = {"out": None, "progress": False, "log_interval": 1}


def small(**given):
    return IQL(**{"seed": 0, "encoder": [8], "batch_size": 8, "device": "cpu", **given})


def halves(done):
    return 1.0 if done < 0.5 else 0.25


@pytest.mark.parametrize(
    ("schedule", "done", "factor"),
    [
        ("constant", 0.7, 1.0),
        ("linear", 0.25, 0.75),
        ("linear", 1.5, 0.0),  # Of a run that goes on beyond its end.
        ("cosine", 0.5, 0.5),  # (1 + cos(pi / 2)) / 2
        ("cosine", 1.0, 0.0),
        (halves, 0.5, 0.25),
    ],
)
def test_factors(schedule, done, factor):
    assert factor_at(schedule, done) == pytest.approx(factor)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_rates_of_a_run_follow_a_function(engine):
    rates = []

    def note(algo, row):
        rates.append(float(algo.impl.objectives[0].optimizer.learning_rate))

    algo = small(lr_schedule=halves, value_learning_rate=1e-3)
    assert algo.impl_class.__name__ == "IQLImpl"
    algo.fit(small_dataset("continuous"), 4, engine=engine, callbacks=[note], **QUIET)
    # Shares 0, 1/4, 1/2, 3/4 of four updates.
    assert rates == pytest.approx([1e-3, 1e-3, 2.5e-4, 2.5e-4])


def test_a_function_equals_the_name_that_does_the_same():
    data = small_dataset("continuous")
    named = small(lr_schedule="cosine").fit(data, 4, **QUIET)
    given = small(lr_schedule=lambda done: 0.5 * (1 + math.cos(math.pi * done))).fit(data, 4, **QUIET)
    assert named.history[-1]["critic_loss"] == given.history[-1]["critic_loss"]


def test_files_keep_that_there_was_a_function(tmp_path):
    path = (
        small(lr_schedule=halves).fit(small_dataset("continuous"), 2, **QUIET).save(tmp_path / "policy.okt")
    )
    with pytest.raises(
        FileFormatError, match=r"was the function halves, .*offlinekit\.load\(path, lr_schedule="
    ):
        offlinekit.load(path)
    again = offlinekit.load(path, lr_schedule=halves)
    assert again.lr_schedule is halves
    assert again.fit(small_dataset("continuous"), 2, **QUIET).grad_step == 4


def test_a_run_resumes_with_the_function_given_again(tmp_path):
    data, settings = small_dataset("continuous"), {**QUIET, "out": tmp_path, "checkpoint_interval": 2}
    whole = small(lr_schedule=halves).fit(data, 4, **settings)
    (whole.run_dir / "policy.okt").unlink()
    (whole.run_dir / "checkpoints" / "step_000000004.okt").unlink()
    again = small(lr_schedule=halves).fit(data, 4, resume=whole.run_dir, **{**settings, "out": "runs"})
    assert again.history[-1]["critic_loss"] == whole.history[-1]["critic_loss"]


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_function_of_no_factor_is_refused(wrong):
    with pytest.raises(TrainingError, match=r"lr_schedule gave .* at 0% of the run; return a finite factor"):
        small(lr_schedule=lambda done: wrong).fit(small_dataset("continuous"), 2, **QUIET)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        small(lr_schedule="cosin")
    with pytest.raises(ValueError, match=r"lr_schedule must be one of .* got 3"):
        check_schedule(3)

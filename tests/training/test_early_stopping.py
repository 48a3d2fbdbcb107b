"""When to stop early, and which way a metric is better."""

from __future__ import annotations

import functools
import math

import pytest
from catalogue_variants import SMALL

from offlinekit.algos import BC, TD3PlusBC, catalogue
from offlinekit.directions import COLUMNS, direction, is_maximized, less_is_better, more_is_better
from offlinekit.metrics import get_evaluator, known_evaluators, on_dataset
from offlinekit.testing import small_dataset
from offlinekit.training import EarlyStopping

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 3}
DATASET = small_dataset("continuous")


@pytest.mark.parametrize(
    ("metric", "more"),
    [
        ("eval/return_mean", True),
        ("eval/return_std", None),
        ("eval/score", True),
        ("value_diverged", False),
        ("value_estimate", None),
        ("conservative_gap", None),
        ("critic_loss", False),
        ("of_the_user", None),
    ],
)
def test_which_way_a_column_is_better(metric, more):
    assert direction(metric) is more
    assert is_maximized(metric, True) is True
    assert is_maximized(metric, False) is False
    if more is None:
        with pytest.raises(ValueError, match="give maximize=True or maximize=False"):
            is_maximized(metric, None)


@pytest.mark.parametrize("name", known_evaluators())
def test_every_evaluator_says_which_way_it_is_better(name):
    assert direction(name, {name: get_evaluator(name)}) is not None, (
        f"write @less_is_better or @more_is_better above {name}"
    )


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (("action_difference", "out_of_distribution_distance", "overestimation_gap"), False),
        (("td_error", "validation_losses"), False),
        (("action_match", "discounted_advantage_sum", "initial_value"), True),
        (("log_likelihood", "soft_opc", "value"), True),
    ],
)
def test_errors_are_better_low_and_estimates_of_the_return_high(names, more):
    for name in names:
        assert direction(name, {name: get_evaluator(name)}) is more, name


def test_what_wraps_an_evaluator_keeps_its_direction():
    @less_is_better
    def cost(algo, dataset, *, scale=1.0):
        return {"mean": scale, "max": scale}

    @more_is_better
    def gain(algo, dataset):
        return 1.0

    given = {"cost": functools.partial(cost, scale=2.0), "held_out": on_dataset(gain, DATASET), "other": len}
    assert direction("cost/mean", given) is False
    assert direction("held_out", given) is True
    assert direction("other", given) is None
    assert direction("held_out") is None


def test_every_column_of_every_algorithm_has_its_place():
    unknown = {}
    for name, front in catalogue().items():
        if front.family == "OPE":
            continue
        given = {**TINY, **{k: v for k, v in SMALL.items() if k in front.hyperparameters()}}
        algo = front(**given).fit(
            small_dataset(front.action_kind), 6, out=None, progress=False, log_interval=6, engine="eager"
        )
        columns = {column for row in algo.history for column in row} - {"step", "time"}
        unknown[name] = [c for c in columns if c not in COLUMNS and not c.endswith("_loss")]
    assert not any(unknown.values()), unknown


def test_it_goes_by_the_metric():
    falling = [{"critic_loss": value} for value in (3.0, 2.0, 1.0)]
    assert not EarlyStopping("critic_loss", patience=2).should_stop(falling)
    assert EarlyStopping("critic_loss", patience=2, maximize=True).should_stop(falling)


def test_not_a_number_is_no_improvement():
    stopping = EarlyStopping("m", patience=2, maximize=True)
    assert not stopping.should_stop([{"m": math.nan}, {"m": 1.0}, {"m": math.nan}])
    assert stopping.should_stop([{"m": 1.0}, {"m": math.nan}, {"m": math.nan}])
    assert EarlyStopping("m", patience=1, maximize=False).should_stop([{"m": math.nan}])


@pytest.mark.parametrize(
    ("metric", "evaluators", "message"),
    [
        ("eval/retrun_mean", {}, "more of 'eval/retrun_mean' is better; did you mean 'eval/return_mean'"),
        (
            "mine",
            {"mine": lambda *_: 0.0},
            r"more of 'mine' is better; give EarlyStopping\('mine', maximize=True\)",
        ),
        ("actor_loss_", {}, "more of 'actor_loss_' is better; did you mean 'actor_loss'"),
    ],
)
def test_a_run_refuses_a_metric_without_a_direction(metric, evaluators, message):
    algo = BC(**TINY)
    with pytest.raises(ValueError, match=message):
        algo.fit(
            DATASET, 20, out=None, progress=False, evaluators=evaluators, early_stopping=EarlyStopping(metric)
        )
    assert algo.grad_step == 0


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("eval/return_mean", "'eval/return_mean', which needs an environment; give eval_env"),
        ("critc_loss", "'critc_loss', which no row of this run has; did you mean 'critic_loss'"),
        ("td_eror", "'td_eror', which no row of this run has; did you mean 'td_error'"),
    ],
)
def test_a_run_refuses_to_wait_for_what_it_does_not_measure(metric, message):
    algo = TD3PlusBC(**TINY)
    with pytest.raises(ValueError, match=message):
        algo.fit(
            DATASET,
            500,
            out=None,
            progress=False,
            eval_interval=4,
            evaluators={"td_error": get_evaluator("td_error")},
            early_stopping=EarlyStopping(metric, maximize=False),
        )
    assert algo.grad_step <= 4

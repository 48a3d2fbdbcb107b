"""Going on with networks on actions of another range than they were built for."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.algos import BC, DQN, TD3, MLPEncoder
from offlinekit.core.compatibility import check_same_range
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetWarning, UnsupportedError
from offlinekit.sampling.scalers import Affine

SMALL = {"batch_size": 4, "seed": 0, "device": "cpu", "encoder": MLPEncoder((8,))}


def data(actions, low, high):
    """Two episodes of four rows, whose actions go through the values given."""
    column = np.resize(np.float32(actions), (8, 1))
    ends = [False, False, False, True] * 2
    return MDPDataset(
        np.arange(16, dtype=np.float32).reshape(8, 2),
        column,
        np.ones(8),
        ends,
        action_space=spaces.Box(low, high, (1,)),
    )


def checked(built, given, scaler=None):
    check_same_range("TD3", spaces.Box(*built, (1,)), scaler, given)


def test_the_same_bounds_say_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked((-1, 1), data([-1, 0.5], -1, 1))
        checked((-1, 1), data([-1, 0.5], -1, 1 + 1e-7))  # Rounding.


def test_other_bounds_around_actions_within_the_old_ones_are_said():
    with pytest.warns(DatasetWarning, match=r"built for actions of Box\(-1.0, 1.0.*declares Box\(-2.0, 2.0"):
        checked((-1, 1), data([-1, 0.5], -2, 2))


@pytest.mark.parametrize("wrong", [1.01, -1.01])
def test_actions_beyond_the_old_bounds_are_refused(wrong):
    # The slack is 0.001 of the width 2: 1.002 passes, 1.01 does not.
    with pytest.warns(DatasetWarning, match="declares"):
        checked((-1, 1), data([np.sign(wrong) * 1.0015, 0], -2, 2))
    with pytest.raises(
        UnsupportedError, match=r"from \[-1.0\] to \[1.0\], and cannot take those of 'custom'"
    ):
        checked((-1, 1), data([wrong, 0], -2, 2))


def test_a_fitted_range_counts_where_the_space_has_none():
    # x -> (x - 3) / 2 takes [1, 5] to [-1, 1].
    fitted = Affine(np.float32([3.0]), np.float32([2.0]))
    infinite = (-np.inf, np.inf)
    checked(infinite, data([1, 5], *infinite), fitted)
    with pytest.raises(UnsupportedError, match=r"from \[1.0\] to \[5.0\].*from \[0.5\] to \[5.0\]"):
        checked(infinite, data([0.5, 5], *infinite), fitted)


@pytest.mark.parametrize("front", [TD3, BC])
def test_fit_checks_and_a_new_algorithm_learns(front):
    quiet = {"out": None, "progress": False, "value_alarm": "off"}
    algo = front(**SMALL).fit(data([-1, 1], -1, 1), 1, **quiet)
    wide = data([-3, 3], -3, 3)
    with pytest.raises(UnsupportedError, match=f"make a new {front.__name__}, or scale the actions"):
        algo.fit(wide, 1, **quiet)
    front(**SMALL).fit(wide, 1, **quiet)
    algo.fit(data(wide.actions / 3, -1, 1), 1, **quiet)


def test_discrete_actions_have_no_range():
    discrete = MDPDataset(np.zeros((4, 1), np.float32), [0, 1, 0, 1], np.ones(4), [0, 0, 0, 1])
    check_same_range("DQN", spaces.Discrete(3), None, discrete)
    assert DQN(**SMALL).build(discrete).impl.action_space == spaces.Discrete(2)

"""What moved between two periods, and weights of rows by their age."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete
from scipy.stats import ks_2samp

from offlinekit.algos import DiscreteBC
from offlinekit.datasets import MDPDataset, Recency, drift
from offlinekit.errors import DatasetError
from offlinekit.sampling.loss_weights import loss_weights
from offlinekit.training.setup.row_weighting import weighted_dataset


def data(
    seed: int, shift: float = 0.0, low_share: float = 0.5, episodes: int = 20, **given: Any
) -> MDPDataset:
    """Episodes of five rows that share a level of their own, three columns, two actions."""
    rng, n = np.random.default_rng(seed), 5 * episodes
    numbers = rng.normal(size=(n, 3)) + np.repeat(rng.normal(size=(episodes, 3)), 5, axis=0)
    numbers[:, 1] += shift
    actions = (np.arange(n) >= low_share * n).astype(np.int64)
    return MDPDataset(numbers, rng.permutation(actions), rng.normal(size=n), np.arange(n) % 5 == 4, **given)


def test_the_distance_by_hand() -> None:
    # Shares up to 0: 2 of 4 against 1 of 4; up to 1: 3 of 4 against 1 of 4; up to 2: all. The largest distance is 1/2.
    actions = np.zeros(4, np.int64)
    before, after = (
        MDPDataset([[float(x)] for x in column], actions, np.zeros(4), np.ones(4))
        for column in ([0, 0, 1, 2], [0, 2, 2, 2])
    )
    report = drift(before, after)
    (seen,) = [row for row in report.columns if row.name == "observations"]
    assert (seen.before, seen.after, seen.distance) == (0.75, 1.5, 0.5)
    assert {row.name: row.distance for row in report.columns if row.name != "observations"} == {
        "action=0": 0.0,
        "reward": 0.0,
    }


def test_distances_are_those_of_scipy() -> None:
    before, after = data(0), data(1, shift=1.0)
    for row in drift(before, after).columns:
        if row.name.startswith("observations"):
            i = int(row.name[-2])
            expected = ks_2samp(before.observations[:, i], after.observations[:, i]).statistic
            assert row.distance == pytest.approx(expected)


def test_parts_of_actions_are_columns_of_their_own() -> None:
    space = MultiDiscrete([2, 5000])
    before, after = (
        MDPDataset(np.zeros((4, 1)), actions, np.zeros(4), np.ones(4), action_space=space)
        for actions in ([[0, 7], [1, 7], [1, 7], [1, 7]], [[0, 7], [0, 7], [0, 4], [1, 7]])
    )
    # The first part is 0 in 1 and in 3 of 4 rows; the second is 4 in none and in 1.
    shares = {row.name: (row.before, row.after) for row in drift(before, after, n_permutations=19).columns}
    assert shares["action[0]=0"] == (0.25, 0.75)
    assert shares["action[1]=4"] == (0.0, 0.25)
    assert len(shares) == 2 + 2 + 5000


def test_what_moved_is_found() -> None:
    report = drift(data(0), data(1, shift=3.0, low_share=0.1))
    # 19 of 199 permutations may be as far apart at a level of 0.05 and 200 shares; the planted three are at 1 / 200.
    assert sorted(report.moved) == ["action=0", "action=1", "observations[1]"]
    assert report.columns[0].p_value == pytest.approx(1 / 200)
    share = {row.name: (row.before, row.after) for row in report.columns}["action=0"]
    assert share == (0.5, 0.1)


def level_columns(seed: int) -> MDPDataset:
    """Twenty episodes of five rows in which thirty columns hardly move: episodes differ, periods do not."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(rng.normal(size=(20, 30)), 5, axis=0) + 0.1 * rng.normal(size=(100, 30))
    return MDPDataset(numbers, np.zeros(100, np.int64), rng.normal(size=100), np.arange(100) % 5 == 4)


def test_without_drift_few_reports_show_any() -> None:
    # Of 40 p-values, only 1 / 40 is below 0.05: 40 reports show 1 on average, and more than 4 in 1 of 300. Each column
    # alone would reach it in 1 of 40, so that 1 - 0.975 ** 30 = 0.5 of the reports showed one.
    periods = [(level_columns(2 * i), level_columns(2 * i + 1)) for i in range(40)]
    assert sum(bool(drift(*pair, n_permutations=39).moved) for pair in periods) <= 4


def test_periods_that_differ_are_refused() -> None:
    with pytest.raises(DatasetError, match="periods need one action_space"):
        drift(data(0), data(1, low_share=1.0))
    with pytest.raises(ValueError, match="n_permutations must be at least 19"):
        drift(data(0), data(1), n_permutations=18)


DAYS = np.arange(10.0)


def dated(**given: Any) -> MDPDataset:
    return data(0, episodes=2, extras={"day": DAYS}, **given)


def test_recency_by_hand() -> None:
    # Ages are 9, 8, ... 0 days; with a half-life of 3 days the first row weighs 1/8, the fourth 1/4, the last 1.
    weights = Recency("day", half_life=3.0)(dated())
    np.testing.assert_allclose(weights, 0.5 ** (np.arange(9, -1, -1) / 3))
    np.testing.assert_array_equal(loss_weights(dated(), "recency:by=day,half_life=3"), weights)
    np.testing.assert_allclose(Recency("day", 3.0, latest=12.0)(dated()), weights / 2)
    assert Recency.from_text("recency:by=day,half_life=3,latest=12") == Recency("day", 3.0, 12.0)


def test_recency_of_episodes() -> None:
    dataset = data(0, episodes=2, episode_extras={"year": np.array([2020, 2022])})
    assert Recency("year", 1.0)(dataset).tolist() == [0.25] * 5 + [1.0] * 5


def test_recency_reaches_a_run() -> None:
    by_text, by_object, by_array, evenly = (
        DiscreteBC(seed=0, batch_size=4).fit(dated(), 3, weights=weights, out=None, progress=False)
        for weights in ("recency:by=day,half_life=2", Recency("day", 2.0), 0.5 ** ((9 - DAYS) / 2), None)
    )
    seen = dated().observations
    assert all(
        (algo.impl.predict_best_action is not None and (algo.predict(seen) == by_array.predict(seen)).all())
        for algo in (by_text, by_object)
    )
    losses = [algo.history[-1] for algo in (by_text, by_object, by_array, evenly)]
    loss = next(name for name in losses[0] if name.endswith("loss"))
    assert losses[0][loss] == losses[1][loss] == losses[2][loss] != losses[3][loss]


class TwoProcesses:
    """What a run of two processes says of the other one, whose latest day is 29."""

    def gather(self, mine: float) -> list[float]:
        return [mine, 29.0]

    def means(self, values: dict[str, float]) -> dict[str, float]:
        return values


def test_processes_count_from_one_latest_time() -> None:
    team: Any = TwoProcesses()
    for given in ("recency:by=day,half_life=10", Recency("day", 10.0)):
        (weights,) = (v for k, v in weighted_dataset(dated(), given, team).extras.items() if k != "day")
        np.testing.assert_allclose(weights, 0.5 ** ((29 - DAYS) / 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recency:by=dya,half_life=3", r"by must be one of \['day'\], got 'dya'; did you mean 'day'"),
        ("recency:by=day", "weights must be as in 'recency:by=day,half_life=30'"),
        ("recency:by=day,half_life=0", "half_life must be positive and finite, got 0.0"),
        ("recency:by=day,half_life=3,lates=4", "weights must be as in"),
    ],
)
def test_recency_that_means_nothing(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_weights(dated(), text)


def test_recency_is_plain_data() -> None:
    assert dataclasses.asdict(Recency("day", 2.0)) == {"by": "day", "half_life": 2.0, "latest": None}

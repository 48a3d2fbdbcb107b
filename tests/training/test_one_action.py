"""A policy that takes one action whatever it sees: said at the end of each kind of run, and of no other policy."""

from __future__ import annotations

import numpy as np
import pytest

from offlinekit.algos import BC, FQE, IQL, DiscreteBC, Population
from offlinekit.datasets import MDPDataset
from offlinekit.testing import small_dataset

WARNING = "policy takes one action on all rows"
SMALL = {"encoder": [8], "batch_size": 8, "device": "cpu"}
QUIET = {"out": None, "progress": False, "value_alarm": "off"}


def said(caplog):
    return [record.getMessage() for record in caplog.records if WARNING in record.getMessage()]


def blind(front, dataset, seed=0, **options):
    """Returns an algorithm whose layers are zeros: gradients reach the last bias alone, so it learns one action."""
    algo = front(seed=seed, **SMALL, **options).build(dataset)
    for parameter in algo.impl.parameters():
        parameter.data.zero_()
    return algo


@pytest.mark.parametrize(
    ("front", "options"), [(BC, {}), (DiscreteBC, {}), (BC, {"history_length": 3}), (IQL, {})]
)
def test_fit_says_it_once(front, options, caplog):
    dataset = small_dataset("discrete" if front is DiscreteBC else "continuous")
    algo = blind(front, dataset, **options).fit(dataset, 4, log_interval=2, **QUIET)
    (line,) = said(caplog)
    assert f"algorithm {front.__name__}" in line
    assert "scale observations" in line
    first = np.asarray(algo.predict(dataset.observations[:1] if not options else np.zeros((1, 3, 4))))[0]
    assert f"action {first.round(3).tolist()}" in line


def test_each_member_of_a_population_says_it(caplog):
    dataset = small_dataset("continuous")
    Population([blind(BC, dataset, seed) for seed in (0, 1)]).fit(dataset, 2, **QUIET)
    assert len(said(caplog)) == 2


def test_a_policy_that_looks_is_not_said_to(caplog):
    dataset = small_dataset("continuous")
    BC(seed=0, **SMALL, learning_rate=1e-2).fit(dataset, 50, **QUIET)
    assert not said(caplog)


def test_nor_one_that_takes_the_only_action_of_the_data(caplog):
    data = small_dataset("discrete")
    one = MDPDataset(
        data.observations,
        np.zeros_like(data.actions),
        data.rewards,
        data.terminals,
        timeouts=data.timeouts,
        action_space=data.action_space,
    )
    blind(DiscreteBC, one).fit(one, 2, **QUIET)
    assert not said(caplog)


def test_nor_a_fit_of_values_which_does_not_act(caplog):
    dataset = small_dataset("continuous")
    blind(FQE, dataset, policy="behaviour").fit(dataset, 2, **QUIET)
    assert not said(caplog)

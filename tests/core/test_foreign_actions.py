"""Data that say which actions are the agent's, and algorithms that do not read it."""

from __future__ import annotations

import pytest
from small_text import QUIET, TINY, talks

from offlinekit.algos import DiscreteBC, DiscreteDecisionTransformer, MLPEncoder, TextBC
from offlinekit.errors import DatasetWarning


@pytest.mark.parametrize(
    "algo",
    [DiscreteBC(seed=0, encoder=MLPEncoder((4,))), DiscreteDecisionTransformer(seed=0, width=8)],
    ids=lambda algo: type(algo).__name__,
)
def test_an_algorithm_that_learns_the_environments_actions_says_so(algo):
    what = rf"{type(algo).__name__} does not read .* learns all 14 actions as the agent's, where 8 are not"
    with pytest.warns(DatasetWarning, match=what):
        algo.fit(talks(), n_steps=1, **QUIET)


def test_who_reads_them_warns_of_nothing():
    TextBC(**TINY).fit(talks(), n_steps=1, **QUIET)

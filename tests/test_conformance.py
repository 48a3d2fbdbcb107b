"""Every algorithm of the catalogue is held to one contract."""

from __future__ import annotations

from functools import lru_cache, partial

import pytest
from catalogue_variants import VALUES, small_variants

from offlinekit import testing
from offlinekit.testing import CHECKS
from offlinekit.training.engines import replay

OF_VALUES = {
    f"check_{name}" for name in ("shapes", "pure_losses", "gradients", "save_load", "engines", "evaluators")
}
"""Clauses that a distribution as value could break by itself."""
OF_ONE_FIT = {f"check_{name}" for name in ("shapes", "stateful", "pure_losses", "evaluators", "gradients")}
"""Clauses that hold of an algorithm however it was trained, so that one fit serves them all."""
REPLAYED = {"check_save_load", "check_resume", "check_engines"}
"""Clauses whose runs are recorded and replayed; sooner than others, so that fewer updates do."""

fitted_once = lru_cache(maxsize=1)(testing._fitted)


def contracts():
    for each in small_variants(VALUES, context=5, n_layers=2):
        front, options = each.values
        make = partial(front, **options)
        for check in CHECKS:
            if each.id.endswith("-mean") or check.__name__ in OF_VALUES:
                yield pytest.param(check, make, id=f"{check.__name__}-{each.id}")


def test_clauses_of_values_are_clauses():
    assert {check.__name__ for check in CHECKS} >= OF_VALUES | OF_ONE_FIT | REPLAYED


@pytest.mark.parametrize(("check", "make"), list(contracts()))
def test_contract(check, make, monkeypatch):
    if check.__name__ in OF_ONE_FIT:
        monkeypatch.setattr(testing, "_fitted", fitted_once)
    if check.__name__ in REPLAYED:
        monkeypatch.setattr(replay, "RECORD_AT", 4)
    check(make)

"""Every algorithm of the catalogue is held to one contract."""

from __future__ import annotations

import pytest
from catalogue_variants import VALUES, small_variants

from offlinekit.testing import CHECKS
from offlinekit.training.engines import replay

OF_VALUES = {
    f"check_{name}" for name in ("shapes", "pure_losses", "gradients", "save_load", "engines", "evaluators")
}
"""Clauses that a distribution as value could break by itself."""


def contracts():
    for check in CHECKS:
        for each in small_variants(
            VALUES if check.__name__ in OF_VALUES else ["mean"], context=5, n_layers=2
        ):
            yield pytest.param(check, *each.values, id=f"{check.__name__}-{each.id}")


def test_clauses_of_values_are_clauses():
    assert {check.__name__ for check in CHECKS} >= OF_VALUES


@pytest.mark.parametrize(("check", "front", "options"), list(contracts()))
def test_contract(check, front, options, monkeypatch):
    monkeypatch.setattr(replay, "RECORD_AT", 4)  # Objectives are recorded sooner, so that fewer updates do.
    check(lambda **given: front(**options, **given))

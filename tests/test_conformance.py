"""Every algorithm of the catalogue is held to one contract."""

from __future__ import annotations

import pytest
from catalogue_variants import small_variants

from offlinekit.testing import CHECKS


@pytest.mark.parametrize(("front", "options"), list(small_variants(context=5, n_layers=2)))
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(front, options, check):
    check(lambda **given: front(**options, **given))

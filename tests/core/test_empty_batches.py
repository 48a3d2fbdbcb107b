"""No observations give no actions and no values, of the right shape and dtype.

`test_exporting.py` and `test_exporting_catalogue.py` have them for the exported policy of every algorithm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from catalogue_variants import small_variants

from offlinekit.algos import BC, BFN, IDQL, IFQL, IQL
from offlinekit.deploy import NumpyPolicy
from offlinekit.errors import UnsupportedError
from offlinekit.testing import small_dataset

NOTHING = np.zeros((0, 4), np.float32)


@pytest.mark.parametrize(("front", "options"), list(small_variants()))
def test_no_rows(front: Any, options: Any) -> None:
    data = small_dataset(front.action_kind)
    algo = front(seed=0, batch_size=4, **options).build(data)
    shape, dtype = ((0,), np.int64) if front.action_kind == "discrete" else ((0, 2), np.float32)
    for act in (algo.predict, algo.sample_action):
        assert (act(NOTHING).shape, act(NOTHING).dtype) == (shape, dtype)
    if algo.has_value:
        for actions in (None, data.actions[:0]):
            values = algo.predict_value(NOTHING, actions)
            assert (values.shape, values.dtype) == ((0,), np.float32)
    else:
        with pytest.raises(UnsupportedError):
            algo.predict_value(NOTHING)


@pytest.mark.parametrize(
    ("front", "options"),
    [(IDQL, {"diffusion_steps": 2}), (BFN, {"flow_steps": 2}), (IFQL, {"flow_steps": 2})],
)
def test_numpy_exports_at_the_defaults(front: Any, options: Any, tmp_path: Path) -> None:
    """Of networks and candidates, of which each action is the best of many; steps are alike."""
    data = small_dataset("continuous")
    algo, seen = front(seed=0, **options).build(data), data.observations[:9]
    policy = NumpyPolicy.load(algo.export(tmp_path / "x.safetensors", observations=seen))
    np.testing.assert_allclose(policy.predict(seen), algo.predict(seen), atol=2e-5)


def test_numpy_policies_refuse_nan(tmp_path: Path) -> None:
    policy = NumpyPolicy.load(
        BC(seed=0).build(small_dataset("continuous")).export(tmp_path / "x.safetensors")
    )
    seen = np.zeros((2, 4), np.float32)
    seen[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"observations must be finite, got nan at \[1, 2\]"):
        policy.predict(seen)


def test_networks_take_no_rows() -> None:
    algo = IQL(seed=0).build(small_dataset("continuous"))
    values = algo.impl.q(torch.zeros(0, 4), torch.zeros(0, 2))
    assert list(values.shape) == [2, 0]

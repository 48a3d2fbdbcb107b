"""Every algorithm in every format, which takes torch's exporters some seconds each."""

from __future__ import annotations

import numpy as np
import pytest

from offlinekit.algos import catalogue
from offlinekit.core.export import FORMATS
from offlinekit.core.export.exported_policy import examples
from offlinekit.testing import small_dataset

ABLE = {name: front for name, front in catalogue().items() if not front.impl_class.is_stateful}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch-export", "numpy"])
@pytest.mark.parametrize("front", ABLE.values(), ids=list(ABLE))
def test_exported(front, form, tmp_path):
    algo = front(encoder={"type": "mlp", "hidden_sizes": [8]}, observation_scaler="standard", seed=0)
    algo.build(small_dataset(front.action_kind))
    act = FORMATS[form].open(algo.export(tmp_path / "policy", form), algo.impl.observation_space)
    seen = examples(algo, 20) * 2.0
    np.testing.assert_allclose(act(seen), algo.predict(seen), rtol=0, atol=2e-6)  # Actions are in [-2, 2].

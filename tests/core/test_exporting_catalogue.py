"""Every algorithm in every format, which takes torch's exporters some seconds each."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from offlinekit.algos import catalogue
from offlinekit.core.export import FORMATS, numpy_format, torch_formats
from offlinekit.core.export.exported_policy import ExportedPolicy, examples
from offlinekit.testing import small_dataset

ABLE = {name: front for name, front in catalogue().items() if not front.impl_class.is_stateful}


@pytest.fixture(scope="module", autouse=True)
def one_table_of_translations():
    """Reads torch's translations into ONNX once, in place of once an export."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry  # Here: it takes half a second.

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib))
        )
        yield


@pytest.fixture(scope="module")
def written():
    """Graphs that were exported already, as code, and all their operators."""
    return set(), set()


@pytest.mark.slow
@pytest.mark.parametrize("front", ABLE.values(), ids=list(ABLE))
def test_exported(front, written, tmp_path, monkeypatch):
    steps = {name: 2 for name in ("flow_steps", "diffusion_steps") if name in front.hyperparameters()}
    algo = front(encoder={"type": "mlp", "hidden_sizes": [8]}, observation_scaler="standard", seed=0, **steps)
    algo.build(small_dataset(front.action_kind))
    captured = torch_formats.captured(ExportedPolicy(algo))
    seen = examples(algo, 20) * 2.0
    expected = algo.predict(seen)  # In [-2, 2].
    codes, operators = written
    if captured.graph_module.code in codes:
        acted = captured.module()(torch.as_tensor(seen)).detach().numpy()
        np.testing.assert_allclose(acted, expected, rtol=0, atol=2e-6)
        return
    codes.add(captured.graph_module.code)
    graph = torch_formats.functional(captured)  # The same for each format, and most of the time.
    for module in (torch_formats, numpy_format):
        monkeypatch.setattr(module, "traced", lambda _: graph)
    # Torch's own formats translate one operator after another: those of algorithms before need no second time.
    own = {str(node.target) for node in graph.graph.nodes if node.op == "call_function"}
    forms = ("numpy",) if own <= operators else ("onnx", "torch-export", "numpy")
    operators |= own
    for form in forms:
        act = FORMATS[form].open(algo.export(tmp_path / form, form), algo.impl.observation_space)
        np.testing.assert_allclose(act(seen), expected, rtol=0, atol=2e-6)
        none, of_none = act(seen[:0]), algo.predict(seen[:0])
        assert (none.shape, none.dtype) == (of_none.shape, of_none.dtype)

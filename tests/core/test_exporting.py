"""Exported policies act as `predict` does, or are not written."""

from __future__ import annotations

import gymnasium
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from offlinekit.algos import BC, BCQ, DQN, FQL, QRDQN, TD3, UWAC, Algo, DiscreteBC, catalogue
from offlinekit.core import export
from offlinekit.core.export import FORMATS, ExportError, Format, compare
from offlinekit.core.export.exported_policy import ExportedPolicy, arguments, examples
from offlinekit.datasets import MDPDataset
from offlinekit.errors import MissingExtraError, NotFittedError, UnsupportedError
from offlinekit.testing import small_dataset
from offlinekit.training import policy_file

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "seed": 0}


def built(front=BC, **options):
    return front(**{**TINY, **options}).build(small_dataset(front.action_kind))


def acting(path, algo, name):
    return FORMATS[name].open(path, algo.impl.observation_space)


@pytest.mark.parametrize("front", catalogue().values(), ids=list(catalogue()))
def test_every_algorithm_as_torchscript(front, tmp_path):
    algo, path = built(front, observation_scaler="standard"), tmp_path / "policy.pt"
    if algo.is_stateful:
        with pytest.raises(
            UnsupportedError, match=r"remembers the steps .* act with algo\.as_stateful\(\), or"
        ):
            algo.export(path)
        assert not list(tmp_path.iterdir())
        return
    assert algo.export(path) == path
    act, seen = acting(path, algo, "torchscript"), examples(algo, 7) * 2.0
    np.testing.assert_allclose(act(seen), algo.predict(seen), rtol=0, atol=2e-6)  # Actions are in [-2, 2].
    none, of_none = act(seen[:0]), algo.predict(seen[:0])
    assert (none.shape, none.dtype) == (of_none.shape, of_none.dtype)


@pytest.mark.parametrize(
    ("front", "options"),
    [(BCQ, {}), (DQN, {"n_critics": 2}), (QRDQN, {"n_quantiles": 3}), (FQL, {}), (UWAC, {})],
    ids=["bcq", "dqn", "qrdqn", "fql", "uwac"],
)
def test_kinds_of_policies_as_numpy(front, options, tmp_path):
    algo = built(front, observation_scaler="minmax", **options)
    path = algo.export(tmp_path / "policy.safetensors")
    seen = examples(algo, 50) * 3.0
    np.testing.assert_allclose(acting(path, algo, "numpy")(seen), algo.predict(seen), rtol=0, atol=2e-6)


def mixed(front, **options):
    """Makes an algorithm that sees images beside numbers in a dict, with actions that have no bounds in part."""
    rng, n = np.random.default_rng(0), 40
    seen = {
        "state": rng.normal(3, 2, (n, 4)).astype(np.float32),
        "camera": rng.integers(0, 256, (n, 3, 36, 36), dtype=np.uint8),
    }
    space = gymnasium.spaces.Box(np.float32([-2.0, -np.inf]), np.float32([2.0, np.inf]))
    kinds = {"discrete": rng.integers(0, 3, n), "continuous": rng.uniform(-2, 2, (n, 2)).astype(np.float32)}
    actions = kinds[front.action_kind]
    given = {"action_space": space} if front.action_kind == "continuous" else {}
    data = MDPDataset(seen, actions, rng.normal(size=n), np.arange(n) % 10 == 9, **given)
    return front(seed=0, observation_scaler="standard", **options).build(data), data.observations


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_dict_observations_with_images(name, tmp_path):
    algo, seen = mixed(TD3)
    path = algo.export(tmp_path / "policy", name, observations=seen)
    np.testing.assert_allclose(acting(path, algo, name)(seen), algo.predict(seen), rtol=0, atol=2e-5)


def test_critics_that_each_see_images(tmp_path):
    algo, seen = mixed(DQN, n_critics=2)
    path = algo.export(tmp_path / "policy.pt")
    np.testing.assert_array_equal(acting(path, algo, "torchscript")(seen), algo.predict(seen))


def test_onnx_is_plain_and_named(tmp_path):
    algo = built(TD3, observation_scaler="standard")
    path = algo.export(tmp_path / "policy.onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert {p.key: p.value for p in model.metadata_props}["algorithm"] == "TD3"
    assert not any(node.metadata_props for node in model.graph.node)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("observations", ["batch", 4], "tensor(float)")
    assert (result.name, result.shape, result.type) == ("actions", ["batch", 2], "tensor(float)")
    seen = examples(algo, 9)
    (actions,) = session.run(["actions"], {"observations": seen})
    np.testing.assert_allclose(actions, algo.predict(seen), rtol=0, atol=2e-6)


def test_torch_export_is_small_and_without_paths(tmp_path):
    path = built(TD3).export(tmp_path / "policy.pt2")
    assert b"offlinekit/algos" not in path.read_bytes()
    extra = {"offlinekit": ""}
    torch.export.load(path, extra_files=extra)
    assert '"algorithm": "TD3"' in extra["offlinekit"]


def test_what_does_not_act_is_left_out():
    algo = built(TD3)
    kept = {name for name, _ in ExportedPolicy(algo).named_parameters()}
    assert kept == {f"impl.{n}" for n, _ in algo.impl.named_parameters() if n.startswith("policy.")}


def test_the_algorithm_stays_as_it_was(tmp_path):
    algo = built(UWAC)
    header, before = policy_file.read(algo.save(tmp_path / "a.okt"), torch.device("cpu"))
    algo.export(tmp_path / "policy.pt")
    again, after = policy_file.read(algo.save(tmp_path / "b.okt"), torch.device("cpu"))
    assert again == header
    assert all(torch.equal(before[name], value) for name, value in after.items())


# The comparison.


def test_compare_by_hand():
    algo = built()  # Actions are in [-2, 2], so half the range is 2.
    seen = examples(algo, 64)
    for error, fits in ((1e-6, True), (3e-6, False), (-3e-6, False), (np.nan, False)):

        def act(batch, error=error):
            wrong = algo.predict(batch)
            wrong[-1, 1] += error
            return wrong

        if fits:
            compare(algo, act, seen, 1e-6)
        else:
            with pytest.raises(
                ExportError, match=r"of an action's half range, first in row 0 of 1: .* nothing"
            ):
                compare(algo, act, seen, 1e-6)
    compare(algo, lambda batch: algo.predict(batch) + np.float32(3e-6), seen, 1e-5)
    with pytest.raises(ExportError, match=r"gives float64\[1, 2\] while predict gives float32\[1, 2\]"):
        compare(algo, lambda batch: algo.predict(batch).astype(np.float64), seen, 1e-6)


@pytest.mark.parametrize("wrong_from", [3, 64])
def test_each_size_of_batch_is_compared(wrong_from):
    algo = built(DiscreteBC)

    def act(batch):
        return algo.predict(batch) ^ (len(batch) == wrong_from)

    with pytest.raises(ExportError, match=f"first in row 0 of {wrong_from}"):
        compare(algo, act, examples(algo, 64), 1e-6)


def test_a_policy_that_differs_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "policy.bad"
    path.write_text("what was there")
    bad = Format(
        ".bad",
        lambda policy, p: p.write_text("x"),
        lambda p, space: lambda seen: np.ones((len(seen), 2), "f4"),
    )
    monkeypatch.setitem(FORMATS, "bad", bad)
    with pytest.raises(ExportError, match="differs from predict"):
        built().export(path)
    assert path.read_text() == "what was there"
    assert [p.name for p in tmp_path.iterdir()] == ["policy.bad"]


def test_a_policy_that_torch_cannot_trace(tmp_path, monkeypatch):
    def fail(policy, path):
        raise RuntimeError("data-dependent")

    monkeypatch.setitem(FORMATS, "onnx", FORMATS["onnx"]._replace(write=fail))
    with pytest.raises(
        ExportError, match=r"BC could not be written as \.onnx: data-dependent; try another format"
    ):
        built().export(tmp_path / "policy.onnx")


# What is asked for.


def test_names_of_formats(tmp_path):
    algo = built()
    with pytest.raises(ValueError, match=r"format must be one of .*, got 'onx'; did you mean 'onnx'"):
        algo.export(tmp_path / "policy.onnx", "onx")
    with pytest.raises(ValueError, match=r"the suffix of .*policy\.bin names no format; choose one of"):
        algo.export(tmp_path / "policy.bin")
    with pytest.raises(NotFittedError):
        BC().export(tmp_path / "policy.pt")


def test_without_the_extra(tmp_path, monkeypatch):
    def missing(module, extra):
        raise MissingExtraError(f"{module} [{extra}]")

    monkeypatch.setattr(export.torch_formats, "require", missing)
    with pytest.raises(MissingExtraError, match=r"\[onnx\]"):
        built().export(tmp_path / "policy.onnx")


def test_an_operation_that_numpy_lacks(tmp_path, monkeypatch):
    monkeypatch.delitem(export.numpy_format.deploy.OPERATIONS, "tanh")
    with pytest.raises(
        UnsupportedError, match=r"needs the operation aten\.tanh\.default, which .* export it as onnx"
    ):
        built().export(tmp_path / "policy.safetensors")


def test_names_and_leaves_of_trees():
    algo, seen = mixed(TD3)
    order = list(algo.impl.observation_space.spaces)
    assert ExportedPolicy(algo).names == [f"observations.{key}" for key in order]
    leaves = arguments(algo.impl.observation_space, seen)
    assert [leaf.dtype for leaf in leaves] == [np.uint8 if key == "camera" else np.float32 for key in order]


def test_every_front_has_the_method():
    assert all(front.export is Algo.export for front in catalogue().values())

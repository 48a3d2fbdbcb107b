"""The numpy policy: it acts alone, as `predict` does, and refuses what it should."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file

from offlinekit import deploy
from offlinekit.algos import BC, DiscreteBC
from offlinekit.deploy import OPERATIONS, NumpyPolicy, PolicyFileError
from offlinekit.sampling.scalers import Affine
from offlinekit.testing import small_dataset

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "seed": 0}
ALONE = """
import json, sys
for name in ("torch", "safetensors", "gymnasium", "scipy", "h5py", "offlinekit.algos"):
    sys.modules[name] = None  # Any import of it raises.
from {module} import NumpyPolicy
policy = NumpyPolicy.load(sys.argv[1])
print(json.dumps(policy.predict(json.loads(sys.argv[2])).tolist()))
print(sorted(n for n in sys.modules if n.startswith("offlinekit") and sys.modules[n]))
"""


def test_scalers_by_hand(tmp_path):
    # One layer without hidden units: tanh(0.5 * (3 - 1) / 2) = tanh(0.5) = 0.46212, times 4 plus 10 = 11.84847.
    algo = BC(encoder={"type": "mlp", "hidden_sizes": []}, policy="deterministic", seed=0)
    algo.build(small_dataset("continuous"))
    head = algo.impl.policy.network.mlp.layers[-1]
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.5, 0, 0, 0], [-0.5, 0, 0, 0]]))
        head.bias.zero_()
    acted, bounds = Affine(np.array(10.0), np.array(4.0)), algo.impl.action_space
    algo.scaling = type(algo.scaling)(Affine(np.ones(4), np.full(4, 2.0)), acted)
    bounds.low[:], bounds.high[:] = 8.5, 12.0
    policy = NumpyPolicy.load(algo.export(tmp_path / "policy.safetensors"))
    # The second action is 10 - 1.84847 = 8.15153, below its bound.
    np.testing.assert_allclose(policy.predict(np.array([3.0, 9, 9, 9])), [11.84847, 8.5], atol=1e-5)


def test_as_predict(tmp_path):
    algo = BC(**TINY, observation_scaler="standard").build(small_dataset("continuous"))
    policy = NumpyPolicy.load(algo.export(tmp_path / "policy.safetensors"))
    seen = 2 * small_dataset("continuous").observations
    np.testing.assert_allclose(policy.predict(seen), algo.predict(seen), rtol=0, atol=2e-6)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    algo = BC(**TINY, observation_scaler="standard").build(small_dataset("continuous"))
    return algo, algo.export(tmp_path_factory.mktemp("policy") / "policy.safetensors")


@pytest.mark.parametrize("module", ["deploy", "offlinekit.deploy"])
def test_acts_alone(exported, tmp_path, module):
    algo, path = exported
    if module == "deploy":
        shutil.copy(deploy.__file__, tmp_path / "deploy.py")
    seen = small_dataset("continuous").observations[:3]
    words = [sys.executable, "-c", ALONE.replace("{module}", module), str(path), json.dumps(seen.tolist())]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    actions, modules = done.stdout.splitlines()
    np.testing.assert_allclose(json.loads(actions), algo.predict(seen), rtol=0, atol=1e-6)
    assert modules == (
        "[]" if module == "deploy" else "['offlinekit', 'offlinekit.deploy', 'offlinekit.version']"
    )


def test_one_and_several(exported):
    algo, path = exported
    policy, seen = NumpyPolicy.load(path), small_dataset("continuous").observations
    assert policy.predict(seen[0]).shape == (2,)
    assert policy.predict(seen[:1]).shape == (1, 2)
    assert policy.predict(seen[:0]).shape == (0, 2)
    assert policy.predict(seen).dtype == np.float32
    np.testing.assert_allclose(policy.predict(seen[7]), algo.predict(seen[7]), rtol=0, atol=1e-6)
    assert policy.description["algorithm"] == "BC"


@pytest.mark.parametrize("seen", [np.zeros(3), np.zeros((2, 3)), np.zeros((1, 2, 4)), np.zeros(())])
def test_other_shapes(exported, seen):
    with pytest.raises(ValueError, match=r"must have shape \[4\] for one or \['batch', 4\] for several, got"):
        NumpyPolicy.load(exported[1]).predict(seen)


def test_discrete_actions(tmp_path):
    data = small_dataset("discrete")
    algo = DiscreteBC(**TINY).build(data)
    policy = NumpyPolicy.load(algo.export(tmp_path / "policy.safetensors"))
    actions = policy.predict(data.observations)
    assert actions.dtype == np.int64
    assert len(set(actions.tolist())) > 1
    np.testing.assert_array_equal(actions, algo.predict(data.observations))
    assert policy.predict(data.observations[0]) == actions[0]


def tree_policy(space, operations, output):
    return NumpyPolicy({"observations": space, "operations": operations, "output": output}, [])


def test_trees_of_observations():
    leaf = {"kind": "leaf", "shape": [2], "dtype": "float32"}
    both = {"kind": "dict", "items": [["b", leaf], ["a", {"kind": "tuple", "items": [[0, leaf]]}]]}
    policy = tree_policy(both, [["sub", [{"value": 0}, {"value": 1}]]], 2)
    seen = {"a": (np.ones((3, 2)),), "b": np.full((3, 2), 5)}
    np.testing.assert_array_equal(policy.predict(seen), np.full((3, 2), 4.0))
    with pytest.raises(ValueError, match=r"must be a dict with keys \['a', 'b'\]"):
        policy.predict({"a": seen["a"]})
    with pytest.raises(ValueError, match="must be a tuple of 1"):
        policy.predict({**seen, "a": np.ones((3, 2))})
    with pytest.raises(ValueError, match="some of each"):
        policy.predict({**seen, "b": np.ones(2)})
    with pytest.raises(ValueError, match=r"differ in their batch size: \[2, 3\]"):
        policy.predict({**seen, "b": np.ones((2, 2))})


# Files.


def test_every_damaged_byte_is_noticed(exported, tmp_path):
    whole = exported[1].read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    body = len(whole) - 200
    for at in [*range(0, 16), *range(16, body, 41), *range(body, len(whole), 3)]:
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(PolicyFileError):
            NumpyPolicy.load(damaged)
    for size in (0, 7, 8, 100, body, len(whole) - 1):
        damaged.write_bytes(whole[:size])
        with pytest.raises(PolicyFileError):
            NumpyPolicy.load(damaged)


def rewrite(source, path, **changes):
    """Writes a file again with another description, and the hash that fits it."""
    description, tensors = deploy.read(source)
    description = {**description, **changes}
    description["sha256"] = deploy.digest(description, tensors)
    save_file(load_file(source), path, metadata={deploy.KEY: json.dumps(description)})
    return path


HUGE = [["full", [[1 << 20, 1 << 20], 0.0, "float32"]]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operations": [["eval", ["1"]]]}, "operation 'eval' is not one of this version"),
        ({"operations": [["__import__", ["os"]]]}, "'__import__' is not one"),
        ({"operations": [["relu", [{"value": 99}]]], "output": 0}, "describes no policy"),
        ({"operations": [["relu"]]}, "describes no policy"),
        ({"operations": HUGE}, "larger than 67,108,864 numbers"),
        ({"observations": {"kind": "leaf", "shape": [1 << 40], "dtype": "float32"}}, "larger than"),
        ({"output": 10**6}, "describes no policy"),
        ({"format": 2}, "has format 2, this version reads 1; use the offlinekit/deploy.py"),
    ],
)
def test_wrong_programs(exported, tmp_path, changes, message):
    with pytest.raises(PolicyFileError, match=message):
        NumpyPolicy.load(rewrite(exported[1], tmp_path / "x.safetensors", **changes))


def test_other_files(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no policy file"):
        NumpyPolicy.load(tmp_path / "none")
    with pytest.raises(PolicyFileError, match="no numpy policy; write one with"):
        NumpyPolicy.load(exported[0].save(tmp_path / "policy.okt"))
    for content in (b"\x80\x04pickle, or so it seems", b"PK\x03\x04" * 9, b"\xff" * 40):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(PolicyFileError, match="is no safetensors file"):
            NumpyPolicy.load(tmp_path / "x")


def test_tensors_inside_the_file():
    body = memoryview(bytes(16))
    fact = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    assert deploy._tensor(fact, body).shape == (2, 2)
    for change in (
        {"shape": [3, 2]},
        {"shape": [5], "data_offsets": [0, 20]},
        {"data_offsets": [-16, 0]},
        {"shape": [-2, -2]},
    ):
        with pytest.raises(ValueError, match="a tensor of shape"):
            deploy._tensor({**fact, **change}, body)


# The operations, beside torch's.

RNG = np.random.default_rng(0)
WIDE = np.array([[-200.0, -3.0, -1e-3, 0.0], [1e-3, 0.5, 3.0, 200.0]], np.float32)
X, W, B = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 4), (3, 4), (3,)))
IMAGES, FILTERS = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 3, 9, 8), (5, 3, 4, 2)))
CASES = {
    "abs": (torch.abs, [WIDE], []),
    "add": (lambda x, y: torch.add(x, y, alpha=2), [X, X], [2]),
    "sub": (lambda x, y: torch.sub(x, y, alpha=2), [X, X + 1], [2]),
    "amax": (lambda x: x.amax(0), [X], [[0]]),
    "amin": (lambda x: x.amin(1, keepdim=True), [X], [[1], True]),
    "argmax": (lambda x: x.argmax(-1), [X], [-1]),
    "baddbmm": (lambda b, x, y: torch.baddbmm(b, x, y), [B[None, None], X[None], W.T[None]], [1, 1]),
    "bitwise_and": (lambda x, y: x & y, [X > 0, X > 1], []),
    "bitwise_or": (lambda x, y: x | y, [X > 0, X < -1], []),
    "clamp": (lambda x: x.clamp(-0.5, 0.25), [X], [-0.5, 0.25]),
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, (2, 3)),
        [IMAGES, FILTERS, RNG.normal(size=5).astype("f4")],
        None,
    ),
    "cumsum": (lambda x: x.cumsum(1), [X], [1]),
    "elu": (F.elu, [WIDE], []),
    "embedding": (lambda w, i: F.embedding(i, w), [W, np.array([[2, 0], [1, 1]])], [-1, False, False]),
    "flatten": (lambda x: x.flatten(1, 2), [IMAGES], [1, 2]),
    "gelu": (F.gelu, [WIDE], []),
    "layer_norm": (lambda x: F.layer_norm(x, (4,), eps=0.1), [X], [[4], None, None, 0.1]),
    "linear": (F.linear, [X, W, B], []),
    "log": (torch.log, [np.abs(X)], []),
    "log_softmax": (lambda x: F.log_softmax(x, -1), [WIDE], [-1]),
    "mean": (lambda x: x.mean((0, 2), keepdim=True), [IMAGES], [[0, 2], True]),
    "mish": (F.mish, [WIDE], []),
    "ne": (lambda x: x != 1, [np.arange(4)], [1]),
    "pow": (lambda x: x**3, [X], [3]),
    "relu": (F.relu, [WIDE], []),
    "select": (lambda x: x.select(1, -1), [X], [1, -1]),
    "sigmoid": (torch.sigmoid, [WIDE], []),
    "silu": (F.silu, [WIDE], []),
    "slice": (lambda x: x[:, 1:9223372036854775807:2], [X], [1, 1, 9223372036854775807, 2]),
    "softmax": (
        lambda x: F.softmax(x, -1),
        [np.append(WIDE[..., :1], np.full_like(WIDE[..., :1], -np.inf), -1)],
        [-1],
    ),
    "softplus": (lambda x: F.softplus(x, beta=2), [WIDE], [2]),
    "squeeze": (lambda x: x[:, :1].squeeze(1), [X[:, :1]], [1]),
    "sum": (lambda x: x.sum((1,)), [X], [[1]]),
    "unsqueeze": (lambda x: x.unsqueeze(-1), [X], [-1]),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_operation_beside_torch(name):
    function, arrays, rest = CASES[name]
    rest = [[2, 3], [0, 0], [1, 1], 1] if rest is None else rest
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = OPERATIONS[name](*arrays, *rest)
    wanted = function(*map(torch.as_tensor, arrays)).numpy()
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


LAST = {"value": "last"}
BOMBS = {
    "what is expanded": [["expand", [{"value": 0}, [10**6, 10**6, 4]]], ["exp", [LAST]]],
    "what is doubled": [["full", [[1 << 20], 1.0, "float32"]], *[["cat", [[LAST] * 2]]] * 7],
    "a number that squares itself": [["size", [{"value": 0}, 1]], *[["mul", [LAST, LAST]]] * 14],
    "a list that repeats itself": [["mul", [[1, 2], 10**12]]],
    "a large array": [["full", [[10**9, 10**9], 1.0, "float32"]]],
}  # fmt: skip


@pytest.mark.parametrize("name", list(BOMBS))
def test_programs_that_take_more_than_their_tensors_account_for(name, tmp_path):
    algo = BC(seed=0, encoder={"type": "mlp", "hidden_sizes": [4]}).build(small_dataset("continuous"))
    description, tensors = deploy.read(algo.export(tmp_path / "x.safetensors"))
    operations, last = [], len(tensors)
    for operation in BOMBS[name]:
        operations.append(json.loads(json.dumps(operation).replace('"last"', str(last))))
        last += 1
    forged = {**description, "operations": operations, "output": last}
    forged["sha256"] = deploy.digest(forged, tensors)
    save_file(tensors, str(tmp_path / "y.safetensors"), metadata={deploy.KEY: json.dumps(forged)})
    message = {
        "a list that repeats itself": "a list is multiplied",
        "a large array": "larger than 67,108,864 numbers",
    }
    with pytest.raises(
        PolicyFileError, match=message.get(name, "more memory to act than its tensors account for")
    ):
        NumpyPolicy.load(tmp_path / "y.safetensors")


def test_a_file_that_is_mostly_nothing_is_not_read(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"")
    os.truncate(tmp_path / "x.safetensors", 10 << 30)
    with pytest.raises(PolicyFileError, match="its header cannot be read"):
        NumpyPolicy.load(tmp_path / "x.safetensors")


def test_error_function_is_that_of_python():
    x = np.linspace(-6, 6, 100_001, dtype=np.float32)
    np.testing.assert_allclose(deploy._erf(x), [math.erf(value) for value in x], rtol=0, atol=1e-7)


@pytest.mark.parametrize("number", [-1, len(W)])
def test_numbers_outside_the_table_are_no_tokens(number):
    with pytest.raises(ValueError, match=f"numbers of tokens must be from 0 to {len(W) - 1}, got {number}"):
        OPERATIONS["embedding"](W, np.array([0, number]))


def test_gelu_by_tanh():
    wanted = F.gelu(torch.as_tensor(X), approximate="tanh").numpy()
    np.testing.assert_allclose(OPERATIONS["gelu"](X, "tanh"), wanted, rtol=0, atol=1e-6)


def test_split_in_unequal_parts():
    for size, wanted in ((3, [3, 1]), ([1, 3], [1, 3])):
        assert [part.shape[1] for part in OPERATIONS["split"](X, size, 1)] == wanted


def test_borders_of_convolutions_and_pools():
    wanted = F.conv2d(*map(torch.as_tensor, (IMAGES, FILTERS)), stride=(2, 1), padding=(1, 2)).numpy()
    done = OPERATIONS["conv2d"](IMAGES, FILTERS, None, [2, 1], [1, 2], [1, 1], 1)
    np.testing.assert_allclose(done, wanted, atol=1e-5)
    negative = -np.abs(IMAGES)  # Zeros around them would be the largest.
    wanted = F.max_pool2d(torch.as_tensor(negative), 3, 2, 1).numpy()
    done = OPERATIONS["max_pool2d"](negative, [3, 3], [2, 2], [1, 1])
    np.testing.assert_array_equal(done, wanted)


def test_wide_borders_and_dilations_are_refused():
    with pytest.raises(ValueError, match="a border of 65 pixels is wider than 64"):
        OPERATIONS["conv2d"](IMAGES, FILTERS, None, [1, 1], [65, 1], [1, 1], 1)
    with pytest.raises(ValueError, match="with dilation or groups"):
        OPERATIONS["conv2d"](IMAGES, FILTERS, None, [1, 1], [0, 0], [2, 1], 1)

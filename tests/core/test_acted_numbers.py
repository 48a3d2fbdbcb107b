"""Actions as numbers, at every door: what is no number is refused, and the others have the dtype of their space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from offlinekit.algos import BC, BCQ, ISPIC, TD3, DiscreteBC, DiscreteBCQ, DoubleDQN
from offlinekit.core.export import FORMATS
from offlinekit.datasets import MDPDataset
from offlinekit.deploy import NumpyPolicy
from offlinekit.ground.box_actions import box_actions, box_bounds
from offlinekit.nn.policies import ActionParts

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "seed": 0}
RNG = np.random.default_rng(0)
N = 64
STATES = RNG.normal(size=(N, 4)).astype(np.float32)
ENDS = np.arange(N) % 8 == 7
FAR = {  # What is refused, and why.
    "beyond float32": (np.array([0.0, 0, 0, 1e39]), "observations must be finite, got inf at"),
    "not a number": (np.array([0.0, 0, 0, np.nan]), "observations must be finite, got nan at"),
    "overflow": (np.float32([3e38, -3e38, 3e38, 3e38]), "no action that is a number comes out at row 0"),
}
DOORS = {
    "predict": lambda algo, policy: algo.predict,
    "sample_action": lambda algo, policy: algo.sample_action,
    "as_stateful": lambda algo, policy: algo.as_stateful().predict,
    "numpy": lambda algo, policy: policy.predict,
    "numpy, as_stateful": lambda algo, policy: policy.as_stateful().predict,
}


def dataset(actions, space=None):
    return MDPDataset(STATES, actions, RNG.normal(size=N), ENDS, action_space=space)


def built(front):
    kind = front.action_kind
    actions = RNG.integers(0, 3, N) if kind == "discrete" else RNG.uniform(-1, 1, (N, 2))
    algo = front(**TINY).build(dataset(actions))
    with torch.no_grad():  # So wide that sums of large numbers overflow.
        for parameter in algo.impl.parameters():
            parameter.mul_(8.0)
    return algo


@pytest.fixture(scope="module", params=[BC, TD3, BCQ, ISPIC, DiscreteBC, DoubleDQN, DiscreteBCQ])
def policies(request, tmp_path_factory):
    algo = built(request.param)
    return algo, NumpyPolicy.load(
        algo.export(tmp_path_factory.mktemp("far") / "p.safetensors", tolerance=1e-3)
    )


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", FAR)
def test_every_door_refuses_what_predict_refuses(policies, door, what):
    given, message = FAR[what]
    act = DOORS[door](*policies)
    with pytest.raises(ValueError, match=message):
        act(given)
    assert np.isfinite(act(STATES[0])).all()


def test_values_that_are_not_finite_choose_nothing_but_in_losses():
    from offlinekit.nn.isolation import acting

    parts, values = ActionParts((2, 2)), torch.tensor([[0.0, 1.0, 2.0, 1.0], [0.0, 1.0, torch.nan, 1.0]])
    assert parts.best(values).tolist() == [2, 2]
    with acting():
        assert parts.best(values).tolist() == [2, -1]
    assert parts.best(values).tolist() == [2, 2]


# The dtype of the space.

BOXES = {
    "float32": spaces.Box(-1, 1, (2,), np.float32),
    "float64": spaces.Box(np.array([-0.1, -1e300]), np.array([0.1, 1e300]), dtype=np.float64),
    "float16": spaces.Box(-1, 1, (2,), np.float16),
    "int64": spaces.Box(np.array([-3, 0]), np.array([3, 9]), dtype=np.int64),
    "int8": spaces.Box(-3, 5, (2,), np.int8),
    "uint8": spaces.Box(0, 255, (2,), np.uint8),
}


@pytest.mark.parametrize("dtype", BOXES)
@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_door_acts_in_the_dtype_of_the_box(dtype, form, tmp_path):
    space = BOXES[dtype]
    space.seed(0)
    actions = (
        np.stack([space.sample() for _ in range(N)]) if dtype != "float64" else RNG.uniform(-0.1, 0.1, (N, 2))
    )
    scaler = None if dtype == "float64" else "minmax"
    algo = BC(**TINY, action_scaler=scaler).fit(dataset(actions, space), 20, out=None, progress=False)
    acted = algo.predict(STATES)
    exported = FORMATS[form].open(algo.export(tmp_path / "policy", form), algo.impl.observation_space)(STATES)
    single = algo.as_stateful().predict(STATES[0])
    for came in (acted, algo.sample_action(STATES), exported, single[None]):
        assert came.dtype == space.dtype
        assert all(space.contains(action) for action in came)
    np.testing.assert_allclose(exported.astype(np.float64), acted, atol=1e-3 if dtype == "float16" else 1e-5)
    np.testing.assert_allclose(single.astype(np.float64), acted[0], atol=1e-3 if dtype == "float16" else 1e-6)


def test_boxes_by_hand():
    """2.5 and 3.5 go to the even 2 and 4, 9.7 to the bound 9; the float32 next to 0.1 lies above 0.1."""
    whole = spaces.Box(0, 9, (4,), np.int64)
    assert box_actions(np.float32([2.5, 3.5, 9.7, -1]), whole).tolist() == [2, 4, 9, 0]
    tenth = box_actions(np.float32([0.1]), spaces.Box(0, 0.1, (1,), np.float64))
    assert tenth.tolist() == [0.1]
    largest = spaces.Box(np.array([-(2**63)]), np.array([2**63 - 1]), dtype=np.int64)
    assert box_actions(np.float32([1e30]), largest).tolist() == [2**63 - 1024]
    assert box_bounds(whole)[1].tolist() == [9.0] * 4


# Stacks of images, step by step.


@pytest.mark.parametrize("pad", ["zero", "repeat"])
def test_exported_stacks_take_single_images_step_by_step(pad, tmp_path):
    images = RNG.integers(0, 256, (N, 1, 36, 36), dtype=np.uint8)
    data = MDPDataset(images, RNG.integers(0, 3, N), RNG.normal(size=N), ENDS)
    algo = DoubleDQN(seed=0, frame_stack=3, frame_pad=pad).build(data)
    policy = NumpyPolicy.load(algo.export(tmp_path / "p.safetensors"))
    ours, theirs = algo.as_stateful(), policy.as_stateful()
    for image in images[:6]:
        assert theirs.predict(image) == ours.predict(image)
    theirs.reset()
    ours.reset()
    assert theirs.predict(images[6]) == ours.predict(images[6])
    theirs.reset()
    stack = images[:3, 0]
    assert theirs.predict(stack) == policy.predict(stack)  # As an environment that stacks shows it.
    for act in (policy.predict, algo.predict):
        with pytest.raises(ValueError, match=r"got \[1, 36, 36\]; give single images to as_stateful"):
            act(images[0])

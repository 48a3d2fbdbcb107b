"""Termination rules by hand, at both sides of each bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offlinekit.algos import Dynamics
from offlinekit.testing import small_dataset
from offlinekit.training.model_based.terminations import RULES, check_termination, register_termination

NAN, INF = float("nan"), float("inf")
# fmt: off
CASES = [
    ("hopper", [1.0, 0.0, 5.0], False),
    ("hopper", [0.71, 0.19, 0.0], False), ("hopper", [0.69, 0.0, 0.0], True),
    ("hopper", [1.0, 0.21, 0.0], True), ("hopper", [1.0, -0.21, 0.0], True),
    ("hopper", [1.0, 0.0, 101.0], True),
    ("hopper", [1.0, 0.0, -101.0], True),  # Public code takes abs() of the comparison, so that this went on.
    ("hopper", [101.0, 0.0, 0.0], False),  # Of the height there is no upper bound.
    ("hopper", [1.0, 0.0, NAN], True), ("hopper", [INF, 0.0, 0.0], True),
    ("neorl-hopper", [-500.0, 1.0, 0.0], False), ("neorl-hopper", [1.0, 0.5, 0.0], True),
    ("walker2d", [0.81, 0.0], False), ("walker2d", [0.79, 0.0], True), ("walker2d", [2.1, 0.0], True),
    ("walker2d", [1.0, 0.99], False), ("walker2d", [1.0, -1.1], True), ("walker2d", [NAN, 0.0], True),
    ("walker2d", [1.0, 0.0, 99.0, -99.0], False), ("walker2d", [1.0, 0.0, -100.0], True),
    ("walker2d", [1.0, 0.0, 100.0], True), ("walker2d", [1.0, 0.0, 0.0, NAN], True),
    ("neorl-walker2d", [500.0, 1.0, 0.0, 5.0], False),  # How far it has come is no divergence.
    ("neorl-walker2d", [9.0, 1.0, 0.0], False), ("neorl-walker2d", [1.0, 9.0, 0.0], True),
    ("ant", [0.2, 0.0], False), ("ant", [0.19, 0.0], True), ("ant", [1.01, 0.0], True), ("ant", [0.5, NAN], True),
    ("humanoid", [1.0], False), ("humanoid", [0.99], True), ("humanoid", [2.01], True),
    ("halfcheetah", [1e9], False), ("pendulum", [1e9], False), ("never", [NAN], False),
    ("beyond-100", [99.0, -99.0], False), ("beyond-100", [0.0, -100.0], True), ("beyond-100", [NAN, 0.0], True),
    ("antmaze-umaze", [0.75, 8.51], True), ("antmaze-umaze", [0.75, 8.45], False),
    ("antmaze-umaze", [0.75, 8.55], True), ("antmaze-large", [32.75, 24.75], True),
    ("pen", [0.0] * 26 + [0.07], True), ("pen", [0.0] * 26 + [0.08], False),
]
# fmt: on


@pytest.mark.parametrize(("name", "after", "ends"), CASES)
def test_rules_by_hand(name, after, ends):
    rows = torch.tensor([after, after])
    found = RULES[name](torch.zeros_like(rows), torch.zeros(2, 1), rows)
    assert found.tolist() == [ends, ends]


def test_a_rule_of_the_user_sees_the_units_of_the_data():
    seen = []

    @register_termination("beyond-two", overwrite=True)
    def beyond_two(observations, actions, after):
        seen.append((observations.clone(), after.clone()))
        return after[..., 0] > 2.0

    data = small_dataset("continuous")
    algo = Dynamics(
        termination="beyond-two",
        observation_scaler="standard",
        encoder={"type": "mlp", "hidden_sizes": [8]},
        n_members=2,
        seed=0,
        device="cpu",
    ).build(data)
    assert algo.impl.mlp.layers[-1].weight.shape[-1] == 10  # Means and deviations of 5 numbers; no end.
    scaled = torch.from_numpy(algo.scaling.observations(data.observations))
    found = algo.impl.imagine(scaled, torch.zeros(len(data), 2), algo.impl.random)
    np.testing.assert_allclose(seen[0][0].numpy(), data.observations, atol=1e-5)
    np.testing.assert_array_equal(found.ends.numpy(), seen[0][1][:, 0].numpy() > 2.0)
    assert 0 < int(found.ends.sum()) < len(data)
    steps = np.tile(data.observations, (2, 1, 1)), np.tile(data.actions, (2, 1, 1))
    after, _, ends = algo.sample_steps(*steps, np.random.default_rng(0))
    np.testing.assert_array_equal(ends, after[..., 0] > 2.0)
    assert algo.config["termination"] == "beyond-two"


def test_refusals():
    with pytest.raises(ValueError, match=r"no termination rule has the name 'hoper'.*did you mean 'hopper'"):
        Dynamics(termination="hoper")
    with pytest.raises(TypeError, match="name the function by register_termination"):
        check_termination(lambda o, a, n: n[..., 0] > 0)
    with pytest.raises(TypeError, match="must be the name of a rule"):
        check_termination(3)
    with pytest.raises(ValueError, match="stands for ends that the model learns"):
        register_termination("learned")
    with pytest.raises(ValueError, match="belongs to offlinekit"):
        register_termination("hopper")(lambda o, a, n: n[..., 0] > 0)

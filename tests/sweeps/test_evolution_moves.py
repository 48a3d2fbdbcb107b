"""Moves of evolution: values within their space, networks that compute what they did before."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch

from offlinekit.algos import IQL, SAC, DiscreteCQL, TD3PlusBC
from offlinekit.datasets import get_dataset
from offlinekit.errors import UnsupportedError
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.sweeps import Range
from offlinekit.sweeps.evolution import layer_moves, mutations, network_moves, transplant, value_moves
from offlinekit.sweeps.evolution.layer_moves import Deeper, Layer, Wider

SETTINGS = {"out": None, "progress": False}


@pytest.fixture(scope="module")
def datasets():
    return {name: get_dataset(name)[0] for name in ("cartpole-mixed", "pendulum-mixed")}


CASES = [
    (DiscreteCQL, "cartpole-mixed", {"n_critics": 2}),
    (TD3PlusBC, "pendulum-mixed", {}),
    (IQL, "pendulum-mixed", {"optimizer": "adamw", "weight_decay": 0.01}),
    (SAC, "pendulum-mixed", {"optimizer": "rmsprop"}),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case[0].__name__)
def trained(request, datasets):
    cls, name, given = request.param
    encoder = MLPEncoder((16, 16))
    return cls(seed=1, batch_size=8, encoder=encoder, **given).fit(datasets[name], 30, **SETTINGS), datasets[
        name
    ]


# Values.


@pytest.mark.parametrize(
    ("space", "start"),
    [
        (Range(1e-4, 1e-2, log=True), 1e-3),
        (Range(0.0, 1.0), 0.0),
        (Range(1, 5, integer=True), 1),
        (Range(1, 64, log=True, integer=True), 4),
        (Range(0.5, 0.51), 0.5),
        (Range(1, 2, log=True, integer=True), 2),
        (["huber", "mse", "other"], "mse"),
    ],
)
def test_ten_thousand_moves_stay_within_and_are_never_stuck(space, start):
    rng, value, seen = np.random.default_rng(0), start, []
    for _ in range(10_000):
        new = value_moves.moved(space, value, rng)
        assert new != value
        assert value_moves.holds(space, new)
        value = new
        seen.append(value)
    if isinstance(space, list) or space.integer:
        whole = space if isinstance(space, list) else range(int(space.low), int(space.high) + 1)
        assert set(seen) == set(whole) if len(list(whole)) < 10 else len(set(seen)) > 30
        assert isinstance(space, list) or all(isinstance(value, int) for value in seen)
        return
    # Symmetric steps that turn back at the bounds spread evenly: each fifth of the coordinate has a fifth of them.
    fifths = Counter(min(int(5 * value_moves.unit(space, value)), 4) for value in seen)
    assert all(1_000 < fifths[fifth] < 3_000 for fifth in range(5)), fifths


def test_a_move_of_a_logarithmic_range_multiplies_or_divides():
    rng = np.random.default_rng(1)
    space = Range(1e-4, 1e-2, log=True)
    moves = Counter(round(value_moves.moved(space, 1e-3, rng) / 1e-3, 6) for _ in range(1_000))
    assert set(moves) == {1.2, round(1 / 1.2, 6)}
    assert 440 < moves[1.2] < 560
    # From 9.5e-3 a move up to 11.4e-3 turns back at 1e-2: 1e-2 * 1e-2 / 11.4e-3 = 8.772e-3.
    turned = {round(value_moves.moved(space, 9.5e-3, rng), 6) for _ in range(50)}
    assert turned == {8.772e-3, round(9.5e-3 / 1.2, 6)}


def test_whole_numbers_change_by_one_where_the_factor_would_not():
    rng, space = np.random.default_rng(2), Range(1, 20, log=True, integer=True)
    assert {value_moves.moved(space, 2, rng) for _ in range(100)} == {1, 3}  # 2 * 1.2 and 2 / 1.2 round to 2.
    assert {value_moves.moved(space, 1, rng) for _ in range(100)} == {2}
    assert {value_moves.moved(space, 20, rng) for _ in range(100)} == {
        17
    }  # 20 / 1.2 = 16.67, and back from 24.


def test_truncated_moves_are_absorbed_below_five():
    """As AgileRL moves whole numbers: int(4 * 1.2) = 4, int(4 * 0.8) = 3, down to 1, which stays."""
    rng, space, value = np.random.default_rng(3), Range(1, 20, integer=True), 4
    for _ in range(200):
        new = value_moves.truncated(space, value, rng, int)
        assert new <= value
        value = new
    assert value == 1


def test_draws_are_uniform_in_the_coordinate():
    rng, space = np.random.default_rng(4), Range(1e-4, 1e-2, log=True)
    below = sum(value_moves.drawn(space, rng) < 1e-3 for _ in range(1_000))
    assert 440 < below < 560
    assert {value_moves.drawn(Range(1, 3, integer=True), rng) for _ in range(100)} == {1, 2, 3}


# Layers, by hand.


def layers(*weights, bias=0.0):
    made = []
    for weight in weights:
        tensor = torch.tensor(weight, dtype=torch.float32)[None]
        made.append(Layer(tensor, torch.full((1, 1, tensor.shape[-1]), bias)))
    return made


def test_a_doubled_unit_shares_its_outgoing_weight():
    # Unit 0 is doubled: columns (1, 2) become (1, 2, 1); row 3 becomes 3 (1 - s) and 3 s, s in [0.25, 0.75).
    inner, outer = Wider(0, (0,), seed=5, noise=0.0).apply(layers([[1.0, 2.0]], [[3.0], [4.0]]), 0)
    assert inner.weight.tolist() == [[[1.0, 2.0, 1.0]]]
    first, second, copied = outer.weight[0, :, 0].tolist()
    assert first + copied == pytest.approx(3.0)
    assert 0.75 <= copied < 2.25
    assert second == 4.0


def test_moments_of_a_doubled_unit_follow_its_gradients():
    # The gradient that enters each half is about half as large, its square a quarter; what leaves sees the same input.
    means = Wider(0, (0,), seed=5).apply(layers([[8.0, 2.0]], [[3.0], [4.0]], bias=4.0), 1)
    assert means[0].weight.tolist() == [[[4.0, 2.0, 4.0]]]
    assert means[0].bias.tolist() == [[[2.0, 4.0, 2.0]]]
    assert means[1].weight[0, :, 0].tolist() == [3.0, 4.0, 3.0]
    squares = Wider(0, (0,), seed=5).apply(layers([[8.0, 2.0]], [[3.0], [4.0]], bias=4.0), 2)
    assert squares[0].weight.tolist() == [[[2.0, 2.0, 2.0]]]
    assert squares[1].weight[0, :, 0].tolist() == [3.0, 4.0, 3.0]


def test_a_new_layer_is_the_identity_with_moments_of_its_size():
    before = layers([[1.0, 2.0]], [[3.0], [4.0]], bias=4.0)
    _, new, _ = Deeper(0).apply(before, 0)
    assert new.weight.tolist() == [[[1.0, 0.0], [0.0, 1.0]]]
    assert new.bias.tolist() == [[[0.0, 0.0]]]
    assert Deeper(0).apply(before, 1)[1].weight.abs().sum() == 0
    squares = Deeper(0).apply(before, 2)[1]  # The mean of 1 and 2; of the biases 4.
    assert squares.weight.tolist() == [[[1.5, 1.5], [1.5, 1.5]]]
    assert squares.bias.tolist() == [[[4.0, 4.0]]]


def test_the_unit_that_matters_least_goes_and_its_constant_stays():
    # Unit 0 is always 2 and leaves by weight 5: its deviation is 0, so it goes, and 10 joins the bias.
    hidden = torch.stack([torch.full((6,), 2.0), torch.arange(6.0)], -1)[None]
    outer = Layer(torch.tensor([[[5.0], [1.0]]]), torch.tensor([[[0.5]]]))
    kept = layer_moves.smallest(hidden, outer.weight, 1)
    assert kept.tolist() == [[1]]
    fitted = layer_moves.takeover(hidden, kept, outer)
    assert fitted.weight.flatten().tolist() == pytest.approx([1.0], abs=1e-3)
    assert fitted.bias.flatten().tolist() == pytest.approx([10.5], abs=1e-3)


# Networks.


def outputs(algo, dataset):
    observations = dataset.observations[:64]
    found = [np.asarray(algo.predict(observations), np.float64).ravel(), algo.predict_value(observations)]
    return np.concatenate(found)


@pytest.mark.parametrize("kind", ["wider", "deeper"])
def test_outputs_are_equal_before_and_after(trained, kind):
    algo, dataset = trained
    rows = network_moves.probe_rows(algo, dataset, 0)
    move = network_moves.NetworkMove("encoder", kind, 1, 12 if kind == "wider" else 0, 3)
    twin, made = network_moves.with_move(algo, move, rows, 0.01)
    assert made == move
    assert twin.encoder.hidden_sizes == ((16, 28) if kind == "wider" else (16, 16, 16))
    before = outputs(algo, dataset)
    np.testing.assert_allclose(outputs(twin, dataset), before, atol=2e-3 * before.std(), rtol=1e-3)
    assert twin.grad_step == algo.grad_step
    twin.fit(dataset, 3, **SETTINGS)
    assert twin.grad_step == algo.grad_step + 3


def test_targets_move_as_their_networks_do(trained):
    algo, dataset = trained
    rows = network_moves.probe_rows(algo, dataset, 0)
    for target in algo.impl.targets:
        target.target.load_state_dict(target.online.state_dict())
    for kind, units in (("wider", 9), ("deeper", 0), ("narrower", 2)):
        move = network_moves.NetworkMove("encoder", kind, 0, units, 3)
        twin, _ = network_moves.with_move(algo, move, rows, 10.0)
        for target in twin.impl.targets:
            pairs = zip(target.target.parameters(), target.online.parameters(), strict=True)
            assert all(torch.equal(one, other) for one, other in pairs)


def test_optimizers_keep_what_they_have_learned(trained):
    algo, dataset = trained
    rows = network_moves.probe_rows(algo, dataset, 0)
    twin, _ = network_moves.with_move(
        algo, network_moves.NetworkMove("encoder", "wider", 0, 4, 3), rows, 0.01
    )
    for before, after in zip(algo.impl.objectives, twin.impl.objectives, strict=True):
        old, new = before.state_tensors(), after.state_tensors()
        assert old.keys() == new.keys()
        for name, value in old.items():
            if new[name].shape == value.shape:
                assert torch.equal(new[name], value), name
            elif name.endswith("exp_avg") and value.ndim == 3 and new[name].shape[1] == value.shape[1]:
                # The layer itself: of units that were not doubled as they were, of the others halved.
                ratios = new[name][..., :16].abs().sum(1) / value.abs().sum(1).clamp_min(1e-30)
                assert set(ratios.flatten().mul(4).round().int().tolist()) <= {0, 2, 4}


def test_a_narrower_network_is_refused_or_keeps_its_outputs(trained):
    algo, dataset = trained
    rows = network_moves.probe_rows(algo, dataset, 0)
    move = network_moves.NetworkMove("encoder", "narrower", 0, 8, 3)
    made = network_moves.with_move(algo, move, rows, 0.05)
    assert network_moves.with_move(algo, move, rows, 1e-9) is None
    if made is not None:
        twin, smaller = made
        assert twin.encoder.hidden_sizes[0] == 16 - smaller.units
        assert smaller.units <= 8


def test_units_that_never_act_go_without_a_trace(datasets):
    dataset = datasets["cartpole-mixed"]
    algo = DiscreteCQL(seed=0, encoder=MLPEncoder((16, 16))).build(dataset)
    with torch.no_grad():
        for mlp in transplant.mlps_of(algo.impl).values():
            mlp.layers[0].bias[..., :5] = -1e3
    rows = network_moves.probe_rows(algo, dataset, 0)
    move = network_moves.NetworkMove("encoder", "narrower", 0, 5, 3)
    twin, made = network_moves.with_move(algo, move, rows, 1e-2)
    assert made.units == 5
    before = outputs(algo, dataset)
    np.testing.assert_allclose(outputs(twin, dataset), before, atol=1e-2 * before.std())


def test_drawn_moves_stay_within_the_sizes(datasets):
    dataset = datasets["cartpole-mixed"]
    sizes = network_moves.Sizes(layers=(1, 2), units=(8, 24), steps=(4, 16))
    rng = np.random.default_rng(0)
    algo = DiscreteCQL(seed=0, encoder=MLPEncoder((8, 24))).build(dataset)
    kinds = Counter()
    for _ in range(300):
        move = network_moves.drawn_move(algo, sizes, rng, new_layer=0.5)
        after = move.sizes((8, 24))
        kinds[move.kind] += 1
        assert len(after) == 2
        assert all(8 <= units <= 24 for units in after)
    assert kinds["wider"] > 50
    assert kinds["narrower"] > 50


NORMS = [{"layer_norm": True}, {"layer_norm": True, "norm_after": True}]


def scaled_norms(algo):
    """Gives norms scales and shifts of their own, which begin at 1 and 0."""
    with torch.no_grad():
        for name, value in algo.impl.named_parameters():
            if "layers.1." in name or "layers.2." in name:
                value += torch.linspace(-0.5, 0.5, value.shape[-1])
    return algo


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("norms", NORMS, ids=["before", "after"])
@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case[0].__name__)
def test_a_normalised_layer_that_doubles_keeps_outputs(datasets, norms, case, layer):
    cls, name, given = case
    encoder, dataset = MLPEncoder((16, 16), **norms), datasets[name]
    algo = cls(seed=1, batch_size=8, encoder=encoder, **given).fit(dataset, 10, **SETTINGS)
    rows = network_moves.probe_rows(scaled_norms(algo), dataset, 0)
    move = network_moves.NetworkMove("encoder", "wider", layer, 16, 3)
    twin, made = network_moves.with_move(algo, move, rows, 0.01)
    assert made == move
    before = outputs(algo, dataset)
    np.testing.assert_allclose(outputs(twin, dataset), before, atol=2e-3 * before.std(), rtol=1e-3)
    part = dataclasses.replace(move, units=8)  # Half of the units would count twice in mean and variance.
    assert network_moves.with_move(algo, part, rows, 0.01) is None
    twin.fit(dataset, 3, **SETTINGS)
    assert twin.grad_step == algo.grad_step + 3


def test_numbers_of_a_norm_go_along_with_their_units():
    # Units (0, 1) are doubled in the order 1, 0: (3, 5) becomes (3, 5, 5, 3); their gradients are halved.
    wider = Wider(0, (1, 0), seed=5)
    assert wider.grown(torch.tensor([3.0, 5.0]), 0).tolist() == [3.0, 5.0, 5.0, 3.0]
    assert wider.grown(torch.tensor([3.0, 5.0]), 1).tolist() == [1.5, 2.5, 2.5, 1.5]


def test_normalised_layers_only_double(datasets):
    algo = DiscreteCQL(encoder=MLPEncoder((8, 32), layer_norm=True)).build(datasets["cartpole-mixed"])
    rng, sizes = np.random.default_rng(0), network_moves.Sizes(units=(4, 32))
    moves = [network_moves.drawn_move(algo, sizes, rng, new_layer=0.5) for _ in range(20)]
    assert {(move.kind, move.layer, move.units) for move in moves} == {("wider", 0, 8)}  # 64 are too many.
    network_moves.check_movable(algo, sizes)
    small = network_moves.Sizes(units=(4, 15))
    assert network_moves.drawn_move(algo, small, rng) is None
    with pytest.raises(
        UnsupportedError, match=r"8 units doubled are more than max_units=15; give max_units=16"
    ):
        network_moves.check_movable(algo, small)


def test_noise_reaches_a_tenth_of_the_weights_that_act(datasets):
    algo = DiscreteCQL(seed=0, encoder=MLPEncoder((64, 64))).build(datasets["cartpole-mixed"])
    before = {name: value.clone() for name, value in algo.impl.named_parameters()}
    mutations.with_noise(algo, np.random.default_rng(0), 0.1)
    weights, changed = 0, 0
    for name, value in algo.impl.named_parameters():
        moved = value != before[name]
        if name.startswith("q.") and name.endswith("weight"):
            weights, changed = weights + moved.numel(), changed + int(moved.sum())
            relative = ((value - before[name]) / before[name])[moved]
            assert 0.08 < relative.std() < 0.12
        else:
            assert not moved.any()
    assert 0.08 < changed / weights < 0.12


def test_severe_noise_has_ten_times_the_weight_as_deviation_whatever_that_of_the_others(datasets):
    algo = DiscreteCQL(seed=0, encoder=MLPEncoder((256, 256))).build(datasets["cartpole-mixed"])
    weights = {n: p for n, p in algo.impl.q.named_parameters() if n.endswith("weight")}
    numbers_of_layers = set()
    for seed in range(12):
        deviation = 0.001 if seed % 2 else 0.01
        for weight in weights.values():
            weight.data.fill_(1000.0)
        mutations.with_noise(algo, np.random.default_rng(seed), deviation, severe=True)
        reached = {name: weight for name, weight in weights.items() if (weight != 1000.0).any()}
        numbers_of_layers.add(len(reached))
        for weight in reached.values():
            if weight.numel() < 10_000:
                continue
            # New values are N(0, 1), those of usual noise 1000 +- 10 at most, of strong noise 1000 +- 10,000.
            moved = weight[weight != 1000.0]
            anew = moved.abs() < 6
            strong = ((moved - 1000).abs() > 60) & ~anew
            usual = moved[~anew & ~strong] - 1000
            assert 0.03 < anew.float().mean() < 0.07
            assert 0.03 < strong.float().mean() < 0.07
            assert 8_000 < (moved[strong] - 1000).std() < 12_000
            # Some strong noise is small; half of a normal lies within 0.6745 deviations.
            assert 0.9 * deviation < usual.abs().median() / 1000 / 0.6745 < 1.1 * deviation
    assert numbers_of_layers == {1, 2, 3}  # From one to all.

"""First numbers of layers, and where layer norm stands."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from offlinekit.algos import MLPEncoder, ResidualEncoder
from offlinekit.nn.isolation import initialised
from offlinekit.nn.networks import MLP, StackedLinear
from offlinekit.nn.random import Random


def made(encoder: MLPEncoder, members: int | None = None, inputs: int = 3, outputs: int = 2) -> MLP:
    with initialised(0):
        return MLP(encoder, inputs, outputs, Random(0, torch.device("cpu")), members)


def linear(mlp: MLP) -> list[nn.Module]:
    return [layer for layer in mlp.modules() if isinstance(layer, nn.Linear | StackedLinear)]


@pytest.mark.parametrize("members", [None, 2])
def test_glorot_takes_both_sizes_of_each_member_and_biases_0(members: int | None) -> None:
    mlp = made(MLPEncoder((400, 100), init="glorot_uniform"), members, inputs=50)
    # Bounds sqrt(6 / (inputs + outputs)): sqrt(6 / 450), sqrt(6 / 500), sqrt(6 / 102).
    for layer, sizes in zip(linear(mlp), (450, 500, 102), strict=True):
        bound = math.sqrt(6 / sizes)
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() > 0.95 * bound
        # A uniform number on [-b, b] has the standard deviation b / sqrt(3).
        assert float(layer.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert not layer.bias.any()


@pytest.mark.parametrize("members", [None, 2])
def test_biases_of_hidden_layers_and_the_range_of_the_head(members: int | None) -> None:
    encoder = MLPEncoder((100, 100), hidden_bias=0.1, head_range=1e-3)
    *hidden, head = linear(made(encoder, members, outputs=50))
    assert all((layer.bias == 0.1).all() for layer in hidden)
    for numbers in (head.weight, head.bias):
        assert numbers.abs().max() <= 1e-3
        assert numbers.abs().max() > 0.9e-3
        assert numbers.min() < 0 < numbers.max()
    assert not (linear(made(MLPEncoder((100,), hidden_bias=0.1), members))[-1].bias == 0.1).any()
    free = linear(made(MLPEncoder((100, 100)), members, outputs=50))
    for layer, plain in zip(hidden, free, strict=False):
        assert torch.equal(layer.weight, plain.weight)  # torch's own, drawn in the same order.


def test_residual_blocks_are_initialised_too() -> None:
    mlp = made(ResidualEncoder((64,), init="glorot_uniform", dropout=0.0))
    # 3 -> 64, 64 -> 256, 256 -> 64 and the head 64 -> 2.
    assert [layer.weight.numel() for layer in linear(mlp)] == [192, 16_384, 16_384, 128]
    assert not any(layer.bias.any() for layer in linear(mlp))


def test_layer_norm_before_or_after_the_activation() -> None:
    # One hidden layer that copies its two inputs (3, -1), and a head that copies what it gives.
    # Before: mean 1, deviation 2 -> norm (1, -1) -> ReLU (1, 0).
    # After: ReLU (3, 0) -> mean 1.5, deviation 1.5 -> norm (1, -1).
    for norm_after, expected in ((False, [1.0, 0.0]), (True, [1.0, -1.0])):
        mlp = made(MLPEncoder((2,), layer_norm=True, norm_after=norm_after), inputs=2)
        for layer in linear(mlp):
            layer.weight.data = torch.eye(2)
            layer.bias.data.zero_()
        outputs = mlp(torch.tensor([[3.0, -1.0]]))
        assert outputs.tolist()[0] == pytest.approx(expected, abs=1e-4)


def test_norm_after_without_layer_norm_changes_nothing() -> None:
    names = [type(layer).__name__ for layer in made(MLPEncoder((2,), norm_after=True)).layers]
    assert names == ["Linear", "ReLU", "Linear"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "glorot"}, "init must be one of .*'glorot'.*did you mean 'glorot_uniform'"),
        ({"head_range": 0.0}, "head_range must be None or positive and finite, got 0.0"),
        ({"head_range": math.inf}, "head_range must be None or positive and finite, got inf"),
        ({"hidden_bias": math.nan}, "hidden_bias must be None or finite, got nan"),
    ],
)
def test_what_there_is_not_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLPEncoder(**options)


def test_a_residual_encoder_says_where_it_normalises() -> None:
    with pytest.raises(ValueError, match="norm_after must be False: residual blocks"):
        ResidualEncoder(norm_after=True)

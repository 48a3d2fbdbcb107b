"""Residual convolutions: by hand, and with the shapes of their paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from offlinekit.algos import DiscreteCQL
from offlinekit.datasets import MDPDataset
from offlinekit.deploy import NumpyPolicy
from offlinekit.nn.encoders import ImpalaEncoder, encoder_to_json, resolve_encoder
from offlinekit.nn.trunks import ResidualConvolution, ResidualConvolutions


def images(*shape):
    return spaces.Box(0, 255, shape, np.uint8)


def test_a_block_by_hand():
    block = ResidualConvolution(1)
    with torch.no_grad():
        for layer, centre in ((block.inner, 2.0), (block.outer, 3.0)):
            layer.weight.zero_()
            layer.weight[0, 0, 1, 1] = centre  # Of the 3 x 3 the middle alone.
            layer.bias.fill_(1.0)
    # 4 -> 4 + (3 (2 * 4 + 1) + 1) = 32; -4 -> -4 + (3 (2 * 0 + 1) + 1) = 0.
    assert block(torch.tensor([[[[4.0, -4.0]]]])).tolist() == [[[[32.0, 0.0]]]]


def test_the_shapes_of_the_paper():
    trunk = ResidualConvolutions(images(4, 84, 84), (16, 32, 32), 2)
    convolutions = [m for m in trunk.modules() if isinstance(m, torch.nn.Conv2d)]
    # Three sections of 1 + 2 * 2 convolutions; the sides go 84, 42, 21, 11: 32 * 11 * 11 = 3872 features.
    assert (len(convolutions), trunk.size) == (15, 3872)
    assert trunk(torch.rand(2, 4, 84, 84)).shape == (2, 3872)
    last = ResidualConvolutions(images(8, 9, 3), (2,), 0)
    assert last(torch.rand(1, 8, 9, 3)).shape == (1, last.size) == (1, 2 * 4 * 5)


def test_named_saved_and_refused():
    encoder = resolve_encoder({"type": "impala", "channels": [4], "n_blocks": 1}, images(1, 8, 8))
    assert isinstance(encoder, ImpalaEncoder)
    assert resolve_encoder(encoder_to_json(encoder), images(1, 8, 8)) == encoder
    for options in ({"channels": ()}, {"channels": (0,)}, {"n_blocks": -1}, {"random_shift": -1}):
        with pytest.raises(ValueError, match="must be"):
            ImpalaEncoder(**options)


def test_learned_and_exported_for_numpy(tmp_path):
    seen = np.random.default_rng(0).integers(0, 255, (20, 1, 8, 8), np.uint8)
    data = MDPDataset(seen, np.arange(20) % 2, np.ones(20), np.arange(20) % 5 == 4)
    encoder = ImpalaEncoder((8,), channels=(4,), n_blocks=1)
    algo = DiscreteCQL(encoder=encoder, batch_size=4, seed=0).fit(data, 2, out=None, progress=False)
    policy = NumpyPolicy.load(algo.export(tmp_path / "policy.safetensors"))
    np.testing.assert_array_equal(policy.predict(seen), algo.predict(seen))

"""The recurrent unit of histories: by hand, and beside torch's own."""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces

from offlinekit.envs.past.sight import history_space
from offlinekit.nn.encoders import GRUEncoder, MLPEncoder, make_trunk
from offlinekit.nn.random import Random
from offlinekit.nn.trunks import Flat, RecurrentTrunk

RANDOM = Random(0, torch.device("cpu"))


def sized(module, size):
    module.size = size
    return module


def trunk(n_rows, burn_in=0, inputs=1, size=1):
    return RecurrentTrunk(sized(Flat(), inputs), n_rows, size, burn_in)


def test_two_rows_by_hand():
    unit = trunk(2)
    with torch.no_grad():
        for parameter, values in (
            (unit.inputs.weight, [[0.0], [0.0], [1.0]]),
            (unit.inputs.bias, [0.0, 0.0, 0.0]),
            (unit.states.weight, [[0.0], [0.0], [2.0]]),
            (unit.states.bias, [0.0, 0.0, 0.0]),
        ):
            parameter.copy_(torch.tensor(values))
    # Both gates are sigmoid(0) = 1/2. Row 1: n = tanh(1), h = n + 1/2 (0 - n) = tanh(1) / 2.
    # Row 2: n = tanh(3 + 1/2 (2 h)) = tanh(3 + h), h' = n + 1/2 (h - n).
    first = math.tanh(1.0) / 2
    expected = (math.tanh(3.0 + first) + first) / 2
    torch.testing.assert_close(unit(torch.tensor([[[1.0], [3.0]]])), torch.tensor([[expected]]))


def test_the_state_is_that_of_torch():
    unit, peer = trunk(4, inputs=3, size=5), torch.nn.GRU(3, 5, batch_first=True)
    peer.load_state_dict(
        {
            "weight_ih_l0": unit.inputs.weight,
            "bias_ih_l0": unit.inputs.bias,
            "weight_hh_l0": unit.states.weight,
            "bias_hh_l0": unit.states.bias,
        }
    )
    rows = torch.randn(7, 4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unit(rows), peer(rows)[1][0])


def test_no_gradient_passes_through_the_burn_in():
    rows = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    unit = trunk(4, burn_in=2, inputs=3, size=5)
    unit(rows).sum().backward()
    assert (rows.grad[:, :2] == 0).all()
    assert (rows.grad[:, 2:] != 0).all()
    torch.testing.assert_close(unit(rows), RecurrentTrunk.forward(_without_burn_in(unit), rows))


def _without_burn_in(unit):
    unit.burn_in = 0
    return unit


def test_plain_encoders_see_each_row_and_then_all_side_by_side():
    row = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Box(-1, 1, ())})
    space = history_space(row, 3)
    made = make_trunk(MLPEncoder(), space, RANDOM)
    a, b = np.arange(6.0).reshape(1, 3, 2), 10 * np.arange(3.0).reshape(1, 3)
    features = made({"a": torch.tensor(a), "b": torch.tensor(b)})
    assert features.tolist() == [[0, 1, 0, 2, 3, 10, 4, 5, 20]]
    assert made.size == 9
    assert make_trunk(GRUEncoder(state_size=4), space, RANDOM).size == 4

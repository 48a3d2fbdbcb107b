"""Encoders: what they see, how they are named and saved, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from loss_checks import close
from torch import nn

import offlinekit
from offlinekit.algos import BC, CNNEncoder, MLPEncoder, ResidualEncoder, register_encoder
from offlinekit.datasets import MDPDataset
from offlinekit.nn import encoders
from offlinekit.nn.encoders import ModuleEncoder, encoder_to_json, make_trunk, resolve_encoder
from offlinekit.nn.isolation import initialised
from offlinekit.nn.random import Random
from offlinekit.testing import small_dataset

VECTOR = spaces.Box(-1.0, 1.0, (4,))
IMAGE = spaces.Box(0, 255, (3, 12, 10), "uint8")
SMALL = CNNEncoder((8,), filters=((4, 3, 2),))


@pytest.fixture(autouse=True)
def _same_numbers_each_time():
    with initialised(0):
        yield


def trunk(encoder: MLPEncoder, space: spaces.Space[Any]) -> Any:
    return make_trunk(encoder, space, Random(0, torch.device("cpu")))


def factory(space: spaces.Space[Any]) -> nn.Module:
    return nn.Linear(4, 6)


@pytest.fixture
def registry(monkeypatch):
    """Names registered by a test are gone after it."""
    monkeypatch.setattr(encoders, "_ENCODERS", dict(encoders._ENCODERS))
    monkeypatch.setattr(encoders, "_FACTORIES", dict(encoders._FACTORIES))


# What they see.


def test_auto_looks_at_images_with_convolutions():
    assert resolve_encoder("auto", VECTOR) == MLPEncoder()
    assert resolve_encoder("auto", IMAGE) == CNNEncoder()
    assert resolve_encoder("auto", spaces.Dict({"a": VECTOR, "b": IMAGE})) == CNNEncoder()
    assert resolve_encoder("auto", spaces.Box(0, 255, (128,), "uint8")) == MLPEncoder()


def test_bytes_are_scaled_to_one_and_numbers_are_not():
    space = spaces.Tuple((spaces.Box(0, 255, (2,), "uint8"), spaces.Box(-500.0, 500.0, (2,))))
    observations = (torch.tensor([[0, 255]], dtype=torch.uint8), torch.tensor([[0.0, 255.0]]))
    close(trunk(MLPEncoder(), space)(observations), [[0.0, 1.0, 0.0, 255.0]])


def test_dicts_are_read_in_the_order_of_their_space():
    space = spaces.Dict({"b": spaces.Box(-9.0, 9.0, (1,)), "a": spaces.Box(-9.0, 9.0, (2,))})
    observations = {"b": torch.tensor([[3.0]]), "a": torch.tensor([[1.0, 2.0]])}
    features = trunk(MLPEncoder(), space)(observations)
    names = list(space.spaces)
    wanted = torch.cat([observations[name] for name in names], -1)
    assert torch.equal(features, wanted)
    swapped = dict(reversed(observations.items()))
    assert torch.equal(trunk(MLPEncoder(), space)(swapped), wanted)


def test_scalars_integers_and_grids_are_flattened():
    space = spaces.Dict(
        {"a": spaces.Box(-1.0, 1.0, ()), "b": spaces.Discrete(4), "c": spaces.Box(-1.0, 1.0, (2, 2))}
    )
    made = trunk(MLPEncoder(), space)
    observations = {
        "a": torch.tensor([0.5]),
        "b": torch.tensor([3]),
        "c": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]),
    }
    assert made.size == 6
    close(made(observations), [[0.5, 3.0, 1.0, 2.0, 3.0, 4.0]])


def test_channels_last_equals_channels_first():
    first, last = trunk(SMALL, IMAGE), trunk(SMALL, spaces.Box(0, 255, (12, 10, 3), "uint8"))
    last.load_state_dict(first.state_dict())
    images = torch.randint(0, 256, (5, 3, 12, 10), dtype=torch.uint8)
    torch.testing.assert_close(last(images.movedim(1, -1)), first(images))


def test_size_of_convolutions():
    # (12, 10), kernel 3, stride 2 -> (5, 4); 4 filters: 80 features.
    made = trunk(SMALL, IMAGE)
    assert made.size == 80
    assert made(torch.zeros(2, 3, 12, 10, dtype=torch.uint8)).shape == (2, 80)
    # The filters of DQN on 84 x 84: 7 * 7 * 64.
    assert trunk(CNNEncoder(), spaces.Box(0, 255, (4, 84, 84), "uint8")).size == 3136


def test_convolutions_by_hand():
    made = trunk(CNNEncoder((), filters=((1, 2, 1),)), spaces.Box(0, 255, (1, 2, 3), "uint8"))
    with torch.no_grad():
        made.parts[0].layers[0].weight.copy_(torch.tensor([[[[1.0, 0.0], [0.0, -1.0]]]]))
        made.parts[0].layers[0].bias.fill_(0.0)
    image = torch.tensor([[[[255, 51, 0], [0, 0, 255]]]], dtype=torch.uint8)
    # Windows: 1 - 0 = 1; 0.2 - 1 = -0.8, which the ReLU makes 0.
    close(made(image).detach(), [[1.0, 0.0]])


def test_own_module_with_batch_norm_can_be_measured_and_its_statistics_stay():
    made = trunk(ModuleEncoder(create=lambda s: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))), VECTOR)
    assert made.size == 6
    assert made.training
    close(made.module[1].running_mean, [0.0] * 6)


# Names and files.


@pytest.mark.parametrize(
    "encoder",
    [
        MLPEncoder((3, 4), activation="mish", layer_norm=True, dropout=0.1),
        CNNEncoder((5,), filters=((1, 2, 3), (4, 5, 6)), activation="gelu"),
        MLPEncoder(),
        CNNEncoder(),
        ResidualEncoder((3, 4), activation="gelu", layer_norm=False, dropout=0.2),
    ],
)
def test_encoders_survive_json(encoder):
    text = json.dumps(encoder_to_json(encoder))
    assert json.loads(text) == encoder_to_json(encoder)
    assert resolve_encoder(json.loads(text), VECTOR) == encoder


@pytest.mark.parametrize("encoder", ["auto", "mlp", "cnn", {"type": "mlp", "hidden_sizes": [3]}])
def test_names_and_options_are_kept_as_given(encoder):
    assert encoder_to_json(encoder) == encoder


@pytest.mark.usefixtures("registry")
def test_tuples_are_lists_in_a_file_and_in_the_config_before_it(tmp_path):
    for given in (MLPEncoder((8, 4)), {"type": "mlp", "hidden_sizes": (8, 4)}):
        algo = BC(encoder=given, seed=0, device="cpu").build(small_dataset("continuous"))
        assert algo.config["encoder"]["hidden_sizes"] == [8, 4]
        assert offlinekit.load(algo.save(tmp_path / "a.okt")).config == algo.config


def test_registered_encoder_by_name_by_function_and_with_options():
    @register_encoder("ward-net")
    def make_ward_net(space: spaces.Space[Any]) -> nn.Module:
        return nn.Linear(4, 6)

    for given in ("ward-net", make_ward_net, {"type": "ward-net", "hidden_sizes": [7]}):
        encoder = resolve_encoder(given, VECTOR)
        assert trunk(encoder, VECTOR).size == 6
        again = resolve_encoder(json.loads(json.dumps(encoder_to_json(given))), VECTOR)
        assert again == encoder == resolve_encoder(encoder_to_json(encoder), VECTOR)
    assert encoder.hidden_sizes == (7,)


@pytest.mark.usefixtures("registry")
def test_saved_policy_with_a_registered_encoder_loads(tmp_path):
    register_encoder("ward-net")(factory)
    rng = np.random.default_rng(0)
    data = MDPDataset(rng.normal(size=(6, 4)), rng.uniform(size=(6, 1)), np.zeros(6), np.arange(6) == 5)
    algo = BC(encoder=factory, seed=0, device="cpu").build(data)
    algo.save(tmp_path / "policy.okt")
    loaded = BC.load(tmp_path / "policy.okt", device="cpu")
    assert np.array_equal(loaded.predict(data.observations), algo.predict(data.observations))


def test_a_function_named_as_a_built_in_encoder_is_not_taken_for_it():
    def cnn(space: spaces.Space[Any]) -> nn.Module:
        return nn.Linear(4, 6)

    with pytest.raises(ValueError, match="a factory"):
        resolve_encoder(encoder_to_json(cnn), VECTOR)


# What they refuse.


@pytest.mark.parametrize("name", ["auto", "mlp", "cnn"])
def test_built_in_names_are_taken(name):
    with pytest.raises(ValueError, match="is taken"):
        register_encoder(name)(factory)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"got 'nlp'; did you mean 'mlp'\?"):
        resolve_encoder("nlp", VECTOR)
    with pytest.raises(ValueError, match=r"got 'rellu'; did you mean 'relu'\?"):
        MLPEncoder(activation="rellu")
    with pytest.raises(ValueError, match=r"'mlp' does not take 'width'; it takes: hidden_sizes, "):
        resolve_encoder({"type": "mlp", "width": 3}, VECTOR)


@pytest.mark.parametrize("encoder", [5, None, nn.Linear(4, 6)])
def test_things_that_are_no_encoder(encoder):
    with pytest.raises(
        TypeError,
        match=r"encoder must be a name, hidden sizes such as|got one Linear, but each network needs its own",
    ):
        resolve_encoder(encoder, VECTOR)


@pytest.mark.parametrize(("field", "value"), [("hidden_sizes", (3, 0)), ("dropout", 1.0), ("dropout", -0.1)])
def test_numbers_out_of_range(field, value):
    with pytest.raises(ValueError, match=field):
        MLPEncoder(**{field: value})


def test_images_that_are_too_small():
    with pytest.raises(ValueError, match=r"images of shape \(3, 12, 10\) are too small for the filters"):
        trunk(CNNEncoder(), IMAGE)


@pytest.mark.parametrize(
    ("create", "error", "message"),
    [
        (lambda space: nn.Flatten(0), ValueError, r"shape \[batch, size\], got \(4,\)"),
        (lambda space: nn.Unflatten(1, (2, 2)), ValueError, r"got \(1, 2, 2\)"),
        (lambda space: nn.LSTM(4, 3), ValueError, "got tuple"),
        (lambda space: torch.tanh, TypeError, "must return a torch.nn.Module, got builtin_function"),
        (lambda space: nn.Sequential(nn.AlphaDropout(0.1)), ValueError, "not AlphaDropout"),
    ],
)
def test_own_modules_that_cannot_serve(create, error, message):
    with pytest.raises(error, match=message):
        trunk(ModuleEncoder(create=create), VECTOR)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"type": None}, ValueError, "got None"),
        ({"type": 3}, ValueError, "got 3"),
        ({"type": "mlp", "activation": None}, ValueError, "activation must be one of .*, got None"),
        (
            {"type": "mlp", "hidden_sizes": None},
            TypeError,
            r"hidden_sizes must be whole numbers, such as \[256",
        ),
        ({"type": "mlp", "hidden_sizes": [1.5]}, TypeError, "each of hidden_sizes must be an integer"),
        (
            {"type": "mlp", "hidden_sizes": [0]},
            ValueError,
            r"each of hidden_sizes must be in \[1, inf\), got 0",
        ),
    ],
)
def test_what_no_encoder_is_made_of_is_refused_by_name(given, error, message):
    """As configs of strangers, and slips, have it."""
    with pytest.raises(error, match=message):
        BC(encoder=given)

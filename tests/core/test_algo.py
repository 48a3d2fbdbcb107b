"""The front: hyperparameters checked once, acting on any observation, the catalogue."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gymnasium import spaces

from offlinekit.algos import CQL, DQN, IQL, SAC, TD3, DiscreteBC, DoubleDQN, TD3PlusBC, catalogue, get_algo
from offlinekit.datasets import MDPDataset
from offlinekit.errors import NotFittedError, UnsupportedError
from offlinekit.testing import small_dataset

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 0}


@pytest.mark.parametrize(
    ("front", "given", "error", "message"),
    [
        (IQL, {"expectile": 1.2}, ValueError, r"expectile must be in \(0, 1\), got 1.2"),
        (
            IQL,
            {"expectile": "high"},
            TypeError,
            r"expectile must be a number in \(0, 1\), got 'high' of type str",
        ),
        (IQL, {"beta": float("nan")}, ValueError, "beta must be a number .* got nan"),
        (CQL, {"alhpa": 1.0}, TypeError, "CQL has no hyperparameter 'alhpa'; did you mean 'alpha'"),
        (CQL, {"max_backup": 1}, TypeError, "max_backup must be True or False, got 1"),
        (TD3, {"batch_size": 2.5}, TypeError, "batch_size must be an integer"),
        (TD3, {"batch_size": True}, TypeError, "batch_size must be an integer"),
        (TD3, {"policy_delay": 0}, ValueError, r"policy_delay must be in \[1, inf\), got 0"),
        (SAC, {"optimizer": "adamm"}, ValueError, "optimizer must be one of .* did you mean 'adam'"),
        (SAC, {"q_function": "iqn"}, ValueError, "q_function must be one of"),
        (SAC, {"encoder": "mpl"}, ValueError, "did you mean 'mlp'"),
        (SAC, {"critic_encoder": {"type": "mlp", "layers": 2}}, ValueError, "does not take"),
        (SAC, {"reward_scaler": "standart"}, ValueError, "did you mean 'standard'"),
    ],
)
def test_wrong_hyperparameters(front, given, error, message):
    with pytest.raises(error, match=message):
        front(**given)


def test_positional_arguments_are_refused():
    with pytest.raises(TypeError, match="takes keywords only"):
        SAC(256)


def test_numbers_of_numpy_become_plain_and_config_is_json():
    algo = TD3PlusBC(alpha=np.float32(2.5), batch_size=np.int64(8), observation_scaler=None)
    assert type(algo.alpha) is float
    assert type(algo.batch_size) is int
    assert TD3PlusBC(**json.loads(json.dumps(algo.config))).config == algo.config


def test_seed_is_drawn_and_recorded():
    assert SAC().seed != SAC().seed
    assert SAC(seed=5).config["seed"] == 5


def test_repr_shows_what_was_changed():
    assert repr(IQL(seed=1, expectile=0.9)) == "IQL(seed=1, expectile=0.9)"


def test_hyperparameters_describe_themselves():
    parameter = IQL.hyperparameters()["expectile"]
    assert parameter.default == 0.7
    assert parameter.kind == "float in (0, 1)"
    assert parameter.meaning == "Of the value; towards 1 it approaches the best action in the data."
    assert next(iter(IQL.hyperparameters())) == "expectile"


@pytest.mark.parametrize("name", ["td3+bc", "TD3PlusBC", "td3_plus_bc", "TD3 plus BC"])
def test_names_in_any_spelling(name):
    assert get_algo(name) is TD3PlusBC


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(
        ValueError, match="Unrecognized algorithm name: 'discrete_cgl'; did you mean 'discrete_cql'"
    ):
        get_algo("discrete_cgl")


def test_catalogue():
    assert {"bc", "cql", "discrete_bc", "discrete_bcq", "discrete_cql", "double_dqn", "dqn", "iql"} < set(
        catalogue()
    )
    assert catalogue()["iql"].family == "VR"


def test_users_algorithm_is_in_the_catalogue():
    class MyIQL(IQL):
        """Mine."""

    assert get_algo("my_iql") is MyIQL


def test_actions_come_in_the_units_of_the_data():
    low, high = np.array([-3.0, 0.0], np.float32), np.array([-1.0, 10.0], np.float32)
    rng = np.random.default_rng(0)
    actions = rng.uniform(low, high, (40, 2)).astype(np.float32)
    data = MDPDataset(
        rng.normal(size=(40, 4)),
        actions,
        np.zeros(40),
        np.tile([0, 0, 0, 1], 10),
        action_space=spaces.Box(low, high),
    )
    algo = SAC(**TINY).build(data)
    drawn = algo.sample_action(data.observations)
    assert ((drawn >= low) & (drawn <= high)).all()
    assert drawn[:, 1].max() > 5
    # tanh(0) = 0 is the middle of the box.
    for parameter in algo.impl.policy.parameters():
        torch.nn.init.zeros_(parameter)
    np.testing.assert_allclose(algo.predict(data.observations[0]), [-2.0, 5.0])


def test_value_of_given_actions_sees_them_scaled():
    data = small_dataset("continuous")
    algo = TD3(**TINY).build(data)
    batch = torch.tensor([[0.5, -1.0]])
    expected = algo.impl.q.values(torch.as_tensor(data.observations[:1]), batch).mean().item()
    # The space is [-2, 2]: 1 is scaled to 0.5 and -2 to -1.
    assert algo.predict_value(data.observations[0], np.array([1.0, -2.0])) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"actions must have shape \[2, 2\], got \[1, 2\]"):
        algo.predict_value(data.observations[:2], np.zeros((1, 2)))


def test_observation_scaler_is_applied_when_acting():
    data = small_dataset("discrete")
    plain = DiscreteBC(**TINY).build(data)
    scaled = DiscreteBC(**TINY, observation_scaler="standard").build(data)
    moved = (data.observations - data.observations.mean(0)) / (data.observations.std(0) + 1e-3)
    np.testing.assert_array_equal(scaled.predict(data.observations), plain.predict(moved.astype(np.float32)))


def test_dict_observations_in_any_order_of_keys():
    rng = np.random.default_rng(0)
    tree = {
        "b": rng.normal(size=(20, 2)).astype(np.float32),
        "a": rng.integers(0, 256, (20, 3, 40, 40), np.uint8),
    }
    data = MDPDataset(tree, rng.integers(0, 2, 20), rng.normal(size=20), np.tile([0, 0, 0, 1], 5))
    algo = DoubleDQN(batch_size=4, seed=0).fit(data, 2, out=None)
    actions = algo.predict(tree)
    assert actions.shape == (20,)
    swapped = {"a": tree["a"][3], "b": tree["b"][3]}
    assert algo.predict(swapped) == actions[3]
    with pytest.raises(ValueError, match=r"must be a dict with keys \['a', 'b'\]"):
        algo.predict(tree["b"])


def test_not_fitted():
    with pytest.raises(NotFittedError, match="call fit"):
        DQN().save("nowhere.okt")


def test_fit_on_the_wrong_thing():
    with pytest.raises(TypeError, match="dataset, env = get_dataset"):
        DQN().fit((small_dataset("discrete"), None))
    with pytest.raises(UnsupportedError, match=r"DQN learns discrete actions, but 'small' has Box.*SAC"):
        DQN().fit(small_dataset("continuous"))


def test_fit_on_other_observations_or_actions_than_built_for():
    algo = DQN(**TINY).build(small_dataset("discrete"))
    other = MDPDataset(np.zeros((4, 7)), np.array([0, 1, 2, 0]), np.zeros(4), np.array([0, 0, 0, 1]))
    with pytest.raises(UnsupportedError, match="was built for"):
        algo.fit(other, 1, out=None)
    columns = np.zeros((4, 4)), np.array([0, 1, 5, 0]), np.zeros(4), np.array([0, 0, 0, 1])
    more = MDPDataset(*columns, action_space=spaces.Discrete(6))
    with pytest.raises(UnsupportedError, match="was built for"):
        algo.fit(more, 1, out=None)


def test_masks_must_fit_the_ensemble():
    data = small_dataset("discrete").with_options(mask_size=3)
    DQN(**TINY, n_critics=3).fit(data, 2, out=None)
    with pytest.raises(ValueError, match="a row for each of 2 critics, got 3"):
        DQN(**TINY, n_critics=2).fit(data, 2, out=None)


def test_masks_change_what_is_learned():
    plain, masked = small_dataset("discrete"), small_dataset("discrete").with_options(mask_size=2)
    first = DQN(**TINY, n_critics=2).fit(plain, 2, out=None)
    second = DQN(**TINY, n_critics=2).fit(masked, 2, out=None)
    assert not np.array_equal(
        first.predict_value(plain.observations), second.predict_value(plain.observations)
    )


def test_a_device_of_torch_is_kept_by_its_name():
    algo = DQN(device=torch.device("cpu"))
    assert algo.device == "cpu"
    algo.device = torch.device("cuda", 1)
    assert algo.device == "cuda:1"


def test_device_is_checked():
    with pytest.raises(ValueError, match="device must be"):
        DQN(device="gpu")

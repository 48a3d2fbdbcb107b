"""Files of d3rlpy: those that it wrote, those written by hand in its format, and those that are none."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

import offlinekit
from offlinekit.algos import CQL, IQL, SAC, DiscreteSAC, catalogue
from offlinekit.core.d3rlpy.d3rlpy_hyperparameters import hyperparameters
from offlinekit.datasets.formats.packed_arrays import plain_pickle, torch_archive
from offlinekit.errors import FileFormatError, UnsupportedError
from offlinekit.nn.encoders import MLPEncoder

GOLDEN = Path(__file__).parents[1] / "d3rlpy"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())
KINDS = [name for name in EXPECTED if name not in ("observations", "images")]
OF_IMAGES = ("DoubleDQN", "DiscreteSAC", "DQN", "TD3")
CLASSES = {"PLASWithPerturbation": "PLAS"}
DEFAULTS = json.loads((GOLDEN / "defaults.json").read_text())
PAGE = Path(__file__).parents[2] / "docs" / "from_d3rlpy.md"
NONE = {"type": "none", "params": {}}
VECTOR = {"type": "vector", "params": {"hidden_units": [3], "activation": "relu"}}


def written(name, folder):
    path = folder / f"{name}.d3"
    path.write_bytes(gzip.decompress((GOLDEN / f"{name}.d3.gz").read_bytes()))
    return path


@pytest.mark.parametrize("name", KINDS)
def test_d3rlpys_own_actions_and_values(name, tmp_path):
    """Layer norm, swish, scalers of three kinds, quantiles, images of bytes divided by 255 or (DQN) not.

    Made by tests/d3rlpy/make.py with d3rlpy 2.8.1. BCQ and BEAR choose among actions of numbers that d3rlpy draws at
    each call, for each observation; here they are put in place of those that an algorithm has drawn once. Layer norms
    of three units enlarge the rounding of float32.
    """
    algo = offlinekit.from_d3rlpy(written(name, tmp_path))
    seen, expected = np.array(EXPECTED["observations"], np.float32), EXPECTED[name]
    if name in OF_IMAGES:
        seen = np.array(EXPECTED["images"], np.uint8)
    assert type(algo).__name__ == CLASSES.get(name, name)
    if "drawn" in expected:
        for observation, drawn, action in zip(seen, expected["drawn"], expected["actions"], strict=True):
            numbers = torch.tensor(drawn)[:, None]
            if name == "BCQ":
                algo.impl.latents.copy_(numbers.clamp(-0.5, 0.5))
            else:
                algo.impl.noise.copy_(numbers)
            np.testing.assert_allclose(algo.predict(observation), action, atol=1e-5)
    else:
        np.testing.assert_allclose(algo.predict(seen), expected["actions"], atol=1e-5)
    np.testing.assert_allclose(
        algo.predict_value(seen, np.array(expected["actions"])), expected["values"], atol=1e-5
    )
    again = offlinekit.load(algo.save(tmp_path / "policy.okt"))
    np.testing.assert_array_equal(again.predict(seen), algo.predict(seen))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # Those of tests/d3rlpy/make.py that are no defaults here or there.
        ("PRDC", {"alpha": 1.5, "state_weight": 3.0, "batch_size": 4}),
        ("PLASWithPerturbation", {"perturbation": 0.2, "min_weight": 0.75, "decoder_tanh": False}),
        ("BCQ", {"n_actions": 3, "n_candidates": 3, "perturbation": 0.05, "decoder_tanh": False}),
        ("BEAR", {"n_actions": 10, "n_candidates": 3, "n_matched": 4, "mmd_threshold": 0.05}),
        ("CQL", {"alpha": 2.0, "gap_threshold": 3.0, "alpha_learning_rate": 1e-4, "soft_backup": False}),
    ],
)
def test_hyperparameters_of_the_same_meaning(name, values, tmp_path):
    algo = offlinekit.from_d3rlpy(written(name, tmp_path))
    assert {key: getattr(algo, key) for key in values} == values


def calls_of_the_page():
    """Returns the algorithms that the page makes with the defaults of d3rlpy, by class."""
    (block,) = (b for b in PAGE.read_text().split("```") if "like_d3rlpy =" in b)
    made = {}
    for line in block.removeprefix("python\n").splitlines():
        if line.startswith("algos."):
            algo = eval(line, made)
            made[type(algo).__name__] = algo
        else:
            exec(line, made)
    return made


@pytest.mark.parametrize("kind", [kind for kind in DEFAULTS if kind != "plas_with_perturbation"])
def test_the_page_has_every_default_that_differs(kind):
    """tests/d3rlpy/make.py wrote down those of d3rlpy 2.8.1."""
    front = catalogue()[kind]
    algo = calls_of_the_page()[front.__name__]
    theirs = hyperparameters(kind, DEFAULTS[kind], front, (3,))
    if algo.action_kind == "discrete":
        theirs.pop("action_scaler")
    ours = {name: getattr(algo, name) for name in theirs}
    for name in ours:  # What is said by a word or by sizes, where observations are no images.
        if name.endswith("encoder") and not isinstance(ours[name], MLPEncoder):
            sizes = ours[name]["hidden_sizes"] if isinstance(ours[name], dict) else (256, 256)
            ours[name] = MLPEncoder(tuple(sizes))
    assert ours == theirs


def optimizers(kind="adam", schedule="none", **options):
    options = {"lr_scheduler_factory": {"type": schedule, "params": {}}, **options}
    return {"type": kind, "params": options}


def test_optimizers():
    given = {"actor_optim_factory": optimizers("adam_w", weight_decay=0.1, clip_grad_norm=2.0)}
    given["critic_optim_factory"] = given["actor_optim_factory"]
    given["temp_optim_factory"] = optimizers()
    found = hyperparameters("sac", given, SAC, (3,))
    assert (found["optimizer"], found["weight_decay"], found["clip_grad_norm"]) == ("adamw", 0.1, 2.0)
    for other in (optimizers(), optimizers("sgd"), optimizers("adam_w", "warmup", weight_decay=0.1)):
        with pytest.warns(UserWarning, match="have no equal here, so adam takes their place"):
            found = hyperparameters("sac", {**given, "critic_optim_factory": other}, SAC, (3,))
        assert "optimizer" not in found
    alike = dict.fromkeys(("actor_optim_factory", "critic_optim_factory"), optimizers(schedule="warmup"))
    with pytest.warns(UserWarning, match=r"\('adam', 'warmup', None, None\)"):
        hyperparameters("sac", alike, SAC, (3,))


def test_what_there_has_no_name_here():
    """The rate of the critics is V's as well, no rate falls, and a target that is copied has tau 1."""
    iql = hyperparameters("iql", {"critic_learning_rate": 1e-3}, IQL, (3,))
    assert (iql["value_learning_rate"], iql["actor_lr_schedule"]) == (1e-3, None)
    assert hyperparameters("discrete_sac", DEFAULTS["discrete_sac"], DiscreteSAC, (3,))["tau"] == 1.0


def test_alpha_of_cql_is_times_the_weight_there(tmp_path):
    """There alpha' w (gap - t), here alpha (gap - t): log alpha = log alpha' + log w, w = 2."""
    held = pickle.loads(written("CQL", tmp_path).read_bytes())
    there = torch_archive(held["torch"])["log_alpha"]["_parameter"].item()
    algo = offlinekit.from_d3rlpy(tmp_path / "CQL.d3")
    assert algo.impl.log_alpha.item() == pytest.approx(there + np.log(2.0))


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"alpha_learning_rate": 0.0}, {"alpha": 6.0, "gap_threshold": None}),  # 2 * 3, never learned.
        ({"alpha_learning_rate": 1e-3}, {"alpha": 6.0, "gap_threshold": 4.0}),
        ({"max_q_backup": True}, {"max_backup": True, "max_backup_order": "action"}),
        ({"max_q_backup": True, "soft_q_backup": True}, {"max_backup": False, "soft_backup": True}),
    ],
)
def test_the_conservative_weight_of_cql(given, values):
    there = {
        "conservative_weight": 2.0,
        "initial_alpha": 3.0,
        "alpha_threshold": 4.0,
        "soft_q_backup": False,
        **given,
    }
    algo = CQL(**hyperparameters("cql", there, CQL, (2,)))
    assert {key: getattr(algo, key) for key in values} == values


def test_networks_alone_go_by_the_parameters_of_their_run(tmp_path):
    held = pickle.loads(written("IQL", tmp_path).read_bytes())
    (tmp_path / "model_2.pt").write_bytes(held["torch"])
    with pytest.raises(
        FileNotFoundError, match=r"holds networks alone, and there is no .*params\.json; give params="
    ):
        offlinekit.from_d3rlpy(tmp_path / "model_2.pt")
    (tmp_path / "params.json").write_text(held["config"])
    seen = np.array(EXPECTED["observations"], np.float32)
    for algo in (
        offlinekit.from_d3rlpy(tmp_path / "model_2.pt"),
        offlinekit.from_d3rlpy(tmp_path / "model_2.pt", params=tmp_path / "params.json"),
    ):
        np.testing.assert_allclose(algo.predict(seen), EXPECTED["IQL"]["actions"], atol=1e-6)


def test_load_names_the_way(tmp_path):
    with pytest.raises(
        FileFormatError, match=r"never read; one of d3rlpy is taken over by offlinekit.from_d3rlpy\(path\)"
    ):
        offlinekit.load(written("IQL", tmp_path))


def state(*sizes, head="_fc", heads=1, seed=0):
    """Returns a network of one hidden layer as d3rlpy names it."""
    rng = np.random.default_rng(seed)
    inputs, hidden, outputs = sizes
    shapes = {"_encoder._layers.0.weight": (hidden, inputs), "_encoder._layers.0.bias": (hidden,)}
    for name in [head] if heads == 1 else [head, "_logstd"]:
        shapes |= {f"{name}.weight": (outputs, hidden), f"{name}.bias": (outputs,)}
    return OrderedDict((n, torch.tensor(rng.normal(size=s), dtype=torch.float32)) for n, s in shapes.items())


def members(*states):
    return OrderedDict(
        (f"{i}.{name}", tensor) for i, one in enumerate(states) for name, tensor in one.items()
    )


def outputs_of(network, inputs, head="_fc"):
    """Returns what a network gives, by numpy."""
    arrays = {name: tensor.numpy() for name, tensor in network.items()}
    hidden = np.maximum(inputs @ arrays["_encoder._layers.0.weight"].T + arrays["_encoder._layers.0.bias"], 0)
    return hidden @ arrays[f"{head}.weight"].T + arrays[f"{head}.bias"]


CRITICS = [state(3, 3, 1, seed=seed) for seed in (1, 2)]
Q_OF_STATES = [state(2, 3, 3, seed=3)]
ACTOR, GAUSSIAN = state(2, 3, 1), state(2, 3, 1, head="_mu", heads=2)
TEMPERATURE = {"log_temp": {"_parameter": torch.tensor([[-1.5]])}}
FIXED = OrderedDict({**state(2, 3, 1, head="_mu"), "_logstd": torch.tensor([[0.25]])})
CONTINUOUS = {
    "bc": {"imitator": ACTOR},
    **{
        name: {"policy": ACTOR, "targ_policy": ACTOR, "q_funcs": members(*CRITICS)}
        for name in ("td3", "td3_plus_bc", "rebrac")
    },
    "ddpg": {"policy": ACTOR, "targ_policy": ACTOR, "q_funcs": members(CRITICS[0])},
    "sac": {"policy": GAUSSIAN, "q_funcs": members(*CRITICS), **TEMPERATURE},
    **{
        name: {"policy": GAUSSIAN, "q_funcs": members(*CRITICS), **TEMPERATURE, "log_alpha": TEMPERATURE["log_temp"]}
        for name in ("cql", "cal_ql")
    },
    "awac": {"policy": FIXED, "q_funcs": members(*CRITICS)},
    "iql": {"policy": FIXED, "q_funcs": members(*CRITICS), "value_func": state(2, 3, 1, seed=4)},
}  # fmt: skip
DISCRETE = {
    **{name: {"q_funcs": members(*Q_OF_STATES)} for name in ("dqn", "double_dqn", "discrete_cql", "nfq")},
    "discrete_bcq": {"q_funcs": members(*Q_OF_STATES), "imitator": state(2, 3, 3, seed=5)},
    "discrete_sac": {"q_funcs": members(*Q_OF_STATES), "policy": state(2, 3, 3, seed=5), **TEMPERATURE},
    "discrete_bc": {"imitator": state(2, 3, 3, seed=5)},
}


def by_hand(path, kind, networks, **params):
    """Writes a file as d3rlpy does: a pickle with the archive of torch and the configuration."""
    if "q_funcs" in networks:
        networks = {**networks, "targ_q_funcs": networks["q_funcs"]}
    content = io.BytesIO()
    torch.save(
        {**networks, "optim": {"state": {0: {"step": 3}}, "param_groups": [{"betas": (0.9, 0.99)}]}}, content
    )
    is_discrete = kind in DISCRETE
    factories = ("encoder_factory", "actor_encoder_factory", "critic_encoder_factory")
    given = {
        **dict.fromkeys(factories, VECTOR),
        **dict.fromkeys(("observation_scaler", "reward_scaler"), NONE),
    }
    given |= {
        "action_scaler": NONE,
        "gamma": 0.9,
        "n_critics": len({k[0] for k in networks.get("q_funcs", "0")}),
    }
    config = {
        "observation_shape": [2],
        "action_size": 3 if is_discrete else 1,
        "config": {"type": kind, "params": {**given, **params}},
    }
    path.write_bytes(
        pickle.dumps({"torch": content.getvalue(), "config": json.dumps(config), "version": "2.8.1"})
    )
    return path


@pytest.mark.parametrize("kind", [*CONTINUOUS, *DISCRETE])
def test_every_algorithm_by_numpy(kind, tmp_path):
    networks = (CONTINUOUS | DISCRETE)[kind]
    algo = offlinekit.from_d3rlpy(by_hand(tmp_path / "policy.d3", kind, networks))
    seen = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)
    assert (algo.catalogue_name(), algo.gamma, algo.impl.grad_step) == (kind, 0.9, 0)
    if kind in CONTINUOUS:
        actor = networks.get("policy", networks.get("imitator"))
        expected = np.tanh(outputs_of(actor, seen, "_mu" if "_mu.weight" in actor else "_fc"))
        np.testing.assert_allclose(algo.predict(seen), expected, atol=1e-6)
    elif kind in ("discrete_bc", "discrete_sac"):
        decides = networks.get("imitator", networks.get("policy"))
        assert algo.predict(seen).tolist() == outputs_of(decides, seen).argmax(1).tolist()
    else:
        values = outputs_of(Q_OF_STATES[0], seen)
        for action in range(3):
            np.testing.assert_allclose(
                algo.predict_value(seen, np.full(2, action)), values[:, action], rtol=1e-5
            )
    if kind in CONTINUOUS and kind != "bc":
        pair = np.concatenate([seen, np.full((2, 1), 0.5, np.float32)], 1)
        n = 1 if kind == "ddpg" else 2
        values = np.mean([outputs_of(critic, pair) for critic in CRITICS[:n]], 0)[:, 0]
        np.testing.assert_allclose(algo.predict_value(seen, np.full((2, 1), 0.5)), values, rtol=1e-5)


def test_temperatures_and_deviations(tmp_path):
    algo = offlinekit.from_d3rlpy(by_hand(tmp_path / "sac.d3", "sac", CONTINUOUS["sac"]))
    assert algo.impl.log_temperature.item() == -1.5
    # Between -5 and 2 there: -5 + 7 sigmoid(0.25) = -5 + 7 * 0.562177 = -1.064763.
    algo = offlinekit.from_d3rlpy(
        by_hand(tmp_path / "iql.d3", "iql", CONTINUOUS["iql"], weight_temp=4.0, expectile=0.8)
    )
    np.testing.assert_allclose(algo.impl.policy.log_stds.item(), -1.064763, atol=1e-5)
    assert (algo.beta, algo.expectile) == (4.0, 0.8)


@pytest.mark.parametrize(
    ("scaler", "reward", "scaled"),
    [
        # (3 - 1) / (2 + 0.5) = 0.8; with a multiplier of 10 eight.
        ({"type": "standard", "params": {"mean": 1.0, "std": 2.0, "eps": 0.5, "multiplier": 1.0}}, 3.0, 0.8),
        ({"type": "standard", "params": {"mean": 1.0, "std": 2.0, "eps": 0.5, "multiplier": 10.0}}, 3.0, 8.0),
        # 2 (3 - 1) / (5 - 1) = 1.
        ({"type": "min_max", "params": {"minimum": 1.0, "maximum": 5.0, "multiplier": 2.0}}, 3.0, 1.0),
        ({"type": "multiply", "params": {"multiplier": 0.1}}, 3.0, 0.3),
        ({"type": "shift", "params": {"shift": -1.0}}, 3.0, 2.0),
        # 100 * 3 / (20 - 5) = 20.
        ({"type": "return", "params": {"return_max": 20.0, "return_min": 5.0, "multiplier": 100.0}}, 3.0, 20.0),
    ],
)  # fmt: skip
def test_scalers_of_rewards(scaler, reward, scaled, tmp_path):
    path = by_hand(tmp_path / "dqn.d3", "dqn", DISCRETE["dqn"], reward_scaler=scaler)
    np.testing.assert_allclose(
        offlinekit.from_d3rlpy(path).scaling.reward.transform(np.array(reward)), scaled, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("crr", {}, "a deviation for each state"),
        ("unheard_of", {}, "cannot be taken over: known are awac, bc"),
        (
            "dqn",
            {"encoder_factory": {"type": "pixel", "params": {}}},
            "encoders of the kind 'pixel' are not taken over; those of vectors",
        ),
        ("bc", {"policy_type": "stochastic"}, "stochastic policy"),
        ("decision_transformer", {}, "blocks are not those"),
        (
            "dqn",
            {"encoder_factory": {"type": "vector", "params": {"use_batch_norm": True}}},
            "use_batch_norm=",
        ),
        (
            "dqn",
            {"q_func_factory": {"type": "iqn", "params": {}}},
            "Q-functions of the kind iqn are not there",
        ),
        (
            "dqn",
            {"reward_scaler": {"type": "clip", "params": {}}},
            "scalers of the kind 'clip' are not taken over",
        ),
    ],
)
def test_what_is_not_there_is_refused_by_name(kind, params, message, tmp_path):
    path = by_hand(tmp_path / "policy.d3", kind, DISCRETE["dqn"], **params)
    with pytest.raises(UnsupportedError, match=message):
        offlinekit.from_d3rlpy(path)


class Runs:
    """Would run code when it is unpickled."""

    def __reduce__(self):
        return print, ("it ran",)


def with_pickle(held):
    """Returns an archive of torch with a pickle of its own."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(held, protocol=2))
    return content.getvalue()


def test_no_code_of_a_file_is_run(tmp_path, capsys):
    for content in (
        pickle.dumps(Runs()),
        pickle.dumps({"torch": Runs(), "config": ""}),
        with_pickle({"policy": Runs()}),
    ):
        (tmp_path / "policy.d3").write_bytes(content)
        (tmp_path / "params.json").write_text('{"config": {"type": "dqn", "params": {}}}')
        with pytest.raises(FileFormatError, match="which is never called"):
            offlinekit.from_d3rlpy(tmp_path / "policy.d3")
    assert capsys.readouterr().out == ""


def test_damaged_files(tmp_path):
    sound = by_hand(tmp_path / "dqn.d3", "dqn", DISCRETE["dqn"])
    content = sound.read_bytes()
    for damaged in (
        content[:200],
        b"",
        b"PK",
        pickle.dumps([1]),
        pickle.dumps({"torch": b"", "config": "{}"}),
    ):
        (tmp_path / "damaged.d3").write_bytes(damaged)
        with pytest.raises((FileFormatError, FileNotFoundError)):
            offlinekit.from_d3rlpy(tmp_path / "damaged.d3")
    by_hand(
        sound, "dqn", {"q_funcs": members(state(2, 4, 3))}
    )  # Four hidden units where the encoder says three.
    with pytest.raises(FileFormatError, match=r"has shape .* in the file, expected"):
        offlinekit.from_d3rlpy(sound)
    huge = {"type": "vector", "params": {"hidden_units": [10**9], "activation": "relu"}}
    by_hand(sound, "dqn", DISCRETE["dqn"], actor_encoder_factory=huge)
    with pytest.raises(FileFormatError, match="max_bytes"):
        offlinekit.from_d3rlpy(sound)


def test_tensors_stay_inside_of_their_storage():
    content = io.BytesIO()
    torch.save({"a": {"seen": torch.arange(6.0).reshape(2, 3).T, "none": torch.zeros(0, 2)}}, content)
    found = torch_archive(content.getvalue())["a"]
    assert found["seen"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["none"].shape == (0, 2)
    # The stride 3 of the first axis, made 4: number 0 + 2 * 1 + 1 * 4 = 6 lies behind the last, 5.
    with zipfile.ZipFile(content) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    forged = io.BytesIO()
    with zipfile.ZipFile(forged, "w") as archive:
        for name, part in files.items():
            archive.writestr(
                name,
                part.replace(b"K\x01K\x03\x86", b"K\x01K\x04\x86") if name.endswith("data.pkl") else part,
            )
    with pytest.raises(FileFormatError, match="a tensor reaches to number 6 of 6"):
        torch_archive(forged.getvalue())


def test_plain_pickles():
    held = {"a": b"x", "b": [1, 2.5, None, True], "c": ("d", {})}
    assert plain_pickle(pickle.dumps(held, protocol=4)) == held
    with pytest.raises(FileFormatError, match="never called"):
        plain_pickle(pickle.dumps(np.zeros(2)))

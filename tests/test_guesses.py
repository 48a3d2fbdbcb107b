"""First guesses of users of other libraries: each works, or is answered by what does, at every door."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import pickle

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gymnasium import spaces

import offlinekit
from offlinekit.algos import CQL, DQN, IQL, SAC, Population, catalogue
from offlinekit.cli.main import main
from offlinekit.configured import Configured, fields_of
from offlinekit.datasets import TableSchema, get_dataset
from offlinekit.ground import guesses
from offlinekit.ground.guesses import TABLE, Answer
from offlinekit.ground.hints import answer, hint
from offlinekit.metrics import bootstrap_interval, evaluate, get_evaluator, on_dataset
from offlinekit.nn.encoders import CNNEncoder, MLPEncoder, ModuleEncoder, resolve_encoder
from offlinekit.sampling.scalers import MinMaxObservationScaler, Scaler
from offlinekit.sweeps import Range
from offlinekit.testing import small_dataset
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.setup.settings import RunSettings, settings_of

SMALL = {"encoder": [8], "batch_size": 8, "seed": 0, "device": "cpu"}
QUIET = {"out": None, "progress": False}


RESULTS = "Evaluation Trial Contributions Estimate Logged Report Sweep RandomPolicy"
"""Classes that calls return, or that take things alone."""
MODULES = "algos datasets envs envs.text metrics metrics.ope sweeps training"


def optional(thing):
    """Returns the names of what a function, or the constructor of a class, takes but does not need."""
    parameters = inspect.signature(thing).parameters.values()
    return [p.name for p in parameters if p.default is not p.empty]


def with_options():
    """Returns the public functions and classes, algorithms and the like aside, that take something optional."""
    places = [importlib.import_module(f"offlinekit.{module}") for module in MODULES.split()]
    named = {n: getattr(place, n) for place in places for n in getattr(place, "__all__", vars(place))}
    scalers = [scaler for kinds in Scaler.kinds.values() for scaler in kinds.values()]
    named |= {kind.__name__: kind for kind in [MLPEncoder, *MLPEncoder.__subclasses__(), *scalers]}
    passed = (Exception, tuple, dict, Configured, ModuleEncoder)
    found = []
    for name, thing in named.items():
        is_ours = name[0] != "_" and getattr(thing, "__module__", "").startswith("offlinekit.")
        is_made = inspect.isclass(thing) and not issubclass(thing, passed) and name not in RESULTS.split()
        if is_ours and (is_made or inspect.isfunction(thing)) and optional(thing):
            found.append(thing)
    return found


def small(**given):
    return IQL(**{**SMALL, **given})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """An algorithm with a run of two updates."""
    out = tmp_path_factory.mktemp("runs")
    return small().fit(small_dataset("continuous"), 2, out=out, progress=False)


# What is guessed and works.


def test_the_package_opens_its_modules():
    assert offlinekit.algos.IQL is IQL
    assert offlinekit.datasets.get_dataset is get_dataset
    assert {"algos", "load"} <= set(dir(offlinekit))


@pytest.mark.parametrize("front", [IQL, DQN])
def test_hidden_sizes_are_an_encoder(front):
    dataset = small_dataset("continuous" if front is IQL else "discrete")
    short = front(**{**SMALL, "encoder": [8, 4]}).fit(dataset, 2, **QUIET)
    long = front(**{**SMALL, "encoder": {"type": "mlp", "hidden_sizes": (8, 4)}}).fit(dataset, 2, **QUIET)
    mine, other = short.impl.state_dict(), long.impl.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_hidden_sizes_follow_convolutions_of_images():
    encoder = resolve_encoder([8], spaces.Box(0, 255, (3, 36, 36), np.uint8))
    assert encoder == CNNEncoder(hidden_sizes=(8,))


def test_hidden_sizes_go_through_files(tmp_path):
    algo = small().build(small_dataset("continuous"))
    again = offlinekit.load(algo.save(tmp_path / "policy.okt"))
    assert again.config == algo.config
    assert json.dumps(algo.config["encoder"]) == '{"type": "auto", "hidden_sizes": [8]}'


@pytest.mark.parametrize(
    "given", [["td_error"], "td_error", {"td_error": "td_error"}, {"td_error": get_evaluator("td_error")}]
)
def test_evaluators_by_name(given):
    row = small().fit(small_dataset("continuous"), 2, evaluators=given, **QUIET).history[-1]
    assert row["td_error"] > 0


def test_evaluators_by_name_take_options():
    name = "soft_opc:return_threshold=-1000"
    row = small().fit(small_dataset("continuous"), 2, evaluators=[name], **QUIET).history[-1]
    assert row[name] == 0.0  # Every episode reaches -1000, so the mean over them less that over all is 0.


def test_a_run_folder_loads(fitted):
    assert offlinekit.load(fitted.run_dir).grad_step == 2


def test_a_folder_of_runs_names_one(fitted):
    with pytest.raises(FileNotFoundError, match=f"holds one run, give that: .*{fitted.run_dir.name}"):
        offlinekit.load(fitted.run_dir.parent)


def test_the_history_is_a_frame(fitted):
    frame = fitted.history.to_frame()
    assert list(frame["step"]) == [2]
    assert "critic_loss" in frame
    with pytest.raises(TypeError, match=r"to_frame\(\)\['critic_loss'\]"):
        fitted.history["critic_loss"]


def test_a_run_has_a_name_and_tags(tmp_path):
    algo = small().fit(
        small_dataset("continuous"), 2, out=tmp_path, progress=False, run_name="First: try", tags=["baseline"]
    )
    assert algo.run_dir.name.startswith("First-try_2")
    config = json.loads((algo.run_dir / "config.json").read_text())
    assert (config["run_name"], config["tags"]) == ("First: try", ["baseline"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"run_name": ""}, "run_name must be a text"),
        ({"tags": "baseline"}, "tags must be a list"),
        ({"callbacks": print}, "callbacks must be a list"),
        ({"callbacks": [3]}, "a callback is a function"),
        ({"early_stopping": 5}, "EarlyStopping\\('eval/return_mean', patience=5\\)"),
        ({"evaluators": [3]}, "evaluators must be a list of names"),
        ({"progress": "yes"}, "progress must be True or False"),
    ],
)
def test_what_a_run_cannot_take_is_answered(given, words):
    with pytest.raises(TypeError, match=words):
        small().fit(small_dataset("continuous"), 2, **{**QUIET, **given})


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (torch.nn.Linear(3, 8), r"each network needs its own; .* encoder=lambda space: Linear\("),
        (torch.nn.Linear, "takes the observation space alone"),
        (64, r"hidden sizes such as \[256, 256\]"),
        ("MLP", "did you mean 'mlp'"),
    ],
)
def test_encoders_are_answered(encoder, words):
    with pytest.raises((TypeError, ValueError), match=words):
        small(encoder=encoder).build(small_dataset("continuous"))


def test_the_remedy_for_a_module_works():
    encoder = lambda space: torch.nn.Linear(space.shape[0], 8)  # noqa: E731  # As the message has it.
    assert small(encoder=encoder).fit(small_dataset("continuous"), 2, **QUIET).grad_step == 2


def test_a_rate_of_zero_is_answered():
    with pytest.raises(ValueError, match=r"got 0\.0; alpha is fixed .*gap_threshold=None"):
        CQL(alpha_learning_rate=0.0)
    with pytest.raises(ValueError, match=r"got 0; the temperature .*1e-12"):
        SAC(temperature_learning_rate=0)


def test_the_cpu_has_torchs_name_too():
    assert small(device="cpu:0").build(small_dataset("continuous")).impl.device == torch.device("cpu")


def test_a_rate_that_is_a_function_is_answered():
    with pytest.raises(TypeError, match="lr_schedule=lambda done: 1 - done"):
        IQL(actor_learning_rate=lambda done: 1e-3 * done)


# What is guessed and answered: the table.


def entries(*doors):
    return [(door, names, meant) for door in doors for names, meant in TABLE[door].items()]


ANSWERS = {
    f"{answered.words}: {answered.remedy}": answered
    for _, _, answered in entries(*TABLE)
    if isinstance(answered, Answer)
}


@pytest.mark.parametrize("answered", ANSWERS.values(), ids=lambda each: each.remedy[:50])
def test_each_remedy_works(answered, fitted, tmp_path, monkeypatch):
    """Code runs as it stands, but for the length of runs; commands parse."""
    monkeypatch.chdir(tmp_path)
    if answered.remedy.startswith("offlinekit "):
        _, name, *options = answered.remedy.split()
        command = main.get_command(click.Context(main), name)
        assert command.make_context(name, options).params
        return
    dataset, env = get_dataset("pendulum-mixed")
    algo = small().fit(dataset, 2, progress=False)
    algo.save("policy.okt")
    fit, fit_online = algo.fit, algo.fit_online
    held_out = dataset
    names = {"n_steps": 2, "eval_interval": 2, "progress": False}
    vars(algo)["fit"] = lambda data, **given: fit(data, **{**given, **names})
    vars(algo)["fit_online"] = lambda place, **given: fit_online(
        place, **{**given, **names, "episode_steps": 2, "eval_episodes": 1, "max_seconds": 1}
    )
    vars(algo)["export"] = inspect.signature(algo.export).bind  # Tests of export compute it.
    x = dataset.observations[:2]
    about = {
        **{"offlinekit": offlinekit, "copy": copy, "IQL": IQL, "get_dataset": get_dataset},
        **{"get_evaluator": get_evaluator, "on_dataset": on_dataset},
        **{
            "CQL": CQL,
            "SAC": SAC,
            "algo": algo,
            "dataset": dataset,
            "env": env,
            "x": x,
            "held_out": held_out,
        },
    }
    remedy = answered.remedy.replace(
        "IQL().fit(dataset, n_steps=10)", "IQL(encoder=[8]).fit(dataset, n_steps=2)"
    )
    remedy = remedy.replace("evaluate(algo, 'Pendulum-v1')", "evaluate(algo, 'Pendulum-v1', 1, max_steps=2)")
    exec(remedy, about)


@pytest.mark.parametrize("front", catalogue().values(), ids=lambda front: front.__name__)
def test_a_guessed_hyperparameter_is_one_of_the_algorithm(front):
    known = set(fields_of(front))
    for _, names, meant in entries("hyperparameter"):
        for name in set(names.split()) - known:
            with pytest.raises(TypeError, match=f"has no hyperparameter '{name}'") as refused:
                front(**{name: 1})
            if isinstance(meant, Answer):
                assert meant.remedy in str(refused.value)
            elif "did you mean" in str(refused.value):
                suggested = str(refused.value).partition("did you mean ")[2].replace(" or ", ", ").rstrip("?")
                assert {each.strip("'") for each in suggested.split(", ")} <= known


def test_names_that_are_meant_are_there():
    """A rename that nothing has would never be shown."""
    hyperparameters = {name for front in catalogue().values() for name in fields_of(front)}
    commands = main.list_commands(click.Context(main))
    options = {
        option
        for name in commands
        for parameter in main.get_command(click.Context(main), name).params
        for option in parameter.opts
    }
    known = {
        "hyperparameter": hyperparameters,
        "keyword": {"n_steps", *settings_of(RunSettings), *settings_of(OnlineSettings)},
        "argument": {name for thing in with_options() for name in optional(thing)} | {"device", "n_episodes"},
        "dataset attribute": set(dir(small_dataset("continuous"))),
        "command": set(commands),
        "command-line option": options,
        **{name: set(vars(getattr(offlinekit, name.partition(".")[2]))) for name in TABLE if "." in name},
    }
    for door, names, meant in entries(*TABLE):
        if not isinstance(meant, Answer):
            assert "did you mean" in answer(door, names.split()[0], known[door]), names


def test_an_environment_to_learn_in_goes_by_its_name():
    algo = SAC(**SMALL).fit_online("Pendulum-v1", 12, eval_episodes=1, **QUIET)
    assert algo.grad_step == 12
    members = Population([SAC(**{**SMALL, "seed": seed}) for seed in range(2)])
    assert [each.grad_step for each in members.fit_online("Pendulum-v1", 2, eval_episodes=1, **QUIET)] == [
        2,
        2,
    ]


@pytest.mark.parametrize(
    ("guessed", "meant"),
    [
        ("utd", "updates_per_step"),
        ("learning_starts", "warmup_steps"),
        ("num_envs", "n_envs"),
        ("explorer", "exploration"),
    ],
)
def test_keywords_of_online_runs(guessed, meant):
    with pytest.raises(TypeError, match=f"fit_online has no keyword '{guessed}'; did you mean '{meant}'"):
        SAC(**SMALL).fit_online("Pendulum-v1", 2, **{guessed: 1})


def test_the_number_of_steps_has_other_names_elsewhere():
    with pytest.raises(
        TypeError, match="fit_online has no keyword 'total_timesteps'; did you mean 'n_steps'"
    ):
        SAC(**SMALL).fit_online("Pendulum-v1", total_timesteps=2)


@pytest.mark.parametrize("method", ["fit", "fit_online"])
def test_a_guessed_keyword_is_answered(method):
    record = RunSettings if method == "fit" else OnlineSettings
    for _, names, _ in entries("keyword"):
        for name in set(names.split()) - {"env", *settings_of(record)}:
            with pytest.raises(TypeError, match=f"{method} has no keyword '{name}'(; .+)"):
                getattr(small(), method)(small_dataset("continuous"), 2, **{name: 1})


def test_a_guessed_attribute_of_a_dataset_is_answered():
    dataset = small_dataset("continuous")
    for _, names, meant in entries("dataset attribute"):
        for name in names.split():
            with pytest.raises(AttributeError, match=f"object has no attribute '{name}'; ") as refused:
                getattr(dataset, name)
            remedy = meant.remedy if isinstance(meant, Answer) else f"did you mean '{meant[0]}'"
            assert remedy in str(refused.value)
    with pytest.raises(AttributeError, match="has no attribute 'reward'; did you mean 'rewards'"):
        dataset.reward  # noqa: B018
    assert not hasattr(dataset, "__array__")  # As numpy looks for what it can use.
    assert len(copy.deepcopy(dataset)) == len(pickle.loads(pickle.dumps(dataset))) == len(dataset)


def test_a_dataset_in_place_of_observations_is_answered():
    dataset = small_dataset("continuous")
    algo = small().build(dataset)
    for call in (algo.predict, algo.sample_action, lambda data: algo.predict_value(data, dataset.actions)):
        with pytest.raises(TypeError, match=r"observations, got an MDPDataset; give dataset\.observations"):
            call(dataset)


def test_a_guessed_attribute_is_answered(fitted):
    for _, names, meant in entries("attribute"):
        for name in names.split():
            with pytest.raises(AttributeError, match=f"'IQL' object has no attribute '{name}'; ") as refused:
                getattr(fitted, name)
            assert meant.remedy in str(refused.value)
    assert not hasattr(fitted, "get_params")  # As scikit-learn and copy look for what they can use.


@pytest.mark.parametrize(
    "module",
    ["offlinekit", "offlinekit.algos", "offlinekit.datasets", "offlinekit.metrics", "offlinekit.training"],
)
def test_a_guessed_name_of_a_module_is_answered(module):
    place = offlinekit if module == "offlinekit" else getattr(offlinekit, module.partition(".")[2])
    for _, names, _ in entries(module):
        for name in names.replace("[A-Z]*", "TD3").replace("*", "IQL").split():
            with pytest.raises(AttributeError, match=f"has no attribute '{name}'; ") as read:
                getattr(place, name)
            with pytest.raises(
                ImportError, match=f"cannot import name '{name}' from '{module}'; "
            ) as imported:
                exec(f"from {module} import {name}")
            assert str(read.value).partition("; ")[2] == str(imported.value).partition("; ")[2]
            assert not hasattr(place, name)
            assert getattr(place, name, None) is None


def test_imports_of_what_is_there_and_of_what_has_no_answer():
    from offlinekit import configured  # A submodule that no attribute names.

    assert configured.__name__ == "offlinekit.configured"
    with pytest.raises(ImportError, match="cannot import name 'qqqq'"):
        exec("from offlinekit import qqqq")
    with pytest.raises(AttributeError):
        offlinekit.__wrapped__  # noqa: B018  # As inspect looks for it.


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("IQLConfig", "IQL(gamma=0.99)"),
        ("TDErrorEvaluator", "evaluators=['td_error']"),
        ("StandardObservationScaler", "observation_scaler='standard'"),
        ("VectorEncoderFactory", "MLPEncoder"),
        ("ReplayBuffer", "offlinekit.datasets.MDPDataset"),
        ("get_d4rl", "hopper-medium-v2"),
        ("preprocessing", "observation_scaler='standard'"),
    ],
)
def test_names_of_the_package_have_answers_of_their_kind(name, words):
    with pytest.raises(ImportError) as refused:
        exec(f"from offlinekit import {name}")
    assert words in str(refused.value)


def test_arguments_are_answered(fitted):
    x = small_dataset("continuous").observations[:2]
    with pytest.raises(
        TypeError, match=r"predict has no argument 'deterministic'; .*algo\.sample_action\(x\)"
    ):
        fitted.predict(x, deterministic=True)
    with pytest.raises(
        TypeError, match=r"predict has no argument 'noise'; it has: observations, legal_actions"
    ):
        fitted.predict(x, noise=True)
    with pytest.raises(
        TypeError, match="evaluate has no argument 'n_eval_episodes'; did you mean 'n_episodes'"
    ):
        evaluate(fitted, "Pendulum-v1", n_eval_episodes=1)


def test_unknown_arguments_of_whatever_has_options_are_answered():
    walked = with_options()
    assert {MLPEncoder, bootstrap_interval, Range, Population} <= set(walked)
    # The first takes what it reads before the options of its reader; robots have the second without this package.
    for thing in set(walked) - {get_dataset, TableSchema}:
        with pytest.raises(TypeError, match=r"\w has no argument 'qqqq'; it has: "):
            thing(qqqq=1)


def test_options_of_other_libraries_are_answered_where_settings_are_made():
    for make, meant in (
        (lambda: MLPEncoder(hidden_units=[64, 64]), "did you mean 'hidden_sizes'"),
        (lambda: CNNEncoder(use_batch_norm=True), r"MLPEncoder\(layer_norm=True\)"),
        (lambda: MinMaxObservationScaler(minimum=0.0), r"IQL\(observation_scaler='standard'\)"),
        (lambda: Range(min=1e-4, max=1e-2), "did you mean 'low'"),
        (lambda: bootstrap_interval([1.0, 2.0], n_boot=10), "did you mean 'n_resamples'"),
    ):
        with pytest.raises(TypeError, match=rf"has no argument '\w+'; .*{meant}"):
            make()


def test_signatures_show_keywords_with_their_defaults():
    class Mine(IQL):
        family = ""
        zeta: float = 2.0

    shown = inspect.signature(Mine).parameters
    assert set(shown) == set(fields_of(Mine))
    assert (shown["zeta"].default, shown["expectile"].default, shown["expectile"].kind.name) == (
        2.0,
        0.7,
        "KEYWORD_ONLY",
    )
    assert str(inspect.signature(MLPEncoder)).startswith("(hidden_sizes: 'tuple[int, ...]' = (256, 256), ")


def test_a_synonym_set_later_is_refused():
    algo = small()
    with pytest.raises(AttributeError, match="IQL has no 'discount'; did you mean 'gamma'"):
        algo.discount = 0.9
    algo.note = "of my own"


def test_a_synonym_in_a_class_of_the_user_passes():
    class WithNetwork(IQL):
        family = ""
        network = "of my own"

    assert WithNetwork().network == "of my own"


def test_an_error_within_a_property_is_itself():
    class Broken(IQL):
        family = ""

        @property
        def train(self):
            raise AttributeError("of my own")

    with pytest.raises(AttributeError):
        Broken().train  # noqa: B018


def test_commands_and_options_are_answered():
    run = CliRunner().invoke
    for _, names, _ in entries("command"):
        for name in names.split():
            assert "did you mean" in run(main, [name]).output, name
    for _, names, _ in entries("command-line option"):
        for name in names.split():
            output = " ".join(run(main, ["train", f"--{name}", "1"]).output.split())
            assert f"'--{name}'" in output
            assert "did you mean" in output.lower() or "offlinekit train" in output, output


def test_a_hyperparameter_as_an_option_is_answered():
    output = CliRunner().invoke(main, ["train", "--algo", "iql", "--batch-size", "3"]).output
    assert "--set batch_size=3" in " ".join(output.split())
    output = CliRunner().invoke(main, ["train", "--algo", "iql", "--lr", "1e-3"]).output
    assert "'actor_learning_rate'" in " ".join(output.split())


def test_names_are_meant_whatever_their_capitals():
    assert hint("offlinekit.algos", "Iql", offlinekit.algos.__all__) == "; did you mean 'IQL'?"


def test_no_guess_stands_twice_at_a_door():
    for door, table in guesses.TABLE.items():
        names = [name for group in table for name in group.split()]
        assert len(names) == len(set(names)), door

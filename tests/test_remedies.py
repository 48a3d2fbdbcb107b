"""Remedies work: what an error or a warning advises, taken from its own text and followed, gets further."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy
import numpy as np
import pandas
import pytest
import torch
from click.testing import CliRunner
from gymnasium import spaces

from offlinekit import algos
from offlinekit.algos import BC, DQN, SAC, TD3, CNNEncoder, DecisionTransformer, MLPEncoder
from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset, collect, get_dataset
from offlinekit.datasets.editing.concatenation import concatenate
from offlinekit.datasets.editing.converting import convert
from offlinekit.envs.env_spaces import action_remedy
from offlinekit.metrics import RandomPolicy, evaluate, get_evaluator
from offlinekit.testing import small_dataset
from offlinekit.training.early_stopping import EarlyStopping

QUIET: dict[str, Any] = {"out": None, "progress": False, "value_alarm": "off"}
SMALL: dict[str, Any] = {"batch_size": 4, "seed": 0, "device": "cpu", "encoder": MLPEncoder((8,))}
ROWS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
NAMES = {
    "gymnasium": gymnasium,
    "numpy": numpy,
    "np": np,
    "get_evaluator": get_evaluator,
    "CNNEncoder": CNNEncoder,
    "get_dataset": get_dataset,
    "Box": lambda *_: spaces.Box(-9, 9, (1,)),
    "Discrete": spaces.Discrete,
}


class Remedy(NamedTuple):
    """A call that fails or warns, what of the message to follow, and how; `found` has the text in its groups."""

    call: Callable[[Path], object]
    pattern: str
    follow: Callable[[re.Match[str], Path], object]


def run(code: str, **names: object) -> Any:
    """Returns the value of code that a message gives."""
    return eval(code, {**NAMES, **names})


def keywords(code: str) -> dict[str, Any]:
    """Returns the arguments that a message gives, such as out='runs'."""
    found: dict[str, Any] = run(f"dict({code})")
    return found


def data(**changed: Any) -> MDPDataset:
    plain = {
        "observations": ROWS,
        "actions": [0, 1, 0, 1, 0, 1],
        "rewards": np.ones(6),
        "terminals": [0, 0, 1] * 2,
    }
    return MDPDataset(**{**plain, **changed})


def fit(front: Any = BC, dataset: MDPDataset | None = None, n_steps: int = 1, **given: Any) -> Any:
    chosen = small_dataset("continuous") if dataset is None else dataset
    return front(**SMALL).fit(chosen, n_steps, **{**QUIET, **given})


class World(gymnasium.Env[Any, Any]):
    """Three steps an episode, of any spaces; the action must lie in its own."""

    def __init__(self, sees: Any = None, acts: Any = None) -> None:
        self.observation_space = sees or spaces.Box(-1, 1, (2,))
        self.action_space = acts or spaces.Discrete(2)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t == 3, False, {}


def recorded(env: gymnasium.Env[Any, Any]) -> MDPDataset:
    return collect(RandomPolicy(env.action_space), env, 20, progress=False)


def in_world(sees: Any = None, acts: Any = None) -> Remedy:
    """A recording in a world whose spaces no dataset holds, and a fit with evaluations in one that is wrapped."""

    def follow(found: re.Match[str], _: Path) -> None:
        env = run(found[1], env=World(sees, acts))
        dataset = recorded(env)
        fit(DQN if isinstance(dataset.action_space, spaces.Discrete) else TD3, dataset, eval_env=env)

    return Remedy(lambda _: recorded(World(sees, acts)), r"wrap the environment: (.*)$", follow)


def elsewhere(acts: Any, others: Any) -> Remedy:
    """A policy of some actions in a world that numbers them otherwise, and in one that is wrapped."""

    def follow(found: re.Match[str], _: Path) -> None:
        fit(DQN, recorded(World(acts=acts)), eval_env=run(found[1], env=World(acts=others)))

    return Remedy(
        lambda _: fit(DQN, recorded(World(acts=acts)), eval_env=World(acts=others)), r"wrap it: (.*)$", follow
    )


def small_actions() -> MDPDataset:
    """Rows as those of Pendulum, with actions in a range of their own."""
    return recorded(World(spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (1,))))


def rescaled(found: re.Match[str], _: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(TD3, small_actions(), eval_env=run(found[1], env=gymnasium.make("Pendulum-v1")), max_steps=3)


def trained(folder: Path) -> Path:
    run_dir: Path = fit(out=folder / "runs").run_dir
    return run_dir


def command(line: str) -> Callable[[Path], object]:
    """Returns a call of a command, which raises what it prints if it fails."""

    def call(folder: Path) -> None:
        words = [word.replace("FOLDER", str(folder)) for word in line.split()]
        if "RUN" in words:
            words[words.index("RUN")] = str(trained(folder))
        result = CliRunner().invoke(main, words)
        if result.exit_code:
            raise ValueError(" ".join(result.output.split()))

    return call


def table(folder: Path, **options: Any) -> MDPDataset:
    columns = {"age": np.arange(4.0), "dose": np.arange(4.0) / 9, "reward": np.ones(4), "stay": [0, 0, 1, 1]}
    pandas.DataFrame(columns).to_csv(folder / "t.csv", index=False)
    return get_dataset(folder / "t.csv", **options)[0]


def commas(folder: Path, **options: Any) -> MDPDataset:
    (folder / "c.csv").write_text("age;dose;reward;stay\n1;0,5;1,5;0\n2;0,25;2,5;0\n")
    return get_dataset(folder / "c.csv", separator=";", **TABLE, **options)[0]


def again(folder: Path) -> object:
    small_dataset("continuous").save(folder / "a.h5")
    return MDPDataset.open(folder / "a.h5")


TEXTS = np.array([["a"], ["b"]] * 3)
TABLE = {"observations": ["age"], "action": "dose", "reward": "reward", "episode": "stay"}
UNORDERED = {"next_observations": ROWS[::-1].copy()}

REMEDIES = {
    # Environments.
    "states that are numbers": in_world(sees=spaces.Discrete(5)),
    "bits as observations": in_world(sees=spaces.MultiBinary(3)),
    "several numbers as observations": in_world(sees=spaces.MultiDiscrete([3, 4])),
    "one number as observation": in_world(sees=spaces.Box(-1, 1, ())),
    "numbers within a dict": in_world(sees=spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3))),
    "actions numbered from 1": elsewhere(spaces.Discrete(3), spaces.Discrete(3, start=1)),
    "several discrete actions": elsewhere(spaces.Discrete(6), spaces.MultiDiscrete([3, 2])),
    "bits as actions": elsewhere(spaces.Discrete(4), spaces.MultiBinary(2)),
    "parts that are numbered from 1": elsewhere(
        spaces.Discrete(6), spaces.MultiDiscrete([3, 2], start=[1, 1])
    ),
    "a vector environment": Remedy(
        lambda _: evaluate(lambda o: np.zeros(len(o), int), gymnasium.make_vec("CartPole-v1", 2)),
        r"such as (lambda: .*)$",
        lambda found, _: evaluate(lambda o: np.zeros(len(o), int), run(found[1]), 2),
    ),
    "several acting environments": Remedy(
        lambda _: DQN(**SMALL).fit_online(World(), 6, n_envs=2, out=None),
        r"give env=(lambda: gymnasium.make)\(",
        lambda found, _: DQN(**SMALL).fit_online(
            run(f"{found[1]}('CartPole-v1')"), 6, n_envs=2, out=None, progress=False
        ),
    ),
    "actions of another range": Remedy(
        lambda _: fit(TD3, small_actions(), eval_env=gymnasium.make("Pendulum-v1"), max_steps=3),
        r"wrap it: (gymnasium\.wrappers\.RescaleAction\(.*\))$",
        rescaled,
    ),
    "scalers without data": Remedy(
        lambda _: DQN(**SMALL, observation_scaler="standard").fit_online(World(), 6, out=None),
        r"give (dataset)=, or leave them out",
        lambda found, _: DQN(**SMALL, observation_scaler="standard").fit_online(
            World(), 6, out=None, progress=False, **{found[1]: recorded(World())}
        ),
    ),
    # Arrays.
    "labels": Remedy(
        lambda _: data(observations=TEXTS),
        r"by (np\.unique\(.*?\)\[1\]) if they are labels",
        lambda found, _: data(observations=run(found[1], x=TEXTS).reshape(-1, 1)),
    ),
    "numbers as texts": Remedy(
        lambda _: data(rewards=np.array(["1", "2"] * 3)),
        r"by (np\.asarray\(.*?\)) if they are numbers",
        lambda found, _: data(rewards=run(found[1], x=np.array(["1", "2"] * 3))),
    ),
    "a single feature": Remedy(
        lambda _: data(observations=ROWS[:, 0]),
        r"a single feature is (x\[.*?\]), and",
        lambda found, _: data(observations=run(found[1], x=ROWS[:, 0])),
    ),
    "state numbers": Remedy(
        lambda _: data(observations=np.arange(6)),
        r"one-hot encoded, e.g. (np\.eye\(n\)\[x\])",
        lambda found, _: data(observations=run(found[1], x=np.arange(6), n=6)),
    ),
    "objects": Remedy(
        lambda _: data(observations=ROWS.astype(object)),
        r"e.g. (np\.array\(x.tolist\(\), np.float32\))",
        lambda found, _: data(observations=run(found[1], x=ROWS.astype(object))),
    ),
    "complex numbers": Remedy(
        lambda _: data(observations=ROWS * 1j),
        r"take (np\.stack\(.*?\)), or one",
        lambda found, _: data(observations=run(found[1], x=ROWS * 1j)),
    ),
    "dates": Remedy(
        lambda _: data(observations=np.arange(6).astype("M8[D]")[:, None]),
        r"e.g. (\(x - x.*\))$",
        lambda found, _: data(observations=run(found[1], x=np.arange(6).astype("M8[D]")[:, None])),
    ),
    "a tensor with a gradient": Remedy(
        lambda _: data(rewards=torch.ones(6, requires_grad=True)),
        r"by (x\.detach.*)$",
        lambda found, _: data(rewards=run(found[1], x=torch.ones(6, requires_grad=True))),
    ),
    "texts as extras": Remedy(
        lambda _: data(extras={"a": np.array(list("abcdef"))}),
        r"become bytes by (np\.char\.encode\(x\))",
        lambda found, _: data(extras={"a": run(found[1], x=np.array(list("abcdef")))}),
    ),
    "arrays as metadata": Remedy(
        lambda _: data(metadata={"a": np.ones(2)}),
        r"convert arrays by (x\.tolist\(\))",
        lambda found, _: data(metadata={"a": run(found[1], x=np.ones(2))}),
    ),
    "probabilities for logarithms": Remedy(
        lambda _: data(behavior_log_probs=np.full(6, 0.5)),
        r"e.g. (np\.log\(p\))",
        lambda found, _: data(behavior_log_probs=run(found[1], p=np.full(6, 0.5))),
    ),
    "not a number": Remedy(
        lambda _: data(rewards=[1, np.nan, 1, 1, 1, 1]),
        r"as (nonfinite='drop') does",
        lambda found, _: data(rewards=[1, np.nan, 1, 1, 1, 1], **keywords(found[1])),
    ),
    "whole numbers as floats": Remedy(
        lambda _: data(actions=np.array([0.0, 1, 2] * 2)),
        r"convert them by (x\.astype\(int\)) if they number",
        lambda found, _: fit(DQN, data(actions=run(found[1], x=np.array([0.0, 1, 2] * 2)))),
    ),
    "actions that nobody took": Remedy(
        lambda _: data(actions=[0, 3] * 3),
        r"declare (action_space=Discrete\(4\)) if",
        lambda found, _: data(actions=[0, 3] * 3, **keywords(found[1])),
    ),
    "ends within episodes": Remedy(
        lambda _: data(terminals=[0, 1, 0, 0, 0, 1], episode_terminals=[0, 0, 1, 0, 0, 1]),
        r"do not (terminals=terminals \* episode_terminals)",
        lambda found, _: data(
            episode_terminals=[0, 0, 1, 0, 0, 1],
            **run(
                f"dict({found[1]})",
                terminals=np.array([0, 1, 0, 0, 0, 1]),
                episode_terminals=np.array([0, 0, 1, 0, 0, 1]),
            ),
        ),
    ),
    "other names of arguments": Remedy(
        lambda _: data(terminal=[0, 0, 1] * 2),
        r"did you mean '(\w+)'",
        lambda found, _: data(**{found[1]: [0, 0, 1] * 2}),
    ),
    # Algorithms.
    "discrete actions for a continuous algorithm": Remedy(
        lambda _: fit(TD3, data()),
        r"algorithms for it: (.*)$",
        lambda found, _: [
            getattr(algos, name)(seed=0, device="cpu").build(data()) for name in found[1].split(", ")
        ],
    ),
    "a pair": Remedy(
        lambda _: BC(**SMALL).fit(get_dataset("cartpole-mixed"), 1, **QUIET),
        r"(dataset, env) = (get_dataset\()name\)",
        lambda found, _: fit(DQN, run(f"{found[2]}'cartpole-mixed')")[0]),
    ),
    "no networks": Remedy(
        lambda _: BC(**SMALL).predict(ROWS),
        r"call (\w+)\(dataset\)",
        lambda found, _: getattr(BC(**SMALL), found[1])(small_dataset("continuous"), 1, **QUIET).predict(
            np.ones((1, 4))
        ),
    ),
    "gpu": Remedy(
        lambda _: BC(device="gpu"),
        r"a GPU is '(\w+)'",
        lambda found, _: BC(device=found[1]),
    ),
    "a GPU that is not there": Remedy(
        lambda _: BC(**{**SMALL, "device": "cuda:99"}).build(small_dataset("continuous")),
        r"use '(\w+)'",
        lambda found, _: BC(**{**SMALL, "device": found[1]}).build(small_dataset("continuous")),
    ),
    "images scaled to 1": Remedy(
        lambda _: (
            DQN(seed=0, device="cpu")
            .build(data(observations=np.zeros((6, 1, 40, 40), np.uint8)))
            .predict(np.full((1, 1, 40, 40), 0.5))
        ),
        r"go back by (np\.round\(.*?\)\.astype\(np\.uint8\))",
        lambda found, _: (
            DQN(seed=0, device="cpu")
            .build(data(observations=np.zeros((6, 1, 40, 40), np.uint8)))
            .predict(run(found[1], x=np.full((1, 1, 40, 40), 0.5)))
        ),
    ),
    "images too small for the filters": Remedy(
        lambda _: DQN(seed=0, device="cpu").build(data(observations=np.zeros((6, 1, 8, 8), np.uint8))),
        r"such as encoder=(CNNEncoder\(.*\)), or encoder='(\w+)'",
        lambda found, _: [
            DQN(seed=0, device="cpu", encoder=encoder).build(
                data(observations=np.zeros((6, 1, 8, 8), np.uint8))
            )
            for encoder in (run(found[1]), found[2])
        ],
    ),
    "several steps of unordered rows": Remedy(
        lambda _: DQN(**SMALL, n_step=3).fit(data(**UNORDERED), 1, **QUIET),
        r"use (n_step=1)",
        lambda found, _: DQN(**SMALL, **keywords(found[1])).fit(data(**UNORDERED), 1, **QUIET),
    ),
    "windows of unordered rows": Remedy(
        lambda _: algos.DiscreteDecisionTransformer(seed=0, device="cpu").fit(data(**UNORDERED), 1, **QUIET),
        r"such as BC or (\w+)",
        lambda found, _: fit(getattr(algos, found[1]), data(**UNORDERED)),
    ),
    "set after networks were made": Remedy(
        lambda _: setattr(fit(), "encoder", "mlp"),
        r"make a new (BC\(encoder='mlp'\))",
        lambda found, _: run(found[1], BC=BC).build(small_dataset("continuous")),
    ),
    # Runs.
    "tensorboard without a folder": Remedy(
        lambda _: fit(loggers=["tensorboard"]),
        r"give (out='runs')",
        lambda found, folder: fit(**{**keywords(found[1]), "out": folder / "runs"}),
    ),
    "auto without a folder": Remedy(
        lambda _: fit(resume="auto"),
        r"give (out='runs')",
        lambda found, folder: fit(resume="auto", **{**keywords(found[1]), "out": folder / "runs"}),
    ),
    "early stopping without an environment": Remedy(
        lambda _: fit(DQN, recorded(World()), early_stopping=EarlyStopping()),
        r"give (eval_env)",
        lambda found, _: fit(DQN, recorded(World()), early_stopping=EarlyStopping(), **{found[1]: World()}),
    ),
    "a metric without a direction": Remedy(
        lambda _: fit(early_stopping=EarlyStopping("mine"), evaluators={"mine": lambda algo, data: 1.0}),
        r"give EarlyStopping\('mine', (maximize=True)\), or",
        lambda found, _: fit(
            early_stopping=EarlyStopping("mine", **keywords(found[1])),
            evaluators={"mine": lambda algo, data: 1.0},
        ),
    ),
    "evaluators in a list": Remedy(
        lambda _: fit(evaluators=[get_evaluator("td_error")]),
        r"such as (\{.*?\}) of",
        lambda found, _: fit(SAC, evaluators=run(found[1])),
    ),
    "a run that is over": Remedy(
        lambda folder: fit(resume=trained(folder)),
        r"give a larger (n_steps) to go on",
        lambda found, folder: fit(resume=trained(folder), **{found[1]: 3}),
    ),
    "weights by a name that is not there": Remedy(
        lambda _: fit(dataset=small_dataset("continuous"), weights="cost"),
        r"MDPDataset\(\.\.\., (extras=\{'cost': array\})\)",
        lambda found, _: fit(DQN, data(**run(f"dict({found[1]})", array=np.ones(6))), weights="cost"),
    ),
    # Files.
    "a compressed file to map": Remedy(
        again,
        r"with (save)\(path, (compress=False)\)",
        lambda found, folder: MDPDataset.open(
            getattr(MDPDataset.load(folder / "a.h5"), found[1])(folder / "b.h5", **keywords(found[2]))
        ),
    ),
    "a suffix that names no format": Remedy(
        lambda folder: convert(small_dataset("continuous").save(folder / "s.h5"), folder / "a.foo"),
        r"end it in (\.h5) or (\.npz), or give format=, one of (.*)$",
        lambda found, folder: [
            convert(folder / "s.h5", folder / f"a{found[1]}"),
            convert(folder / "s.h5", folder / "b.foo", format=found[3].split(", ")[0]),
        ],
    ),
    "a dict to NPZ": Remedy(
        lambda folder: convert(data(observations={"a": ROWS}).save(folder / "s.h5"), folder / "a.npz"),
        r"write (\.h5)",
        lambda found, folder: convert(folder / "s.h5", folder / f"b{found[1]}"),
    ),
    "transitions to d3rlpy": Remedy(
        lambda folder: convert(data(**UNORDERED).save(folder / "s.h5"), folder / "a.h5", format="d3rlpy"),
        r"write (\.h5) or (\.npz)",
        lambda found, folder: [convert(folder / "s.h5", folder / f"b{end}") for end in found.groups()],
    ),
    "a name of an export": Remedy(
        lambda folder: fit().export(folder / "a.foo"),
        r"choose one of (\{.*?\}), or pass",
        lambda found, folder: [fit().export(folder / f"a{end}") for end in run(found[1]) if end != ".onnx"],
    ),
    "a policy that remembers": Remedy(
        lambda folder: (
            DecisionTransformer(seed=0, device="cpu")
            .build(small_dataset("continuous"))
            .export(folder / "a.pt")
        ),
        r"act with algo\.(\w+)\(\)",
        lambda found, _: getattr(
            DecisionTransformer(seed=0, device="cpu").build(small_dataset("continuous")), found[1]
        )(),
    ),
    "a misspelt column": Remedy(
        lambda folder: table(folder, **{**TABLE, "action": "dos"}),
        r"did you mean '(\w+)'",
        lambda found, folder: table(folder, **{**TABLE, "action": found[1]}),
    ),
    "a table without roles": Remedy(
        lambda folder: table(folder),
        r"needs the option '(\w+)', .*; its options are: (.*)$",
        lambda found, folder: table(
            folder, **{name: TABLE[name] for name in (found[1], *found[2].split(", ")) if name in TABLE}
        ),
    ),
    "decimal commas": Remedy(
        lambda folder: commas(folder),
        r"give (decimal=',') to read",
        lambda found, folder: commas(folder, **keywords(found[1])),
    ),
    "an evaluator without a number": Remedy(
        lambda _: fit(evaluators={"mine": lambda algo, data: data.rewards}),
        r"such as (float\(x\.mean\(\)\))",
        lambda found, _: fit(evaluators={"mine": lambda algo, data: run(found[1], x=data.rewards)}),
    ),
    "a misspelt dataset": Remedy(
        lambda _: get_dataset("cartpole-mixd"),
        r"did you mean '([\w-]+)'",
        lambda found, _: get_dataset(found[1]),
    ),
    "datasets of other actions joined": Remedy(
        lambda _: concatenate([data(), data(actions=[0, 1, 2] * 2)]),
        r"declare (action_space)= for both",
        lambda found, _: concatenate(
            [
                data(**{found[1]: spaces.Discrete(3)}),
                data(actions=[0, 1, 2] * 2, **{found[1]: spaces.Discrete(3)}),
            ]
        ),
    ),
    # Commands.
    "no environment of a run": Remedy(
        command("evaluate RUN --episodes 1"),
        r"give one by (--env), such as (\S+)",
        lambda found, folder: command(
            f"datasets collect --policy random {found[1]} {found[2]} --steps 5 --out FOLDER/r.h5"
        )(folder),
    ),
    "no best policy": Remedy(
        command("export RUN --which best --format numpy"),
        r"use (--which last)",
        lambda found, folder: command(f"export RUN {found[1]} --format numpy --out FOLDER/p.safetensors")(
            folder
        ),
    ),
    "no environment of a random policy": Remedy(
        command("datasets collect --policy random --steps 5 --out FOLDER/r.h5"),
        r"by (--env), such as",
        lambda found, folder: command(
            f"datasets collect --policy random {found[1]} CartPole-v1 --steps 5 --out FOLDER/r.h5"
        )(folder),
    ),
    "--device gpu": Remedy(
        command("train --algo discrete_bc --dataset cartpole-mixed --steps 1 --device gpu"),
        r"'(--device)': .*'auto', '(cpu)'",
        lambda found, folder: command(
            f"train --algo discrete_bc --dataset cartpole-mixed --steps 1 --eval-env none "
            f"--out FOLDER/x {found[1]} {found[2]}"
        )(folder),
    ),
    "a subset of no size": Remedy(
        command("datasets subsample cartpole-mixed FOLDER/s.h5"),
        r"exactly one of (\w+), (\w+) and (\w+)",
        lambda found, folder: command(f"datasets subsample cartpole-mixed FOLDER/s.h5 --{found[3]} 2")(
            folder
        ),
    ),
    "resumed by arrays": Remedy(
        command("train --resume RUN"),
        r"go on in Python: algo\.fit\(dataset, (resume='.*?')\)",
        lambda found, _: fit(n_steps=3, **keywords(found[1])),
    ),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_it_gets_further(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    remedy = REMEDIES[name]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            remedy.call(tmp_path)
        except Exception as error:
            texts = [str(error)]
        else:
            texts = [str(each.message) for each in said]
    found = next(filter(None, (re.search(remedy.pattern, text, re.DOTALL) for text in texts)), None)
    assert found is not None, texts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Such as of what is left out.
        remedy.follow(found, tmp_path)


@pytest.mark.parametrize("space", [spaces.MultiBinary((2, 2)), spaces.MultiDiscrete([[2, 3], [2, 2]])])
def test_no_wrapper_is_named_for_actions_of_several_axes(space: spaces.Space[Any]) -> None:
    """It would hand the environment one flat row of choices."""
    assert action_remedy(space) is None
    assert action_remedy(spaces.MultiDiscrete([2, 3, 2, 2])) is not None


EPISODES = [np.arange(12.0).reshape(4, 3), np.arange(15.0).reshape(5, 3)]


@pytest.mark.parametrize("length", [None, 4])
@pytest.mark.parametrize("acts", [float, int])
def test_episodes_apart_are_joined_as_the_message_says(length: int | None, acts: type) -> None:
    """Lists of episodes of differing lengths, and arrays [E, T, ...] of one."""
    joined = [rows[:length] for rows in EPISODES]
    columns: dict[str, Any] = {
        "observations": joined if length is None else np.stack(joined),
        "actions": [
            rows[:, :2].astype(float) if acts is float else rows[:, 0].astype(int) % 2 for rows in joined
        ],
        "rewards": [rows[:, 1] for rows in joined],
        "terminals": [np.arange(len(rows)) == (3 if len(rows) == 4 else 9) for rows in joined],
    }
    if length is not None:
        columns = {name: np.asarray(column) for name, column in columns.items()}
    with pytest.raises(ValueError, match="rewards must be one number a row, got 2 episodes") as raised:
        MDPDataset(**columns)
    join, ends = re.findall(r"(np.concatenate\(x\)) .*?episode_terminals=(.*)$", str(raised.value))[0]
    flat = {name: run(join, x=column) for name, column in columns.items()}
    dataset = MDPDataset(**flat, episode_terminals=run(ends, rewards=columns["rewards"]))
    assert dataset.episode_lengths().tolist() == [len(rows) for rows in joined]
    assert dataset.terminals.sum() == (1 if length is None else 2)


def test_a_dict_is_taken_apart_as_the_message_says() -> None:
    columns = {"observations": ROWS, "actions": [0, 1] * 3, "rewards": np.ones(6), "terminals": [0, 0, 1] * 2}
    with pytest.raises(TypeError, match=r"MDPDataset\(\*\*columns\)") as raised:
        MDPDataset(columns)  # type: ignore[call-arg, arg-type]
    assert len(run(str(raised.value).rpartition(": ")[2], columns=columns, MDPDataset=MDPDataset)) == 6


def test_time_limits_given_as_the_fifth_argument() -> None:
    """d3rlpy's order: what its fifth argument says is what the remedy gives."""
    terminals, timeouts = np.array([0, 1, 0, 0, 1, 0]), np.array([0, 0, 0, 1, 0, 1])
    with pytest.raises(ValueError, match="as d3rlpy's fifth argument does") as raised:
        MDPDataset(ROWS, [0, 1] * 3, np.ones(6), terminals, timeouts)
    name = re.findall(r"by name: (\w+)=", str(raised.value))[0]
    dataset = MDPDataset(ROWS, [0, 1] * 3, np.ones(6), terminals, **{name: timeouts})
    assert dataset.episode_ends.tolist() == [2, 4, 5, 6]
    assert dataset.terminals.tolist() == [False, True, False, False, True, False]


@pytest.mark.parametrize("follow", [0, 1])
def test_ends_that_contradict_one_another(follow: int) -> None:
    ends = {
        "terminals": np.array([0, 1, 1, 0, 0, 0], bool),
        "episode_terminals": np.array([0, 0, 1, 0, 0, 1], bool),
    }
    with pytest.raises(ValueError, match="must not be set where") as raised:
        data(**ends)
    found = re.search(r"pass (.*?), if they do not (.*)$", str(raised.value))
    assert found is not None
    remedy = found.groups()[follow]
    dataset = data(**{**ends, **run(f"dict({remedy})", **ends)})
    assert dataset.episode_ends.tolist() == [[2, 3, 6], [3, 6]][follow]

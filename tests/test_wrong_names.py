"""A name that matches nothing is refused with the nearest that would, at every public function and command."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pandas
import pytest
from click.testing import CliRunner

import offlinekit
from offlinekit.algos import CQL, DQN, SAC, CNNEncoder, MLPEncoder, Population, catalogue, get_algo
from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset, collect, from_dataframe, get_dataset, make_env, unregister_dataset
from offlinekit.datasets.source import all_sources, check_options
from offlinekit.metrics import get_evaluator, ope, plot_learning_curves, stratified_interval
from offlinekit.metrics.statistics.aggregates import iqm
from offlinekit.sweeps import Plan
from offlinekit.testing import small_dataset
from offlinekit.training.early_stopping import EarlyStopping
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.setup.settings import RunSettings, completed

QUIET: dict[str, Any] = {"out": None, "progress": False}


def misspelt(name: str) -> str:
    """Returns a name with two letters swapped or, if they are the same or few, one doubled."""
    middle = len(name) // 2
    swapped = name[:middle] + name[middle + 1 : middle + 2] + name[middle] + name[middle + 2 :]
    return swapped if len(name) > 4 and swapped != name else name + name[-1]


def data(kind: str = "continuous") -> MDPDataset:
    return small_dataset(kind)


def fitted(front: Any = SAC, kind: str = "continuous") -> Any:
    return front(seed=0, device="cpu", encoder=MLPEncoder((8,)), batch_size=8).build(data(kind))


def fit(**given: Any) -> None:
    fitted().fit(data(), 2, **{**QUIET, **given})


def metrics(folder: Path) -> Path:
    (folder / "metrics.csv").write_text("step,time,eval/return_mean\n1,0.5,3.0\n2,0.9,4.0\n")
    return folder / "metrics.csv"


def table(**other: Any) -> MDPDataset:
    columns = {"age": np.arange(4.0), "dose": np.arange(4.0), "reward": np.ones(4), "stay": [0, 0, 1, 1]}
    names = {"observations": ["age"], "action": "dose", "reward": "reward", "episode": "stay"}
    return from_dataframe(pandas.DataFrame(columns), **{**names, **other})


FUNCTIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "get_algo": (lambda _: get_algo("Td3PlusBCC"), "td3_plus_bc"),
    "offlinekit.algos": (lambda _: offlinekit.algos.TD3PlusBCC, "TD3PlusBC"),
    "preset": (lambda _: CQL.preset("hoper-medium-v2"), "hopper-medium-v2"),
    "device": (lambda _: SAC(device="cdua"), "cuda"),
    "device of load": (lambda f: offlinekit.load(fitted().save(f / "a.okt"), device="cupp"), "cpu"),
    "encoder": (lambda _: SAC(encoder={"type": "mpl"}), "mlp"),
    "encoder's argument": (lambda _: SAC(encoder={"type": "mlp", "hiden_sizes": [8]}), "hidden_sizes"),
    "activation": (lambda _: fitted().__class__(encoder=MLPEncoder((8,), activation="rellu")), "relu"),
    "init": (lambda _: MLPEncoder((8,), init="glorot_unifrom"), "glorot_uniform"),
    "activation of images": (lambda _: CNNEncoder(activation="tahn"), "tanh"),
    "a user's hyperparameter set later": (lambda _: setattr(fitted(), "gama", 0.9), "gamma"),
    "early stopping": (lambda _: fit(early_stopping=EarlyStopping("critic_los")), "critic_loss"),
    "early stopping of an evaluation": (
        lambda _: fit(early_stopping=EarlyStopping("eval/retrun_mean"), eval_env="Pendulum-v1"),
        "eval/return_mean",
    ),
    "logger": (lambda f: fit(loggers=["wanbd"], out=f), "wandb"),
    "weights": (lambda _: fit(weights="costs_x"), "extras"),
    "priorities": (lambda _: fit(priorities="critc"), "critic"),
    "engine": (lambda _: fit(engine="grap"), "graph"),
    "resume": (lambda f: fit(resume=str(f / "none")), "there is no run folder"),
    "population's metric": (
        lambda _: Population([fitted(), fitted()]).fit(data(), 1, **QUIET).best("critic_los"),
        "critic_loss",
    ),
    "export format": (lambda f: fitted().export(f / "a.x", format="numpi"), "numpy"),
    "export suffix": (lambda f: fitted().export(f / "a.onxn"), "onnx"),
    "evaluator": (lambda _: get_evaluator("td_eror"), "td_error"),
    "estimator": (lambda _: ope.estimate(fitted(DQN, "discrete"), data("discrete"), ["wdrr"]), "wdr"),
    "interval of estimates": (
        lambda _: ope.estimate(fitted(DQN, "discrete"), data("discrete"), interval="bootstap"),
        "bootstrap",
    ),
    "method of stratified intervals": (
        lambda _: stratified_interval(iqm, np.ones((3, 2)), method="percentil"),
        "percentile",
    ),
    "curve's metric": (
        lambda f: plot_learning_curves({"a": [metrics(f)]}, f / "a.png", y="eval/retrun_mean"),
        "eval/return_mean",
    ),
    "curve's axis": (lambda f: plot_learning_curves({"a": [metrics(f)]}, f / "a.png", x="stpe"), "step"),
    "curve's band": (
        lambda f: plot_learning_curves({"a": [metrics(f)]}, f / "a.png", band="standard_eror"),
        "standard_error",
    ),
    "curve's theme": (
        lambda f: plot_learning_curves({"a": [metrics(f)]}, f / "a.png", theme="scren"),
        "screen",
    ),
    "dataset": (lambda _: get_dataset("cartpole-mixd"), "cartpole-mixed"),
    "registered dataset": (lambda _: unregister_dataset("no-such"), "not registered"),
    "format of a dataset": (lambda f: get_dataset(data().save(f / "a.h5"), format="natve"), "native"),
    "nonfinite": (lambda _: MDPDataset([[0.0]], [0], [0.0], [1], nonfinite="dorp"), "drop"),
    "environment": (lambda _: make_env("CartPol-v1"), "CartPole"),
    "eval_env": (lambda _: fit(eval_env="CartPol-v1"), "CartPole"),
    "collect": (lambda _: collect(lambda o: o, "CartPol-v1", 1), "CartPole"),
    "column of a table": (lambda _: table(observations=["agee"]), "age"),
    "action of a table": (lambda _: table(action="dosse"), "dose"),
    "episode of a table": (lambda _: table(episode="stayy"), "stay"),
    "dataset's argument": (lambda _: MDPDataset([[0.0]], [0], [0.0], terminal=[1]), "terminals"),
    "option of a dataset": (lambda _: data().with_options(nme="x"), "nme"),
    "plan's algorithm": (lambda _: Plan("td3_plus_bcc", {"gamma": [0.9]}), "td3_plus_bc"),
    "plan's hyperparameter": (lambda _: Plan("iql", {"gama": [0.9]}), "gamma"),
    "plan's fixed hyperparameter": (
        lambda _: Plan("iql", {"gamma": [0.9]}, set={"expectil": 0.7}),
        "expectile",
    ),
    "plan's metric": (lambda _: Plan("iql", {"gamma": [0.9]}, metric="fqee"), "fqe"),
    "plan's entry": (lambda _: Plan.from_dict({"algo": "iql", "vry": {"gamma": [0.9]}}, "a.yaml"), "vary"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, tmp_path: Path) -> None:
    call, nearest = FUNCTIONS[name]
    with pytest.raises((ValueError, TypeError, AttributeError, FileNotFoundError), match=nearest):
        call(tmp_path)


@pytest.mark.parametrize("name", catalogue())
def test_hyperparameters_and_their_choices(name: str) -> None:
    front = catalogue()[name]
    for field in front.hyperparameters():
        with pytest.raises(TypeError, match=f"{misspelt(field)!r}.*{field}"):
            front(**{misspelt(field): None})
    for field in dataclasses.fields(front):
        for choice in choices_of(field.type):
            with pytest.raises(ValueError, match=f"{field.name} must be.*{choice}.*{misspelt(choice)!r}"):
                front(**{field.name: misspelt(choice)})


def choices_of(hint: Any) -> list[str]:
    """Returns the texts of a Literal within an annotation."""
    if get_origin(hint) is Literal:
        return [choice for choice in get_args(hint) if isinstance(choice, str)]
    return [choice for part in get_args(hint) for choice in choices_of(part)]


@pytest.mark.parametrize("record", [RunSettings, OnlineSettings])
def test_settings_of_runs_and_their_choices(record: Any) -> None:
    for name, hint in record.__annotations__.items():
        with pytest.raises(TypeError, match=f"fit has no keyword {misspelt(name)!r}; did you mean"):
            completed({misspelt(name): None}, record, "fit")
        for choice in choices_of(hint):
            with pytest.raises(ValueError, match=f"{name} must be.*{choice}.*{misspelt(choice)!r}"):
                completed({name: misspelt(choice)}, record, "fit")


def options_of(function: Any) -> list[str]:
    return [name for name, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY]


@pytest.mark.parametrize("name", [n for n, source in all_sources().items() if source.read is not None])
def test_options_of_readers(name: str, tmp_path: Path) -> None:
    read = all_sources()[name].read
    for option in options_of(read):
        with pytest.raises(TypeError, match=f"{misspelt(option)!r}.*{option}"):
            check_options(read, [misspelt(option)], "a.h5", common=("env_id", "format"))


COMMANDS = {
    "train --algo iqll --dataset cartpole-mixed": "iql",
    "train --algo discrete_cql --dataset cartpole-mixd": "cartpole-mixed",
    "train --algo discrete_cql --dataset cartpole-mixed --set gama=0.9": "gamma",
    "train --algo discrete_cql --dataset cartpole-mixed --metric td_eror": "td_error",
    "train --algo discrete_cql --dataset cartpole-mixed --eval-env CartPol-v1": "CartPole",
    "train --algo discrete_cql --dataset cartpole-mixed --engine grap": "graph",
    "train --algo discrete_cql --dataset cartpole-mixed --logger wanbd": "wandb",
    "train --algo discrete_cql --dataset cartpole-mixed --device cdua": "cuda",
    "train --algo discrete_cql --dataset cartpole-mixed --preset hoper": "preset",
    "train --algo discrete_cql --dataset cartpole-mixed --priorities critc": "critic",
    "train --algo discrete_cql --dataset cartpole-mixed --weights costs": "extras",
    "train --algo discrete_cql --dataset cartpole-mixed --dataset-option nonfinit=drop": "nonfinite|options",
    "train --resume nowhere": "does not exist",
    "sweep --algo discrete_cqll --dataset cartpole-mixed --vary gamma=0.9": "discrete_cql",
    "sweep --algo discrete_cql --dataset cartpole-mixed --vary gama=[0.9]": "gamma",
    "sweep --algo discrete_cql --dataset cartpole-mixed --vary gamma=0.9 --metric fqee": "fqe",
    "algos iqll": "iql",
    "evaluate nowhere": "nowhere",
    "export RUN --format numpi --out a.x": "numpy",
    "ope RUN --dataset cartpole-mixd": "cartpole-mixed",
    "ope RUN --dataset cartpole-mixed --estimator wdrr": "wdr",
    "ope RUN --dataset cartpole-mixed --interval bootstap": "bootstrap",
    "select RUN --dataset cartpole-mixd": "cartpole-mixed",
    "plot METRICS --y eval/retrun_mean --out a.png": "return_mean|critic_loss",
    "plot METRICS --x stpe --y critic_loss --out a.png": "step",
    "report nowhere": "nowhere",
    "record RUN --env CartPol-v1 --out a.mp4": "CartPole",
    "finetune RUN --env CartPol-v1 --steps 5": "CartPole",
    "datasets info cartpole-mixd": "cartpole-mixed",
    "datasets validate cartpole-mixd": "cartpole-mixed",
    "datasets list --familly x": "No such option",
    "datasets convert cartpole-mixed a.h5 --format natve": "native",
    "datasets relabel cartpole-mixed a.h5 --reward-transfrom x": "No such option",
    "datasets collect --env CartPol-v1 --policy random --steps 5 --out a.h5": "CartPole",
    "datasets collect --env CartPole-v1 --policy randm --steps 5 --out a.h5": "random",
    "trian": "train",
    "datasets inof cartpole-mixed": "info",
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    data, _ = get_dataset("cartpole-mixed")
    algo = DQN(seed=0, device="cpu", encoder=MLPEncoder((8,)))
    algo.fit(data, 2, out=out, progress=False, log_interval=1)
    assert algo.run_dir is not None
    return algo.run_dir


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line: str, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"RUN": str(run_folder), "METRICS": str(run_folder)}
    result = CliRunner().invoke(main, [places.get(word, word) for word in line.split()])
    assert result.exit_code not in (0, 70), result.output
    assert re.search(COMMANDS[line], result.output), result.output

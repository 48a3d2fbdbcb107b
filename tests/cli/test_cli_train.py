"""`offlinekit train`: the run it leaves, what it prints, resuming, and wrong usage."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import offlinekit
from offlinekit.algos import DiscreteBC
from offlinekit.cli import job
from offlinekit.cli.own_metrics import pointers
from offlinekit.datasets import MDPDataset
from offlinekit.training.engines.engine import Engine

Call = Callable[..., Result]


def test_train_leaves_a_run_that_says_how_it_was_started(
    trained: tuple[Path, Result], data_file: Path
) -> None:
    run, _ = trained
    config = json.loads((run / "config.json").read_text())
    assert config["algo"] == "DiscreteBC"
    assert config["hyperparameters"]["batch_size"] == 16
    assert config["hyperparameters"]["seed"] == 5
    assert config["dataset"].pop("hash").startswith("data2:")
    assert config["dataset"] == {"name": "tiny", "source": str(data_file), "options": {}}
    assert (config["env_id"], config["eval_env"], config["metrics"]) == (
        "CartPole-v1",
        None,
        ["action_match"],
    )
    assert (config["behaviour_return"], config["reference_scores"]) == (40.0, [20.0, 60.0])
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["20", "30", "40", "60"]
    assert {"action_match", "eval/return_mean", "eval/score"} <= set(header.split(","))
    assert offlinekit.load(run / "policy.okt").grad_step == 60
    assert (run / "best.okt").exists()


def test_train_prints_what_it_does_and_what_came_out(trained: tuple[Path, Result]) -> None:
    run, result = trained
    lines = result.stdout.splitlines()
    assert lines[0] == "DiscreteBC(batch_size=16, seed=5, learning_rate=0.01)"
    assert lines[1:3] == ["on tiny: 240 rows, 6 episodes, mean return 40", "evaluated in CartPole-v1"]
    assert lines[3:6] == ["", f"Run folder: {run}", ""]
    assert lines[6].split() == ["policy", "return", "(mean", "±", "standard", "error)", "episodes", "score"]
    last = (run / "metrics.csv").read_text().splitlines()[-1]
    mean = float(last.split(",")[_column(run, "eval/return_mean")])
    assert lines[8].startswith("DiscreteBC ")
    assert float(lines[8].split()[1]) == pytest.approx(mean, abs=0.5)
    # All six episodes of the data return 40: score 100 * (40 - 20) / (60 - 20).
    assert lines[9].split() == ["behaviour", "(the", "data)", "40.0", "±", "0.0", "6", "50"]
    shown = result.stderr.splitlines()  # No terminal: a line a row, the last at the end.
    assert len(shown) == len((run / "metrics.csv").read_text().splitlines()) - 1
    assert re.search(r"100%  .* updates .* in 0:\d\d  return ", shown[-1])


def _column(run: Path, name: str) -> int:
    return (run / "metrics.csv").read_text().splitlines()[0].split(",").index(name)


def test_quiet_prints_nothing_and_no_environment_means_no_evaluation(
    call: Call, data_file: Path, tmp_path: Path
) -> None:
    options = ("--algo", "discrete_bc", "--dataset", data_file, "--steps", 2, "--out", tmp_path)
    assert call("train", *options, "--quiet").output == ""
    result = call("train", *options, "--eval-env", "none")
    assert "evaluated in no environment" in result.output
    assert "behaviour (the data)" in result.output
    bare = [run for run in tmp_path.iterdir() if not (run / "best.okt").exists()]
    assert len(bare) == 1


def test_interrupted_run_is_saved_and_resumed_to_the_same_end(
    call: Call, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupting(algo: Any, dataset: Any) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:  # The first two calls are the checks of the command and of the run.
            signal.raise_signal(signal.SIGINT)
        return 0.0

    options = ("--algo", "discrete_bc", "--dataset", data_file, "--steps", 40, "--seed", 3)
    options = (*options, "--eval-interval", 20, "--metric", "action_match", "--eval-env", "none")
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert call("train", *options, "--out", whole).exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(job, "get_evaluator", lambda name: interrupting)
        result = call("train", *options, "--out", parted)
    (run,) = parted.iterdir()
    assert result.exit_code == 130
    saved = f"after update 20, saved; go on with: offlinekit train --resume {run}"
    assert result.stderr.splitlines()[-1] == f"Interrupted {saved}"
    assert not (run / "policy.okt").exists()
    resumed = call("train", "--resume", run)
    assert resumed.exit_code == 0, resumed.output
    assert [path.name for path in parted.iterdir()] == [run.name]
    (reference,) = whole.iterdir()
    first, second = offlinekit.load(run / "policy.okt"), offlinekit.load(reference / "policy.okt")
    assert first.grad_step == second.grad_step == 40
    for name, value in second.impl.state_dict().items():
        assert first.impl.state_dict()[name].equal(value), name


WRONG = [
    (("--algo", "discret_bc"), "Invalid value for '--algo'", "did you mean 'discrete_bc'?"),
    (("--set", "batchsize=3"), "Invalid value for '--set'", "did you mean 'batch_size'?"),
    (("--set", "batch_size=0"), "Invalid value for '--set'", "batch_size must be in [1, inf), got 0"),
    (("--set", "batch_size=many"), "Invalid value for '--set'", "must be an integer"),
    (("--dataset", "hoper-medium-v2"), "Invalid value for '--dataset'", "did you mean 'hopper-medium-v2'?"),
    (("--dataset", "nowhere.h5"), "Invalid value for '--dataset'", "there is no file nowhere.h5"),
    (("--dataset-option", "colour=3"), "Invalid value for '--dataset'", "no option 'colour'"),
    (("--eval-env", "CartPol-v1"), "Invalid value for '--eval-env'", "gymnasium cannot make 'CartPol-v1'"),
    (("--metric", "action_mach"), "Invalid value for '--metric'", "did you mean 'action_match'?"),
    (("--metric", "soft_opc:threshold=2"), "Invalid value for '--metric'", "it has: return_threshold"),
    (("--metric", "soft_opc:2"), "Invalid value", "expected KEY=VALUE"),
    (("--value-alarm", "of"), "Invalid value for '--value-alarm'", "'of' is not one of"),
    (("--steps", "0"), "Invalid value for '--steps'", "0 is not in the range"),
    (("--stesp", "3"), "No such option", "--steps"),
]


@pytest.mark.parametrize(("arguments", "start", "end"), WRONG)
def test_wrong_usage_names_the_option_and_the_remedy(
    call: Call, data_file: Path, arguments: tuple[str, ...], start: str, end: str, tmp_path: Path
) -> None:
    defaults = ("--algo", "discrete_bc", "--dataset", data_file, "--steps", 1, "--out", tmp_path / "runs")
    result = call("train", *defaults, *arguments)
    assert result.exit_code == 2
    assert start in result.output
    assert end in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--algo", "bc"), "Error: BC learns continuous actions, but 'tiny' has Discrete(2)"),
        (("--eval-env", "Pendulum-v1"), "Error: environment Pendulum-v1 observes Box[3]"),
        (
            ("--metric", "action_difference"),
            "Error: action_difference measures distances of continuous actions",
        ),
        (("--metric", "initial_value"), "Error: DiscreteBC estimates no values"),
    ],
)
def test_what_does_not_fit_fails_before_the_run_begins(
    call: Call, data_file: Path, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    defaults = ("--algo", "discrete_bc", "--dataset", data_file, "--out", tmp_path / "runs")
    result = call("train", *defaults, *arguments)
    assert result.exit_code == 1
    assert result.output.startswith(message)
    assert not (tmp_path / "runs").exists()


def test_missing_options_and_changes_of_a_resumed_run_are_wrong_usage(
    call: Call, trained: tuple[Path, Result], tmp_path: Path
) -> None:
    run, _ = trained
    for arguments, message in [
        ((), "Missing option '--algo' (or '--resume RUN')."),
        (("--algo", "bc"), "Missing option '--dataset'"),
        (("--resume", run, "--seed", 1), "--seed cannot change in a resumed run"),
        (("--resume", run, "--set", "gamma=1"), "--set cannot change in a resumed run"),
        (("--resume", run, "--out", tmp_path), "--out has no effect on a resumed run"),
        (("--resume", run, "--run-name", "new"), "--run-name has no effect on a resumed run"),
        (("--resume", run, "--tag", "new"), "--tag has no effect on a resumed run"),
        (("--resume", tmp_path), "is no run folder"),
    ]:
        result = call("train", *arguments)
        assert result.exit_code == 2, arguments
        assert message in result.output


def test_run_of_python_says_how_to_resume_it(call: Call, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"algo": "DiscreteBC", "dataset": "tiny"}))
    result = call("train", "--resume", tmp_path)
    assert result.exit_code == 2
    assert "go on in Python: algo.fit(dataset, resume=" in " ".join(result.output.split())


def test_metrics_take_options_which_a_resumed_run_keeps(call: Call, data_file: Path, tmp_path: Path) -> None:
    given = "soft_opc:return_threshold=-1000"  # Every episode is a success, so the difference is 0.
    options = ("--algo", "double_dqn", "--dataset", data_file, "--eval-env", "none", "--value-alarm", "off")
    result = call(
        "train", *options, "--steps", 10, "--metric", given, "--metric", "td_error", "--out", tmp_path
    )
    assert result.exit_code == 0, result.output
    (run,) = tmp_path.iterdir()
    assert call("train", "--resume", run, "--steps", 20).exit_code == 0
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert [row[given] for row in rows] == ["0.0", "0.0"]
    assert all(float(row["td_error"]) > 0 for row in rows)
    assert "value_diverged" not in rows[0]


def test_deterministic_is_passed_on_noted_and_kept_by_a_resumed_run(
    call: Call, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    engine = Engine.run

    def looked_at(self: Engine, *arguments: Any) -> int:
        found.append(self.deterministic)
        return engine(self, *arguments)

    monkeypatch.setattr(Engine, "run", looked_at)
    options = ("--algo", "discrete_bc", "--dataset", data_file, "--steps", 2, "--eval-env", "none", "--quiet")
    assert call("train", *options, "--deterministic", "--out", tmp_path).exit_code == 0
    (run,) = tmp_path.iterdir()
    assert json.loads((run / "config.json").read_text())["deterministic"] is True
    assert call("train", "--resume", run, "--steps", 4, "--quiet").exit_code == 0
    assert found == [True, True]
    assert call("train", *options, "--out", tmp_path).exit_code == 0
    assert found == [True, True, False]


def test_weights_are_a_column_of_the_file_and_kept_by_a_resumed_run(
    call: Call, data_file: Path, tmp_path: Path
) -> None:
    dataset = MDPDataset.load(data_file)
    trust = np.where(np.arange(len(dataset)) % 2, 0.0, 1.0)
    weighted = MDPDataset(
        dataset.observations, dataset.actions, dataset.rewards, dataset.terminals, timeouts=dataset.timeouts,
        extras={"trust": trust},
    )  # fmt: skip
    file = weighted.save(tmp_path / "weighted.h5")
    options = ("--algo", "double_dqn", "--dataset", file, "--steps", 2, "--eval-env", "none", "--quiet")
    how = ("--weights", "trust", "--priorities", "critic", "--out", tmp_path / "runs")
    assert call("train", *options, *how).exit_code == 0
    (run,) = (tmp_path / "runs").iterdir()
    config = json.loads((run / "config.json").read_text())
    assert (config["weights"], config["priorities"]) == ("trust", "critic")
    assert call("train", "--resume", run, "--steps", 4, "--quiet").exit_code == 0
    wrong = call("train", *options, "--weights", "turst", "--out", tmp_path / "runs")
    assert wrong.exit_code != 0
    assert "did you mean 'trust'" in wrong.output


def test_weights_that_have_no_name_cannot_be_kept(call: Call, data_file: Path, tmp_path: Path) -> None:
    dataset = MDPDataset.load(data_file)
    info = {"dataset": {"source": str(data_file), "options": {}}}
    algo = DiscreteBC(seed=0).fit(
        dataset, 2, out=tmp_path, progress=False, info=info, weights=np.ones(len(dataset))
    )
    result = call("train", "--resume", algo.run_dir, "--steps", 4)
    assert result.exit_code != 0
    assert "weights that are no name" in result.output


def test_a_run_out_of_time_before_its_first_row_says_how_to_go_on(
    call: Call, data_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "my runs"
    options = ("--steps", 100_000, "--eval-env", "none", "--max-seconds", 1e-6, "--seed", 1, "--out", out)
    done = call("train", "--algo", "discrete_bc", "--dataset", data_file, *options)
    assert done.exit_code == 0, done.output
    (run,) = out.iterdir()
    lines = done.stdout.splitlines()
    assert lines[4] == f"Run folder: {run}"
    assert re.fullmatch(
        rf"Out of time after update \d+; go on with: offlinekit train --resume '{run}'", lines[5]
    )
    assert "action_match" in done.stdout
    assert f"  offlinekit ope '{run}' --dataset " in done.stdout
    assert f"  offlinekit select '{run}' --dataset " in done.stdout


def test_datasets_in_printed_commands_are_quoted() -> None:
    algo = SimpleNamespace(
        is_stateful=False, run_dir=Path("runs/a b"), scaling=SimpleNamespace(schema=object())
    )
    _, ope, select = pointers([algo, algo], "my data.csv")  # type: ignore[list-item]
    data = "--dataset 'my data.csv' --schema 'runs/a b/policy.okt'"
    assert f"ope 'runs/a b' {data} --q" in ope
    assert f"select 'runs/a b' 'runs/a b' {data}" in select


def test_no_estimates_are_recommended_for_a_policy_that_remembers(call: Call, tmp_path: Path) -> None:
    out, data = tmp_path / "runs", tmp_path / "talks.jsonl"
    data.write_text('{"prompt": "a", "response": "b", "reward": 1}\n' * 4)
    small = ("--set", "width=8", "--steps", 1, "--out", out)
    done = call("train", "--algo", "TextBC", "--dataset", data, *small)
    assert done.exit_code == 0, done.output
    assert "Recorded episodes cannot say what its return may be, since TextBC acts\nby what" in done.stdout
    assert "offlinekit ope" not in done.stdout
    assert "offlinekit select" not in done.stdout
    (run,) = out.iterdir()
    for command in ("ope", "select"):
        refused = call(command, run, "--dataset", data)
        assert refused.exit_code != 0
        assert "TextBC acts by what came before" in refused.output
        assert "Fitting" not in refused.output


def test_a_resumed_run_notes_where_and_by_what_it_is_judged_from_then_on(
    call: Call, trained: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "get_evaluator", lambda name: lambda algo, dataset: 0.0)
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))

    def on(*options: object) -> dict[str, Any]:
        result = call("train", "--resume", run, "--quiet", *options)
        assert result.exit_code == 0, result.output
        config: dict[str, Any] = json.loads((run / "config.json").read_text())
        return config

    config = on("--steps", 61, "--eval-env", "none", "--metric", "action_match", "--metric", "initial_value")
    assert config["earlier"] == [{"until": 60, "n_steps": 60, "metrics": ["action_match"], "eval_env": None}]
    assert (config["eval_env"], config["env_id"]) == ("none", "CartPole-v1")
    assert on("--steps", 62)["earlier"][1:] == [{"until": 61, "n_steps": 61}]
    last = on("--steps", 63, "--eval-env", "CartPole-v1")
    assert last["earlier"][2:] == [{"until": 62, "n_steps": 62, "eval_env": "none"}]
    assert (last["eval_env"], last["metrics"]) == ("CartPole-v1", ["action_match", "initial_value"])

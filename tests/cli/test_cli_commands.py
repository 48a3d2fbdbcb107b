"""The commands beside `train`, the catalogue of commands, and how errors end."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import Result

import offlinekit
from offlinekit.algos import catalogue
from offlinekit.cli.main import main

Call = Callable[..., Result]

DATASETS = ["collect", "convert", "info", "levels", "list", "merge", "relabel", "subsample", "validate"]
NAMES = [
    *(
        "algos",
        "compare",
        "datasets",
        "dynamics",
        "evaluate",
        "evolve",
        "export",
        "finetune",
        "import",
        "ope",
        "plot",
        "predict",
        "pull",
        "push",
        "record",
        "report",
        "respond",
        "select",
        "sweep",
    ),
    "train",
]


def test_commands_are_found_and_each_has_help_with_an_example(call: Call) -> None:
    assert main.list_commands(click.Context(main)) == NAMES
    pages = [(name,) for name in NAMES] + [("datasets", name) for name in DATASETS]
    for page in pages:
        result = call(*page, "--help")
        assert result.exit_code == 0
        assert "Example" in result.output
        assert f"  offlinekit {' '.join(page)}" in result.output.split("Example")[1]
        assert "--debug" in result.output
    for code in ("0 ", "1 ", "2 ", "130"):
        assert f"\n    {code}" in call("--help").output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, click.testing; from offlinekit.cli.main import main\n"
        "assert click.testing.CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'numpy', 'gymnasium', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_module_is_the_command_line() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "offlinekit", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == f"offlinekit, version {offlinekit.__version__}"


def test_unknown_command_suggests_the_nearest(call: Call) -> None:
    result = call("trian")
    assert result.exit_code == 2
    assert "No such command 'trian'; did you mean 'train'?" in result.output


# Errors.


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `algos` raise what it is told to."""

    def fail_with(error: BaseException) -> None:
        def fail() -> None:
            warnings.warn("look\nout", UserWarning, stacklevel=1)
            raise error

        monkeypatch.setattr("offlinekit.algos.catalogue", fail)

    return fail_with


@pytest.mark.filterwarnings("default:look:UserWarning")
def test_errors_are_one_line_and_an_exit_code(call: Call, failing: Any) -> None:
    failing(offlinekit.errors.DatasetError("row 3:\n  not finite"))
    result = call("algos")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "Warning: look out\nError: row 3: not finite\n"
    failing(ValueError("too small"))
    assert call("algos").stderr.endswith("Error: too small\n(--debug shows where it came from)\n")
    failing(IndexError("list index out of range"))
    assert "Error: list index out of range\n" in call("algos").stderr
    failing(KeyboardInterrupt())
    result = call("algos")
    assert (result.exit_code, result.stderr) == (130, "Warning: look out\nInterrupted\n")


@pytest.mark.filterwarnings("default:look:UserWarning")
@pytest.mark.parametrize("arguments", [("--debug", "algos"), ("algos", "--debug")])
def test_debug_shows_where_an_error_came_from(call: Call, failing: Any, arguments: tuple[str, ...]) -> None:
    error = ValueError("too small")
    failing(error)
    assert call(*arguments).exception is error
    result = call("algos", "nothing", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


def test_programming_errors_are_not_hidden(call: Call, failing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "warn", lambda *args, **kwargs: None)
    error = ZeroDivisionError()
    failing(error)
    assert call("algos").exception is error


# algos.


def test_algos_lists_every_algorithm(call: Call) -> None:
    lines = call("algos").output.splitlines()
    assert lines[0].split()[:3] == ["algorithm", "family", "actions"]
    assert [line.split()[0] for line in lines[2:-2]] == sorted(catalogue())
    assert lines[-1].startswith("Families: IL (imitation), PC (policy constraint)")
    assert ["discrete_cql", "VR", "discrete"] in [line.split()[:3] for line in lines]


def test_algos_describes_one_in_any_spelling(call: Call) -> None:
    result = call("algos", "TD3+BC")
    assert result.output.startswith("TD3PlusBC: ")
    rows = [line.split() for line in result.output.splitlines()]
    assert ["family", "PC"] in rows
    assert any(row[:2] == ["alpha", "2.5"] for row in rows)
    assert any(row[:2] == ["batch_size", "256"] for row in rows)
    assert "did you mean 'iql'?" in call("algos", "iqql").output
    online = call("algos", "bred").output
    assert "; finetune --steps 251000 --first-share 0.75 --update-every 1000 --buffer-size 250000" in online


# datasets.


def test_datasets_list_info_and_validate(call: Call, data_file: Path) -> None:
    listed = call("datasets", "list", "hopper-medium").output.splitlines()
    assert any(line.startswith("hopper-medium-v2 ") for line in listed)
    assert all("hopper-medium" in line for line in listed)
    assert "hopper-medium-v2" in call("datasets", "list").output.split("Or the path of a file:\n*.")[0]
    assert call("datasets", "list", "zzz").exit_code == 2
    text = " ".join(call("datasets", "info", data_file).output.split())
    assert "name tiny rows 240 episodes 6; ends: 0 terminal, 6 timeout" in text
    assert "return mean 40, std 0, median 40, from 40 to 40" in text
    assert "environment CartPole-v1 score 50 (0 random, 100 expert)" in text
    statistics = json.loads(call("datasets", "info", data_file, "--json").stdout)
    assert (statistics["name"], statistics["rows"]) == ("tiny", 240)
    result = call("datasets", "validate", data_file)
    assert result.exit_code == 0
    assert "NOTE     rewards never change (always 1)\n         -> right if it is so" in result.output
    assert result.output.endswith(f"{data_file} is sound, with 2 notes.\n")


def test_datasets_validate_fails_for_bad_data_and_damaged_files(
    call: Call, data_file: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.npz"
    observations = np.ones((4, 2), np.float32)
    observations[2, 1] = np.nan
    np.savez(
        bad, observations=observations, actions=np.zeros(4, int), rewards=np.ones(4), terminals=np.eye(4)[3]
    )
    result = call("datasets", "validate", bad)
    assert result.exit_code == 1
    assert "FAULT    observations must be finite, got nan, row 2\n         -> drop" in result.stdout
    assert result.stderr == f"Error: {bad} is not sound: 1 fault\n"
    result = call("datasets", "validate", bad, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["faults"][0]["row"] == 2
    cut = tmp_path / "cut.h5"
    cut.write_bytes(data_file.read_bytes()[:1000])
    result = call("datasets", "validate", cut)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "cut.h5" in result.stderr
    assert call("datasets", "validate", tmp_path / "none.h5").exit_code == 2


# evaluate, plot, record.


def test_evaluate_prints_a_report_or_json(call: Call, trained: tuple[Path, Result]) -> None:
    run, _ = trained
    found = json.loads(call("evaluate", run, "--episodes", 4, "--seed", 7, "--json").stdout)
    assert (found["policy"], found["updates"], found["seed"]) == (str(run / "policy.okt"), 60, 7)
    assert len(found["returns"]) == found["episodes"] == 4
    assert found["return_mean"] == np.mean(found["returns"])
    assert found["score"] == pytest.approx(100 * (found["return_mean"] - 20) / 40)
    text = " ".join(call("evaluate", run, "--episodes", 4, "--seed", 7).output.split())
    assert "algorithm DiscreteBC updates 60 environment CartPole-v1 episodes 4 seed 7 return" in text
    assert "data 40, the mean return it learned from" in text
    other = json.loads(call("evaluate", run, "--which", "best", "--env", "CartPole-v0", "--json").stdout)
    assert (other["policy"], other["environment"]) == (str(run / "best.okt"), "CartPole-v0")
    assert "score" not in other


def test_evaluate_takes_a_policy_file_that_is_alone(
    call: Call, trained: tuple[Path, Result], tmp_path: Path
) -> None:
    alone = tmp_path / "alone.okt"
    alone.write_bytes((trained[0] / "policy.okt").read_bytes())
    result = call("evaluate", alone)
    assert result.exit_code == 2
    assert "give one by --env" in result.output
    assert call("evaluate", alone, "--env", "CartPole-v1", "--episodes", 1).exit_code == 0
    result = call("evaluate", alone, "--env", "Pendulum-v1")
    assert result.exit_code == 1
    assert "Pendulum-v1 observes Box[3]" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate",),
        ("export",),
        ("ope", "--dataset", "cartpole-mixed"),
        ("finetune", "--steps", 5),
        ("dynamics", "--dataset", "pendulum-mixed"),
    ],
)
def test_a_folder_that_is_no_run_is_wrong_usage(
    call: Call, arguments: tuple[Any, ...], tmp_path: Path
) -> None:
    result = call(arguments[0], tmp_path, *arguments[1:])
    assert result.exit_code == 2
    assert "is no run folder: it has no config.json; give the folder of a run" in " ".join(
        result.output.split()
    )
    assert "--debug shows" not in result.output


def test_evaluate_says_what_a_run_folder_lacks(
    call: Call, trained: tuple[Path, Result], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_bytes((trained[0] / "config.json").read_bytes())
    assert "holds no checkpoints" in call("evaluate", run).output
    result = call("evaluate", run, "--which", "best")
    assert result.exit_code == 2
    assert "has no best.okt" in result.output
    (run / "checkpoints" / "step_000000060.okt").write_bytes((trained[0] / "policy.okt").read_bytes())
    result = call("evaluate", run, "--episodes", 1)
    assert result.exit_code == 0
    assert result.stderr == "Note: the run is not finished; using its checkpoint step_000000060.okt\n"


def test_plot_draws_runs_with_the_return_of_the_data(
    call: Call, trained: tuple[Path, Result], tmp_path: Path
) -> None:
    figure = tmp_path / "curves.svg"
    result = call("plot", trained[0], "--out", figure, "--baseline", "random=22", "--title", "Ours")
    assert (result.exit_code, result.output) == (0, f"Wrote {figure}\n")
    text = figure.read_text()
    for label in ("DiscreteBC", "behaviour (40)", "random (22)", "Ours"):
        assert f"<!-- {label} -->" in text
    call("plot", trained[0], "--out", figure, "--y", "action_match")
    assert "behaviour" not in figure.read_text()


def test_plot_of_a_wrong_metric_or_baseline_is_wrong_usage(
    call: Call, trained: tuple[Path, Result], tmp_path: Path
) -> None:
    result = call("plot", trained[0], "--out", tmp_path / "a.png", "--y", "eval/return")
    assert result.exit_code == 2
    assert "did you mean 'eval/return_" in result.output
    result = call("plot", trained[0], "--out", tmp_path / "a.png", "--baseline", "random=low")
    assert result.exit_code == 2
    assert "Invalid value for '--baseline'" in result.output


def test_record_films_an_episode(call: Call, trained: tuple[Path, Result], tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="the video extra is not installed")
    pytest.importorskip("pygame", reason="pygame, which draws CartPole, is not installed")
    film = tmp_path / "film.mp4"
    result = call("record", trained[0], "--out", film, "--max-steps", 4)
    assert (result.exit_code, result.output) == (0, f"Wrote {film}: 4 steps, return 4\n")
    assert film.stat().st_size > 500
    result = call("record", trained[0], "--out", tmp_path / "film.avi")
    assert result.exit_code == 2
    assert "Invalid value for '--out': expected a path that ends in .mp4 or .gif" in result.output

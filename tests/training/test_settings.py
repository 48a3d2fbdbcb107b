"""Settings of a run: declared once, and everything that is derived from the declaration."""

from __future__ import annotations

import inspect
import itertools
import json
import subprocess
import sys

import click
import numpy as np
import pytest
import torch

from offlinekit.algos import BC, IQL, Population
from offlinekit.cli.commands import sweep, train
from offlinekit.fields import checked, meaning_of
from offlinekit.sweeps import Plan
from offlinekit.testing import small_dataset
from offlinekit.training import RunSettings, run_folder
from offlinekit.training.setup import settings

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 3}
DATASET = small_dataset("continuous")


def fit(algo, n_steps, **given):
    return algo.fit(DATASET, n_steps, progress=False, **given)


@pytest.mark.parametrize("name", settings.SETTINGS)
def test_each_setting_has_a_meaning_and_a_default_that_passes_its_check(name):
    hint = RunSettings.__annotations__[name]
    assert meaning_of(hint).endswith(".")
    checked(name, settings.SETTINGS[name].default, hint)


@pytest.mark.parametrize(
    "function", [IQL.fit, IQL.fitter, Population.fit, Population.fitter], ids=lambda f: f.__qualname__
)
def test_signatures_show_every_keyword_with_its_default(function):
    shown = inspect.signature(function).parameters
    assert shown["n_steps"].default == settings.N_STEPS
    assert {name: shown[name].default for name in settings.SETTINGS} == {
        name: setting.default for name, setting in settings.SETTINGS.items()
    }
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in shown.values())


def test_the_docstring_says_what_each_keyword_means():
    text = inspect.getdoc(IQL.fit)
    for name in settings.SETTINGS:
        assert f"    {name}: {meaning_of(RunSettings.__annotations__[name])[:30]}" in text
    assert "    log_interval: Updates between rows" in text
    assert text.index("    seeds: ") < text.index("    team: ") < text.index("Returns:")


@pytest.mark.parametrize("command", [train.command, sweep.command], ids=["train", "sweep"])
def test_commands_have_an_option_for_what_can_be_typed(command):
    options = {parameter.name: parameter for parameter in command.params}
    assert options.keys() >= set(settings.PLAIN) - {"progress", "preemptible"}
    assert options["engine"].type.choices == ("auto", "eager", "compile", "graph")
    assert options["deterministic"].is_flag
    assert "--max-seconds" in options["max_seconds"].opts
    context = click.Context(command)
    for name, text in (("max_seconds", "0"), ("eval_episodes", "0"), ("eval_episodes", "1.5")):
        with pytest.raises(click.BadParameter):
            options[name].type.convert(text, options[name], context)
    assert options["max_seconds"].type.convert("0.5", options["max_seconds"], context) == 0.5


def test_a_plan_takes_them_for_its_runs():
    plan = Plan("bc", {"learning_rate": [1e-3]}, steps=50, max_seconds=2.5, engine="eager")
    # Evaluated once, at the end; rows at least as often.
    assert plan.run_settings == {
        "eval_interval": 50,
        "log_interval": 50,
        "max_seconds": 2.5,
        "engine": "eager",
    }
    assert Plan.from_dict(plan.to_json(), "plan.json").run_settings == plan.run_settings
    with pytest.raises(ValueError, match=r"max_seconds must be in \(0, inf\), got -1"):
        Plan("bc", {"learning_rate": [1e-3]}, max_seconds=-1)
    with pytest.raises(ValueError, match="did you mean 'eager'"):
        Plan("bc", {"learning_rate": [1e-3]}, engine="eagre")


ADDED = """
import inspect, sys, types
from pathlib import Path
import offlinekit.training
name = "offlinekit.training.setup.settings"
path = Path(offlinekit.training.__file__).parent / "setup" / "settings.py"
text = path.read_text()
mark = "    max_seconds: Annotated["
assert text.count(mark) == 1
text = text.replace(mark, "    warm_laps: Annotated[Count, 'Laps before the first.', Setting(7)]\\n" + mark)
module = sys.modules[name]
exec(compile(text, str(path), "exec"), vars(module))

from click.testing import CliRunner
from offlinekit.algos import BC, Population
from offlinekit.cli.main import main
from offlinekit.sweeps import Plan
from offlinekit.testing import small_dataset
from offlinekit.training import run_folder
assert inspect.signature(BC.fit).parameters["warm_laps"].default == 7
assert "warm_laps: Laps before the first. Default: 7." in BC.fit.__doc__ and "warm_laps" in Population.fit.__doc__
for command in ("train", "sweep"):
    shown = CliRunner().invoke(main, [command, "--help"]).output
    assert "--warm-laps INTEGER RANGE" in shown and "[default: 7]" in shown, shown
assert Plan("bc", {"learning_rate": [1.0]}, warm_laps=2).run_settings["warm_laps"] == 2
algo = BC(seed=0, batch_size=8).fit(small_dataset("continuous"), 2, out="runs", progress=False, warm_laps=3)
assert run_folder.read_config(algo.run_dir)["warm_laps"] == 3
"""


def test_a_new_setting_is_one_entry(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ADDED], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_unknown_keywords_are_refused_with_the_nearest():
    with pytest.raises(TypeError, match="fit has no keyword 'eval_intervall'; did you mean 'eval_interval'"):
        fit(BC(**TINY), 2, out=None, eval_intervall=3)
    with pytest.raises(TypeError, match="fit has no keyword 'max_second'; did you mean 'max_seconds'"):
        Population([BC(**TINY)]).fit(DATASET, 2, out=None, max_second=3)


def test_numbers_of_numpy_are_numbers(tmp_path):
    algo = fit(
        BC(**TINY),
        np.int64(4),
        eval_interval=np.int32(2),
        log_interval=np.int64(2),
        max_seconds=np.float32(60),
        out=tmp_path,
    )
    assert [row["step"] for row in algo.history] == [2, 4]
    assert run_folder.read_config(algo.run_dir)["n_steps"] == 4


def test_a_config_keeps_what_can_be_typed_and_compares_what_matters(tmp_path):
    algo = fit(BC(**TINY), 2, out=tmp_path, engine="eager", max_seconds=9)
    config = json.loads((algo.run_dir / "config.json").read_text())
    assert set(settings.PLAIN) <= set(config)
    assert (config["engine"], config["max_seconds"], config["checkpoint_interval"]) == ("eager", 9.0, None)
    compared = settings.comparable(config)
    assert "engine" in compared
    assert not {"max_seconds", "keep_checkpoints", "checkpoint_interval", "loggers"} & compared.keys()
    # A run that is older than a setting had its default.
    older = {name: value for name, value in config.items() if name not in ("deterministic", "eval_episodes")}
    assert settings.comparable(older) == compared
    assert settings.comparable({**older, "deterministic": True}) != compared


# max_seconds: a clock on which every update takes a second.


def test_a_run_out_of_time_stops_after_its_update_and_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    whole = fit(BC(**TINY), 20, out=None, log_interval=5)
    algo = BC(**TINY)
    monkeypatch.setattr("offlinekit.training.run.monotonic", lambda: 100.0 + algo.grad_step)
    given = {"out": tmp_path, "log_interval": 5, "max_seconds": 7}
    assert fit(algo, 20, **given) is algo
    assert algo.grad_step == 7
    assert [row["step"] for row in algo.history] == [5]  # As of a run that is interrupted.
    assert [path.stem for path in run_folder.checkpoints(algo.run_dir)] == ["step_000000007"]
    assert not run_folder.is_finished(algo.run_dir)
    folder, algo = algo.run_dir, BC(**TINY)
    # It has seven seconds anew: updates 8 to 14, then 15 to 20 and the end.
    fit(algo, 20, resume="auto", **given)
    assert (algo.run_dir, algo.grad_step) == (folder, 14)
    algo = BC(**TINY)
    fit(algo, 20, resume="auto", **given)
    assert (algo.run_dir, algo.grad_step, run_folder.is_finished(folder)) == (folder, 20, True)
    losses = [[row["actor_loss"] for row in one.history] for one in (algo, whole)]
    assert losses[0] == losses[1]
    for name, value in whole.impl.state_tensors().items():
        assert torch.equal(value, algo.impl.state_tensors()[name]), name


def test_members_out_of_time_all_have_a_checkpoint(tmp_path, monkeypatch):
    def members():
        return Population([BC(**TINY), IQL(**TINY), BC(**{**TINY, "seed": 4})])

    whole = members().fit(DATASET, 30, out=None, progress=False)
    ticks = itertools.count()
    monkeypatch.setattr("offlinekit.training.run.monotonic", lambda: float(next(ticks)))
    cut = members()
    cut.fit(DATASET, 30, out=tmp_path, progress=False, max_seconds=40, log_interval=10)
    assert max(algo.grad_step for algo in cut) < 30
    assert all(run_folder.checkpoints(folder) for folder in cut.run_dirs)
    assert not any(run_folder.is_finished(folder) for folder in cut.run_dirs)
    monkeypatch.undo()
    on = members()
    on.fit(DATASET, 30, out=tmp_path, progress=False, resume="auto", log_interval=10)
    assert on.run_dirs == cut.run_dirs
    for one, other in zip(on, whole, strict=True):
        for name, value in other.impl.state_dict().items():
            torch.testing.assert_close(value, one.impl.state_dict()[name])

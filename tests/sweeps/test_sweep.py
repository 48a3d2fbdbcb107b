"""Sweeps: packed as populations, shared by processes, taken up where they were cut off."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import types
from pathlib import Path

import forked
import pytest

import offlinekit
from offlinekit.algos import Population
from offlinekit.datasets import get_dataset
from offlinekit.directions import less_is_better, more_is_better
from offlinekit.errors import DatasetError, TrainingError
from offlinekit.metrics import evaluators
from offlinekit.sweeps import Plan, Sweep, pack
from offlinekit.sweeps import plan as plans
from offlinekit.sweeps.ray_tune import tune
from offlinekit.sweeps.slurm import submit
from offlinekit.training import run_folder
from offlinekit.training.run import Run

SMALL = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 16}
COMMON = {"set": SMALL, "steps": 20, "metric": "initial_value", "dataset": "pendulum-mixed", "device": "cpu"}


@pytest.fixture(scope="module")
def dataset():
    return get_dataset("pendulum-mixed")[0]


def make(out, dataset, vary=None, **fields):
    plan = Plan("td3+bc", vary or {"alpha": [0.5, 2.5]}, **{**COMMON, **fields})
    return Sweep.create(out, plan, dataset, progress=False)


def rows(sweep):
    with (sweep.folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("mark", [less_is_better, more_is_better])
def test_a_metric_of_the_user_ranks_settings(tmp_path, dataset, monkeypatch, mark):
    monkeypatch.setattr(evaluators, "REGISTERED", {})
    evaluators.register_evaluator("size_of_alpha")(mark(lambda algo, data: algo.alpha))
    sweep = make(tmp_path, dataset, metric="size_of_alpha", steps=2)
    sweep.run()
    best = 0.5 if mark is less_is_better else 2.5
    assert sweep.best().values == {"alpha": best}


def test_a_grid_of_settings_and_seeds_is_one_program(tmp_path, dataset, monkeypatch):
    stacks = []
    fitter = Population.fitter

    def watched(self, *args, **settings):
        yield from fitter(self, *args, **settings)
        stacks.append(self.stacks)

    monkeypatch.setattr(Population, "fitter", watched)
    sweep = make(tmp_path, dataset, seeds=2)
    trials = sweep.run()
    assert stacks == [[[0, 1, 2, 3]]]
    assert [trial.state for trial in trials] == ["done", "done"]
    table = rows(sweep)
    assert [(row["trial"], row["alpha"], row["seed"]) for row in table] == [
        ("0", "0.5", "0"),
        ("0", "0.5", "1"),
        ("1", "2.5", "0"),
        ("1", "2.5", "1"),
    ]
    alone = sweep.plan.make({"alpha": 2.5}, 1).fit(dataset, 20, out=None)
    expected = evaluators.get_evaluator("initial_value")(alone, dataset)
    assert float(table[3]["value"]) == pytest.approx(expected, abs=1e-5)
    assert trials[1].value == pytest.approx((float(table[2]["value"]) + float(table[3]["value"])) / 2)
    assert all((sweep.folder / row["run"] / "policy.okt").is_file() for row in table)
    assert sweep.best().value == max(trial.value for trial in trials)
    assert len(list((sweep.folder / "runs").iterdir())) == 4


@pytest.mark.parametrize(
    ("metric", "higher"),
    [("fqe", True), ("eval/return_mean", True), ("td_error", False), ("actor_loss", False)],
)
def test_the_better_value_goes_by_the_metric(metric, higher):
    assert Plan("td3+bc", {"alpha": [0.5, 2.5]}, metric=metric).maximize is higher
    assert Plan("td3+bc", {"alpha": [0.5, 2.5]}, metric=metric, maximize=True).maximize


def test_lower_is_better_where_the_plan_says_so(tmp_path, dataset):
    sweep = make(tmp_path, dataset, maximize=False)
    trials = sweep.run()
    assert sweep.best().value == min(trial.value for trial in trials)


def test_a_sweep_that_is_cut_off_goes_on_from_its_checkpoints(tmp_path, dataset, monkeypatch):
    measured = evaluators.get_evaluator("initial_value")
    calls = []

    def interrupts(algo, data):
        if algo.grad_step:  # Not when it is tried.
            calls.append(algo.grad_step)
        if len(calls) == 3:  # The first of two members, at the second evaluation of the first pack.
            os.kill(os.getpid(), signal.SIGINT)
        return measured(algo, data)

    whole = make(tmp_path / "whole", dataset, seeds=2, pack=2, eval_interval=5)
    whole.run()
    cut = make(tmp_path / "cut", dataset, seeds=2, pack=2, eval_interval=5)
    monkeypatch.setattr(plans, "get_evaluator", lambda _: interrupts)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    monkeypatch.undo()
    (begun,) = cut.trials()
    assert begun.state == "running"
    steps = []
    train = Population.fitter

    def watched(self, *args, **settings):
        steps.append([folder and run_folder.latest_checkpoint(folder).stem for folder in settings["resume"]])
        yield from train(self, *args, **settings)

    monkeypatch.setattr(Population, "fitter", watched)
    again = Sweep(cut.folder, Sweep.read_plan(cut.folder), dataset, progress=False)
    again.run()
    assert steps[1] == [None, None]
    assert all(step is not None for step in steps[0])
    assert [t.value for t in again.trials()] == pytest.approx([t.value for t in whole.trials()], abs=1e-6)
    assert len(list((again.folder / "runs").iterdir())) == 4
    steps.clear()
    monkeypatch.setattr(pack, "evaluate_trials", lambda *_: pytest.fail("evaluated again"))
    again.run()
    assert not steps  # All is done.


@pytest.fixture
def half(dataset, monkeypatch):
    """Makes sweeps whose runs are out of time half-way, each once."""
    opened = Run.open

    def opens(run, *loggers):
        run.from_start = run.clock == 0
        opened(run, *loggers)

    monkeypatch.setattr(Run, "open", opens)
    monkeypatch.setattr(Run, "is_late", lambda run: run.from_start and run.clock == 10)
    return lambda *args, **fields: make(*args, **fields, eval_interval=10)


def test_a_trial_that_is_out_of_time_is_not_judged_before_it_has_come_to_its_end(
    tmp_path, dataset, half, monkeypatch
):
    sweep = half(tmp_path, dataset, seeds=2)
    assert {(trial.state, trial.value) for trial in sweep.run()} == {("running", None)}
    assert sweep.out_of_time
    assert {(row["state"], row["value"]) for row in rows(sweep)} == {("running", "")}
    with pytest.raises(ValueError, match="is done"):
        sweep.best()
    assert {trial.state for trial in sweep.run()} == {"done"}
    assert not sweep.out_of_time
    monkeypatch.undo()
    whole = make(tmp_path / "whole", dataset, seeds=2, eval_interval=10).run()
    assert [trial.value for trial in sweep.trials()] == pytest.approx([t.value for t in whole], abs=1e-6)
    assert len(list((sweep.folder / "runs").iterdir())) == 4


def test_a_search_that_is_out_of_time_tells_nothing_and_goes_on(tmp_path, dataset, half, monkeypatch):
    sweep = half(tmp_path, dataset, SPACE, trials=2)
    assert [trial.state for trial in sweep.run()] == ["running"]  # The next one would follow from no value.
    assert [trial.state for trial in sweep.run()] == ["done", "running"]
    assert [trial.state for trial in sweep.run()] == ["done", "done"]
    monkeypatch.undo()
    straight = make(tmp_path / "straight", dataset, SPACE, trials=2, eval_interval=10)
    assert [trial.value for trial in sweep.trials()] == pytest.approx(
        [trial.value for trial in straight.run()], abs=1e-6
    )


def test_a_report_that_is_out_of_time_goes_on_when_it_is_asked_for_again(tmp_path, dataset, half):
    sweep = half(tmp_path, dataset, {"alpha": [0.5]})
    sweep.run()
    sweep.run()
    with pytest.raises(
        TrainingError, match="seeds 1, 2 are out of time after update 10 of 20; ask for the report again"
    ):
        sweep.report(2, "initial_value")
    assert not (sweep.folder / "report.json").exists()
    assert len(sweep.report(2, "initial_value")) == 2
    assert len(list((sweep.folder / "report").iterdir())) == 2


def test_runs_that_ended_before_they_were_noted_are_judged_and_not_trained(tmp_path, dataset, monkeypatch):
    sweep = make(tmp_path, dataset)
    before = [trial.value for trial in sweep.run()]
    for path in (sweep.folder / "trials").iterdir():
        trial = json.loads(path.read_text())
        run_folder.write_json(path, {**trial, "state": "running", "value": None})
    monkeypatch.setattr(Population, "fitter", lambda *_, **__: pytest.fail("trained again"))
    assert [trial.value for trial in sweep.run()] == before


def test_runs_whose_last_checkpoint_is_damaged_are_trained_to_their_end(tmp_path, dataset):
    sweep = make(tmp_path, dataset, eval_interval=5)
    before = [trial.value for trial in sweep.run()]
    for path in (sweep.folder / "trials").iterdir():
        trial = json.loads(path.read_text())
        run_folder.write_json(path, {**trial, "state": "running", "value": None})
    folder = sweep.folder / sweep.trials()[0].runs[0]["run"]
    newest = run_folder.latest_checkpoint(folder)
    newest.write_bytes(newest.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="going on from step_.*, the one before"):
        assert [trial.value for trial in sweep.run()] == pytest.approx(before, abs=1e-6)
    assert run_folder.latest_checkpoint(folder) == newest
    assert offlinekit.load(newest).grad_step == sweep.plan.steps


def test_a_setting_that_diverges_fails_alone(tmp_path, dataset):
    sweep = make(tmp_path, dataset, {"critic_learning_rate": [3e-4, 1e30]}, metric="fqe", fqe_steps=5)
    sound, failed = sweep.run()
    assert (sound.state, failed.state, failed.value) == ("done", "failed", None)
    assert "no longer finite" in rows(sweep)[1]["error"]
    assert sweep.best().number == 0


def test_a_report_is_of_seeds_that_the_sweep_has_not_used(tmp_path, dataset):
    sweep = make(tmp_path, dataset, seeds=2)
    sweep.run()
    assert len(sweep.report(3, "initial_value")) == 3
    report = json.loads((sweep.folder / "report.json").read_text())
    assert report["seeds"] == [2, 3, 4]
    assert report["values"] == sweep.best().values


def test_a_sweep_goes_on_with_the_data_that_it_was_made_with(tmp_path, dataset):
    sweep = make(tmp_path, dataset)
    other = dataset[:10]
    with pytest.raises(DatasetError, match="has learned from other data than 'pendulum-mixed'"):
        Sweep(sweep.folder, sweep.plan, other, progress=False)
    assert Sweep.create(
        sweep.folder, sweep.plan, other, progress=False
    )  # A sweep of its own, inside another.
    path = sweep.folder / "plan.json"
    noted = json.loads(path.read_text())
    assert noted.pop("dataset_hash").startswith("data2:")
    path.write_text(json.dumps(noted))  # As earlier versions wrote it.
    assert Sweep(sweep.folder, Sweep.read_plan(sweep.folder), other, progress=False).plan == sweep.plan


def test_a_metric_of_an_environment_needs_one(tmp_path, dataset):
    with pytest.raises(ValueError, match=r"needs an environment; name one by eval_env, or choose by .*fqe"):
        make(tmp_path, dataset, metric="eval/return_mean")
    with pytest.raises(ValueError, match="did you mean 'initial_value'"):
        make(tmp_path, dataset, metric="inital_value")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metric", ["conservative_gap", "eval/return_std", "of_the_user"])
def test_a_metric_of_which_nobody_knows_the_direction_is_refused(metric):
    with pytest.raises(
        ValueError, match=f"nothing says whether more of '{metric}' is better.*give maximize="
    ):
        Plan("td3+bc", {"alpha": [0.5, 2.5]}, metric=metric)
    assert Plan("td3+bc", {"alpha": [0.5, 2.5]}, metric=metric, maximize=False).maximize is False


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("critc_loss", "did you mean 'critic_loss'"),
        ("of_the_user", "Unrecognized metric: 'of_the_user'; known: fqe"),
    ],
)
def test_a_metric_that_no_run_measures_is_refused_before_there_is_a_folder(
    metric, message, tmp_path, dataset
):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, dataset, metric=metric, maximize=True)
    assert list(tmp_path.iterdir()) == []
    assert make(tmp_path, dataset, metric="critic_loss").plan.maximize is False


def _work(folder):
    dataset, _ = get_dataset("pendulum-mixed")
    Sweep(folder, Sweep.read_plan(folder), dataset, progress=False).run()


def _two_processes(sweep):
    workers = [forked.start(_work, sweep.folder, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_processes_share_the_packs_of_a_grid(tmp_path, dataset):
    sweep = make(tmp_path, dataset, {"alpha": [0.5, 1.0, 2.0, 4.0]}, pack=1)
    _two_processes(sweep)
    assert [trial.state for trial in sweep.trials()] == ["done"] * 4
    assert len(list((sweep.folder / "runs").iterdir())) == 4  # None was trained twice.


# Optuna.

SPACE = {"alpha": {"low": 0.1, "high": 10, "log": True}, "n_critics": {"low": 1, "high": 2, "integer": True}}


def test_processes_share_one_study(tmp_path, dataset):
    sweep = make(tmp_path, dataset, {**SPACE, "tau": [0.005, 0.01]}, trials=6)
    _two_processes(sweep)
    trials = sweep.trials()
    assert [trial.number for trial in trials] == list(range(6))
    assert {trial.state for trial in trials} == {"done"}
    assert all(0.1 <= trial.values["alpha"] <= 10 for trial in trials)
    assert {trial.values["n_critics"] for trial in trials} <= {1, 2}
    assert len({trial.values["alpha"] for trial in trials}) == 6
    assert len(rows(sweep)) == 6


def test_a_search_repeats_itself_and_takes_up_trials_that_were_left(tmp_path, dataset, monkeypatch):
    straight = make(tmp_path / "straight", dataset, SPACE, trials=5)
    straight.run()
    cut = make(tmp_path / "cut", dataset, SPACE, trials=5)
    evaluate_trials, calls = pack.evaluate_trials, []

    def interrupts(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate_trials(*args)

    from offlinekit.sweeps import pack as module

    monkeypatch.setattr(module, "evaluate_trials", interrupts)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    assert [trial.state for trial in cut.trials()] == ["done", "done", "running"]
    cut.run()
    found = [(trial.number, trial.values, trial.value) for trial in cut.trials()]
    assert found == [(trial.number, trial.values, trial.value) for trial in straight.trials()]


# Ray Tune and submitit.


class FakeTune(types.ModuleType):
    """The part of Ray Tune that the adapter uses; Ray itself is 80 MB and starts servers."""

    def grid_search(self, values):
        return values

    def choice(self, values):
        return lambda: values[0]

    def loguniform(self, low, high):
        return lambda: (low * high) ** 0.5

    def randint(self, low, high):
        return lambda: high - 1

    def TuneConfig(self, **settings):
        return settings

    def with_parameters(self, function, **given):
        return lambda config: function(config, **given)

    def Tuner(self, trainable, param_space, tune_config):
        self.config = tune_config
        (name, values), *_ = param_space.items()
        if isinstance(values, list):
            configs = [{name: value} for value in values]
        else:
            configs = [{n: draw() for n, draw in param_space.items()}] * tune_config["num_samples"]
        return types.SimpleNamespace(fit=lambda: [trainable(config) for config in configs])


@pytest.fixture
def fake_ray(monkeypatch):
    fake = FakeTune("ray.tune")
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    monkeypatch.setitem(sys.modules, "ray.tune", fake)
    return fake


def test_ray_tune_takes_packs_of_a_grid(tmp_path, dataset, fake_ray):
    sweep = make(
        tmp_path, dataset, {"alpha": [0.5, 2.5], "batch_size": [8, 16]}, set={"encoder": SMALL["encoder"]}
    )
    found = tune(sweep, max_concurrent_trials=2)
    assert [result["trials"] for result in found] == [[0, 2], [1, 3]]
    values = {trial.number: trial.value for trial in sweep.trials()}
    assert found[0]["value"] == max(values[0], values[2])
    assert fake_ray.config == {"metric": "value", "mode": "max", "num_samples": 1, "max_concurrent_trials": 2}
    assert len(rows(sweep)) == 4


def test_ray_tune_searches(tmp_path, dataset, fake_ray):
    sweep = make(tmp_path, dataset, SPACE, trials=2, seeds=2, maximize=False)
    tune(sweep)
    assert fake_ray.config == {"metric": "value", "mode": "min", "num_samples": 2}
    trials = sweep.trials()
    assert [trial.values for trial in trials] == [{"alpha": pytest.approx(1.0), "n_critics": 2}] * 2
    assert all(len(trial.runs) == 2 for trial in trials)


def test_ray_tune_gets_no_value_of_a_trial_that_is_out_of_time(tmp_path, dataset, half, fake_ray):
    sweep = half(tmp_path, dataset)
    with pytest.raises(RuntimeError, match=r"settings \[0, 1\] are out of time .*; call tune again"):
        tune(sweep)
    (found,) = tune(sweep)
    assert found["trials"] == [0, 1]


def test_workers_of_submitit_do_the_sweep(tmp_path, dataset):
    sweep = make(tmp_path, dataset, {"alpha": [0.5, 1.0]}, pack=1)
    jobs = submit(sweep.folder, 1, cluster="local", timeout_min=2)
    for job in jobs:
        job.result()
    assert [trial.state for trial in sweep.trials()] == ["done", "done"]
    assert Path(sweep.folder / "results.csv").is_file()

"""`offlinekit sweep`: from options or a file to a table."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from offlinekit.datasets import MDPDataset
from offlinekit.metrics import more_is_better
from offlinekit.sweeps import plan
from offlinekit.training import run_folder

SMALL = ("--set", "batch_size=8", "--steps", 6, "--device", "cpu", "--metric", "action_match")


@pytest.fixture
def finished(call, data_file, tmp_path, says_how_far):
    words = ("--algo", "discrete-bc", "--dataset", data_file, "--vary", "learning_rate=[1e-4,1e-2]")
    done = call("sweep", *words, "--seeds", 2, *SMALL, "--out", tmp_path)
    says_how_far(done, "sweep of discrete_bc")
    (folder,) = tmp_path.iterdir()
    return folder, done.stdout


def test_a_sweep_prints_its_trials_best_first(finished):
    folder, output = finished
    lines = output.splitlines()
    assert lines[0].split() == ["trial", "learning_rate", "action_match", "(mean", "±", "s.e.)", "state"]
    assert {line.split()[1] for line in lines[2:4]} == {"0.0001", "0.01"}
    assert f"Folder: {folder}" in output
    assert json.loads((folder / "plan.json").read_text())["vary"] == {"learning_rate": [1e-4, 1e-2]}


def test_a_finished_sweep_reports_its_best_setting_anew(finished, call):
    folder, _ = finished
    done = call("sweep", "--resume", folder, "--report-seeds", 2, "--quiet")
    assert done.exit_code == 0, done.output
    assert "with 2 new seeds: return" in done.output
    report = json.loads((folder / "report.json").read_text())
    assert report["metric"] == "eval/return_mean"
    assert report["seeds"] == [2, 3]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_a_sweep_that_is_told_to_stop_saves_and_goes_on(number, code, call, data_file, tmp_path, monkeypatch):
    words = ("--algo", "discrete-bc", "--dataset", data_file, "--vary", "learning_rate=[1e-4,1e-2]")
    numbers = iter([number])  # At the first evaluation; a second Ctrl-C would end it at once.

    @more_is_better
    def told(algo, dataset):
        for one in numbers if algo.grad_step else ():
            signal.raise_signal(one)
        return 0.0

    monkeypatch.setattr(plan, "get_evaluator", lambda name: told)
    cut = call("sweep", *words, *SMALL, "--eval-interval", 2, "--out", tmp_path)
    (folder,) = tmp_path.iterdir()
    assert (cut.exit_code, cut.stderr.splitlines(keepends=True)[-1]) == (
        code,
        f"Interrupted; go on with: offlinekit sweep --resume {folder}\n",
    )
    runs = list((folder / "runs").iterdir())
    assert [len(run_folder.checkpoints(run)) for run in runs] == [2, 2]  # At the start and at the stop.
    monkeypatch.undo()
    done = call("sweep", "--resume", folder)
    assert done.exit_code == 0, done.output
    assert sorted((folder / "runs").iterdir()) == sorted(runs)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_jobs_and_remedies_import_what_the_command_imported(call, data_file, tmp_path, monkeypatch):
    commands = []

    class Executor:
        def __init__(self, **options):
            self.update_parameters = lambda **parameters: None
            self.batch = nullcontext

        def submit(self, command):
            commands.append(command)
            return SimpleNamespace(job_id="7")

    helpers = SimpleNamespace(CommandFunction=list)
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=Executor, helpers=helpers))
    words = ("--algo", "discrete-bc", "--dataset", data_file, "--vary", "learning_rate=[1e-4]", *SMALL)
    start = ("--import", "json", "--import", "csv", "sweep", *words, "--out", tmp_path / "my sweeps")
    refused = call(*start, "--workers", 2, "--report-seeds", 3)
    assert (refused.exit_code, "for which --workers does not wait" in " ".join(refused.output.split())) == (
        2,
        True,
    )
    assert not (tmp_path / "my sweeps").exists()
    done = call(*start, "--workers", 1)
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "my sweeps").iterdir()
    again = ["offlinekit", "--import", "json", "--import", "csv", "sweep", "--resume", str(folder)]
    assert commands[0][2:] == [*again, "--quiet"]
    assert done.stdout.splitlines()[-1] == f"Once they are over: {shlex.join(again)}"
    assert f"'{folder}'" in done.stdout  # A name with a space is one word.


def test_a_sweep_that_is_out_of_time_ranks_nothing_and_says_how_to_go_on(call, data_file, tmp_path):
    words = ("--algo", "discrete-bc", "--dataset", data_file, "--vary", "learning_rate=[1e-4,1e-2]")
    done = call("sweep", *words, *SMALL, "--max-seconds", 1e-9, "--report-seeds", 2, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    (folder,) = tmp_path.iterdir()
    lines = done.stdout.splitlines()
    assert [line.split()[-2:] for line in lines[2:4]] == [["-", "running"]] * 2
    assert lines[-1] == f"Out of time; go on with: offlinekit sweep --resume {folder} --report-seeds 2"
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "max_seconds": None}))
    assert call("sweep", "--resume", folder).stdout.count("done") == 2
    (folder / "plan.json").write_text(json.dumps(plan))
    cut = call("sweep", "--resume", folder, "--report-seeds", 2)
    assert cut.stdout.splitlines()[-1] == lines[-1]


def test_a_sweep_of_a_relative_path_goes_on_from_another_folder_with_the_same_data_alone(
    call, data_file, tmp_path, monkeypatch
):
    shutil.copy(data_file, tmp_path / "data.h5")
    monkeypatch.chdir(tmp_path)
    words = ("--algo", "discrete-bc", "--dataset", "data.h5", "--vary", "learning_rate=[1e-4]")
    assert call("sweep", *words, *SMALL, "--out", "sweeps").exit_code == 0
    (folder,) = (tmp_path / "sweeps").iterdir()
    assert json.loads((folder / "plan.json").read_text())["dataset"] == str(tmp_path / "data.h5")
    (run,) = (folder / "runs").iterdir()
    assert json.loads((run / "config.json").read_text())["dataset"]["source"] == str(tmp_path / "data.h5")
    monkeypatch.chdir(folder)
    assert call("sweep", "--resume", folder).exit_code == 0
    MDPDataset.load(data_file)[:3].save(tmp_path / "data.h5")
    for more in ((), ("--report-seeds", 1)):
        refused = call("sweep", "--resume", folder, *more)
        assert (refused.exit_code, "has learned from other data" in refused.stderr) == (1, True)


def planned(call, *words):
    done = call("sweep", *words, "--print-config")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_command_line_adds_to_what_a_file_sets_and_varies(call, data_file, tmp_path):
    (tmp_path / "sweep.yaml").write_text(
        f"algo: discrete_bc\ndataset: {data_file}\nvary: {{learning_rate: [0.001]}}\nseed: 3\n"
        "set: {batch_size: 8, optimizer: sgd}\nmetric: td_error\ndevice: cpu\nmetric: action_match\n"
        f"dataset_options: {{nonfinite: drop}}\n"
    )
    more = ("--set", "batch_size=4", "--vary", "learning_rate=[0.1]", "--vary", "logits_penalty=[0]")
    more = (*more, "--dataset-option", "max_bytes=1000000", "--seed", 0)
    plan = planned(call, "--config", tmp_path / "sweep.yaml", *more)
    assert plan["set"] == {"batch_size": 4, "optimizer": "sgd"}
    assert plan["vary"] == {"learning_rate": [0.1], "logits_penalty": [0]}
    assert plan["dataset_options"] == {"nonfinite": "drop", "max_bytes": 1000000}
    assert plan["seed"] == 0  # A zero is given.


def test_a_zero_beside_resume_is_refused(finished, call):
    done = call("sweep", "--resume", finished[0], "--seed", 0)
    assert (done.exit_code, "leave out ['seed']" in " ".join(done.output.split())) == (2, True)


def test_a_file_says_that_less_is_better(call, data_file, tmp_path):
    text = (
        f"algo: discrete_bc\ndataset: {data_file}\nvary: {{learning_rate: [0.001]}}\nmetric: action_match\n"
    )
    file = tmp_path / "sweep.yaml"
    for line, words, is_maximized in (
        ("minimize: true", (), False),
        ("minimize: false", (), True),
        ("minimize: true", ("--maximize",), True),
        ("maximize: true", ("--minimize",), False),
    ):
        file.write_text(f"{text}{line}\n")
        assert planned(call, "--config", file, *words)["maximize"] is is_maximized
    for lines, message in (
        ("minimize: true\nmaximize: true", "exclude each other"),
        ("minimize: yes please", "minimize must be"),
    ):
        file.write_text(f"{text}{lines}\n")
        refused = call("sweep", "--config", file)
        assert (refused.exit_code, message in refused.output) == (2, True), refused.output


def test_a_file_holds_the_options_and_the_command_line_wins(call, data_file, tmp_path):
    (tmp_path / "sweep.yaml").write_text(
        f"algo: discrete_bc\ndataset: {data_file}\nvary: {{learning_rate: [0.001]}}\nsteps: 999999\n"
        "set: {batch_size: 8}\nmetric: action_match\ndevice: cpu\n"
    )
    done = call("sweep", "--config", tmp_path / "sweep.yaml", "--steps", 4, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "out").iterdir()
    assert json.loads((folder / "plan.json").read_text())["steps"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--algo", "bc"), "Missing option '--vary'"),
        (("--algo", "bc", "--vary", "learning_rate=[0.1]"), "Missing option '--dataset'"),
        (("--algo", "bc", "--vary", "lerning_rate=[0.1]", "--dataset", "x"), "did you mean 'learning_rate'"),
        (("--algo", "bc", "--vary", "learning_rate=0.1", "--dataset", "x"), "must vary over a list"),
        (("--resume", "."), "it has no plan.json"),
        (("--resume", ".", "--steps", 3), "--resume takes the plan of the sweep; leave out ['steps']"),
    ],
)
def test_wrong_usage_is_told(call, words, message):
    done = call("sweep", *words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_a_sweep_of_which_all_trials_failed_is_an_error(call, data_file, tmp_path):
    words = ("--algo", "discrete-bc", "--dataset", data_file, "--vary", "learning_rate=[1e29,1e30]")
    done = call(
        "sweep",
        *words,
        *SMALL,
        "--set",
        "optimizer=sgd",
        "--steps",
        120,
        "--metric",
        "action_match",
        "--out",
        tmp_path,
    )
    assert done.exit_code == 1
    (folder,) = tmp_path.iterdir()
    assert f"all 2 trials failed; {folder}/results.csv says what ended them" in done.stderr


def test_a_metric_without_a_direction_takes_that_of_the_command(call, data_file, tmp_path):
    words = ("--algo", "discrete-cql", "--dataset", data_file, "--vary", "learning_rate=[1e-4,1e-2]")
    asked = (
        "sweep",
        *words,
        "--metric",
        "conservative_gap",
        "--dry-run",
        "--print-config",
        "--out",
        tmp_path,
    )
    refused = call(*asked)
    assert refused.exit_code == 2
    assert "on the command line --maximize or --minimize" in " ".join(refused.stderr.split())
    for option, is_maximized in (("--maximize", "true"), ("--minimize", "false")):
        assert f'"maximize": {is_maximized}' in call(*asked, option).output
    both = call(*asked, "--maximize", "--minimize")
    assert (both.exit_code, "exclude each other" in both.stderr) == (2, True)
